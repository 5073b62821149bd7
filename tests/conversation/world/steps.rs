//! What happens, a step at a time.

use std::fmt::Write;
use std::time::Duration;

use vestibule::protocol::bosh::event::Event;
use vestibule::protocol::xml::splitter::Piece;
use vestibule::protocol::xml::splitter::Splitter;

use crate::browser::Item;
use crate::browser::Stage;
use crate::browser::stanzas;
use crate::world::World;
use crate::world::milliseconds;
use crate::world::scenario::Step;

impl World {
    pub(super) fn step(&mut self, step: Step) {
        if self.is_over {
            return;
        }
        let is_bound = self.browser.stage == Stage::Bound;
        match step {
            Step::Say(count) => {
                for _ in 0..count {
                    self.said += 1;
                    self.browser.outbox.push_back(Item::Message(self.said));
                }
            }
            Step::Hear(count) if is_bound => self.hear(count),
            Step::Pass(time) => self.pass(milliseconds(time)),
            Step::Sleep(time) => {
                self.asleep_until = self.asleep_until.max(self.now + milliseconds(time));
                self.pass(milliseconds(time) + AWAKE);
            }
            Step::Reload(time) if is_bound && self.knows_the_page() => {
                self.reload(milliseconds(time));
            }
            Step::Pause(seconds) if is_bound && self.browser.outbox.is_empty() => {
                self.browser.outbox.push_back(Item::Pause(seconds));
                self.pass(AWAKE);
                // It is back in good time.
                self.pass(milliseconds(seconds * 500));
                self.browser.outbox.retain(|item| matches!(item, Item::Message(_)));
                self.browser.pausing = false;
                self.pass(AWAKE);
            }
            Step::Hear(_) | Step::Reload(_) | Step::Pause(_) => {}
        }
        self.act();
    }

    fn hear(&mut self, count: u8) {
        let mut text = HEADER.to_owned();
        for _ in 0..count {
            self.heard += 1;
            let _ = write!(text, "<message id='s{}'/>", self.heard);
        }
        let mut splitter = Splitter::new(1000);
        let mut text = text.as_bytes();
        while let Some(piece) = splitter.next(&mut text).expect("a stream") {
            if let Piece::Stanza(cut) = piece {
                self.session.receive(Event::Stanza(cut), self.now);
            }
        }
    }

    /// Whether all pages before this one are settled for the edge: two that vanish with all they have sent would leave its window.
    fn knows_the_page(&self) -> bool {
        let (turn, ..) = self.turn();
        self.abandoned.last().is_none_or(|last| *last < turn)
    }

    fn reload(&mut self, time: Duration) {
        for item in &self.browser.outbox {
            if let Item::Message(number) = item {
                self.given_up.insert(*number);
            }
        }
        for request in self.browser.reload() {
            self.perhaps_lost.extend(request.answer.iter().flat_map(|answer| stanzas(answer)));
            if !self.arrived.contains_key(&request.rid) {
                self.given_up.extend(&request.messages);
                self.abandoned.insert(request.rid);
            }
            for attempt in 0..self.attempts.len() {
                if self.attempts[attempt].rid == request.rid {
                    let unread = self.answers.remove(&attempt);
                    self.perhaps_lost.extend(unread.iter().flat_map(|answer| stanzas(answer)));
                    self.break_off(attempt);
                }
            }
        }
        self.asleep_until = self.now + time;
    }
}

/// Between two absences, so that the edge hears of the browser.
const AWAKE: Duration = Duration::from_secs(10);
const HEADER: &str =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
