//! The requests that had their turn: held, answered and kept for repetition, or broken off (XEP-0124 §14.3).

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;

use crate::protocol::bosh::answer::content;
use crate::protocol::bosh::content::Content;
use crate::protocol::bosh::event::Connection;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::window::Rid;

/// What became of a request that had its turn.
#[derive(Debug)]
pub(super) enum Fate {
    /// Its connection is open and waits for the answer.
    Held {
        id: RequestId,
        since: Instant,
    },
    /// Its connection broke before there was an answer; it may be repeated.
    Broken,
    /// It never came, and others went before it; it may still come.
    Skipped,
    Answered {
        id: RequestId,
        answer: Bytes,
    },
}

/// A request that had its turn.
#[derive(Debug)]
struct Request {
    rid: Rid,
    content: Content,
    fate: Fate,
}

/// The last requests in the order of their rids.
#[derive(Debug, Default)]
pub(super) struct Recent {
    requests: VecDeque<Request>,
    /// The second connection of one of them, which gets the same answer.
    companion: Option<(Rid, RequestId)>,
    /// The last one that was repeated, as if nobody had heard its answer.
    contested: Option<Rid>,
    /// The connection over which the last one came that was held.
    over: Option<(Rid, Connection)>,
    released: Option<Released>,
    /// Whether an answer went before its time.
    has_forgotten: bool,
}

/// A poll that came while the request before it was held: no browser asks so that waits for its answers.
#[derive(Debug)]
struct Released {
    rid: Rid,
    at: Instant,
    over: Connection,
}

impl Recent {
    /// What became of this one, as far as it is remembered.
    pub(super) fn fate_mut(&mut self, rid: Rid) -> Option<&mut Fate> {
        self.requests.iter_mut().find(|known| known.rid == rid).map(|known| &mut known.fate)
    }

    /// Whether a request of this rid came before, and brought something else.
    pub(super) fn had_other(&self, rid: Rid, content: Content) -> bool {
        self.requests.iter().any(|known| {
            known.rid == rid
                && !matches!(known.fate, Fate::Skipped)
                && content.is_other_than(known.content)
        })
    }

    /// The answer to this one, as far as it is remembered.
    pub(super) fn answer(&self, rid: Rid) -> Option<&Bytes> {
        self.requests.iter().find(|known| known.rid == rid).and_then(|known| match &known.fate {
            Fate::Answered { answer, .. } => Some(answer),
            Fate::Held { .. } | Fate::Broken | Fate::Skipped => None,
        })
    }

    /// Notes what a request brought whose fate is known.
    pub(super) fn brought(&mut self, rid: Rid, content: Content) {
        if let Some(known) = self.requests.iter_mut().find(|known| known.rid == rid) {
            known.content = content;
        }
    }

    /// Notes what became of a request, in place of what was known.
    pub(super) fn note(&mut self, rid: Rid, fate: Fate) {
        match self.requests.binary_search_by_key(&rid, |known| known.rid) {
            Ok(at) => {
                if let Some(known) = self.requests.get_mut(at) {
                    known.fate = fate;
                }
            }
            Err(at) => {
                if self.requests.capacity() == 0 {
                    // As many as there are for a moment.
                    self.requests.reserve_exact(KEPT + 1);
                }
                self.requests.insert(at, Request { rid, content: Content::default(), fate });
            }
        }
    }

    /// Notes over which connection a request came, if that is known.
    pub(super) fn note_over(&mut self, rid: Rid, over: Option<Connection>) {
        self.over = over.map(|over| (rid, over));
    }

    /// The connection over which this one came, if it was the last and that is known.
    pub(super) fn over(&self, rid: Rid) -> Option<Connection> {
        self.over.filter(|(known, _)| *known == rid).map(|(_, over)| over)
    }

    /// Whether this one is held over the same connection: nothing is broken there, so that nobody repeats it.
    pub(super) fn waits_over(&self, rid: Rid, over: Option<Connection>) -> bool {
        over.is_some_and(Connection::is_shared)
            && self.over(rid) == over
            && self.is_held(rid)
            && !self.is_contested(rid)
    }

