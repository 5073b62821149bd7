//! Why a session ended: one cause for the log, one condition for the browser.

use thiserror::Error;

use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::window::Rid;

/// Why a session is over, told from the operator's side.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum End {
    /// The browser said so.
    #[error("the browser left")]
    Terminated,
    /// No request came within the inactivity.
    #[error("the browser was silent for too long")]
    Inactive,
    /// A prebound session was never picked up.
    #[error("no browser came for it")]
    NeverAttached,
    /// The browser did not sign in within the time for it.
    #[error("the browser's login took too long")]
    LoginLate,
    /// The browser failed to sign in as often as it may.
    #[error("the browser failed to sign in too often")]
    FailedSignIns,
    /// It had more requests under way than it may.
    #[error("the browser had more requests unanswered than it may")]
    TooManyRequests,
    /// A request did not show the key that was due.
    #[error("a request did not show the key that was due")]
    WrongKey,
    /// It asked again and again for nothing.
    #[error("the browser polled more often than it may")]
    PolledTooOften,
    /// A request carried what may not be passed on.
    #[error("a request was not a body of whole elements")]
    BadRequest,
    /// A rid was further ahead than a browser may be.
    #[error("rid {rid} is outside the window at {expected}")]
    OutsideWindow {
        /// What the browser sent.
        rid: Rid,
        /// What would have been next.
        expected: Rid,
    },
    /// More than may came before its turn.
    #[error("the browser sent too much before its turn")]
    TooFarAhead,
    /// More than may came before the browser had signed in.
    #[error("the browser sent too much before it had signed in")]
    TooEarly,
    /// A request carried more elements than it may.
    #[error("a request carried too many elements")]
    TooManyElements,
    /// More waited for the browser than may.
    #[error("the browser did not fetch what waited for it")]
    QueueFull,
    /// Upstream sent a stanza of more bytes than it may.
    #[error("upstream sent too large a stanza")]
    UpstreamStanza,
    /// The connection to upstream broke, or upstream closed it.
    #[error("upstream was lost")]
    UpstreamLost,
    /// Upstream, or the browser's own login, ended with a stream error: the element as the browser gets it.
    #[error("the stream ended with an error")]
    StreamError(Vec<u8>),
    /// The site signed the visitor out, or another visitor came.
    #[error("the visitor may no longer use it")]
    Revoked,
    /// We stop.
    #[error("the edge is going down")]
    ShutDown,
}

impl End {
    /// What the browser is told; none where it asked for the end itself.
    #[must_use]
    pub fn condition(&self) -> Option<Condition> {
        match self {
            Self::Terminated => None,
            // Who comes after the first two finds no session, whatever is said here: no request was there.
            Self::Inactive
            | Self::NeverAttached
            | Self::WrongKey
            | Self::OutsideWindow { .. }
            | Self::Revoked => Some(Condition::ItemNotFound),
            Self::BadRequest => Some(Condition::BadRequest),
            Self::LoginLate
            | Self::FailedSignIns
            | Self::TooManyRequests
            | Self::PolledTooOften
            | Self::TooFarAhead
            | Self::TooEarly
            | Self::TooManyElements
            | Self::QueueFull => Some(Condition::PolicyViolation),
            Self::StreamError(_) => Some(Condition::RemoteStreamError),
            Self::UpstreamStanza | Self::UpstreamLost | Self::ShutDown => {
                Some(Condition::SystemShutdown)
            }
        }
    }

    /// The element that stands inside the last body, or nothing.
    #[must_use]
    pub fn element(&self) -> &[u8] {
        match self {
            Self::StreamError(element) => element,
            Self::Terminated
            | Self::Inactive
            | Self::NeverAttached
            | Self::LoginLate
            | Self::FailedSignIns
            | Self::TooManyRequests
            | Self::WrongKey
            | Self::PolledTooOften
            | Self::BadRequest
            | Self::OutsideWindow { .. }
            | Self::TooFarAhead
            | Self::TooEarly
            | Self::TooManyElements
            | Self::QueueFull
            | Self::UpstreamStanza
            | Self::UpstreamLost
            | Self::Revoked
            | Self::ShutDown => &[],
        }
    }

    /// Whether a browser that has no request here just now should still learn of it with its next one.
    ///
    /// What it was sent before the end reaches it then, too.
    #[must_use]
    pub fn awaits_browser(&self) -> bool {
        match self {
            Self::UpstreamStanza | Self::UpstreamLost | Self::StreamError(_) => true,
            Self::Terminated
            | Self::Inactive
            | Self::NeverAttached
            | Self::LoginLate
            | Self::FailedSignIns
            | Self::TooManyRequests
            | Self::WrongKey
            | Self::PolledTooOften
            | Self::BadRequest
            | Self::OutsideWindow { .. }
            | Self::TooFarAhead
            | Self::TooEarly
            | Self::TooManyElements
            | Self::QueueFull
            | Self::Revoked
            | Self::ShutDown => false,
        }
    }
}
