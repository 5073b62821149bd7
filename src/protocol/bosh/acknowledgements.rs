//! Who has got what: requests are acknowledged to the browser, and answers that it misses are reported (XEP-0124 §9).

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;

use crate::protocol::bosh::window::Rid;

/// What a session keeps whose browser says which answers it has got.
#[derive(Debug)]
pub(super) struct Acknowledgements {
    /// The request that began the session, whose answer says so of itself.
    first: Rid,
    /// When the last answers were given.
    given: VecDeque<(Rid, Instant)>,
    /// The answer that the browser misses, and for how long.
    report: Option<(Rid, Duration)>,
    now: Instant,
}

impl Acknowledgements {
    /// Those of a session that this request begins.
    pub(super) fn new(first: Rid, now: Instant) -> Self {
        Self { first, given: VecDeque::new(), report: None, now }
    }

    /// It is this time now.
    pub(super) fn note_time(&mut self, now: Instant) {
        self.now = now;
    }

    /// A request says up to which rid its browser has all answers.
    ///
    /// One that was given a moment ago may still be under way; one that was given long before the request is missing.
    pub(super) fn note_got(&mut self, got: u64) {
        let missing = Rid::new(got).map(Rid::next);
        let Some((rid, at)) = self.given.iter().find(|(rid, _)| Some(*rid) == missing) else {
            return;
        };
        let since = self.now.saturating_duration_since(*at);
        if since >= UNDER_WAY {
            self.report = Some((*rid, since));
        }
    }

    /// Whether the browser is to be told at once, not with the next stanza.
    pub(super) fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// Puts into an answer what its browser is to know; `received` is the last rid up to which all requests are here.
    pub(super) fn mark(&mut self, answer: &Bytes, to: Rid, received: Rid) -> Bytes {
        let mut attributes = String::new();
        // "SHOULD NOT include an 'ack' attribute in any response if the value would be the 'rid' of the request being
        // responded to" (§9.1).
        if received != to && to != self.first {
            let _ = write!(attributes, " ack='{received}'");
        }
        if let Some((rid, since)) = self.report.take() {
            let _ = write!(attributes, " report='{rid}' time='{}'", since.as_millis());
        }
        let Some(rest) = answer.strip_prefix(TAG).filter(|_| !attributes.is_empty()) else {
            return answer.clone();
        };
        [TAG, attributes.as_bytes(), rest].concat().into()
    }

    /// An answer was given.
    pub(super) fn note_given(&mut self, rid: Rid) {
        self.given.retain(|(known, _)| *known != rid);
        self.given.push_back((rid, self.now));
        while self.given.len() > KEPT {
            self.given.pop_front();
        }
    }
}

/// An answer without what was put into it.
pub(super) fn unmarked(answer: &[u8]) -> Option<&[u8]> {
    let rest = answer.strip_prefix(TAG)?;
    rest.get(memchr::memmem::find(rest, b" xmlns=")?..)
}

/// What all answers begin with.
pub(super) const TAG: &[u8] = b"<body";
/// More than an answer takes to arrive where nothing is wrong.
const UNDER_WAY: Duration = Duration::from_secs(1);
const KEPT: usize = 5;
