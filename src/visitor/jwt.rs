//! A member known by a signed cookie: a JWT (RFC 7519).

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use jsonwebtoken::Header;
use jsonwebtoken::Validation;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;

use crate::site::Site;
use crate::site::jwt::Jwt;
use crate::site::jwt::Source;
use crate::site::key::Key;
use crate::site::key::Keys;
use crate::visitor;
use crate::visitor::Freshness;
use crate::visitor::Said;
use crate::visitor::jwks::Jwks;

/// What the token in the cookie says about a member; nothing where it proves nothing.
///
/// # Errors
/// [`visitor::Error::Unavailable`] when the keys of the site cannot be fetched.
pub(super) async fn said(
    site: &Site,
    jwt: &Jwt,
    token: &[u8],
    (jwks, freshness): (&Jwks, Freshness),
) -> Result<Option<Said>, visitor::Error> {
    let now = SystemTime::now();
    let said = match &jwt.keys {
        Source::Here(keys) => Reading { jwt, keys, now, freshness }.said(token),
        // In a box, because whoever is held while the keys are waited for is as large as this.
        Source::At { url, algorithm } => {
            Box::pin(async {
                Ok(match header_of(token) {
                    Ok(header) if algorithm.is_none_or(|only| header.alg == only.into()) => {
                        let keys = jwks.keys(url, &header, freshness).await?;
                        Reading { jwt, keys: &keys, now, freshness }.said(token)
                    }
                    Ok(_) => Err(Error::NoKey),
                    Err(error) => Err(error),
                })
            })
            .await?
        }
    };
    Ok(match said {
        Ok(said) => Some(said),
        Err(reason) => {
            // An expired cookie is everyday life; the operator who looks for more finds it here.
            tracing::debug!(site = site.name, %reason, "the signed cookie proves nothing");
            None
        }
    })
}

/// Why a token proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a token, or not signed with the key that it should be.
    #[error("{0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// RFC 7515 §4.1.11: who does not understand what is critical refuses all of it.
    #[error("its header has critical parts, and none is known here")]
    Critical,
    /// No key is called so, and is for the algorithm that it names.
    #[error("no key of the site has its kid and algorithm")]
    NoKey,
    /// Not what the setting asks for.
    #[error("its iss is not the issuer")]
    Issuer,
    /// Not what the setting asks for.
    #[error("its aud names no audience of ours")]
    Audience,
    /// It has no end, or one that is no number.
    #[error("it has no exp")]
    Endless,
    /// Its end is past.
    #[error("it has expired")]
    Expired,
    /// Its beginning is to come.
    #[error("its {0} is to come, or is no date")]
    Early(&'static str),
    /// Nobody is named.
    #[error("no claim {0:?} with a text")]
    NoName(String),
}

/// How a token is read: by which rules and keys, when, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// What it must say.
    pub jwt: &'a Jwt,
    /// What it must be signed with.
    pub keys: &'a Keys,
    /// The time by our clock.
    pub now: SystemTime,
    /// Whether a session begins, or goes on.
    pub freshness: Freshness,
}

impl Reading<'_> {
    /// What the site says in `token` about a member.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn said(&self, token: &[u8]) -> Result<Said, Error> {
        let claims = match self.freshness {
            // It comes with every request.
            Freshness::KnownSession => self.keys.claims(token, || self.verify(token))?,
            Freshness::NewSession | Freshness::After(_) => Arc::new(self.verify(token)?),
        };
        self.check_party(&claims)?;
        self.check_time(&claims)?;
        self.said_in(&claims)
    }

    /// What the token says, signed as it has to be.
    fn verify(&self, token: &[u8]) -> Result<Map<String, Value>, Error> {
        let header = header_of(token)?;
        let mut refused = Error::NoKey;
        for key in self.keys.meant_by(header.alg, header.kid.as_deref()) {
            match verified(key, token) {
                Ok(claims) => return Ok(claims),
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }

    fn check_party(&self, claims: &Map<String, Value>) -> Result<(), Error> {
        let issuer = claims.get("iss").and_then(Value::as_str);
        if self.jwt.issuer.is_some() && self.jwt.issuer.as_deref() != issuer {
            return Err(Error::Issuer);
        }
        let is_ours = |audience: &Value| {
            audience.as_str().is_some_and(|named| self.jwt.audience.iter().any(|own| own == named))
        };
        let names_us = match claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        if self.jwt.audience.is_empty() || names_us { Ok(()) } else { Err(Error::Audience) }
    }

    fn check_time(&self, claims: &Map<String, Value>) -> Result<(), Error> {
        // A clock before 1970 is at fault itself; every token is then of another time.
        let now = self.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let grace = match self.freshness {
            Freshness::NewSession | Freshness::After(_) => self.jwt.leeway,
            Freshness::KnownSession => self.jwt.leeway.max(self.jwt.proof),
        };
        let end = claims.get("exp").and_then(date).ok_or(Error::Endless)?;
        if end.saturating_add(grace) < now {
            return Err(Error::Expired);
        }
        for name in ["nbf", "iat"] {
            let Some(value) = claims.get(name) else { continue };
            let is_past = date(value).is_some_and(|begin| begin <= now + self.jwt.leeway);
            if !is_past {
                return Err(Error::Early(name));
            }
        }
        Ok(())
    }

    fn said_in(&self, claims: &Map<String, Value>) -> Result<Said, Error> {
        let names = &self.jwt.claims;
        let text = |claims: &Map<String, Value>, name: &str| {
            claims.get(name).and_then(Value::as_str).map(ToOwned::to_owned)
        };
        let username =
            text(claims, &names.username).ok_or_else(|| Error::NoName(names.username.clone()))?;
        let nick = text(claims, &names.nick);
        let session_id = text(claims, &names.session_id);
        let groups = claims
            .get(&names.groups)
            .and_then(|groups| Vec::deserialize(groups).ok())
            .unwrap_or_default();
        Ok(Said { username, nick, groups, session_id })
    }
}

/// What a token says about itself. Keys that it brings along or points to are never looked at.
fn header_of(token: &[u8]) -> Result<Header, Error> {
    let header = jsonwebtoken::decode_header(token)?;
    if header.crit.is_some() { Err(Error::Critical) } else { Ok(header) }
}

/// The claims of a token that this key has signed, with the one algorithm that it is for; what they say is not looked at.
fn verified(key: &Key, token: &[u8]) -> jsonwebtoken::errors::Result<Map<String, Value>> {
    let mut validation = Validation::new(key.algorithm.into());
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    Ok(jsonwebtoken::decode(token, &key.key, &validation)?.claims)
}

/// Seconds since 1970, which may have a fraction (RFC 7519 §2).
fn date(value: &Value) -> Option<Duration> {
    value
        .as_u64()
        .map(Duration::from_secs)
        .or_else(|| value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

#[cfg(test)]
mod tests;
