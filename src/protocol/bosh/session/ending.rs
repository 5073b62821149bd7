//! How a session ends: what its browser still gets, what it is given back, and the last word (XEP-0124 §13, §17).
//!
//! Strophe and stanza read nothing that stands in the body that ends a session. So what waits for the browser goes out before
//! that, where it can be waited for, in an answer of its own.

use std::time::Instant;

use crate::protocol::bosh::answer;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::farewell::Farewell;
use crate::protocol::bosh::farewell::Word;
use crate::protocol::bosh::inbox::Inbox;
use crate::protocol::bosh::session::Early;
use crate::protocol::bosh::session::Phase;
use crate::protocol::bosh::session::Session;
use crate::protocol::bosh::settings::bytes;
use crate::protocol::bosh::window::Place;
use crate::protocol::bounce;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;

impl Session {
    /// Ends the session for a request that is not taken in.
    pub(super) fn end_for(&mut self, id: RequestId, why: End, now: Instant) {
        if let Some(condition) = why.condition() {
            self.tell(id, condition);
        }
        self.end_by(Some(id), why, now);
    }

    /// Tells one request that it is over.
    pub(super) fn tell(&mut self, id: RequestId, condition: Condition) {
        let word = Word::last(condition, &[], self.terms.is_legacy);
        self.outbox.push_back(word.to(id));
    }

    pub(super) fn end(&mut self, why: End, now: Instant) {
        self.end_by(None, why, now);
    }

    /// Ends the session, for the fault of a request if there is one.
    pub(super) fn end_by(&mut self, culprit: Option<RequestId>, why: End, now: Instant) {
        if let Phase::Ending { until, .. } = &mut self.phase
            && !why.awaits_browser()
        {
            // The first cause stays the cause, but nobody is waited for any more.
            *until = None;
        }
        if !self.is_live() {
            return;
        }
        if matches!(self.phase, Phase::Login { .. }) {
            self.inbox = Inbox::default();
        }
        for (rid, Early { id, .. }) in self.window.clear() {
            self.note_held(rid, id, now);
        }
        let is_awaited = self.recent.held() == 0 || !self.queue.is_empty();
        let until = (why.awaits_browser() && is_awaited).then(|| now + self.terms.inactivity);
        self.phase = Phase::Ending { farewell: Farewell::new(why, culprit, &self.settings), until };
    }

    /// A request that comes while the session ends: it gets what waits, or the last word.
    pub(super) fn late(&mut self, id: RequestId, body: Body, now: Instant) {
        let rid = body.rid;
        if self.window.place(rid) == Place::Next {
            self.window.advance();
            self.delivery.goes_on(&body, false);
            self.return_payload(body);
        }
        if let Phase::Ending { until, .. } = &mut self.phase {
            // Who has something to fetch comes again for the last word.
            let rest = (!self.queue.is_empty()).then(|| now + self.terms.inactivity);
            *until = until.and(rest);
        }
        self.note_held(rid, Some(id), now);
    }

    /// What comes behind the end goes nowhere, and who has said it learns of it; but a browser that says something again and
    /// again would never hear the last word.
    fn return_payload(&mut self, body: Body) {
        let (Ok(payload), Phase::Ending { farewell, until: Some(_), .. }) =
            (body.payload, &mut self.phase)
        else {
            return;
        };
        if !payload.is_empty() && !std::mem::replace(&mut farewell.has_returned, true) {
            self.give_back(&payload.into_bytes());
        }
    }

    /// Writes errors for what the browser has said in vain, behind all that waits for it (RFC 6120 §8.3).
    pub(super) fn give_back(&mut self, elements: &[u8]) {
        let mut errors = Vec::new();
        bounce::write_back(elements, &mut errors);
        let mut splitter = Splitter::new(usize::MAX);
        let (mut header, mut rest): (&[u8], &[u8]) = (b"<stream>", &errors);
        if splitter.next(&mut header).is_err() {
            return;
        }
        while let Ok(Some(Piece::Stanza(error))) = splitter.next(&mut rest) {
            self.queue.push_stanza(&error, bytes(self.settings.answer));
        }
    }

    pub(super) fn word(&mut self, id: RequestId) -> Word {
        match &mut self.phase {
            Phase::Ending { farewell, until } if until.is_none() || self.queue.is_empty() => {
                *until = None;
                farewell.say(id, self.queue.take_content(), self.terms.is_legacy)
            }
            Phase::Login { .. } | Phase::Relay if self.overtaking.is_possible() => {
                Word::Body(answer::EMPTY)
            }
            Phase::Login { .. } | Phase::Relay | Phase::Ending { .. } | Phase::Over => {
                Word::Body(self.queue.take_body())
            }
        }
    }
}
