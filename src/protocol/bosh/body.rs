//! Reading what a browser posts: the `<body/>` of a request and the elements in it (XEP-0124 §7, §8).

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::protocol::bosh::payload;
use crate::protocol::bosh::payload::Payload;
use crate::protocol::bosh::payload::tag_end;
use crate::protocol::bosh::window::Rid;
use crate::protocol::xml::check;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Its number.
    pub rid: Rid,
    /// The session it belongs to; none asks for a new one.
    pub sid: Option<String>,
    /// How long the browser wants to wait for an answer.
    pub wait: Option<Duration>,
    /// How many requests the browser wants to be held.
    pub hold: Option<u8>,
    /// The version of BOSH the browser speaks.
    pub version: Version,
    /// How long the browser will be away.
    pub pause: Option<Duration>,
    /// What is asked beside the payload.
    pub kind: Kind,
    /// The elements in it, or what is wrong with them; the sid is known even then, and its session ends.
    pub payload: Result<Payload, payload::Error>,
}

/// What a request asks for beside carrying its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Ordinary,
    /// The stream is to begin anew (XEP-0206 §5).
    Restart,
    /// The session is to end (XEP-0124 §13).
    Terminate,
}

/// A version of BOSH, as in `ver='1.6'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u8, u8);

impl Version {
    /// The one spoken here.
    pub const OURS: Self = Self(1, 11);
    // XEP-0124 §7.1 wants `ver`; who sends none wrote to an early draft.
    const UNSAID: Self = Self(1, 6);
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.0, self.1)
    }
}

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// It is not well-formed, or holds what is forbidden.
    #[error("the body is not one harmless element")]
    Xml(#[from] check::Error),
    /// The element is another.
    #[error("the element is not a body of BOSH")]
    NotBody,
    /// There is no rid, or it is no number below 2^53.
    #[error("the body has no valid rid")]
    Rid,
    /// An attribute is not what it must be.
    #[error("the body's attribute {0} has no valid value")]
    Attribute(&'static str),
}

impl Body {
    /// Reads a request.
    ///
    /// # Errors
    /// Where the start tag is not that of a body; what is wrong further in is told in `payload`.
    pub fn parse(text: &[u8], limits: &check::Limits) -> Result<Self, Error> {
        let start =
            text.iter().position(|byte| !byte.is_ascii_whitespace()).ok_or(Error::NotBody)?;
        let text = text.get(start..).unwrap_or_default();
        let head = Head::parse(text, *limits)?;
        let number = head.number("rid")?.and_then(Rid::new).ok_or(Error::Rid)?;
        Ok(Self {
            rid: number,
            sid: head.value("sid").map(str::to_owned),
            wait: head.number("wait")?.map(Duration::from_secs),
            hold: head.number("hold")?.map(|hold| u8::try_from(hold).unwrap_or(u8::MAX)),
            version: head.version(),
            pause: head.number("pause")?.map(Duration::from_secs),
            kind: head.kind(),
            payload: Payload::parse(text, head.end, limits),
        })
    }
}

/// The start tag of a body.
struct Head<'a> {
    attributes: Vec<(&'a str, &'a str)>,
    end: usize,
}

impl<'a> Head<'a> {
    fn parse(text: &'a [u8], limits: check::Limits) -> Result<Self, Error> {
        let end = tag_end(text, 0).ok_or(Error::NotBody)?;
        // Checked as if it were the whole, so that a sid is read even where the rest is broken.
        let mut tag = text.get(..end.saturating_sub(1)).unwrap_or_default().to_vec();
        if tag.last() != Some(&b'/') {
            tag.push(b'/');
        }
        tag.push(b'>');
        let root = check::check(&tag, &limits)?;
        let namespace = root.namespace.and_then(|range| tag.get(range));
        if tag.get(root.name.clone()) != Some(b"body") || namespace != Some(NAMESPACE) {
            return Err(Error::NotBody);
        }
        let inside = text.get(root.name.end..end).and_then(|tag| std::str::from_utf8(tag).ok());
        Ok(Self { attributes: attributes(inside.unwrap_or_default()), end })
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &'static str) -> Result<Option<u64>, Error> {
        self.value(name)
            .map(|value| value.trim().parse().map_err(|_| Error::Attribute(name)))
            .transpose()
    }

    fn version(&self) -> Version {
        let parts = self.value("ver").and_then(|value| value.split_once('.'));
        parts
            .and_then(|(major, minor)| Some(Version(major.parse().ok()?, minor.parse().ok()?)))
            .unwrap_or(Version::UNSAID)
    }

    fn kind(&self) -> Kind {
        if self.value("type") == Some("terminate") {
            Kind::Terminate
        } else if self.restarts() {
            Kind::Restart
        } else {
            Kind::Ordinary
        }
    }

