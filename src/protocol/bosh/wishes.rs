//! What a browser wishes for the session that its first request begins (XEP-0124 §7.1).

use std::fmt;
use std::num::IntErrorKind;
use std::num::ParseIntError;
use std::sync::Arc;
use std::time::Duration;

use crate::protocol::bosh::body::Error;
use crate::protocol::bosh::head::Head;
use crate::protocol::language::Language;

/// What the first request says beside its rid and payload.
///
/// `to` and `from` are not among it: the edge chooses domain and identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The highest version of BOSH that the browser speaks; a legacy browser says none (XEP-0124 §17.1).
    pub version: Option<Version>,
    /// The version of XMPP that it speaks (XEP-0206 §3); who says none speaks the one there is.
    pub xmpp: Option<Version>,
    /// What its texts are in.
    pub language: Option<Language>,
    /// How long it wants to wait for an answer.
    pub wait: Option<Duration>,
    /// How many requests it wants to be held.
    pub hold: Option<u8>,
    /// What it wants as `Content-Type` of all answers in place of [`CONTENT`]: a media type, in UTF-8 if it names a character
    /// set.
    pub content: Option<Arc<str>>,
    /// The server that it wants to be taken to, as it is written: `proto:host:port`.
    pub route: Option<Box<str>>,
    /// Whether it says in each request which answers it has got (XEP-0124 §9.2).
    pub acknowledges: bool,
}

impl Wishes {
    /// Reads them.
    ///
    /// # Errors
    /// Where a value is none that its attribute may have.
    pub(super) fn read(head: Head<'_>) -> Result<Self, Error> {
        let mut wishes = Self::default();
        for (name, value) in head.attributes() {
            match name {
                "ver" => wishes.version = Some(version("ver", value)?),
                "xml:lang" => wishes.language = Language::parse(value.trim()),
                "wait" => wishes.wait = Some(Duration::from_secs(number("wait", value)?)),
                "hold" => {
                    let hold = number("hold", value)?;
                    wishes.hold = Some(u8::try_from(hold).unwrap_or(u8::MAX));
                }
                "content" => {
                    let content = Some(media_type(value)?).filter(|content| *content != CONTENT);
                    wishes.content = content.map(Into::into);
                }
                "route" => wishes.route = Some(value.into()),
                // Any other value stands in later requests only.
                "ack" => wishes.acknowledges = value.trim() == "1",
                _ if head.is_of_xbosh(name, "version") => {
                    wishes.xmpp = Some(version("version of XMPP", value)?);
                }
                _ => {}
            }
        }
        Ok(wishes)
    }

    /// Whether the browser would understand what a server says to it (RFC 6120 §4.7.5).
    ///
    /// One that is older than XMPP 1.0 knows neither features nor SASL, and would be signed in never.
    #[must_use]
    pub fn is_of_xmpp_1(&self) -> bool {
        self.xmpp.is_none_or(|version| version >= Version::XMPP)
    }
}

/// A version of BOSH or XMPP, as in `ver='1.6'`: two numbers, not a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u16, u16);

impl Version {
    /// The one of BOSH that is spoken here.
    pub const OURS: Self = Self(1, 11);
    /// The one of XMPP.
    pub const XMPP: Self = Self(1, 0);
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.0, self.1)
    }
}

fn version(name: &'static str, value: &str) -> Result<Version, Error> {
    let numbers = value.trim().split_once('.').and_then(|(major, minor)| {
        let number = |digits: &str| digits.parse::<u64>().ok();
        Some((number(major)?, number(minor)?))
    });
    let (major, minor) = numbers.ok_or(Error::Attribute(name))?;
    let bounded = |number| u16::try_from(number).unwrap_or(u16::MAX);
    Ok(Version(bounded(major), bounded(minor)))
}

/// A number that is not negative; one beyond all numbers is as good as the highest.
pub(super) fn number(name: &'static str, value: &str) -> Result<u64, Error> {
    value.trim().parse().or_else(|error: ParseIntError| {
        let is_beyond = *error.kind() == IntErrorKind::PosOverflow;
        is_beyond.then_some(u64::MAX).ok_or(Error::Attribute(name))
    })
}

