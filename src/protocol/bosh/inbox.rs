//! What requests brought, in turn, until it goes to upstream or into the browser's login.

use std::collections::VecDeque;

use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::payload::Payload;

/// The elements of the requests whose turn it was, not yet acted on; empty whenever there is no action left.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    inputs: VecDeque<Input>,
}

#[derive(Debug)]
enum Input {
    Payload(Payload),
    /// One of a payload that came during the login, and whether it may go to the server behind it.
    Element(Vec<u8>, bool),
    Restart,
}

impl Inbox {
    pub(super) fn push_payload(&mut self, payload: Payload) {
        if !payload.is_empty() {
            self.inputs.push_back(Input::Payload(payload));
        }
    }

    pub(super) fn push_restart(&mut self) {
        self.inputs.push_back(Input::Restart);
    }

    /// Whether all of it may go to the server behind the login.
    pub(super) fn passes(&self) -> bool {
        self.inputs.iter().all(|input| match input {
            Input::Payload(payload) => payload.passes(),
            Input::Element(_, passes) => *passes,
            Input::Restart => true,
        })
    }

    /// What to do with the first of it; during the login nothing goes upstream.
    pub(super) fn next_action(&mut self, login: bool) -> Option<Action> {
        loop {
            match self.inputs.pop_front()? {
                Input::Restart => return Some(Action::Restart),
                Input::Element(element, _) if login => return Some(Action::Login(element)),
                Input::Element(element, true) => return Some(Action::Send(element, 1)),
                // The session ends over such a one; it goes nowhere in any case.
                Input::Element(_, false) => {}
                Input::Payload(payload) if !login && payload.passes() => {
                    let count = payload.len();
                    return Some(Action::Send(payload.into_bytes(), count));
                }
                // One by one, because any of them may end the login.
                Input::Payload(payload) => {
                    let elements: Vec<_> = payload
                        .elements()
                        .map(|(element, passes)| (element.to_vec(), passes))
                        .collect();
                    for (element, passes) in elements.into_iter().rev() {
                        self.inputs.push_front(Input::Element(element, passes));
                    }
                }
            }
        }
    }
}