    /// Notes that a poll has come while the request before it was held.
    pub(super) fn note_release(&mut self, rid: Rid, over: Option<Connection>, at: Instant) {
        self.released = over.filter(|over| over.is_shared()).map(|over| Released { rid, at, over });
    }

    /// Whether who repeats this one now is the tab that was here before the one that sent it first.
    ///
    /// That one sent it while the request before it was held. The answer to that one went to the tab that was here, which asks
    /// again at once, with this rid, over the same connection, over which one tab alone would not repeat itself.
    pub(super) fn is_from_before(&self, rid: Rid, over: Option<Connection>, now: Instant) -> bool {
        let is_answered = |rid| {
            let answered = |known: &Request| matches!(known.fate, Fate::Answered { .. });
            self.requests.iter().any(|known| known.rid == rid && answered(known))
        };
        let is_at_once = |released: &Released| {
            released.rid == rid
                && Some(released.over) == over
                && now.saturating_duration_since(released.at) < AT_ONCE
        };
        self.released.as_ref().is_some_and(is_at_once)
            && !self.is_contested(rid)
            && is_answered(rid.before())
            && (self.is_held(rid) || is_answered(rid))
    }

    /// Whether none has had its turn yet.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether this one is held.
    pub(super) fn is_held(&self, rid: Rid) -> bool {
        self.requests
            .iter()
            .any(|known| known.rid == rid && matches!(known.fate, Fate::Held { .. }))
    }

    /// Those behind this one were another tab's: they are expected anew. The connections that wait for them are handed back.
    pub(super) fn disown_after(&mut self, rid: Rid) -> Vec<RequestId> {
        let mut waiting = Vec::new();
        for later in self.requests.iter_mut().filter(|known| known.rid > rid) {
            later.content = Content::default();
            if let Fate::Held { id, .. } = later.fate {
                later.fate = Fate::Skipped;
                waiting.push(id);
            }
        }
        self.released = None;
        self.contested = Some(rid);
        waiting
    }

    /// Whether this one, or the one before it, was repeated: two tabs may share the session.
    pub(super) fn is_contested(&self, rid: Rid) -> bool {
        self.contested.is_some_and(|before| before == rid || before.next() == rid)
    }

    /// Whether this one has come and brought nothing.
    pub(super) fn brought_nothing(&self, rid: Rid) -> bool {
        self.requests.iter().any(|known| {
            known.rid == rid
                && !matches!(known.fate, Fate::Skipped)
                && known.content == Content::default()
        })
    }

