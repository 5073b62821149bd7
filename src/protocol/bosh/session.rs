//! A BOSH session: requests, stanzas and time go in; answers and bytes for upstream come out.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::protocol::bosh::answer;
use crate::protocol::bosh::answer::Terms;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::body::Kind;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::event::Event;
use crate::protocol::bosh::event::Opening;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::inbox::Inbox;
use crate::protocol::bosh::presence::Presence;
use crate::protocol::bosh::queue::Queue;
use crate::protocol::bosh::recent::Fate;
use crate::protocol::bosh::recent::Recent;
use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::window::Place;
use crate::protocol::bosh::window::Rid;
use crate::protocol::bosh::window::Window;

/// A session between one browser and one stream of upstream.
///
/// The shell calls [`receive`](Self::receive) with what happened, then [`next_action`](Self::next_action) until
/// there is none, then waits for the next thing or for [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    terms: Terms,
    phase: Phase,
    window: Window<Early>,
    recent: Recent,
    inbox: Inbox,
    queue: Queue,
    outbox: VecDeque<Action>,
    presence: Presence,
}

#[derive(Debug)]
enum Phase {
    /// The browser's own login is under way: its elements do not go upstream.
    Login { until: Instant },
    /// Everything goes upstream.
    Relay,
    /// It ended; the browser is told, with its next request if that comes in time.
    Ending { why: End, until: Option<Instant> },
    /// The shell knows.
    Over,
}

/// A request that came before its turn; its connection may have broken since.
#[derive(Debug)]
struct Early {
    id: Option<RequestId>,
    body: Body,
}

impl Session {
    /// A session that was signed in and bound before its browser asked; its first request bears `rid`.
    #[must_use]
    pub fn prebound(settings: Settings, rid: Rid, now: Instant) -> Self {
        let terms = Terms::prebound(&settings);
        let presence = Presence::expected(&settings, now);
        Self {
            settings,
            terms,
            phase: Phase::Relay,
            window: Window::new(rid),
            recent: Recent::default(),
            inbox: Inbox::default(),
            queue: Queue::default(),
            outbox: VecDeque::new(),
            presence,
        }
    }

    /// A session that its browser begins with this request.
    ///
    /// The first answer carries the session's terms and `features`, the mechanisms of the login.
    #[must_use]
    pub fn begin(
        settings: Settings,
        opening: &Opening<'_>,
        id: RequestId,
        request: Body,
        now: Instant,
    ) -> Self {
        let terms = Terms::agree(&settings, &request);
        let head = answer::creation(opening.sid, opening.domain, terms, &settings, request.version);
        let mut session = Self::prebound(settings, request.rid, now);
        session.terms = terms;
        session.phase = Phase::Login { until: now + session.settings.login };
        session.queue = Queue::beginning(head);
        session.queue.push(opening.features);
        session.receive(Event::Request(id, request), now);
        session
    }

    /// Takes note of what happened.
    pub fn receive(&mut self, event: Event<'_>, now: Instant) {
        if self.is_attended() {
            self.presence.go_on(now);
        }
        match event {
            Event::Request(id, body) => self.request(id, body, now),
            Event::Dropped(id) => self.dropped(id),
            Event::Stanza(stanza) => {
                if self.is_live() {
                    self.queue.push_stanza(&stanza);
                    if !matches!(self.phase, Phase::Login { .. }) {
                        self.inbox.release_early();
                    }
                    self.bound_queue(now);
                }
            }
            Event::Welcome(bytes) => self.welcome(bytes),
            Event::SignedIn(bytes) => self.signed_in(bytes, now),
            Event::End(why) => self.end(why, now),
            Event::Deadline => self.due(now),
        }
    }

