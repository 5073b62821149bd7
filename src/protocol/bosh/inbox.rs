//! What requests brought, in turn, until it goes to upstream or into the browser's login.

use std::collections::VecDeque;

use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::payload::Payload;

/// The elements of the requests whose turn it was, not yet acted on; only what came before its time is kept when there is no
/// action left.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    inputs: VecDeque<Input>,
    early: Early,
}

/// What a browser said to the server before it had signed in.
///
/// Strophe does so whenever it begins anew by BOSH: what was to go over the session that was lost goes before its `<auth/>`.
/// A server would close such a stream (RFC 6120, 4.3.5), and Converse.js 14, thrown out once more, is not in its rooms when it
/// is back. Nothing of it is acted on before its time: it waits until the stream is negotiated.
#[derive(Debug, Default)]
struct Early {
    elements: Vec<u8>,
    count: usize,
}

#[derive(Debug)]
enum Input {
    Payload(Payload),
    /// One of a payload that came during the login, and whether it may go to the server behind it.
    Element(Vec<u8>, bool),
    /// So many that came before their time, which is now.
    Early(Vec<u8>, usize),
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
            Input::Early(..) | Input::Restart => true,
        })
    }

    /// What came before its time has its turn now: the server has spoken, which it does first when it has bound a resource.
    pub(super) fn release_early(&mut self) {
        let Early { elements, count } = std::mem::take(&mut self.early);
        if count > 0 {
            self.inputs.push_back(Input::Early(elements, count));
        }
    }

    /// What to do with the first of it; during the login nothing goes upstream, and there is room for so much of what came
    /// too early.
    pub(super) fn next_action(&mut self, login: Option<usize>) -> Option<Action> {
        loop {
            match (self.inputs.pop_front()?, login) {
                (Input::Restart, _) => return Some(Action::Restart),
                (Input::Early(elements, count), _) => return Some(Action::Send(elements, count)),
                (Input::Element(element, true), Some(room)) if self.early.fits(&element, room) => {
                    self.early.push(&element);
                }
                (Input::Element(element, _), Some(_)) => return Some(Action::Login(element)),
                (Input::Element(element, true), None) => return Some(Action::Send(element, 1)),
                // The session ends over such a one; it goes nowhere in any case.
                (Input::Element(_, false), None) => {}
                (Input::Payload(payload), None) if payload.passes() => {
                    let count = payload.len();
                    return Some(Action::Send(payload.into_bytes(), count));
                }
                // One by one, because any of them may end the login.
                (Input::Payload(payload), _) => {
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

impl Early {
    fn fits(&self, element: &[u8], room: usize) -> bool {
        self.elements.len().saturating_add(element.len()) <= room
    }

    fn push(&mut self, element: &[u8]) {
        self.elements.extend_from_slice(element);
        self.count += 1;
    }
}