    fn restarts(&self) -> bool {
        let declared = self.attributes.iter().filter(|(_, value)| *value == XBOSH);
        let prefixes = declared.filter_map(|(name, _)| name.strip_prefix("xmlns:"));
        let mut values = prefixes.filter_map(|prefix| self.value(&format!("{prefix}:restart")));
        values.any(|value| value == "true" || value == "1")
    }
}

/// The attributes after the name of a checked start tag.
///
/// References are left as they are: none of the values that are read may hold one.
fn attributes(mut tag: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = tag.split_once('=') {
        let mut rest = rest.trim_start().chars();
        let Some((value, after)) = rest.next().and_then(|quote| rest.as_str().split_once(quote))
        else {
            break;
        };
        found.push((name.trim(), value));
        tag = after;
    }
    found
}

const NAMESPACE: &[u8] = b"http://jabber.org/protocol/httpbind";
const XBOSH: &str = "urn:xmpp:xbosh";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Body, Error> {
        Body::parse(text.as_bytes(), &check::Limits::default())
    }

    #[test]
    fn first_request_of_strophe_is_read() {
        let body = parse(
            "<body content=\"text/xml; charset=utf-8\" hold=\"1\" rid=\"2467193561\" to=\"xmpp.example.org\" \
             ver=\"1.6\" wait=\"59\" xml:lang=\"en\" xmlns=\"http://jabber.org/protocol/httpbind\" \
             xmlns:xmpp=\"urn:xmpp:xbosh\" xmpp:version=\"1.0\"/>",
        )
        .unwrap();

        assert_eq!(body.rid.get(), 2_467_193_561);
        assert_eq!(body.sid, None);
        assert_eq!(body.wait, Some(Duration::from_secs(59)));
        assert_eq!(body.hold, Some(1));
        assert_eq!(body.version.to_string(), "1.6");
        assert_eq!(body.kind, Kind::Ordinary);
        assert!(body.payload.unwrap().is_empty());
    }

    #[test]
    fn restart_is_known_by_its_namespace_not_its_prefix() {
        let restart = |attributes: &str| {
            parse(&format!(
                "<body rid='7' sid='s' xmlns='http://jabber.org/protocol/httpbind' {attributes}/>"
            ))
            .unwrap()
            .kind
        };

        assert_eq!(restart("xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'"), Kind::Restart);
        assert_eq!(restart("xmlns:x='urn:xmpp:xbosh' x:restart='1'"), Kind::Restart);
        assert_eq!(restart("xmlns:xmpp='urn:other' xmpp:restart='true'"), Kind::Ordinary);
        assert_eq!(restart("restart='true' xmlns:xmpp='urn:xmpp:xbosh'"), Kind::Ordinary);
    }

    #[test]
    fn prefix_that_only_the_body_declares_is_refused() {
        let text = "<body rid='7' sid='s' xmlns='http://jabber.org/protocol/httpbind' xmlns:p='urn:p'><p:x/></body>";

        let body = parse(text).unwrap();

        assert_eq!(body.sid.as_deref(), Some("s"));
        assert!(matches!(body.payload, Err(payload::Error::Xml(_))));
    }

    #[test]
    fn sid_is_read_even_where_the_payload_is_broken() {
        for broken in
            ["<message>", "<a></b>", "<!-- c -->", "<a><?pi?></a>", "&nope;", "<a/></body><body>"]
        {
            let text = format!(
                "<body rid='7' sid='s' xmlns='http://jabber.org/protocol/httpbind'>{broken}</body>"
            );

            let body = parse(&text).unwrap();

            assert_eq!(body.sid.as_deref(), Some("s"), "{broken}");
            assert!(body.payload.is_err(), "{broken}");
        }
    }

    #[test]
    fn what_is_not_a_body_is_refused() {
        assert_eq!(parse(""), Err(Error::NotBody));
        assert_eq!(parse("hello"), Err(Error::NotBody));
        assert_eq!(parse("<body rid='1'/>"), Err(Error::NotBody));
        assert_eq!(
            parse("<b:body rid='1' xmlns:b='http://jabber.org/protocol/httpbind'/>"),
            Err(Error::NotBody)
        );
        assert!(matches!(parse("<?xml version='1.0'?><body/>"), Err(Error::Xml(_))));
        assert!(matches!(parse("<!DOCTYPE body><body/>"), Err(Error::Xml(_))));
    }

    #[test]
    fn rid_that_is_missing_or_no_number_or_too_large_is_refused() {
        let rid = |rid: &str| {
            parse(&format!("<body {rid} xmlns='http://jabber.org/protocol/httpbind'/>")).map(|_| ())
        };

        assert_eq!(rid(""), Err(Error::Rid));
        assert_eq!(rid("rid='-1'"), Err(Error::Attribute("rid")));
        assert_eq!(rid("rid='one'"), Err(Error::Attribute("rid")));
        assert_eq!(rid("rid='9007199254740992'"), Err(Error::Rid));
        assert_eq!(rid("rid='9007199254740991'"), Ok(()));
    }
}
