//! Which keys are of use, and key pairs for the tests of every layer above.

use jsonwebtoken::EncodingKey;
use rcgen::KeyPair;
use serde_json::Value;
use serde_json::json;

use super::*;

/// A key pair of a site that signs cookies.
pub(crate) struct Pair {
    pub(crate) algorithm: jsonwebtoken::Algorithm,
    pub(crate) private: EncodingKey,
    pub(crate) public_pem: String,
    private_pem: String,
}

impl Pair {
    pub(crate) fn rsa() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        Self::of(&pair, jsonwebtoken::Algorithm::RS256, EncodingKey::from_rsa_pem)
    }

    pub(crate) fn ec() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self::of(&pair, jsonwebtoken::Algorithm::ES256, EncodingKey::from_ec_pem)
    }

    pub(crate) fn ed() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Self::of(&pair, jsonwebtoken::Algorithm::EdDSA, EncodingKey::from_ed_pem)
    }

    fn of(
        pair: &KeyPair,
        algorithm: jsonwebtoken::Algorithm,
        private: fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>,
    ) -> Self {
        let private_pem = pair.serialize_pem();
        let private = private(private_pem.as_bytes()).unwrap();
        Self { algorithm, private, public_pem: pair.public_key_pem(), private_pem }
    }

    /// The public key as it stands in a set, under this name.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let key = Key::of_pem(&self.public_pem).unwrap().key;
        let mut jwk = Jwk::from_decoding_key(&key, Some(self.algorithm)).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    /// What these claims are when this pair's site has signed them.
    pub(crate) fn signed(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = jsonwebtoken::Header::new(self.algorithm);
        header.kid = kid.map(ToOwned::to_owned);
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn with(mut jwk: Value, name: &str, value: &str) -> Value {
    jwk[name] = value.into();
    jwk
}

#[test]
fn key_in_pem_is_for_the_algorithm_of_its_kind() {
    for (pair, algorithm) in [
        (Pair::rsa(), Algorithm::Rs256),
        (Pair::ec(), Algorithm::Es256),
        (Pair::ed(), Algorithm::EdDsa),
    ] {
        assert_eq!(Key::of_pem(&pair.public_pem).unwrap().algorithm, algorithm);
        assert_eq!(Key::of_pem(&pair.private_pem).unwrap_err(), Error::Private);
    }
}

#[test]
fn key_that_is_of_no_use_is_refused() {
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();

    assert_eq!(Key::of_pem(&p384.public_key_pem()).unwrap_err(), Error::Kind);
    assert_eq!(Key::of_pem(RSA_1024).unwrap_err(), Error::Kind);
    for text in ["", "public.pem", "-----BEGIN CERTIFICATE-----\n", "a -----BEGIN PUBLIC KEY-----"]
    {
        assert_eq!(Key::of_pem(text).unwrap_err(), Error::NotPem, "{text}");
    }
    assert_eq!(Key::of_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n").unwrap_err(), Error::Kind);
}

#[test]
fn set_has_the_keys_of_use_and_passes_over_the_others() {
    let (rsa, ec) = (Pair::rsa(), Pair::ec());
    let others = [
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
        json!({ "kty": "future", "x": "1" }),
        json!("no key"),
        with(rsa.jwk("e"), "use", "enc"),
        with(rsa.jwk("d"), "alg", "RS512"),
        with(rsa.jwk("c"), "alg", "ES256"),
        with(ec.jwk("b"), "x", "AAAA"),
        with(ec.jwk("a"), "crv", "P-384"),
    ];

    let all: Vec<Value> = others.iter().cloned().chain([rsa.jwk("1"), ec.jwk("2")]).collect();
    let keys = Keys::of_jwks(set(&all).as_bytes()).unwrap();

    let named: Vec<_> = keys.all.iter().map(|key| (key.id.as_deref(), key.algorithm)).collect();
    assert_eq!(named, [(Some("1"), Algorithm::Rs256), (Some("2"), Algorithm::Es256)]);
    assert_eq!(Keys::of_jwks(set(&others).as_bytes()).unwrap_err(), Error::NoneOfUse);
    for text in ["", "[]", "{}", "{\"keys\": 1}"] {
        assert_eq!(Keys::of_jwks(text.as_bytes()).unwrap_err(), Error::NotASet, "{text}");
    }
}

#[test]
fn key_is_found_by_its_name_and_its_algorithm() {
    let (first, second, rsa) = (Pair::ec(), Pair::ec(), Pair::rsa());
    let text = set(&[first.jwk("1"), second.jwk("2"), rsa.jwk("1")]);
    let keys = Keys::of_jwks(text.as_bytes()).unwrap();
    let found = |algorithm, kid| keys.meant_by(algorithm, kid).count();

    assert_eq!(found(jsonwebtoken::Algorithm::ES256, Some("1")), 1);
    assert_eq!(found(jsonwebtoken::Algorithm::ES256, None), 2);
    assert_eq!(found(jsonwebtoken::Algorithm::ES256, Some("3")), 0);
    assert_eq!(found(jsonwebtoken::Algorithm::RS256, Some("2")), 0);
    assert_eq!(found(jsonwebtoken::Algorithm::HS256, None), 0);
    assert!(keys.only(Some(Algorithm::EdDsa)).is_empty());
}

#[test]
fn key_without_a_name_is_meant_by_any() {
    let keys = Keys::from(Key::of_pem(&Pair::ed().public_pem).unwrap());

    assert_eq!(keys.meant_by(jsonwebtoken::Algorithm::EdDSA, Some("1")).count(), 1);
}

#[test]
fn keys_are_fetched_over_tls_or_from_this_machine() {
    for right in [
        "https://id.example.org/keys",
        "http://127.0.0.1:8080/keys",
        "http://[::1]/keys",
        "http://localhost/keys",
    ] {
        assert!(matches!(Jwks::read(right), Ok(Jwks::At(_))), "{right}");
    }
    for (wrong, expected) in [
        ("http://id.example.org/keys", "expected https://:"),
        ("http://localhost.example.org/", "expected https://:"),
        ("https://u:p@id.example.org/", "expected an https:// URL"),
        ("keys.json", "expected an https:// URL"),
        ("{}", "expected a JWK set"),
    ] {
        let told = Jwks::read(wrong).unwrap_err();
        assert!(told.starts_with(expected), "{wrong}: {told}");
    }
}

/// `openssl genrsa 1024 | openssl rsa -pubout`; its private half is lost.
const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDJAn27T0FgG4rIDnfG4TZ32yN2
RNX4jXZAWBSD+tNaUrWkTlexSp6eGLS2PlvPAC0dSrz0a1SpMWb3GnoP44F5SwsX
1zq9Jbe6lLDTxmNKUBi/pamBbZ+NSEFv3x33cATF8iJXf8bKfQgi5ld9h4szdLlZ
vcG/dGzvt9yWvn4FYwIDAQAB
-----END PUBLIC KEY-----";
