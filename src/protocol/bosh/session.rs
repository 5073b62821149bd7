//! A BOSH session: requests, stanzas and time go in; answers and bytes for upstream come out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::protocol::bosh::acknowledgements::Acknowledgements;
use crate::protocol::bosh::answer;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::body::Kind;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::content::Content;
use crate::protocol::bosh::delivery::Delivery;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::event::Event;
use crate::protocol::bosh::event::Opening;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::farewell::Farewell;
use crate::protocol::bosh::farewell::Word;
use crate::protocol::bosh::inbox::Inbox;
use crate::protocol::bosh::inbox::TooEarly;
use crate::protocol::bosh::keys::Chain;
use crate::protocol::bosh::overtaking::Overtaking;
use crate::protocol::bosh::pace::Pace;
use crate::protocol::bosh::presence::Presence;
use crate::protocol::bosh::queue::Queue;
use crate::protocol::bosh::recent::Fate;
use crate::protocol::bosh::recent::Recent;
use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::settings::bytes;
use crate::protocol::bosh::terms::Terms;
use crate::protocol::bosh::window::Place;
use crate::protocol::bosh::window::Rid;
use crate::protocol::bosh::window::Window;

/// A session between one browser and one stream of upstream.
///
/// The shell calls [`receive`](Self::receive) with what happened, then [`next_action`](Self::next_action) until
/// there is none, then waits for the next thing or for [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    terms: Terms,
    phase: Phase,
    window: Window<Early>,
    recent: Recent,
    inbox: Inbox,
    queue: Queue,
    delivery: Delivery,
    overtaking: Overtaking,
    outbox: VecDeque<Action>,
    presence: Presence,
    pace: Pace,
    keys: Option<Box<Chain>>,
    acknowledgements: Option<Box<Acknowledgements>>,
}

