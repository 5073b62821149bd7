//! The keys that prove a signed cookie: a secret, a public key, or a set of them (RFC 7517).

mod proven;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::signature;
use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Uri;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::AlgorithmParameters;
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::jwk::KeyAlgorithm;
use jsonwebtoken::jwk::KeyOperations;
use jsonwebtoken::jwk::PublicKeyUse;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;

use crate::secret::Secret;
use crate::site::key::proven::Proven;
use crate::site::settings::Address;
use crate::site::settings::Written;
use crate::site::settings::shown;

/// What a cookie is signed with (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub enum Algorithm {
    /// HMAC with SHA-256, and a secret that the site and we share.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256, of 2048 to 8192 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        })
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::HS256,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Es256 => Self::ES256,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// A key that proves signatures of one algorithm and of no other.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name among several: the `kid` of the tokens that it has signed.
    id: Option<String>,
    /// What it is for.
    pub algorithm: Algorithm,
    /// The key itself.
    pub key: DecodingKey,
}

/// One key or several.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    all: Vec<Key>,
    proven: Proven,
}

/// `jwks`: the keys themselves, or where they are published.
#[derive(Debug, Clone)]
pub enum Jwks {
    /// They are here.
    Here(Keys),
    /// They are there.
    At(Uri),
}

/// Why a text has no key of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else.
    #[error("expected a public key in PEM, which begins with \"-----BEGIN PUBLIC KEY-----\"")]
    NotPem,
    /// Whoever has it can be any member.
    #[error("expected the public key alone: the private one belongs with who signs")]
    Private,
    /// No algorithm of ours is for such a key.
    #[error("expected an RSA key of 2048 to 8192 bits, an EC key on P-256, or an Ed25519 key")]
    Kind,
    /// Something else.
    #[error("expected a JWK set: JSON of the form {{\"keys\": [ … ]}}")]
    NotASet,
    /// Nothing could be proved.
    #[error("no key of the set can prove RS256, ES256 or EdDSA")]
    NoneOfUse,
}

impl Key {
    /// A secret that both sides have.
    #[must_use]
    pub fn of_secret(secret: &Secret) -> Self {
        let key = DecodingKey::from_secret(secret.expose());
        Self { id: None, algorithm: Algorithm::Hs256, key }
    }

    /// A public key in PEM: `PUBLIC KEY`, or the `RSA PUBLIC KEY` of PKCS #1.
    ///
    /// # Errors
    /// What it is instead.
    pub fn of_pem(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.contains("PRIVATE KEY-----") {
            return Err(Error::Private);
        }
        if !PEM.iter().any(|begin| text.starts_with(begin)) {
            return Err(Error::NotPem);
        }
        let readers =
            [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
        let key = readers.iter().find_map(|read| read(text.as_bytes()).ok()).ok_or(Error::Kind)?;
        let jwk = Jwk::from_decoding_key(&key, None).map_err(|_| Error::Kind)?;
        let algorithm = algorithm_of(&jwk.algorithm).ok_or(Error::Kind)?;
        Ok(Self { id: None, algorithm, key })
    }

    /// Nothing where the key is of no use to us, or says that it is for something else.
    fn of_jwk(jwk: &Jwk) -> Option<Self> {
        let algorithm = algorithm_of(&jwk.algorithm)?;
        let named = KeyAlgorithm::from(jsonwebtoken::Algorithm::from(algorithm));
        let said = &jwk.common;
        let is_for_signatures =
            said.public_key_use.as_ref().is_none_or(|key_use| *key_use == PublicKeyUse::Signature)
                && said
                    .key_operations
                    .as_ref()
                    .is_none_or(|operations| operations.contains(&KeyOperations::Verify))
                && said.key_algorithm.is_none_or(|algorithm| algorithm == named);
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| is_for_signatures)?;
        Some(Self { id: said.key_id.clone(), algorithm, key })
    }
}

