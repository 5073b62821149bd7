//! A JID: prepared once (RFC 6122 with nodeprep, nameprep and resourceprep; XEP-0106), valid for good.
//!
//! Prosody and ejabberd prepare with stringprep and not with PRECIS, and a server that prepares a name to something else than
//! we did would sign in somebody else.

mod username;

use std::fmt;
use std::net::Ipv6Addr;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

pub use crate::protocol::jid::username::Case;

/// What stands before the `@`: prepared, escaped, 1 to 1023 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Localpart(String);

/// What stands behind the `@`: a prepared host name or address, 1 to 1023 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

/// An address in XMPP: `localpart@domain/resource`, the first and the last of which may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Jid {
    text: String,
    /// Where the `@` is.
    at: Option<usize>,
    /// Where the `/` before the resource is.
    slash: Option<usize>,
}

/// The parts of a JID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Before the `@`.
    Localpart,
    /// Between `@` and `/`.
    Domain,
    /// Behind the `/`.
    Resource,
}

/// Why a text is no JID, or a username cannot become one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A part has no bytes, or none that count.
    #[error("the {0} is empty")]
    Empty(Part),
    /// A part has more than 1023 bytes.
    #[error("the {0} is longer than 1023 bytes")]
    TooLong(Part),
    /// A part holds what its stringprep profile forbids.
    #[error("the {0} holds characters that are not allowed there")]
    Forbidden(Part),
    /// A domain is no host name and no address.
    #[error("the domain is neither a host name nor an address")]
    NotAHost,
    /// A username begins or ends with a space (XEP-0106 §4.1).
    #[error("the username begins or ends with a space")]
    Space,
    /// The server would make another name of the username, which may be somebody else's.
    #[error("the username would become another name")]
    Changed,
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Localpart => "localpart",
            Self::Domain => "domain",
            Self::Resource => "resource",
        })
    }
}

impl Localpart {
    /// Prepares a localpart that is escaped already.
    ///
    /// # Errors
    /// When it is empty, too long, or holds what nodeprep forbids.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let prepared = stringprep::nodeprep(text).map_err(|_| Error::Forbidden(Part::Localpart))?;
        bounded(&prepared, Part::Localpart)?;
        Ok(Self(prepared.into_owned()))
    }

    /// The prepared text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Domain {
    /// Prepares a domain: a host name, an IPv4 address or an IPv6 address in brackets; one dot at its end is dropped.
    ///
    /// # Errors
    /// When it is empty, too long, holds what nameprep forbids, or is none of these.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let prepared = stringprep::nameprep(text).map_err(|_| Error::Forbidden(Part::Domain))?;
        let prepared = prepared.strip_suffix('.').unwrap_or(&prepared);
        bounded(prepared, Part::Domain)?;
        let address = prepared.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let fits = match address {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => prepared.split('.').all(is_label),
        };
        if fits { Ok(Self(prepared.to_owned())) } else { Err(Error::NotAHost) }
    }

    /// The prepared text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Jid {
    /// The bare JID of a localpart at a domain.
    #[must_use]
    pub fn bare(local: Localpart, domain: Domain) -> Self {
        let (Localpart(mut text), Domain(domain)) = (local, domain);
        let at = Some(text.len());
        text.push('@');
        text.push_str(&domain);
        Self { text, at, slash: None }
    }

    /// Prepares a JID, any of `domain`, `localpart@domain`, and either with a `/resource`.
    ///
    /// # Errors
    /// The first fault of its parts.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let jid = match bare.split_once('@') {
            Some((local, domain)) => Self::bare(Localpart::parse(local)?, Domain::parse(domain)?),
            None => Self::from(Domain::parse(bare)?),
        };
        match resource {
            Some(resource) => jid.with_resource(resource),
            None => Ok(jid),
        }
    }

    /// Before the `@`.
    #[must_use]
    pub fn local(&self) -> Option<&str> {
        self.text.get(..self.at?)
    }

    /// Between `@` and `/`.
    #[must_use]
    pub fn domain(&self) -> &str {
        let begin = self.at.map_or(0, |at| at + 1);
        self.text.get(begin..self.slash.unwrap_or(self.text.len())).unwrap_or_default()
    }

    /// Behind the `/`.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.text.get(self.slash? + 1..)
    }

    /// The same without its resource.
    #[must_use]
    pub fn to_bare(&self) -> Self {
        let bare = self.slash.and_then(|slash| self.text.get(..slash)).unwrap_or(&self.text);
        Self { text: bare.to_owned(), at: self.at, slash: None }
    }

    /// The same with `resource`, prepared, in place of any it has.
    ///
    /// # Errors
    /// When `resource` is empty, too long, or holds what resourceprep forbids.
    pub fn with_resource(&self, resource: &str) -> Result<Self, Error> {
        let resource =
            stringprep::resourceprep(resource).map_err(|_| Error::Forbidden(Part::Resource))?;
        bounded(&resource, Part::Resource)?;
        let Self { mut text, at, .. } = self.to_bare();
        let slash = Some(text.len());
        text.push('/');
        text.push_str(&resource);
        Ok(Self { text, at, slash })
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<Domain> for Jid {
    fn from(Domain(text): Domain) -> Self {
        Self { text, at: None, slash: None }
    }
}

/// What each of the three can be made of and made to.
macro_rules! as_text {
    ($name:ident, $text:ident => $inner:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from($text: $name) -> Self {
                $inner
            }
        }
    };
}

