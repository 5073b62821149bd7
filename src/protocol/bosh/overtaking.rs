//! Whether an answer could be read before an earlier one, so that it must carry nothing (XEP-0124 §14.2).
//!
//! A browser shall read answers in the order of their requests. Strophe and stanza read them as they arrive, over two connections or
//! two streams of one, on which the second may be the faster. So no two answers with stanzas are to be under way at once.
//! A browser has two requests under way at most, and asks for more with nothing to say only where it has none: then it has read all.
//! Who says something may have said it before he has read the last answer. He has read it where his request comes over the
//! connection that it went over, and may not have where it comes over another. Behind a proxy, where that is not known, the clock is
//! asked: he has not where his request comes sooner behind the answer than any that he could have sent after; and perhaps where it
//! comes long behind it, for he would have asked again at once: then the network has stood still. Such a request is answered with
//! nothing if anything is to go out, and what waits goes with the next one, which the browser sends at once.

use std::time::Duration;
use std::time::Instant;

use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::event::Connection;
use crate::protocol::bosh::window::Rid;

/// What is known of the answers that may still be under way.
#[derive(Debug)]
pub(super) struct Overtaking {
    now: Instant,
    /// The last answer.
    last: Option<(Rid, Instant)>,
    /// The last one that carried anything, unless it was surely read.
    unread: Option<Unread>,
    /// How soon the browser's next request comes at the earliest, behind an answer.
    quickest: Option<Duration>,
    /// Until when the request that waits is taken for one that was under way together with that answer.
    doubt: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Unread {
    rid: Rid,
    at: Instant,
    over: Option<Connection>,
}

impl Overtaking {
    /// Nothing is under way.
    pub(super) fn new(now: Instant) -> Self {
        Self { now, last: None, unread: None, quickest: None, doubt: None }
    }

    /// It is this time now.
    pub(super) fn note_time(&mut self, now: Instant) {
        self.now = now;
        if self.doubt.is_some_and(|until| until <= now) {
            self.note_read();
        }
    }

    /// The time that it was told last.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// A request was answered, over this connection if that is known.
    pub(super) fn note_answer(&mut self, rid: Rid, carries: bool, over: Option<Connection>) {
        if self.last.is_none_or(|(last, _)| last < rid) {
            self.last = Some((rid, self.now));
        }
        if carries {
            self.unread = Some(Unread { rid, at: self.now, over });
        }
    }

    /// An answer will not be read, and what it carried waits again.
    pub(super) fn note_taken_back(&mut self, rid: Rid) {
        if self.unread.is_some_and(|unread| unread.rid == rid) {
            self.note_read();
        }
    }

    /// The next request has come, from a browser that mostly is as slow as those that nobody looks at, or is not.
    pub(super) fn note_request(&mut self, body: &Body, is_slow: bool) {
        let before = self.last.filter(|(last, _)| *last == body.rid.before());
        if body.is_poll() {
            if let Some((_, at)) = before {
                self.note_pace(self.now.saturating_duration_since(at));
            }
            return self.note_read();
        }
        let Some(unread) = self.unread else { return };
        let may_be_unread = match body.ack {
            // It says so itself (§9.2).
            Some(got) => got < unread.rid.get(),
            // Nothing arrives before what was written before it over the same connection.
            None if body.over.is_some() && body.over == unread.over => false,
            // Where the request before waits here, none other is under way.
            None if before.is_none() => false,
            None => match (unread.over, body.over) {
                // Who is slow, like a tab that nobody looks at, does not send the next request at once.
                (Some(_), Some(_)) if !is_slow => true,
                // All requests share it.
                (None, Some(over)) if over.is_shared() => false,
                (Some(_) | None, Some(_) | None) => self.is_sooner_or_later(unread.at, is_slow),
            },
        };
        if may_be_unread {
            self.doubt.get_or_insert(self.now + SETTLED);
        } else {
            self.note_read();
        }
    }

    /// Whether the answer that is given now could overtake another one.
    pub(super) fn is_possible(&self) -> bool {
        self.doubt.is_some()
    }

    fn is_sooner_or_later(&self, at: Instant, is_slow: bool) -> bool {
        let since = self.now.saturating_duration_since(at);
        let is_sooner = self.quickest.is_some_and(|quickest| since < quickest);
        is_sooner || since > STILL && !is_slow
    }

    fn note_read(&mut self) {
        self.unread = None;
        self.doubt = None;
    }

    /// A network may have become slower: what was quick is forgotten by and by.
    fn note_pace(&mut self, pace: Duration) {
        if pace < STILL {
            let known = self.quickest.map_or(pace, |quickest| quickest + quickest / 8);
            self.quickest = Some(known.min(pace));
        }
    }
}

/// A browser asks again at once; one that is slower has no timer, or no network.
pub(super) const STILL: Duration = Duration::from_secs(2);
/// An answer that has not arrived by now, while requests do, is not under way.
const SETTLED: Duration = Duration::from_secs(2);
