//! Writing what a browser gets: the `<body/>` of an answer (XEP-0124 §8, XEP-0206 §3).

use bytes::Bytes;

use crate::protocol::bosh::acknowledgements::TAG;
use crate::protocol::bosh::acknowledgements::unmarked;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::event::Opening;
use crate::protocol::bosh::payload::tag_end;
use crate::protocol::bosh::terms::Terms;
use crate::protocol::bosh::window::Rid;
use crate::protocol::bosh::wishes::Version;
use crate::protocol::bosh::wishes::Wishes;
use crate::protocol::stream_error::StreamError;
use crate::protocol::xml::element::escape;

/// How a body that carries something begins: the prefix that `<stream:features/>` needs is declared.
pub(super) const OPEN: &[u8] =
    b"<body xmlns='http://jabber.org/protocol/httpbind' xmlns:stream='http://etherx.jabber.org/streams'>";
/// How it ends.
pub(super) const CLOSE: &[u8] = b"</body>";
/// A body that carries nothing.
pub(super) const EMPTY: Bytes =
    Bytes::from_static(b"<body xmlns='http://jabber.org/protocol/httpbind'/>");

/// A body that answers a request whose repetition has taken its place: the session goes on (XEP-0124 §14.3, §17.3).
pub(super) const REPEATED: Bytes =
    Bytes::from_static(b"<body xmlns='http://jabber.org/protocol/httpbind' type='error'/>");

/// The body that ends a session, or says that there is none.
#[must_use]
pub fn terminate(condition: Option<Condition>) -> Bytes {
    ending(condition, &[])
}

/// The body that says why there is no stream to be had (XEP-0206 §6).
#[must_use]
pub fn stream_error(error: StreamError) -> Bytes {
    ending(Some(Condition::RemoteStreamError), error.to_xml().as_bytes())
}

/// The body that ends a session, with what the browser has still to get.
pub(super) fn ending(condition: Option<Condition>, content: &[u8]) -> Bytes {
    let mut body = b"<body xmlns='http://jabber.org/protocol/httpbind'".to_vec();
    body.extend_from_slice(b" xmlns:stream='http://etherx.jabber.org/streams' type='terminate'");
    if let Some(condition) = condition {
        body.extend_from_slice(b" condition='");
        body.extend_from_slice(condition.as_str().as_bytes());
        body.push(b'\'');
    }
    if content.is_empty() {
        body.extend_from_slice(b"/>");
    } else {
        body.push(b'>');
        body.extend_from_slice(content);
        body.extend_from_slice(CLOSE);
    }
    body.into()
}

/// What an answer carries, where that may as well be carried by another.
///
/// None for the first and the last of a session: their start tags say something of their own.
pub(super) fn content(answer: &[u8]) -> Option<&[u8]> {
    let answer = unmarked(answer)?;
    if EMPTY.strip_prefix(TAG) == Some(answer) {
        return Some(&[]);
    }
    answer.strip_prefix(OPEN.strip_prefix(TAG)?)?.strip_suffix(CLOSE)
}

/// The elements in an answer of any kind.
pub(super) fn elements(answer: &[u8]) -> &[u8] {
    let content = tag_end(answer, 0).and_then(|end| answer.get(end..)).unwrap_or_default();
    content.strip_suffix(CLOSE).unwrap_or_default()
}

/// The start tag of the first answer to a browser that begins a session itself (XEP-0124 §7.2, XEP-0206 §4).
///
/// There is no `accept` and no `charsets`, because requests are read as they are and in UTF-8, and no `stream`, because there
/// is one stream (XEP-0124 §16.2). There is no `secure`, which said more than it kept and is gone since version 1.8.
pub(super) fn creation(opening: &Opening<'_>, terms: &Terms, wishes: &Wishes, rid: Rid) -> Vec<u8> {
    let mut tag = b"<body xmlns='http://jabber.org/protocol/httpbind'".to_vec();
    tag.extend_from_slice(
        b" xmlns:xmpp='urn:xmpp:xbosh' xmlns:stream='http://etherx.jabber.org/streams'",
    );
    attribute(&mut tag, "sid", opening.sid);
    // Nobody needs a stream's id: the digest that was made with it (XEP-0078) is offered nowhere.
    attribute(&mut tag, "authid", opening.sid);
    attribute(&mut tag, "from", opening.domain);
    attribute(&mut tag, "wait", &terms.wait.as_secs().to_string());
    attribute(&mut tag, "hold", &terms.hold.to_string());
    attribute(&mut tag, "requests", &terms.requests.to_string());
    if let Some(polling) = terms.polling {
        attribute(&mut tag, "polling", &polling.as_secs().to_string());
    }
    attribute(&mut tag, "inactivity", &terms.inactivity.as_secs().to_string());
    attribute(&mut tag, "maxpause", &terms.pause.as_secs().to_string());
    let version = wishes.version.map_or(Version::OURS, |version| version.min(Version::OURS));
    attribute(&mut tag, "ver", &version.to_string());
    if wishes.acknowledges {
        attribute(&mut tag, "ack", &rid.to_string());
    }
    tag.extend_from_slice(b" xmpp:version='1.0' xmpp:restartlogic='true'>");
    tag
}

fn attribute(tag: &mut Vec<u8>, name: &str, value: &str) {
    tag.push(b' ');
    tag.extend_from_slice(name.as_bytes());
    tag.extend_from_slice(b"='");
    escape(value, tag);
    tag.push(b'\'');
}
