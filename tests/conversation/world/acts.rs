//! What browser and session do at a moment, until there is nothing to do.

use vestibule::protocol::bosh::end::End;
use vestibule::protocol::bosh::event::Action;
use vestibule::protocol::bosh::event::Event;
use vestibule::protocol::bosh::event::RequestId;

use crate::browser::stanzas;
use crate::network::Told;
use crate::world::Attempt;
use crate::world::Coming;
use crate::world::State;
use crate::world::World;
use crate::world::id;
use crate::world::milliseconds;

impl World {
    /// Browser and session do what is to be done now.
    pub(super) fn act(&mut self) {
        loop {
            self.session_acts();
            if self.is_over {
                return;
            }
            if self.asleep_until > self.now {
                break;
            }
            let Some((rid, text, messages)) = self.browser.next_request() else { break };
            let attempt = self.attempts.len() as u64;
            self.browser.requests.push(crate::browser::Request {
                rid,
                text: text.clone(),
                messages: messages.clone(),
                attempt,
                answer: None,
            });
            self.send(rid, text, messages);
        }
        self.check();
    }

    fn session_acts(&mut self) {
        while let Some(action) = self.session.next_action() {
            match action {
                Action::Answer(RequestId(attempt), answer) => {
                    let attempt = usize::try_from(attempt).expect("few");
                    let answer = std::str::from_utf8(&answer).expect("text").to_owned();
                    if !self.answered(attempt, answer) {
                        self.session.receive(Event::Dropped(id(attempt)), self.now);
                    }
                }
                Action::Send(stanzas, count) => {
                    let text = std::str::from_utf8(&stanzas).expect("text");
                    let before = self.sent_upstream.len();
                    let numbers = text.split(" id='b").skip(1);
                    self.sent_upstream.extend(
                        numbers
                            .map(|rest| rest.split('\'').next().unwrap().parse::<u64>().unwrap()),
                    );
                    assert_eq!(self.sent_upstream.len() - before, count, "{text}");
                }
                Action::Login(_) => {
                    self.session.receive(Event::SignedIn(b"<success/>"), self.now);
                }
                Action::Restart => {
                    self.session.receive(Event::Welcome(b"<stream:features/>"), self.now);
                }
                Action::Refuse(RequestId(attempt), condition) => {
                    let attempt = usize::try_from(attempt).expect("few");
                    // Over a connection that has broken it may be told so.
                    let state =
                        std::mem::replace(&mut self.attempts[attempt].state, State::Answered);
                    assert!(state == State::Broken, "it is refused: {condition}");
                }
                Action::Over(End::OutsideWindow { rid, expected })
                    if self.is_out_of_reach(rid.get(), expected.get()) =>
                {
                    self.is_over = true;
                }
                Action::Over(why) => panic!("it is over: {why}"),
            }
        }
    }

    /// An answer is handed over; whether there is somebody to take it, as far as the edge can tell.
    fn answered(&mut self, attempt: usize, answer: String) -> bool {
        let Attempt { state, fate, rid, .. } = &mut self.attempts[attempt];
        assert!(matches!(state, State::Arrived | State::Broken), "{rid} is answered twice");
        let was = std::mem::replace(state, State::Answered);
        if was == State::Broken && matches!(fate.told, Told::WithTheAnswer) {
            return false;
        }
        self.handed_out = stanzas(&answer).max().unwrap_or(0).max(self.handed_out);
        let fate = *fate;
        let is_awaited = self.browser.requests.iter().any(|one| one.rid == *rid);
        if !is_awaited {
            // Nobody is there, and the edge cannot know.
            self.perhaps_lost.extend(stanzas(&answer));
            return true;
        }
        self.answers.insert(attempt, answer);
        match (was, fate.read) {
            (State::Arrived, Some(after)) => self.will(milliseconds(after), Coming::Read, attempt),
            (State::Arrived, None) => {
                self.will(milliseconds(fate.noticed), Coming::BrowserNotices, attempt);
            }
            // The browser has noticed, or will.
            (State::Broken | State::OnItsWay | State::Answered, _) => {}
        }
        true
    }
}