impl Keys {
    /// The keys of a JWK set that are of use; others are passed over (RFC 7517 §5), and so is every secret: a set is
    /// something to be published.
    ///
    /// # Errors
    /// [`Error::NotASet`] and [`Error::NoneOfUse`].
    pub fn of_jwks(text: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(text).map_err(|_| Error::NotASet)?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys: Vec<Key> = keys.filter_map(|jwk| Key::of_jwk(&jwk)).take(MOST_KEYS).collect();
        if keys.is_empty() { Err(Error::NoneOfUse) } else { Ok(Self::from(keys)) }
    }

    /// Those that are for `algorithm`; all, if there is none.
    #[must_use]
    pub fn only(self, algorithm: Option<Algorithm>) -> Self {
        let Some(algorithm) = algorithm else { return self };
        let all: Vec<Key> = self.all.into_iter().filter(|key| key.algorithm == algorithm).collect();
        Self::from(all)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What a token says that has been verified with one of these keys before; otherwise what `verify` makes of it, which is
    /// remembered for a while.
    ///
    /// # Errors
    /// Those of `verify`.
    pub fn claims<E>(
        &self,
        token: &[u8],
        verify: impl FnOnce() -> Result<Map<String, Value>, E>,
    ) -> Result<Arc<Map<String, Value>>, E> {
        self.proven.claims(token, verify)
    }

    /// The keys that a token of this algorithm and `kid` may be signed with.
    ///
    /// A key without a name may be meant by any; a token without a `kid` may mean any key.
    pub fn meant_by(
        &self,
        algorithm: jsonwebtoken::Algorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &Key> {
        self.all.iter().filter(move |key| {
            let is_named = key.id.as_deref().is_none_or(|id| kid.is_none_or(|kid| kid == id));
            is_named && jsonwebtoken::Algorithm::from(key.algorithm) == algorithm
        })
    }
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        Self::from(vec![key])
    }
}

impl From<Vec<Key>> for Keys {
    fn from(all: Vec<Key>) -> Self {
        Self { all, proven: Proven::default() }
    }
}

impl Written for Key {
    fn read(text: &str) -> Result<Self, String> {
        Self::of_pem(text).map_err(|error| error.to_string())
    }
}

impl Written for Jwks {
    fn read(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('{') {
            return Keys::of_jwks(text.as_bytes())
                .map(Self::Here)
                .map_err(|error| error.to_string());
        }
        let Address(url) = Address::read(text).map_err(|_| {
            let text = shown(text);
            format!("expected an https:// URL, or {{ file = \"…\" }} with a JWK set, not {text}")
        })?;
        if url.scheme_str() == Some("https") || url.host().is_some_and(is_loopback) {
            Ok(Self::At(url))
        } else {
            Err(format!(
                "expected https://: whoever stands between could put keys of his own in the place of those at {text}"
            ))
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What a public key is for; nothing where it is too small, on another curve, or no point of its curve.
fn algorithm_of(key: &AlgorithmParameters) -> Option<Algorithm> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    if let AlgorithmParameters::RSA(rsa) = key {
        let modulus = bytes(&rsa.n)?;
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let first = modulus.get(zeros)?;
        let bits = (modulus.len() - zeros) * 8 - first.leading_zeros() as usize;
        return RSA_BITS.contains(&bits).then_some(Algorithm::Rs256);
    }
    if let AlgorithmParameters::EllipticCurve(ec) = key {
        let point = [vec![UNCOMPRESSED], bytes(&ec.x)?, bytes(&ec.y)?].concat();
        let is_point = ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).is_ok();
        return (ec.curve == EllipticCurve::P256 && is_point).then_some(Algorithm::Es256);
    }
    if let AlgorithmParameters::OctetKeyPair(ed) = key {
        let is_point = ParsedPublicKey::new(&signature::ED25519, bytes(&ed.x)?).is_ok();
        return (ed.curve == EllipticCurve::Ed25519 && is_point).then_some(Algorithm::EdDsa);
    }
    None
}

const PEM: [&str; 2] = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];
/// What aws-lc verifies (RFC 7518 §3.3 asks for 2048 at least).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// A token without a `kid` is tried with each.
const MOST_KEYS: usize = 32;
/// What stands before both coordinates of a point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

#[cfg(test)]
pub(crate) mod tests;