as_text!(Localpart, local => local.0);
as_text!(Domain, domain => domain.0);
as_text!(Jid, jid => jid.text);

fn bounded(text: &str, part: Part) -> Result<(), Error> {
    match text.len() {
        0 => Err(Error::Empty(part)),
        1..=1023 => Ok(()),
        _ => Err(Error::TooLong(part)),
    }
}

/// One label of a host name: what STD 3 allows, `_`, and whatever nameprep lets pass outside ASCII but the other dots that
/// IDNA takes for one.
fn is_label(label: &str) -> bool {
    let allowed = |character: char| match character {
        '-' | '_' | '0'..='9' | 'a'..='z' => true,
        '\u{3002}' | '\u{ff0e}' | '\u{ff61}' => false,
        other => !other.is_ascii(),
    };
    !label.is_empty() && label.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jid_is_prepared_and_known_by_its_parts() {
        let jid = Jid::parse("Bob@XMPP.Example.org./Some @ where/else").unwrap();

        assert_eq!(jid.to_string(), "bob@xmpp.example.org/Some @ where/else");
        assert_eq!((jid.local(), jid.domain()), (Some("bob"), "xmpp.example.org"));
        assert_eq!(jid.resource(), Some("Some @ where/else"));
        assert_eq!(jid.to_bare().as_str(), "bob@xmpp.example.org");
        assert_eq!(jid.with_resource("new").unwrap().as_str(), "bob@xmpp.example.org/new");
        assert_eq!(jid, Jid::parse("BOB@xmpp.example.org/Some @ where/else").unwrap());
        assert_ne!(jid, Jid::parse("bob@xmpp.example.org/some @ where/else").unwrap());
    }

    #[test]
    fn a_domain_alone_and_a_domain_with_a_resource_are_jids() {
        let jid = Jid::parse("example.org").unwrap();
        assert_eq!((jid.local(), jid.domain(), jid.resource()), (None, "example.org", None));

        let jid = Jid::parse("example.org/a@b").unwrap();
        assert_eq!((jid.local(), jid.domain(), jid.resource()), (None, "example.org", Some("a@b")));
    }

    #[test]
    fn what_is_no_jid_is_refused() {
        for text in [
            "", "@", "a@", "@b", "/r", "b/", "a@b/", "a@b@c", "a b@c", "a@b c", "a..b", ".b",
            "a@<", "a@b&c", "a:1", "[::1", "[1]",
        ] {
            assert!(Jid::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn domains_are_host_names_or_addresses() {
        for text in ["localhost", "127.0.0.1", "[::1]", "münchen.example", "_a-b.c9"] {
            assert_eq!(Domain::parse(text).unwrap().as_str(), text);
        }
        // U+2100 is prepared to "a/c", which would move where the domain ends.
        for text in ["\u{2100}", "a\u{3002}b", "a\u{ff20}b", "a/b", "a@b", "a b", "a'b", "a\0"] {
            assert!(Domain::parse(text).is_err(), "{text}");
        }
    }
}
