//! A rid that comes again: the same tab repeats itself, or another one has copied it (XEP-0124 §14.3).
//!
//! A browser that duplicates a tab copies its `sessionStorage`, and both tabs go on with the same sid and the same rid. What
//! tells them apart is what they bring. A retry is an exact copy, and a page that was reloaded asks for what is there with an
//! empty body: both are the same tab, and get the same answer. Who brings something else is another tab, and is told that
//! there is no such session: Strophe then begins one of its own, and the first tab's goes on.
//!
//! Over HTTP/2 all tabs of a browser share one connection, and over one that is whole nobody repeats what waits there. So who
//! does is a copy, and is told. Most copies come with the rid behind it, while the first tab's request is held, which is
//! answered because of that. The first tab then asks again at once, under the rid that the copy has used: so it shows who was
//! here before, and the copy is told to begin anew.
//!
//! Two tabs that come under one rid otherwise, with nothing to say, are not told apart: each repeats the rid that the other one has
//! just used, takes its place, and would so have it ask again, for ever and at once. Where a rid is repeated twice, or the next
//! one too, the connection before it waits on, and both get the same answer: two tabs then hear the same, and what one of them says
//! under a rid that the other has only asked under goes with it, until both say something under one rid.

use std::time::Instant;

use crate::protocol::bosh::answer;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::body::Kind;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::content::Content;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::farewell::Word;
use crate::protocol::bosh::payload::Payload;
use crate::protocol::bosh::recent::Fate;
use crate::protocol::bosh::session::Early;
use crate::protocol::bosh::session::Session;
use crate::protocol::bosh::window::Rid;

impl Session {
    /// A rid that had its turn.
    pub(super) fn repeated(&mut self, id: RequestId, body: Body, now: Instant) {
        let rid = body.rid;
        if !self.shows_key(rid, body.keys.as_deref()) {
            return self.end_for(id, End::WrongKey, now);
        }
        let is_other = self.recent.had_other(rid, Content::of(&body));
        if self.recent.is_from_before(rid, body.over, now) {
            return self.oust(id, body, now, is_other);
        }
        if is_other || self.recent.waits_over(rid, body.over) {
            let is_beside = self.recent.is_contested(rid) && self.recent.brought_nothing(rid);
            // Nor does one of two tabs end the session of both, or have it pause.
            if !is_beside || body.kind != Kind::Ordinary || body.pause.is_some() {
                return self.turn_away(id);
            }
            self.repeat(id, rid, now);
            return self.take_in(Some(id), body, now);
        }
        if matches!(self.recent.fate_mut(rid), Some(Fate::Skipped)) {
            return self.process(rid, Some(id), body, now);
        }
        if self.recent.answer(rid).is_none() {
            self.recent.note_over(rid, body.over);
        }
        self.repeat(id, rid, now);
    }

    /// The tab that was here first comes under a rid that a copy of it has used: that is told to begin anew, as soon as it waits
    /// for something.
    fn oust(&mut self, id: RequestId, body: Body, now: Instant, is_other: bool) {
        let rid = body.rid;
        for newcomer in self.recent.disown_after(rid) {
            self.turn_away(newcomer);
        }
        match self.recent.fate_mut(rid) {
            Some(Fate::Held { id: held, .. }) => {
                let newcomer = std::mem::replace(held, id);
                self.turn_away(newcomer);
            }
            Some(Fate::Answered { answer, .. }) => {
                let answer = answer.clone();
                self.outbox.push_back(Action::Answer(id, answer));
            }
            Some(Fate::Broken | Fate::Skipped) | None => self.turn_away(id),
        }
        if is_other {
            self.take_in(Some(id), body, now);
        }
    }

    /// A request that has come before, and is still held or was answered.
    pub(super) fn repeat(&mut self, id: RequestId, rid: Rid, now: Instant) {
        let is_shared = self.recent.contest(rid);
        match self.recent.fate_mut(rid) {
            // The answer stays that of the first connection: from there it may have been read, so that a breaking
            // connection of a repetition must not bring it back.
            Some(Fate::Answered { answer, .. }) => {
                let answer = answer.clone();
                self.outbox.push_back(Action::Answer(id, answer));
            }
            Some(Fate::Held { id: old, .. }) => {
                let old = std::mem::replace(old, id);
                self.hold_in_place_of(old, rid, is_shared);
            }
            Some(Fate::Broken | Fate::Skipped) => self.note_held(rid, Some(id), now),
            // It may be a tab that was copied long ago and has slept since: the session is not its.
            None => self.turn_away(id),
        }
    }

    /// A rid before whose turn others come, for the first time or again.
    pub(super) fn early(&mut self, id: RequestId, body: Body, now: Instant) {
        let rid = body.rid;
        let Some(waiting) = self.window.waiting_mut(rid) else {
            let was_given_up = self.is_given_up();
            self.window.keep(rid, Early { id: Some(id), body }, now);
            if !was_given_up && self.is_given_up() {
                self.window.wait_anew(now);
            }
            return self.bound_ahead(id, now);
        };
        if Content::of(&body).is_other_than(Content::of(&waiting.body)) {
            self.turn_away(id);
        } else if let Some(old) = waiting.id.replace(id) {
            self.tell_repeated(rid, old);
        }
    }

    /// What waits for its turn is a browser's to lose that says too much before; how many wait, the window bounds.
    fn bound_ahead(&mut self, id: RequestId, now: Instant) {
        let payloads = self.window.early().filter_map(|early| early.body.payload.as_ref().ok());
        let ahead: usize = payloads.map(Payload::size).sum();
        if ahead as u64 > self.settings.ahead.as_u64() {
            self.end_by(Some(id), End::TooFarAhead, now);
        }
    }

    /// A held request was repeated, while the connection of the one before still waits.
    fn hold_in_place_of(&mut self, old: RequestId, rid: Rid, is_shared: bool) {
        let leaves = if is_shared || self.recent.companion(rid).is_some() {
            self.recent.share(rid, old)
        } else {
            Some(old)
        };
        if let Some(leaves) = leaves {
            self.tell_repeated(rid, leaves);
        }
    }

    /// Tells a request that its repetition has taken its place.
    fn tell_repeated(&mut self, rid: Rid, id: RequestId) {
        let word = self.marked(rid, Word::Body(answer::REPEATED));
        self.outbox.push_back(word.to(id));
    }

    /// Tells one request that the session is not for it, and leaves the session as it is.
    fn turn_away(&mut self, id: RequestId) {
        self.tell(id, Condition::ItemNotFound);
    }
}