    /// How many are held.
    pub(super) fn held(&self) -> usize {
        self.requests.iter().filter(|known| matches!(known.fate, Fate::Held { .. })).count()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The held one that is to be answered first.
    pub(super) fn oldest_held(&self) -> Option<(Rid, RequestId, Instant)> {
        self.requests.iter().find_map(|known| match known.fate {
            Fate::Held { id, since } => Some((known.rid, id, since)),
            Fate::Broken | Fate::Skipped | Fate::Answered { .. } => None,
        })
    }

    /// Whether a later request was answered.
    pub(super) fn has_answered_after(&self, rid: Rid) -> bool {
        self.requests
            .iter()
            .any(|known| known.rid > rid && matches!(known.fate, Fate::Answered { .. }))
    }

    /// The second connection of this request, if it has one.
    pub(super) fn companion(&self, rid: Rid) -> Option<RequestId> {
        self.companion.filter(|(shared, _)| *shared == rid).map(|(_, id)| id)
    }

    /// This request is held anew, by one connection.
    pub(super) fn forget_companion(&mut self, rid: Rid) {
        self.companion.take_if(|(shared, _)| *shared == rid);
    }

    /// Notes that a request was repeated; whether it was before, or the one before it.
    pub(super) fn contest(&mut self, rid: Rid) -> bool {
        let is_contested = self.is_contested(rid);
        self.contested = Some(rid);
        is_contested
    }

    /// A connection waits for the answer to a held request beside another one; who has to make room for it is handed back.
    pub(super) fn share(&mut self, rid: Rid, id: RequestId) -> Option<RequestId> {
        let (before, companion) = self.companion.replace((rid, id))?;
        matches!(self.fate_mut(before), Some(Fate::Held { .. })).then_some(companion)
    }

    /// The first, beside this one, that never came and was done without.
    pub(super) fn first_skipped_beside(&self, rid: Rid) -> Option<Rid> {
        let others = self.requests.iter().filter(|known| known.rid != rid);
        let mut skipped = others.filter(|known| matches!(known.fate, Fate::Skipped));
        skipped.next().map(|known| known.rid)
    }

    /// Whether this one was answered, and with nothing.
    pub(super) fn has_answered_with_nothing(&self, rid: Rid) -> bool {
        self.requests.iter().any(|known| {
            let Fate::Answered { answer, .. } = &known.fate else { return false };
            known.rid == rid && content(answer).is_some_and(<[u8]>::is_empty)
        })
    }

    /// The connection of a request broke.
    ///
    /// Handed back is the answer that was given into it, where no later request was answered:
    /// a browser that goes on without repeating the request, as a page does that was reloaded, gets it all the same.
    /// An answer whose content alone is not enough is kept for the repetition.
    pub(super) fn break_off(&mut self, broken: RequestId) -> Option<(Rid, Bytes)> {
        if self.leaves_companion(broken) {
            return None;
        }
        let answered_later = self
            .requests
            .iter()
            .rev()
            .map(|known| &known.fate)
            .find(|fate| matches!(fate, Fate::Answered { .. }))
            .is_some_and(|fate| !matches!(fate, Fate::Answered { id, .. } if *id == broken));
        let mut fates = self.requests.iter_mut().map(|known| (known.rid, &mut known.fate));
        let (rid, fate) = fates.find(|(_, fate)| match fate {
            Fate::Held { id, .. } | Fate::Answered { id, .. } => *id == broken,
            Fate::Broken | Fate::Skipped => false,
        })?;
        match std::mem::replace(fate, Fate::Broken) {
            Fate::Answered { id, answer } if answered_later || content(&answer).is_none() => {
                *fate = Fate::Answered { id, answer };
                None
            }
            Fate::Answered { answer, .. } => Some((rid, answer)),
            Fate::Held { .. } | Fate::Broken | Fate::Skipped => None,
        }
    }

    /// Whether the broken connection was one of two, of which the other one has what this one had.
    fn leaves_companion(&mut self, broken: RequestId) -> bool {
        let Some((rid, companion)) = self.companion else { return false };
        if companion != broken {
            match self.fate_mut(rid) {
                Some(Fate::Held { id, .. } | Fate::Answered { id, .. }) if *id == broken => {
                    *id = companion;
                }
                Some(_) | None => return false,
            }
        }
        self.companion = None;
        true
    }

    /// Whether an answer was forgotten for its size since this was last asked.
    pub(super) fn has_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.has_forgotten)
    }

    /// Forgets what no browser asks for again: all but the last ones, and of their answers all but so many bytes.
    pub(super) fn forget(&mut self, limit: u64) {
        while self.requests.len() > KEPT
            && !matches!(self.requests.front(), Some(Request { fate: Fate::Held { .. }, .. }))
        {
            self.requests.pop_front();
        }
        let mut answers = 0_usize;
        let mut bytes = 0_u64;
        let forgotten = self.requests.iter().rposition(|known| {
            let Fate::Answered { answer, .. } = &known.fate else { return false };
            answers += 1;
            if answers > IN_FLIGHT {
                bytes = bytes.saturating_add(answer.len() as u64);
            }
            bytes > limit
        });
        if let Some(last) = forgotten {
            self.has_forgotten = true;
            self.requests.retain({
                let mut at = 0;
                move |known| {
                    at += 1;
                    at > last + 1 || matches!(known.fate, Fate::Held { .. })
                }
            });
        }
    }
}

/// A tab that is answered asks again within a tenth of a second, or within one where nobody looks at it.
const AT_ONCE: Duration = Duration::from_millis(1500);
// As many as the window is wide: no browser has more under way.
const KEPT: usize = 5;
// We say `requests='2'`: a browser that sends its next request has read all answers but these.
const IN_FLIGHT: usize = 2;
