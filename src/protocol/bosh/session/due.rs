//! What a session does because time has passed: answers after `wait`, gaps that are closed, browsers that are gone.

use std::time::Instant;

use crate::protocol::bosh::answer;
use crate::protocol::bosh::content::Content;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::farewell::Word;
use crate::protocol::bosh::recent::Fate;
use crate::protocol::bosh::session::Early;
use crate::protocol::bosh::session::Phase;
use crate::protocol::bosh::session::Session;

impl Session {
    /// When to send [`Event::Deadline`](crate::protocol::bosh::event::Event::Deadline).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Over => None,
            Phase::Ending { until, .. } => *until,
            Phase::Login { .. } | Phase::Relay => {
                let answer = self.recent.oldest_held().map(|(_, _, since)| since + self.terms.wait);
                let absence = (!self.is_attended()).then(|| self.presence.end());
                [answer, absence, self.gap_end(), self.login_end()].into_iter().flatten().min()
            }
        }
    }

    /// Does what is due.
    pub(super) fn due(&mut self, now: Instant) {
        if let Phase::Ending { until, .. } = &mut self.phase {
            until.take_if(|until| *until <= now);
            return;
        }
        if !self.is_live() {
            return;
        }
        if self.login_end().is_some_and(|end| end <= now) {
            return self.end(End::LoginLate, now);
        }
        if self.gap_end().is_some_and(|end| end <= now) {
            for rid in self.window.skip_gap() {
                self.recent.note(rid, Fate::Skipped);
            }
            self.process_due(now);
        }
        if self.recent.oldest_held().is_some_and(|(_, _, since)| since + self.terms.wait <= now) {
            self.release_held();
        }
        if !self.is_attended() && self.presence.end() <= now {
            self.end(self.presence.absence(), now);
        }
    }

    /// Answers all that are held with nothing: what waits for the browser goes out before, or after a pause.
    pub(super) fn release_held(&mut self) {
        while let Some((rid, id, _)) = self.recent.oldest_held() {
            self.give(rid, id, Word::Body(answer::EMPTY));
        }
    }

    fn gap_end(&self) -> Option<Instant> {
        let since = self.window.gap_since()?;
        let longest = match self.phase {
            // A login goes step by step: what is one of them waits for the one before, for as long as a login may take.
            Phase::Login { .. } => None,
            Phase::Relay | Phase::Ending { .. } | Phase::Over => Some(self.settings.retries),
        };
        let time = if self.is_given_up() { Some(self.settings.gap) } else { longest };
        Some(since + time?)
    }

    /// Whether the browser has given up the request that is missing, so that what waits behind it can stand without it.
    ///
    /// It has two under way at most. So it does not repeat the missing one where it has sent two behind that, and neither where
    /// it asks for more with nothing to say, as a page does that was reloaded. Who takes over a prebound session may count from
    /// another rid than the one he was told.
    pub(super) fn is_given_up(&self) -> bool {
        let is_nothing = |early: &Early| Content::of(&early.body) == Content::default();
        let mut early = self.window.early();
        let early_count = self.window.early().count();
        match self.phase {
            Phase::Login { .. } => early.next().is_some_and(is_nothing),
            Phase::Relay | Phase::Ending { .. } | Phase::Over => {
                self.recent.is_empty() || early.any(is_nothing) || early_count > 1
            }
        }
    }

    fn login_end(&self) -> Option<Instant> {
        match self.phase {
            Phase::Login { until } => Some(until),
            Phase::Relay | Phase::Ending { .. } | Phase::Over => None,
        }
    }
}
