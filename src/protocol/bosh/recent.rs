//! The requests that had their turn: held, answered and kept for repetition, or broken off (XEP-0124 §14.3).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::protocol::bosh::answer::content;
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

/// The last requests in the order of their rids.
#[derive(Debug, Default)]
pub(super) struct Recent {
    requests: VecDeque<(Rid, Fate)>,
}

impl Recent {
    /// What became of this one, as far as it is remembered.
    pub(super) fn fate_mut(&mut self, rid: Rid) -> Option<&mut Fate> {
        self.requests.iter_mut().find(|(known, _)| *known == rid).map(|(_, fate)| fate)
    }

    /// Notes what became of a request, in place of what was known.
    pub(super) fn note(&mut self, rid: Rid, fate: Fate) {
        match self.requests.binary_search_by_key(&rid, |(rid, _)| *rid) {
            Ok(at) => {
                if let Some((_, known)) = self.requests.get_mut(at) {
                    *known = fate;
                }
            }
            Err(at) => self.requests.insert(at, (rid, fate)),
        }
    }

    /// How many are held.
    pub(super) fn held(&self) -> usize {
        self.requests.iter().filter(|(_, fate)| matches!(fate, Fate::Held { .. })).count()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The held one that is to be answered first.
    pub(super) fn oldest_held(&self) -> Option<(Rid, RequestId, Instant)> {
        self.requests.iter().find_map(|(rid, fate)| match fate {
            Fate::Held { id, since } => Some((*rid, *id, *since)),
            Fate::Broken | Fate::Skipped | Fate::Answered { .. } => None,
        })
    }

    /// Whether a later request was answered.
    pub(super) fn has_answered_after(&self, rid: Rid) -> bool {
        self.requests
            .iter()
            .any(|(known, fate)| *known > rid && matches!(fate, Fate::Answered { .. }))
    }

    /// The connection of a request broke.
    ///
    /// Handed back is the answer that was given into it, where no later request was answered:
    /// a browser that goes on without repeating the request, as a page does that was reloaded, gets it all the same.
    /// An answer whose content alone is not enough is kept for the repetition.
    pub(super) fn break_off(&mut self, broken: RequestId) -> Option<Bytes> {
        let answered_later = self
            .requests
            .iter()
            .rev()
            .find(|(_, fate)| matches!(fate, Fate::Answered { .. }))
            .is_some_and(|(_, fate)| !matches!(fate, Fate::Answered { id, .. } if *id == broken));
        let (_, fate) = self.requests.iter_mut().find(|(_, fate)| match fate {
            Fate::Held { id, .. } | Fate::Answered { id, .. } => *id == broken,
            Fate::Broken | Fate::Skipped => false,
        })?;
        match std::mem::replace(fate, Fate::Broken) {
            Fate::Answered { id, answer } if answered_later || content(&answer).is_none() => {
                *fate = Fate::Answered { id, answer };
                None
            }
            Fate::Answered { answer, .. } => Some(answer),
            Fate::Held { .. } | Fate::Broken | Fate::Skipped => None,
        }
    }

    /// Forgets what no browser asks for again: all but the last ones, and of their answers all but so many bytes.
    pub(super) fn forget(&mut self, limit: u64) {
        while self.requests.len() > KEPT
            && !matches!(self.requests.front(), Some((_, Fate::Held { .. })))
        {
            self.requests.pop_front();
        }
        let mut answers = 0_usize;
        let mut bytes = 0_u64;
        let forgotten = self.requests.iter().rposition(|(_, fate)| {
            let Fate::Answered { answer, .. } = fate else { return false };
            answers += 1;
            if answers > IN_FLIGHT {
                bytes = bytes.saturating_add(answer.len() as u64);
            }
            bytes > limit
        });
        if let Some(last) = forgotten {
            self.requests.retain({
                let mut at = 0;
                move |(_, fate)| {
                    at += 1;
                    at > last + 1 || matches!(fate, Fate::Held { .. })
                }
            });
        }
    }
}

// As many as the window is wide: no browser has more under way.
const KEPT: usize = 5;
// We say `requests='2'`: a browser that sends its next request has read all answers but these.
const IN_FLIGHT: usize = 2;
