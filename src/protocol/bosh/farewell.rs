//! What the requests that are here are told when their session ends (XEP-0124 §13, §17).

use bytes::Bytes;

use crate::protocol::bosh::answer;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::settings::Settings;

/// The end of a session, as it is told to one request after the other.
#[derive(Debug)]
pub(super) struct Farewell {
    /// Why it ends.
    pub(super) why: End,
    /// What is told of it, if anything.
    condition: Option<Condition>,
    /// The request whose fault it is.
    culprit: Option<RequestId>,
    is_said: bool,
    /// Whether the browser was given back what it said behind the end.
    pub(super) has_returned: bool,
}

impl Farewell {
    pub(super) fn new(why: End, culprit: Option<RequestId>, settings: &Settings) -> Self {
        let condition = if settings.remote_connection_failed && why == End::UpstreamLost {
            Some(Condition::RemoteConnectionFailed)
        } else {
            why.condition()
        };
        Self { why, condition, culprit, is_said: false, has_returned: false }
    }

    /// What this request is told, with what its browser has still to get; the oldest is asked for first.
    pub(super) fn say(&mut self, id: RequestId, mut content: Vec<u8>, is_legacy: bool) -> Word {
        let is_first = !std::mem::replace(&mut self.is_said, true);
        let Some(condition) = self.condition else {
            // Who leaves is told so on the oldest connection, and nothing on the others (XEP-0124 §13).
            let body = if is_first { answer::ending(None, &content) } else { answer::EMPTY };
            return Word::Body(body);
        };
        if self.culprit.is_some_and(|culprit| culprit != id) {
            return Word::last(Condition::OtherRequest, &content, is_legacy);
        }
        content.extend_from_slice(self.why.element());
        Word::last(condition, &content, is_legacy)
    }
}

/// What a request is told.
#[derive(Debug, Clone)]
pub(super) enum Word {
    /// A body.
    Body(Bytes),
    /// The status of HTTP that is for this condition, and nothing more.
    Status(Condition),
}

impl Word {
    /// What ends a session for one request.
    pub(super) fn last(condition: Condition, content: &[u8], is_legacy: bool) -> Self {
        if is_legacy && condition.status().is_some() {
            return Self::Status(condition);
        }
        Self::Body(answer::ending(Some(condition), content))
    }

    /// The same, to this request.
    pub(super) fn to(self, id: RequestId) -> Action {
        match self {
            Self::Body(body) => Action::Answer(id, body),
            Self::Status(condition) => Action::Refuse(id, condition),
        }
    }
}