    /// What to do next, until there is nothing.
    pub fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.outbox.pop_front() {
            return Some(action);
        }
        let early = usize::try_from(self.settings.early.as_u64()).unwrap_or(usize::MAX);
        let login = matches!(self.phase, Phase::Login { .. }).then_some(early);
        if let Some(action) = self.inbox.next_action(login) {
            return Some(action);
        }
        if let Some((rid, id)) = self.next_answer() {
            let body = self.answer_body();
            self.recent.note(rid, Fate::Answered { id, answer: body.clone() });
            self.recent.forget(self.settings.answers.as_u64());
            return Some(Action::Answer(id, body));
        }
        if matches!(self.phase, Phase::Ending { until: None, .. })
            && let Phase::Ending { why, .. } = std::mem::replace(&mut self.phase, Phase::Over)
        {
            return Some(Action::Over(why));
        }
        None
    }

    /// When to send [`Event::Deadline`].
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

    /// Whether upstream is to be read no further for now: enough waits for the browser.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() as u64 >= self.settings.queue.as_u64()
    }

    fn request(&mut self, id: RequestId, body: Body, now: Instant) {
        match &mut self.phase {
            Phase::Login { .. } | Phase::Relay => {}
            Phase::Ending { until, .. } => {
                if !matches!(self.recent.fate_mut(body.rid), Some(Fate::Answered { .. })) {
                    *until = None;
                    return self.note_held(body.rid, Some(id), now);
                }
            }
            Phase::Over => {
                let body = answer::terminate(Some(Condition::ItemNotFound));
                return self.outbox.push_back(Action::Answer(id, body));
            }
        }
        self.presence = Presence::seen(&self.settings, now);
        let rid = body.rid;
        match self.window.place(rid) {
            Place::Next => {
                self.window.advance();
                self.process(rid, Some(id), body, now);
                self.process_due(now);
            }
            Place::Early => {
                if let Some(Early { id: Some(old), .. }) =
                    self.window.keep(rid, Early { id: Some(id), body }, now)
                {
                    self.outbox.push_back(Action::Answer(old, answer::EMPTY));
                }
            }
            Place::Past => self.repeated(id, body, now),
            Place::Beyond => self.outside(id, rid, now),
        }
    }

    fn process_due(&mut self, now: Instant) {
        while self.is_live()
            && let Some((rid, Early { id, body })) = self.window.take_due(now)
        {
            self.process(rid, id, body, now);
        }
    }

    /// Takes in a request whose turn it is.
    fn process(&mut self, rid: Rid, id: Option<RequestId>, body: Body, now: Instant) {
        self.note_held(rid, id, now);
        let Ok(payload) = body.payload else { return self.end(End::BadRequest, now) };
        let is_misplaced = match self.phase {
            // A stream begins anew behind the login, not before it (RFC 6120 §6.4.6).
            Phase::Login { .. } => body.kind == Kind::Restart,
            Phase::Relay | Phase::Ending { .. } | Phase::Over => !payload.passes(),
        };
        if is_misplaced {
            return self.end(End::BadRequest, now);
        }
        // XEP-0206 §5: elements beside a restart are ignored.
        if body.kind == Kind::Restart {
            self.inbox.push_restart();
        } else {
            self.inbox.push_payload(payload);
        }
        if body.kind == Kind::Terminate {
            self.end(End::Terminated, now);
        } else if let Some(pause) = body.pause
            && matches!(self.phase, Phase::Relay)
        {
            self.presence.pause(pause.min(self.settings.pause));
            self.release_held();
        }
        self.recent.forget(self.settings.answers.as_u64());
    }

    /// A rid that had its turn.
    fn repeated(&mut self, id: RequestId, body: Body, now: Instant) {
        let rid = body.rid;
        match self.recent.fate_mut(rid) {
            // The answer stays that of the first connection: from there it may have been read, so that a breaking
            // connection of a repetition must not bring it back.
            Some(Fate::Answered { answer, .. }) => {
                let answer = answer.clone();
                self.outbox.push_back(Action::Answer(id, answer));
            }
            Some(Fate::Held { id: old, .. }) => {
                let old = std::mem::replace(old, id);
                self.outbox.push_back(Action::Answer(old, answer::EMPTY));
            }
            Some(Fate::Broken) => self.note_held(rid, Some(id), now),
            Some(Fate::Skipped) => self.process(rid, Some(id), body, now),
            None => self.outside(id, rid, now),
        }
    }

    fn outside(&mut self, id: RequestId, rid: Rid, now: Instant) {
        let why = End::OutsideWindow { rid, expected: self.window.next() };
        self.outbox.push_back(Action::Answer(id, answer::terminate(why.condition())));
        self.end(why, now);
    }

    fn dropped(&mut self, id: RequestId) {
        if let Some(answer) = self.recent.break_off(id) {
            self.queue.put_back(answer::content(&answer).unwrap_or_default());
        }
        for early in self.window.early_mut().filter(|early| early.id == Some(id)) {
            early.id = None;
        }
    }

    fn welcome(&mut self, bytes: &[u8]) {
        if self.is_live() {
            self.queue.push(bytes);
        }
    }

    fn signed_in(&mut self, bytes: &[u8], now: Instant) {
        self.welcome(bytes);
        if !matches!(self.phase, Phase::Login { .. }) {
            return;
        }
        // What came behind the login already is held to what holds for all that comes from now on.
        if !self.inbox.passes() {
            return self.end(End::BadRequest, now);
        }
        self.phase = Phase::Relay;
    }

    fn bound_queue(&mut self, now: Instant) {
        if self.queue.len() as u64 > self.settings.queue_limit.as_u64() {
            self.end(End::QueueFull, now);
        }
    }

    fn due(&mut self, now: Instant) {
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
    fn release_held(&mut self) {
        while let Some((rid, id, _)) = self.recent.oldest_held() {
            self.recent.note(rid, Fate::Answered { id, answer: answer::EMPTY });
            self.outbox.push_back(Action::Answer(id, answer::EMPTY));
        }
    }

    fn end(&mut self, why: End, now: Instant) {
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
        let until = (why.awaits_browser() && self.recent.held() == 0)
            .then(|| now + self.settings.inactivity);
        self.phase = Phase::Ending { why, until };
    }

    fn note_held(&mut self, rid: Rid, id: Option<RequestId>, now: Instant) {
        let Some(id) = id else { return self.recent.note(rid, Fate::Broken) };
        if self.is_live() && self.recent.has_answered_after(rid) {
            // What comes from upstream now must not go before what a later request has already brought.
            self.outbox.push_back(Action::Answer(id, answer::EMPTY));
            return self.recent.note(rid, Fate::Answered { id, answer: answer::EMPTY });
        }
        self.recent.note(rid, Fate::Held { id, since: now });
    }

    /// The held request whose answer is due.
    fn next_answer(&self) -> Option<(Rid, RequestId)> {
        let (rid, id, _) = self.recent.oldest_held()?;
        let due = !self.is_live() || !self.queue.is_empty() || self.recent.held() > self.terms.hold;
        due.then_some((rid, id))
    }

    fn answer_body(&mut self) -> Bytes {
        let Phase::Ending { why, .. } = &self.phase else { return self.queue.take_body() };
        // A browser that leaves gets its farewell in the last request, and what waited in those before.
        if *why == End::Terminated && self.recent.held() > 1 {
            return self.queue.take_body();
        }
        let mut content = self.queue.take_content();
        content.extend_from_slice(why.element());
        answer::ending(why.condition(), &content)
    }

    fn gap_end(&self) -> Option<Instant> {
        self.window.gap_since().map(|since| since + self.settings.gap)
    }

    fn login_end(&self) -> Option<Instant> {
        match self.phase {
            Phase::Login { until } => Some(until),
            Phase::Relay | Phase::Ending { .. } | Phase::Over => None,
        }
    }

    fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Login { .. } | Phase::Relay)
    }

    /// Whether a connection of the browser is open.
    fn is_attended(&self) -> bool {
        self.recent.held() > 0 || self.window.early().any(|early| early.id.is_some())
    }
}

#[cfg(test)]
mod tests;
