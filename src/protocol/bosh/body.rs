//! Reading what a browser posts: the `<body/>` of a request and the elements in it (XEP-0124 §7, §8).

use std::time::Duration;

use thiserror::Error;

use crate::protocol::bosh::event::Connection;
use crate::protocol::bosh::head::Head;
use crate::protocol::bosh::keys::Key;
use crate::protocol::bosh::keys::Keys;
use crate::protocol::bosh::payload;
use crate::protocol::bosh::payload::Payload;
use crate::protocol::bosh::prolog;
use crate::protocol::bosh::window::Rid;
use crate::protocol::bosh::wishes::Wishes;
use crate::protocol::bosh::wishes::number;
use crate::protocol::xml::check;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Its number.
    pub rid: Rid,
    /// The session it belongs to; none asks for a new one.
    pub sid: Option<String>,
    /// What it wishes for the session that it begins; none where it belongs to one.
    pub wishes: Option<Box<Wishes>>,
    /// The last rid up to which the browser has got all answers, where it says so (XEP-0124 §9.2).
    pub ack: Option<u64>,
    /// The keys that it shows, if any; in a box, because hardly a browser has them.
    pub keys: Option<Box<Keys>>,
    /// How long the browser will be away.
    pub pause: Option<Duration>,
    /// What is asked beside the payload.
    pub kind: Kind,
    /// The connection that it came over, where that is the browser's own; [`parse`](Self::parse) does not know.
    pub over: Option<Connection>,
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
        let text = prolog::skip(text);
        let head = Head::parse(text, *limits)?;
        let Said { rid, sid, ack, keys, pause, kind } = Said::read(head)?;
        let wishes = sid.is_none().then(|| Wishes::read(head)).transpose()?;
        Ok(Self {
            rid,
            sid: sid.map(str::to_owned),
            wishes: wishes.map(Box::new),
            ack,
            keys: keys.map(Box::new),
            pause,
            kind,
            over: None,
            payload: Payload::parse(text, head.end, limits),
        })
    }

    /// Whether it begins a session of a browser that knows no versions of BOSH (XEP-0124 §17.1).
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.wishes.as_ref().is_some_and(|wishes| wishes.version.is_none())
    }

    /// Whether it asks for nothing but an answer: a poll (XEP-0124 §11, §12).
    #[must_use]
    pub fn is_poll(&self) -> bool {
        self.kind == Kind::Ordinary
            && self.pause.is_none()
            && self.payload.as_ref().is_ok_and(Payload::is_empty)
    }
}

/// What the start tag of any request says.
struct Said<'a> {
    rid: Rid,
    sid: Option<&'a str>,
    ack: Option<u64>,
    keys: Option<Keys>,
    pause: Option<Duration>,
    kind: Kind,
}

impl<'a> Said<'a> {
    /// Reads it in one pass over the attributes.
    ///
    /// What is not known is ignored, `to` and `stream` among it: where there are not several streams, such a request is an
    /// ordinary one (XEP-0124 §16.3).
    fn read(head: Head<'a>) -> Result<Self, Error> {
        let (mut rid, mut sid, mut ack, mut pause) = (None, None, None, None);
        let mut keys: Option<Keys> = None;
        let (mut terminates, mut restarts) = (false, false);
        for (name, value) in head.attributes() {
            match name {
                "rid" => rid = Rid::new(number("rid", value)?),
                "sid" => sid = Some(value),
                "ack" => ack = Some(number("ack", value)?),
                // What is no key is as good as none.
                "key" => keys.get_or_insert_default().key = Key::read(value.trim()),
                "newkey" => {
                    let new = Key::read(value.trim()).ok_or(Error::Attribute("newkey"))?;
                    keys.get_or_insert_default().new = Some(new);
                }
                "pause" => pause = Some(Duration::from_secs(number("pause", value)?)),
                "type" => terminates = value == "terminate",
                _ => {
                    restarts |= matches!(value, "true" | "1") && head.is_of_xbosh(name, "restart");
                }
            }
        }
        let kind = match (terminates, restarts) {
            (true, _) => Kind::Terminate,
            (false, true) => Kind::Restart,
            (false, false) => Kind::Ordinary,
        };
        Ok(Self { rid: rid.ok_or(Error::Rid)?, sid, ack, keys, pause, kind })
    }
}

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
        let wishes = body.wishes.unwrap();
        assert_eq!(wishes.wait, Some(Duration::from_secs(59)));
        assert_eq!(wishes.hold, Some(1));
        assert_eq!(wishes.version.unwrap().to_string(), "1.6");
        assert_eq!(wishes.content, None);
        assert_eq!(wishes.route, None);
        assert!(!wishes.acknowledges);
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

    // XEP-0124 §6: a body conforms to XML 1.0, and its *content* holds no processing instruction.
    #[test]
    fn body_of_a_document_that_was_written_out_whole_is_read() {
        let tag = "<body rid='7' sid='s' xmlns='http://jabber.org/protocol/httpbind'";
        let declared = "<?xml version='1.0' encoding='UTF-8'?>";

        let body = parse(&format!("{declared}\n{tag}><message/></body>\n")).unwrap();

        assert_eq!(body.payload.unwrap().len(), 1);
        let inside = parse(&format!("{tag}>{declared}<message/></body>")).unwrap();
        assert!(inside.payload.is_err());
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
        assert!(matches!(parse("<?pi?><body/>"), Err(Error::Xml(_))));
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
