//! A scenario in virtual time, and what must hold at each moment of it and at its end.

mod acts;
mod promises;
pub(crate) mod scenario;
mod steps;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use vestibule::protocol::bosh::body::Body;
use vestibule::protocol::bosh::event::Event;
use vestibule::protocol::bosh::event::Opening;
use vestibule::protocol::bosh::event::RequestId;
use vestibule::protocol::bosh::session::Session;
use vestibule::protocol::bosh::settings::Settings;
use vestibule::protocol::bosh::window::Rid;
use vestibule::protocol::xml::check::Limits;

use crate::browser::Browser;
use crate::browser::Stage;
use crate::network::Fate;
use crate::network::Told;
use crate::world::scenario::Beginning;
use crate::world::scenario::Scenario;

/// One attempt to send a request.
struct Attempt {
    rid: u64,
    text: String,
    fate: Fate,
    messages: Vec<u64>,
    state: State,
    /// When it arrived.
    at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    OnItsWay,
    Arrived,
    Answered,
    /// The connection broke before there was an answer.
    Broken,
}

/// What will happen to an attempt.
#[derive(Clone, Copy)]
enum Coming {
    Arrives,
    Breaks,
    EdgeLearns,
    BrowserNotices,
    Read,
}

struct World {
    session: Session,
    settings: Settings,
    born: Instant,
    now: Instant,
    browser: Browser,
    asleep_until: Instant,
    fates: VecDeque<Fate>,
    attempts: Vec<Attempt>,
    coming: BTreeMap<(Instant, usize), (Coming, usize)>,
    happened: usize,
    answers: BTreeMap<usize, String>,
    /// When each rid arrived first.
    arrived: BTreeMap<u64, Instant>,
    /// Rids that had not arrived when their page went away.
    abandoned: BTreeSet<u64>,
    /// Messages that the browser gave up with its page, if they had not arrived by then.
    given_up: BTreeSet<u64>,
    /// Messages of requests that came when the edge had waited for them for long enough.
    late: BTreeSet<u64>,
    said: u64,
    sent_upstream: Vec<u64>,
    heard: u64,
    /// The highest that was in an answer.
    handed_out: u64,
    /// Stanzas in answers that the edge had given when the page that waited for them went away.
    perhaps_lost: BTreeSet<u64>,
    /// The browser was told to begin anew, and had to be.
    is_over: bool,
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let now = Instant::now();
        let settings = Settings {
            gap: Duration::from_secs(scenario.gap),
            retries: Duration::from_secs(scenario.gap.max(10)),
            // No browser here leaves for good.
            inactivity: Duration::from_secs(600),
            attach: Duration::from_secs(600),
            login: Duration::from_secs(300),
            ..Settings::default()
        };
        let first = Rid::new(FIRST).expect("a rid");
        let (session, browser) = match scenario.beginning {
            Beginning::Prebound => {
                (Session::prebound(settings.clone(), first, now), Browser::new(Stage::Bound, FIRST))
            }
            Beginning::ByBrowser => {
                let mut browser = Browser::new(Stage::Beginning, FIRST);
                let (rid, text, messages) = browser.next_request().expect("the first");
                let opening =
                    Opening { sid: "s", domain: "a.example", features: b"<stream:features/>" };
                let session =
                    Session::begin(settings.clone(), &opening, RequestId(0), parse(&text), now);
                let request =
                    crate::browser::Request { rid, text, messages, attempt: 0, answer: None };
                browser.requests.push(request);
                (session, browser)
            }
        };
        let mut world = Self {
            session,
            settings,
            born: now,
            now,
            browser,
            asleep_until: now,
            fates: scenario.fates.iter().copied().collect(),
            attempts: Vec::new(),
            coming: BTreeMap::new(),
            happened: 0,
            answers: BTreeMap::new(),
            arrived: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            given_up: BTreeSet::new(),
            late: BTreeSet::new(),
            said: 0,
            sent_upstream: Vec::new(),
            heard: 0,
            handed_out: 0,
            perhaps_lost: BTreeSet::new(),
            is_over: false,
        };
        if let Some(request) = world.browser.requests.first() {
            world.arrived.insert(FIRST, now);
            world.attempts.push(Attempt {
                rid: request.rid,
                text: request.text.clone(),
                fate: Fate::GOOD,
                messages: Vec::new(),
                state: State::Arrived,
                at: now,
            });
        }
        world.act();
        world
    }

    /// The connection of an attempt is no more; the edge may come to know.
    fn break_off(&mut self, attempt: usize) {
        let Attempt { state, fate, .. } = &mut self.attempts[attempt];
        let learns = match fate.told {
            Told::After(time) if *state == State::Arrived => Some(milliseconds(time)),
            Told::After(_) | Told::Never | Told::WithTheAnswer => None,
        };
        // What is on its way arrives all the same, and what was handed over was.
        if *state == State::Arrived {
            *state = State::Broken;
        }
        if let Some(after) = learns {
            self.will(after, Coming::EdgeLearns, attempt);
        }
    }

    fn will(&mut self, after: Duration, event: Coming, attempt: usize) {
        self.happened += 1;
        self.coming.insert((self.now + after, self.happened), (event, attempt));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.act();
        loop {
            let event = self.coming.keys().next().map(|(at, _)| *at);
            let wakes = Some(self.asleep_until).filter(|at| *at > self.now);
            let next = [event, self.session.deadline(), wakes].into_iter().flatten().min();
            let next = next.filter(|next| *next <= end && !self.is_over);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            if self.session.deadline().is_some_and(|due| due <= self.now) {
                self.session.receive(Event::Deadline, self.now);
                let next = self.session.deadline();
                assert!(next.is_none_or(|next| next > self.now), "a deadline for ever");
            } else if event.is_some_and(|at| at <= self.now)
                && let Some((_, (event, attempt))) = self.coming.pop_first()
            {
                self.happens(event, attempt);
            }
            self.act();
        }
        self.now = end;
    }

    fn happens(&mut self, event: Coming, attempt: usize) {
        let asleep = self.asleep_until.checked_duration_since(self.now).unwrap_or_default();
        match event {
            Coming::Arrives => self.arrives(attempt),
            Coming::Breaks if self.attempts[attempt].state == State::Arrived => {
                self.break_off(attempt);
                let noticed = self.attempts[attempt].fate.noticed;
                self.will(milliseconds(noticed), Coming::BrowserNotices, attempt);
            }
            Coming::EdgeLearns if self.attempts[attempt].state == State::Broken => {
                self.session.receive(Event::Dropped(id(attempt)), self.now);
            }
            Coming::BrowserNotices | Coming::Read if !asleep.is_zero() => {
                self.will(asleep, event, attempt);
            }
            Coming::BrowserNotices => self.repeat(attempt),
            Coming::Read => {
                // What comes over a connection that the browser has given up is not read: it is lost if the page goes before
                // the same has come again.
                let is_awaited =
                    self.browser.requests.iter().any(|one| one.attempt == attempt as u64);
                if is_awaited && let Some(answer) = self.answers.remove(&attempt) {
                    self.browser.take(attempt as u64, answer);
                }
            }
            Coming::Breaks | Coming::EdgeLearns => {}
        }
    }

    fn arrives(&mut self, attempt: usize) {
        // What is left of broken connections does not outlive the answers by whole rounds.
        let is_stale = self.attempts[attempt].rid + KEPT <= self.browser.next_rid;
        if is_stale && self.arrived.contains_key(&self.attempts[attempt].rid) {
            return;
        }
        let now = self.now;
        let Attempt { rid, fate, messages, state, text, at } = &mut self.attempts[attempt];
        *state = if self.browser.requests.iter().any(|one| one.attempt == attempt as u64) {
            State::Arrived
        } else {
            if fate.told != Told::WithTheAnswer {
                // That its connection has ended comes right behind it.
                fate.told = Told::WithTheAnswer;
            }
            State::Broken
        };
        let waited = self.arrived.range(*rid..).map(|(_, since)| *since).min();
        let is_late = waited.is_some_and(|since| now >= since + self.settings.gap);
        if !self.arrived.contains_key(rid) && is_late {
            self.late.extend(messages.iter());
        }
        *at = now;
        self.arrived.entry(*rid).or_insert(now);
        let (body, breaks) = (parse(text), fate.breaks);
        if let Some(time) = breaks {
            self.will(milliseconds(time), Coming::Breaks, attempt);
        }
        self.session.receive(Event::Request(id(attempt), body), self.now);
    }

    /// The browser repeats a request as it was.
    fn repeat(&mut self, attempt: usize) {
        let wanted = |one: &&mut crate::browser::Request| one.attempt == attempt as u64;
        let next = self.attempts.len() as u64;
        let Some(request) = self.browser.requests.iter_mut().find(wanted) else { return };
        if request.answer.is_some() {
            return;
        }
        request.attempt = next;
        let (rid, text, messages) = (request.rid, request.text.clone(), request.messages.clone());
        self.break_off(attempt);
        self.send(rid, text, messages);
    }

    fn send(&mut self, rid: u64, text: String, messages: Vec<u64>) {
        let fate = self.fates.pop_front().unwrap_or(Fate::GOOD);
        let attempt = self.attempts.len();
        let (state, at) = (State::OnItsWay, self.now);
        self.attempts.push(Attempt { rid, text, fate, messages, state, at });
        match fate.arrives {
            Some(after) => {
                self.will(milliseconds(after), Coming::Arrives, attempt);
                if fate.breaks.is_some() && fate.noticed < after {
                    // It comes when the browser has long repeated it.
                    self.will(milliseconds(fate.noticed), Coming::BrowserNotices, attempt);
                }
            }
            None => self.will(milliseconds(fate.noticed), Coming::BrowserNotices, attempt),
        }
    }

    /// From now on all goes well, for as long as everything that is missing may take.
    fn come_to_rest(&mut self) {
        self.fates.clear();
        for attempt in &mut self.attempts {
            attempt.fate.breaks = None;
        }
        self.pass(self.settings.retries * 6 + self.settings.wait * 2);
    }
}

fn parse(text: &str) -> Body {
    Body::parse(text.as_bytes(), &Limits::default()).expect("a body")
}

fn id(attempt: usize) -> RequestId {
    RequestId(attempt as u64)
}

fn milliseconds(number: u32) -> Duration {
    Duration::from_millis(number.into())
}

/// So many of the last answers the edge keeps at least.
const KEPT: u64 = 5;
const FIRST: u64 = 1000;
