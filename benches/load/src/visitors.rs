//! Who the browsers are: guests, members whose cookies are in a file, or members whose cookies are signed here.

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use serde::Serialize;

/// The visitors of one run, by their number.
#[derive(Clone)]
pub enum Visitors {
    /// Nobody has a cookie.
    Guests,
    /// Each has a `Cookie` header of this list; those beyond its end begin again at its top.
    Cookies(Vec<String>),
    /// Each has a cookie of this name, whose JWT (HS256) names `load-N`.
    Signed {
        /// The cookie's name.
        cookie: String,
        /// What signs it.
        key: EncodingKey,
    },
}

#[derive(Serialize)]
struct Claims {
    sub: String,
    exp: u64,
}

impl Visitors {
    /// The `Cookie` headers of a file, one a line.
    pub fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let cookies: Vec<String> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(ToOwned::to_owned)
            .collect();
        ensure!(!cookies.is_empty(), "{} has no cookie", file.display());
        Ok(Self::Cookies(cookies))
    }

    /// Members whose cookies are signed with this secret.
    #[must_use]
    pub fn signed(cookie: &str, secret: &[u8]) -> Self {
        Self::Signed { cookie: cookie.to_owned(), key: EncodingKey::from_secret(secret) }
    }

    /// The `Cookie` header of one of them.
    pub fn cookie(&self, number: usize) -> Result<Option<String>> {
        match self {
            Self::Guests => Ok(None),
            Self::Cookies(cookies) => Ok(cookies.get(number % cookies.len()).cloned()),
            Self::Signed { cookie, key } => {
                let exp = SystemTime::now().duration_since(UNIX_EPOCH)? + LIFETIME;
                let claims = Claims { sub: format!("load-{number}"), exp: exp.as_secs() };
                let token = jsonwebtoken::encode(&Header::default(), &claims, key)?;
                Ok(Some(format!("{cookie}={token}")))
            }
        }
    }

    /// How they sign in: members by their cookie alone, guests too where the gateway knows them.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::Guests => "ANONYMOUS",
            Self::Cookies(_) | Self::Signed { .. } => "EXTERNAL",
        }
    }
}

const LIFETIME: Duration = Duration::from_hours(12);
