//! What requests brought, in turn, until it goes to upstream or into the browser's login.

use std::collections::VecDeque;

use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::payload::Payload;
use crate::protocol::passage::Passage;

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
    stanzas: usize,
}

/// More came before its time than is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooEarly;

#[derive(Debug)]
enum Input {
    Payload(Payload),
    /// One of a payload that came during the login, and whether it may go to the server behind it.
    Element(Vec<u8>, Passage),
    /// What came before its time, which is now, with so many stanzas.
    Early(Vec<u8>, usize),
    Restart,
}

impl Inbox {
    pub(super) fn push_payload(&mut self, payload: Payload) {
        if !payload.is_empty() {
            // Mostly it is the only one.
            self.inputs.reserve_exact(1);
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
            Input::Element(_, passage) => *passage != Passage::Closed,
            Input::Early(..) | Input::Restart => true,
        })
    }

    /// What came before its time has its turn now: the server has spoken, which it does first when it has bound a resource.
    pub(super) fn release_early(&mut self) {
        let Early { elements, stanzas } = std::mem::take(&mut self.early);
        if !elements.is_empty() {
            self.inputs.push_back(Input::Early(elements, stanzas));
        }
    }

    /// What to do with the first of it; during the login nothing goes upstream, and there is room for so much of what came
    /// too early.
    ///
    /// # Errors
    /// Where there is more of that.
    pub(super) fn next_action(&mut self, login: Option<usize>) -> Result<Option<Action>, TooEarly> {
        while let Some(input) = self.inputs.pop_front() {
            match (input, login) {
                (Input::Restart, _) => return Ok(Some(Action::Restart)),
                (Input::Early(elements, stanzas), _) => {
                    return Ok(Some(Action::Send(elements, stanzas)));
                }
                (Input::Element(element, Passage::Closed), Some(_)) => {
                    return Ok(Some(Action::Login(element)));
                }
                (Input::Element(element, passage), Some(room)) => {
                    self.early.push(&element, passage, room)?;
                }
                // The session ends over such a one; it goes nowhere in any case.
                (Input::Element(_, Passage::Closed), None) => {}
                (Input::Element(element, passage), None) => {
                    let stanzas = usize::from(passage == Passage::Stanza);
                    return Ok(Some(Action::Send(element, stanzas)));
                }
                (Input::Payload(payload), None) if payload.passes() => {
                    let stanzas = payload.stanzas();
                    return Ok(Some(Action::Send(payload.into_bytes(), stanzas)));
                }
                // One by one, because any of them may end the login.
                (Input::Payload(payload), _) => {
                    let elements: Vec<_> = payload
                        .elements()
                        .map(|(element, passage)| (element.to_vec(), passage))
                        .collect();
                    for (element, passage) in elements.into_iter().rev() {
                        self.inputs.push_front(Input::Element(element, passage));
                    }
                }
            }
        }
        // The steps of a login need more than the requests behind it.
        self.inputs.shrink_to(1);
        Ok(None)
    }
}

impl Early {
    fn push(&mut self, element: &[u8], passage: Passage, room: usize) -> Result<(), TooEarly> {
        if self.elements.len().saturating_add(element.len()) > room {
            return Err(TooEarly);
        }
        self.elements.extend_from_slice(element);
        self.stanzas += usize::from(passage == Passage::Stanza);
        Ok(())
    }
}