#[derive(Debug)]
enum Phase {
    /// The browser's own login is under way: its elements do not go upstream.
    Login { until: Instant },
    /// Everything goes upstream.
    Relay,
    /// It ended; the browser is told, with its next request if that comes in time.
    Ending { farewell: Farewell, until: Option<Instant> },
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
    pub fn prebound(settings: impl Into<Arc<Settings>>, rid: Rid, now: Instant) -> Self {
        let settings = settings.into();
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
            delivery: Delivery::default(),
            overtaking: Overtaking::new(now),
            outbox: VecDeque::new(),
            presence,
            pace: Pace::default(),
            keys: None,
            acknowledgements: None,
        }
    }

    /// A session that its browser begins with this request.
    ///
    /// The first answer carries the session's terms and `features`, the mechanisms of the login.
    #[must_use]
    pub fn begin(
        settings: impl Into<Arc<Settings>>,
        opening: &Opening<'_>,
        id: RequestId,
        request: Body,
        now: Instant,
    ) -> Self {
        let settings = settings.into();
        let wishes = request.wishes.as_deref().cloned().unwrap_or_default();
        let terms = Terms::agree(&settings, &wishes);
        let head = answer::creation(opening, &terms, &wishes, request.rid);
        let mut session = Self::prebound(settings, request.rid, now);
        session.terms = terms;
        session.acknowledgements =
            wishes.acknowledges.then(|| Box::new(Acknowledgements::new(request.rid, now)));
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
        self.overtaking.note_time(now);
        if let Some(acknowledgements) = &mut self.acknowledgements {
            acknowledgements.note_time(now);
        }
        match event {
            Event::Request(id, body) => self.request(id, body, now),
            Event::Dropped(id) => self.dropped(id),
            Event::Stanza(stanza) => {
                if self.is_live() {
                    self.delivery.waits(&stanza);
                    self.queue.push_stanza(&stanza, bytes(self.settings.answer));
                    if !matches!(self.phase, Phase::Login { .. }) {
                        self.inbox.release_early();
                    }
                    self.bound_queue(now);
                }
            }
            Event::Welcome(bytes) => self.welcome(bytes),
            Event::SignedIn(bytes) => self.signed_in(bytes, now),
            Event::Lost(elements) => self.give_back(elements),
            Event::End(why) => self.end(why, now),
            Event::Deadline => self.due(now),
        }
    }

    /// What to do next, until there is nothing.
    pub fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.outbox.pop_front() {
            return Some(action);
        }
        let login = matches!(self.phase, Phase::Login { .. }).then(|| bytes(self.settings.early));
        match self.inbox.next_action(login) {
            Ok(Some(action)) => return Some(action),
            Ok(None) => {}
            Err(TooEarly) => self.end(End::TooEarly, self.overtaking.now()),
        }
        if let Some((rid, id)) = self.next_answer() {
            let word = self.word(id);
            let body: &[u8] = if let Word::Body(body) = &word { body } else { &[] };
            self.delivery.answered(rid, body, self.queue.is_empty());
            self.give(rid, id, word);
            self.recent.forget(self.settings.answers.as_u64());
            return self.outbox.pop_front();
        }
        if matches!(self.phase, Phase::Ending { until: None, .. })
            && let Phase::Ending { farewell, .. } = std::mem::replace(&mut self.phase, Phase::Over)
        {
            return Some(Action::Over(farewell.why));
        }
        // What was more than one is seldom so again.
        self.outbox.shrink_to(1);
        None
    }

    /// Whether upstream is to be read no further for now: enough waits for the browser.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() as u64 >= self.settings.queue.as_u64()
    }

    /// Whether an answer was forgotten before its time since this was last asked, because too much would be kept.
    pub fn has_forgotten(&mut self) -> bool {
        self.recent.has_forgotten()
    }

    /// Whether more waits for the browser than goes into one answer.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.queue.has_backlog()
    }

    fn request(&mut self, id: RequestId, body: Body, now: Instant) {
        // What waited is for the browser that has the keys.
        if matches!(self.phase, Phase::Ending { .. })
            && !self.shows_key(body.rid, body.keys.as_deref())
        {
            return self.tell(id, Condition::ItemNotFound);
        }
        match &self.phase {
            Phase::Login { .. } | Phase::Relay => {}
            // Nobody waits for a turn any more, and nothing is taken in.
            Phase::Ending { .. } => {
                return match self.recent.fate_mut(body.rid) {
                    Some(Fate::Answered { .. }) => self.repeat(id, body.rid, now),
                    _ => self.late(id, body, now),
                };
            }
            Phase::Over => {
                return self.tell(id, Condition::ItemNotFound);
            }
        }
        let is_slow = self.presence.is_slow();
        self.presence.seen(self.terms.inactivity, self.settings.slowest, now);
        let rid = body.rid;
        let place = self.window.place(rid);
        if let Err(why) = self.note_pace(place, &body, now) {
            return self.end_for(id, why, now);
        }
        match place {
            Place::Next => {
                self.window.advance();
                self.note_asked(&body, is_slow);
                if body.is_poll() && self.recent.is_held(rid.before()) {
                    self.recent.note_release(rid, body.over, now);
                }
                self.process(rid, Some(id), body, now);
                self.process_due(now);
            }
            Place::Early => self.early(id, body, now),
            Place::Past => self.repeated(id, body, now),
            Place::Beyond => self.beyond(id, rid, now),
        }
    }

    /// Notes the pace of the browser, to which repetitions do not count.
    fn note_pace(&mut self, place: Place, body: &Body, now: Instant) -> Result<(), End> {
        let is_new = match place {
            Place::Next => true,
            Place::Early => self.window.early().all(|early| early.body.rid != body.rid),
            Place::Past | Place::Beyond => false,
        };
        if !is_new {
            return Ok(());
        }
        let early = self.window.early().filter(|early| early.id.is_some()).count();
        let unanswered = self.recent.held() + early + 1;
        self.pace.note(body, unanswered, now, (&self.terms, &self.recent))
    }

    fn process_due(&mut self, now: Instant) {
        while self.is_live()
            && let Some((rid, Early { id, body })) = self.window.take_due(now)
        {
            self.note_asked(&body, false);
            self.process(rid, id, body, now);
        }
    }

    /// Notes what a request tells of the answers before it.
    fn note_asked(&mut self, body: &Body, is_slow: bool) {
        // Who polls has no other request under way; and who asks for nothing when it has nothing to say would not come back for
        // what is held back, but wait for it.
        let polls = body.is_poll() && !matches!(self.phase, Phase::Login { .. });
        if self.terms.hold > 0 && self.pace.has_polled(polls) {
            self.overtaking.note_request(body, is_slow);
        }
    }

    /// Takes in a request whose turn it is.
    fn process(&mut self, rid: Rid, id: Option<RequestId>, body: Body, now: Instant) {
        self.note_held(rid, id, now);
        self.take_in(id, body, now);
    }

    /// Takes in what a request brings.
    fn take_in(&mut self, id: Option<RequestId>, body: Body, now: Instant) {
        let rid = body.rid;
        self.recent.brought(rid, Content::of(&body));
        self.recent.note_over(rid, body.over);
        if !self.shows_key(rid, body.keys.as_deref()) {
            return self.end_by(id, End::WrongKey, now);
        }
        self.begin_keys(rid, body.keys.as_deref());
        if let (Some(acknowledgements), Some(got)) = (&mut self.acknowledgements, body.ack) {
            acknowledgements.note_got(got);
        }
        self.delivery.goes_on(&body, self.overtaking.is_possible());
        let Ok(payload) = body.payload else { return self.end_by(id, End::BadRequest, now) };
        if payload.len() > self.settings.elements {
            return self.end_by(id, End::TooManyElements, now);
        }
        let is_misplaced = match self.phase {
            // A stream begins anew behind the login, not before it (RFC 6120 §6.4.6).
            Phase::Login { .. } => body.kind == Kind::Restart,
            Phase::Relay | Phase::Ending { .. } | Phase::Over => !payload.passes(),
        };
        if is_misplaced {
            return self.end_by(id, End::BadRequest, now);
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
            self.presence.pause(pause.min(self.terms.pause));
            self.release_held();
        }
        self.recent.forget(self.settings.answers.as_u64());
    }

    fn beyond(&mut self, id: RequestId, rid: Rid, now: Instant) {
        self.end_for(id, End::OutsideWindow { rid, expected: self.window.next() }, now);
    }

    fn dropped(&mut self, id: RequestId) {
        if let Some((rid, answer)) = self.recent.break_off(id) {
            self.delivery.take_back(rid);
            self.overtaking.note_taken_back(rid);
            let content = answer::content(&answer).unwrap_or_default();
            self.queue.put_back(content, bytes(self.settings.answer));
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

    /// Answers one that is held, at both of its connections if it has two.
    fn give(&mut self, rid: Rid, id: RequestId, word: Word) {
        let carries = matches!(&word, Word::Body(body) if *body != answer::EMPTY);
        self.overtaking.note_answer(rid, carries, self.recent.over(rid));
        let word = self.marked(rid, word);
        if let Some(acknowledgements) = &mut self.acknowledgements {
            acknowledgements.note_given(rid);
        }
        self.outbox.push_back(word.clone().to(id));
        if let Some(companion) = self.recent.companion(rid) {
            self.outbox.push_back(word.clone().to(companion));
        }
        let fate = match word {
            Word::Body(answer) => Fate::Answered { id, answer },
            Word::Status(_) => Fate::Broken,
        };
        self.recent.note(rid, fate);
    }

    fn note_held(&mut self, rid: Rid, id: Option<RequestId>, now: Instant) {
        let Some(id) = id else { return self.recent.note(rid, Fate::Broken) };
        if self.is_live() && self.recent.has_answered_after(rid) {
            // What comes from upstream now must not go before what a later request has already brought.
            return self.give(rid, id, Word::Body(answer::EMPTY));
        }
        // The connections that it had before have their answer.
        self.recent.forget_companion(rid);
        self.recent.note(rid, Fate::Held { id, since: now });
    }

    /// The held request whose answer is due.
    fn next_answer(&self) -> Option<(Rid, RequestId)> {
        let (rid, id, _) = self.recent.oldest_held()?;
        let due = !self.is_live()
            || !self.queue.is_empty()
            || self.recent.held() > self.terms.hold
            || self.acknowledgements.as_ref().is_some_and(|known| known.has_report());
        due.then_some((rid, id))
    }

    /// Whether it has not come to its end.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Login { .. } | Phase::Relay)
    }

    /// Whether a connection of the browser is open.
    fn is_attended(&self) -> bool {
        self.recent.held() > 0 || self.window.early().any(|early| early.id.is_some())
    }
}

mod due;
mod ending;
mod repeated;
mod signs;
mod undelivered;

#[cfg(test)]
mod tests;
