//! Writing what a browser gets: the `<body/>` of an answer (XEP-0124 §8, XEP-0206 §3).

use std::time::Duration;

use bytes::Bytes;

use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::body::Version;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::settings::Settings;
use crate::protocol::xml::element::escape;

/// How a body that carries something begins: the prefix that `<stream:features/>` needs is declared.
pub(super) const OPEN: &[u8] =
    b"<body xmlns='http://jabber.org/protocol/httpbind' xmlns:stream='http://etherx.jabber.org/streams'>";
/// How it ends.
pub(super) const CLOSE: &[u8] = b"</body>";
/// A body that carries nothing.
pub(super) const EMPTY: Bytes =
    Bytes::from_static(b"<body xmlns='http://jabber.org/protocol/httpbind'/>");

/// The body that ends a session, or says that there is none.
#[must_use]
pub fn terminate(condition: Option<Condition>) -> Bytes {
    ending(condition, &[])
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
    if answer == EMPTY {
        return Some(&[]);
    }
    answer.strip_prefix(OPEN)?.strip_suffix(CLOSE)
}

/// What browser and session agreed on when the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Longest time a request is held.
    pub wait: Duration,
    /// How many requests are held at once: one, or none for a browser that polls.
    pub hold: usize,
}

impl Terms {
    /// The terms of a session whose browser has not been asked.
    #[must_use]
    pub fn prebound(settings: &Settings) -> Self {
        Self { wait: settings.wait, hold: HOLD }
    }

    /// What becomes of the wishes in a browser's first request.
    #[must_use]
    pub fn agree(settings: &Settings, wishes: &Body) -> Self {
        Self {
            wait: wishes.wait.map_or(settings.wait, |wait| wait.min(settings.wait)),
            hold: wishes.hold.map_or(HOLD, |hold| usize::from(hold).min(HOLD)),
        }
    }
}

// One held request is enough, and every further one is a connection more (XEP-0124 §7.2 recommends one).
const HOLD: usize = 1;

/// The start tag of the first answer to a browser that begins a session itself (XEP-0124 §7.2, XEP-0206 §3).
pub(super) fn creation(
    sid: &str,
    domain: &str,
    terms: Terms,
    settings: &Settings,
    version: Version,
) -> Vec<u8> {
    let mut tag = b"<body xmlns='http://jabber.org/protocol/httpbind'".to_vec();
    tag.extend_from_slice(
        b" xmlns:xmpp='urn:xmpp:xbosh' xmlns:stream='http://etherx.jabber.org/streams'",
    );
    attribute(&mut tag, "sid", sid);
    attribute(&mut tag, "from", domain);
    attribute(&mut tag, "wait", &terms.wait.as_secs().to_string());
    attribute(&mut tag, "hold", &terms.hold.to_string());
    attribute(&mut tag, "requests", &(terms.hold + 1).to_string());
    attribute(&mut tag, "inactivity", &settings.inactivity.as_secs().to_string());
    attribute(&mut tag, "maxpause", &settings.pause.as_secs().to_string());
    attribute(&mut tag, "ver", &version.min(Version::OURS).to_string());
    tag.extend_from_slice(b" secure='true' xmpp:version='1.0' xmpp:restartlogic='true'>");
    tag
}

fn attribute(tag: &mut Vec<u8>, name: &str, value: &str) {
    tag.push(b' ');
    tag.extend_from_slice(name.as_bytes());
    tag.extend_from_slice(b"='");
    escape(value, tag);
    tag.push(b'\'');
}