/// The value, where an answer in UTF-8 may say that it is one of this type.
fn media_type(value: &str) -> Result<&str, Error> {
    let mut parts = value.split(';');
    let essence = parts.next().unwrap_or_default().trim();
    let is_token = |token: &str| !token.is_empty() && token.bytes().all(is_token_byte);
    let is_type =
        essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    // Answers are in UTF-8, whatever is asked for: it is left to us whether we convert (XEP-0124 §7.2).
    let is_true = parts.all(|parameter| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            let value = value.trim();
            let is_charset = name.trim().eq_ignore_ascii_case("charset");
            is_token(name.trim())
                && is_token(value)
                && (!is_charset || value.eq_ignore_ascii_case("utf-8"))
        })
    });
    (is_type && is_true && value.len() <= LONGEST_TYPE)
        .then_some(value.trim())
        .ok_or(Error::Attribute("content"))
}

/// What a token of HTTP is made of (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What answers are, unless the browser asks for another type (XEP-0124 §7.1).
pub const CONTENT: &str = "text/xml; charset=utf-8";
const LONGEST_TYPE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::xml::check::Limits;

    fn wishes(attributes: &str) -> Result<Wishes, Error> {
        let tag = format!("<body {attributes} xmlns='http://jabber.org/protocol/httpbind'/>");
        Wishes::read(Head::parse(tag.as_bytes(), Limits::default()).unwrap())
    }

    #[test]
    fn versions_are_two_numbers_and_not_a_fraction() {
        let version = |text: &str| wishes(&format!("ver='{text}'")).map(|wishes| wishes.version);

        // XEP-0124 §7.1
        assert!(version("1.10").unwrap() > version("1.6").unwrap());
        assert!(version("2.0").unwrap() > version("1.11").unwrap());
        assert_eq!(version("1.99999").unwrap().unwrap().to_string(), "1.65535");
        for wrong in ["", "1", "one.six", "1.6.2", "-1.6"] {
            assert_eq!(version(wrong), Err(Error::Attribute("ver")), "{wrong}");
        }
    }

    #[test]
    fn usual_content_is_no_wish() {
        assert_eq!(wishes("content='text/xml; charset=utf-8'").unwrap().content, None);
    }

    #[test]
    fn content_is_a_media_type_that_is_true_of_utf_8() {
        let content = |text: &str| {
            wishes(&format!("content=\"{text}\"")).map(|wishes| wishes.content.unwrap().to_string())
        };

        for right in
            ["text/xml; charset=UTF-8", "text/html", "application/xml;charset=UTF-8", "a/b; c=d"]
        {
            assert_eq!(content(right).as_deref(), Ok(right));
        }
        let long = format!("text/{}", "x".repeat(200));
        for wrong in [
            "",
            "text",
            "text/",
            "/xml",
            "text/xml; charset=iso-8859-1",
            "text/xml;",
            "text/xml&#13;&#10;Set-Cookie: a=b",
            "text/xml\u{e9}",
            "text/x ml",
            &long,
        ] {
            assert_eq!(content(wrong), Err(Error::Attribute("content")), "{wrong}");
        }
    }

    // XEP-0206 §3, RFC 6120 §4.7.5
    #[test]
    fn version_of_xmpp_is_known_by_its_namespace_and_one_that_is_missing_is_the_present_one() {
        let is_spoken = |attributes: &str| {
            wishes(&format!("xmlns:x='urn:xmpp:xbosh' {attributes}"))
                .map(|wishes| wishes.is_of_xmpp_1())
        };

        assert_eq!(is_spoken(""), Ok(true));
        assert_eq!(is_spoken("x:version='1.0'"), Ok(true));
        assert_eq!(is_spoken("x:version='1.7'"), Ok(true));
        assert_eq!(is_spoken("x:version='0.9'"), Ok(false));
        assert_eq!(is_spoken("version='0.9'"), Ok(true));
        assert_eq!(is_spoken("x:version='one'"), Err(Error::Attribute("version of XMPP")));
    }

    #[test]
    fn language_that_is_none_is_not_worth_a_session() {
        let language = |attributes: &str| {
            let wishes = wishes(attributes).unwrap();
            wishes.language.map(|language| language.as_str().to_owned())
        };

        assert_eq!(language("xml:lang='de-AT'").as_deref(), Some("de-AT"));
        for none in ["", "xml:lang=''", "xml:lang='en_US; q=1'", "lang='en'"] {
            assert_eq!(language(none), None, "{none}");
        }
    }

    #[test]
    fn number_beyond_all_numbers_is_as_good_as_the_highest() {
        let wishes = wishes("wait='99999999999999999999999' hold='300'").unwrap();

        assert_eq!(wishes.wait, Some(Duration::from_secs(u64::MAX)));
        assert_eq!(wishes.hold, Some(255));
    }

    #[test]
    fn who_says_nothing_wishes_nothing() {
        assert_eq!(wishes("rid='1'"), Ok(Wishes::default()));
    }
}
