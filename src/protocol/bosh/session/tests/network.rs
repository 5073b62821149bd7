//! A browser and a session with a bad network between them: whatever is late, lost or out of order, each stanza
//! arrives once and in order, both ways.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use std::time::Instant;

use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::event::Event;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::session::Session;
use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::window::Rid;
use crate::protocol::xml::check::Limits;
use crate::protocol::xml::splitter::Cut;

/// Dice that fall the same way for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What the browser knows of a request it made.
struct Flight {
    text: String,
    /// The connection it waits at.
    connection: u64,
}

struct World {
    dice: Dice,
    session: Session,
    now: Instant,
    connections: u64,
    /// On the way to the session.
    uplink: Vec<(u64, String)>,
    /// Known to the browser as unanswered, by rid.
    flights: BTreeMap<u64, Flight>,
    next_rid: u64,
    /// Answers that wait for those of lower rids, and the rid whose turn it is.
    answers: BTreeMap<u64, String>,
    turn: u64,
    written: usize,
    sent_up: String,
    upstream_got: String,
    sent_down: String,
    browser_got: String,
    trouble: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = super::start();
        let hour = Duration::from_secs(3_600);
        // A gap that is given up changes the order by design.
        let settings =
            Settings { gap: hour, inactivity: hour, attach: hour, ..Settings::default() };
        Self {
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            session: Session::prebound(settings, Rid::new(1).unwrap(), now),
            now,
            connections: 0,
            uplink: Vec::new(),
            flights: BTreeMap::new(),
            next_rid: 1,
            answers: BTreeMap::new(),
            turn: 1,
            written: 0,
            sent_up: String::new(),
            upstream_got: String::new(),
            sent_down: String::new(),
            browser_got: String::new(),
            trouble: true,
        }
    }

    fn step(&mut self) {
        match self.dice.below(6) {
            0 => self.browser_writes(),
            1 | 2 => self.request_arrives(),
            3 => self.upstream_writes(),
            4 if self.trouble => self.connection_breaks(),
            _ => self.time_passes(),
        }
    }

    fn browser_writes(&mut self) {
        // As Strophe: two under way, and none further ahead of an unanswered one than its window of 5.
        let oldest = self.flights.keys().next().copied().unwrap_or(self.next_rid);
        if self.flights.len() >= 2 || self.next_rid - oldest >= 5 {
            return;
        }
        // What is left of broken connections does not outlive the answers by whole rounds.
        let live: Vec<u64> = self.flights.values().map(|flight| flight.connection).collect();
        self.uplink.retain(|(connection, _)| live.contains(connection));
        let rid = self.next_rid;
        self.next_rid += 1;
        let mut payload = String::new();
        for _ in 0..self.dice.below(3) {
            self.written += 1;
            let _ = write!(payload, "<iq id='{}'/>", self.written);
        }
        self.sent_up.push_str(&payload);
        let text = format!(
            "<body rid='{rid}' sid='s' xmlns='http://jabber.org/protocol/httpbind'>{payload}</body>"
        );
        self.post(rid, text);
    }

    fn post(&mut self, rid: u64, text: String) {
        self.connections += 1;
        self.uplink.push((self.connections, text.clone()));
        self.flights.insert(rid, Flight { text, connection: self.connections });
    }

    fn request_arrives(&mut self) {
        if self.uplink.is_empty() {
            return;
        }
        let at = self.dice.below(self.uplink.len());
        let (connection, text) = self.uplink.remove(at);
        let body = Body::parse(text.as_bytes(), &Limits::default()).unwrap();
        self.session.receive(Event::Request(RequestId(connection), body), self.now);
        self.act();
    }

    fn upstream_writes(&mut self) {
        for _ in 0..=self.dice.below(3) {
            self.written += 1;
            let text = format!("<d{} xmlns='x'/>", self.written);
            self.sent_down.push_str(&text);
            let name_end = text.find(' ').unwrap();
            let cut = Cut {
                bytes: text.as_bytes(),
                name_end,
                has_namespace: true,
                declares_stream: false,
            };
            self.session.receive(Event::Stanza(cut), self.now);
        }
        self.act();
    }

    /// One connection breaks; the browser repeats its request, and the session may hear of it.
    fn connection_breaks(&mut self) {
        let rids: Vec<u64> = self.flights.keys().copied().collect();
        if rids.is_empty() {
            return;
        }
        let rid = rids[self.dice.below(rids.len())];
        let Flight { text, connection } = self.flights.remove(&rid).unwrap();
        let arrived = !self.uplink.iter().any(|(waiting, _)| *waiting == connection);
        if arrived && self.dice.chance(50) {
            self.session.receive(Event::Dropped(RequestId(connection)), self.now);
        }
        if self.dice.chance(70) {
            self.uplink.retain(|(waiting, _)| *waiting != connection);
        }
        self.post(rid, text);
        self.act();
    }

    fn time_passes(&mut self) {
        self.now += Duration::from_secs(self.dice.below(20) as u64);
        if self.session.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.session.receive(Event::Deadline, self.now);
        }
        self.act();
    }

    fn act(&mut self) {
        let mut untaken = Vec::new();
        while let Some(action) = self.session.next_action() {
            match action {
                Action::Send(bytes, _) => {
                    self.upstream_got.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                Action::Answer(RequestId(connection), body) => {
                    let rid =
                        self.flights.iter().find(|(_, flight)| flight.connection == connection);
                    let Some(rid) = rid.map(|(rid, _)| *rid) else {
                        untaken.push(connection);
                        continue;
                    };
                    let text = std::str::from_utf8(&body).unwrap().to_owned();
                    if self.trouble && self.dice.chance(15) {
                        // The answer is lost where nobody but the browser sees it.
                        let lost = self.flights.remove(&rid).unwrap();
                        self.post(rid, lost.text);
                    } else {
                        self.flights.remove(&rid);
                        self.read(rid, text);
                    }
                }
                other @ (Action::Login(_) | Action::Restart | Action::Over(_)) => {
                    panic!("the session did {other:?}")
                }
            }
        }
        let done = untaken.is_empty();
        for connection in untaken {
            self.session.receive(Event::Dropped(RequestId(connection)), self.now);
        }
        if !done {
            self.act();
        }
    }

    /// The browser takes answers in the order of its requests (XEP-0124 §14.2).
    fn read(&mut self, rid: u64, text: String) {
        self.answers.insert(rid, text);
        while let Some(text) = self.answers.remove(&self.turn) {
            self.turn += 1;
            assert!(!text.contains("terminate"), "{text}");
            if let Some((_, content)) = text.split_once("streams'>") {
                self.browser_got.push_str(content.strip_suffix("</body>").unwrap());
            }
        }
    }
}

#[test]
fn whatever_the_network_does_each_stanza_arrives_once_and_in_order() {
    for seed in 1..=300_u64 {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
            if world.flights.is_empty() {
                // A browser has always a request under way.
                world.browser_writes();
            }
        }

        world.trouble = false;
        for _ in 0..50 {
            world.request_arrives();
            world.time_passes();
            if world.flights.len() < 2 {
                world.browser_writes();
            }
        }

        assert!(
            world.sent_up.starts_with(&world.upstream_got),
            "seed {seed}: {} / {}",
            world.upstream_got,
            world.sent_up
        );
        assert!(world.sent_up.len() - world.upstream_got.len() < 64, "seed {seed}: stuck");
        assert_eq!(world.browser_got, world.sent_down, "seed {seed}");
    }
}
