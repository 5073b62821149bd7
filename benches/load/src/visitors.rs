//! Who the browsers are: guests, members whose cookies are in a file, or members whose cookies are signed here.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use serde::Serialize;
use vestibule::pass::ticket::Mint;
use vestibule::secret::Secret;

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
    /// Each is `load-N` and shows the XMPP server a ticket, as Vestibule does on a visitor's behalf: for ways to the server on
    /// which nobody does.
    Ticketed(Arc<Mint>),
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

    /// Visitors whose tickets are signed with this secret.
    #[must_use]
    pub fn ticketed(secret: &[u8]) -> Self {
        Self::Ticketed(Arc::new(mint(secret)))
    }

    /// The `Cookie` header of one of them.
    pub fn cookie(&self, number: usize) -> Result<Option<String>> {
        match self {
            Self::Guests | Self::Ticketed(_) => Ok(None),
            Self::Cookies(cookies) => Ok(cookies.get(number % cookies.len()).cloned()),
            Self::Signed { cookie, key } => {
                let exp = SystemTime::now().duration_since(UNIX_EPOCH)? + LIFETIME;
                let claims = Claims { sub: name(number), exp: exp.as_secs() };
                let token = jsonwebtoken::encode(&Header::default(), &claims, key)?;
                Ok(Some(format!("{cookie}={token}")))
            }
        }
    }

    /// What one of them signs in with at this domain: members by their cookie alone, guests too where the gateway knows them.
    pub fn auth(&self, number: usize, domain: &str) -> Result<String> {
        let (mechanism, response) = match self {
            Self::Guests => ("ANONYMOUS", "=".to_owned()),
            Self::Cookies(_) | Self::Signed { .. } => ("EXTERNAL", "=".to_owned()),
            Self::Ticketed(mint) => {
                let (username, password) = (name(number), ticket(mint, number, domain)?);
                ("PLAIN", BASE64_STANDARD.encode(format!("\0{username}\0{password}")))
            }
        };
        Ok(format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{response}</auth>"
        ))
    }
}

/// A member's username.
#[must_use]
pub fn name(number: usize) -> String {
    format!("load-{number}")
}

/// What makes tickets that are signed with this secret.
#[must_use]
pub fn mint(secret: &[u8]) -> Mint {
    Mint::new(&Secret::new(secret), GOOD_FOR)
}

/// A ticket for this member of this domain, good once.
pub fn ticket(mint: &Mint, number: usize, domain: &str) -> Result<String> {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).context("this machine has no random bytes")?;
    Ok(mint.mint(&name(number), domain, SystemTime::now(), nonce))
}

const LIFETIME: Duration = Duration::from_hours(12);
/// As long as the server's module believes a ticket at most: some wait for their turn with it.
const GOOD_FOR: Duration = Duration::from_mins(1);
