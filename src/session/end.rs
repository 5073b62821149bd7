//! Why a session over WebSocket is over, as the log has it.

use thiserror::Error;

use crate::metrics::bound::Bound;
use crate::protocol::stream_error::Meaning;
use crate::protocol::stream_error::StreamError;
use crate::protocol::websocket::frame;
use crate::protocol::xml::check;
use crate::protocol::xml::splitter;

/// Why a session is over.
#[derive(Debug, Error)]
pub enum End {
    /// The browser sent `<close/>`.
    #[error("the browser closed the stream")]
    BrowserClosed,
    /// The browser sent a close frame alone: it may come back and resume.
    #[error("the browser left")]
    BrowserLeft,
    /// The browser's connection is gone: it may come back and resume, and there is nobody to be told anything.
    #[error("the browser left without a word")]
    BrowserGone,
    /// The browser no longer answers pings.
    #[error("the browser fell silent")]
    BrowserSilent,
    /// The browser came back to its stream over another socket, and no longer answered on this one.
    #[error("the browser came back over another connection")]
    Replaced,
    /// The browser broke RFC 6455.
    #[error("the browser broke RFC 6455: {0}")]
    BadFrame(frame::Error),
    /// The browser broke XMPP.
    #[error("the browser's stream ended with {0}")]
    BadStream(StreamError),
    /// Upstream ended its stream without an error.
    #[error("the server closed the stream")]
    UpstreamClosed,
    /// Upstream ended its stream with an error, which means this to the browser.
    #[error("the server ended the stream with {0}")]
    UpstreamError(String, Meaning),
    /// Upstream's socket broke or ended without a word.
    #[error("the connection to the server was lost")]
    UpstreamLost,
    /// Upstream sent what cannot be cut.
    #[error("{0}")]
    BadUpstream(splitter::Error),
    /// The visitor could not be signed in while the browser was held.
    #[error("the server or the site did not answer")]
    Unavailable,
    /// The site signed the visitor out, or somebody else came with the visitor's cookie.
    #[error("the visitor may no longer use it")]
    Revoked,
    /// The site no longer knows the visitor by the cookie that the browser came with; it may come back with another.
    #[error("the site no longer knows the visitor by the cookie he came with")]
    Denied,
    /// The edge is going down.
    #[error("the edge is going down")]
    ShutDown,
}

impl End {
    /// The bound that was reached, where it was one.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        match self {
            Self::BadFrame(frame::Error::TooBig { .. }) => Some(Bound::Stanza),
            Self::BadStream(StreamError::ConnectionTimeout) => Some(Bound::Login),
            // Nothing else ends a login so: the browser has failed as often as it may.
            Self::BadStream(StreamError::PolicyViolation) => Some(Bound::FailedSignIns),
            Self::BadUpstream(splitter::Error::TooLarge { .. }) => Some(Bound::UpstreamStanza),
            Self::BadStream(StreamError::Xml(error)) => bound_of(*error),
            Self::BadFrame(_)
            | Self::BadStream(_)
            | Self::BadUpstream(_)
            | Self::BrowserClosed
            | Self::BrowserLeft
            | Self::BrowserGone
            | Self::BrowserSilent
            | Self::Replaced
            | Self::UpstreamClosed
            | Self::UpstreamError(..)
            | Self::UpstreamLost
            | Self::Unavailable
            | Self::Revoked
            | Self::Denied
            | Self::ShutDown => None,
        }
    }

    /// Whether the browser is gone and has not said that it will not come back.
    #[must_use]
    pub fn is_without_a_word(&self) -> bool {
        matches!(self, Self::BrowserGone | Self::BrowserLeft | Self::BrowserSilent | Self::Replaced)
    }
}

/// The bound that an element was beyond, where that is its fault.
#[must_use]
pub fn bound_of(error: check::Error) -> Option<Bound> {
    match error {
        check::Error::Depth => Some(Bound::Depth),
        check::Error::Attributes | check::Error::Prefixes => Some(Bound::Attributes),
        check::Error::Empty
        | check::Error::Incomplete
        | check::Error::Outside
        | check::Error::Encoding
        | check::Error::Character
        | check::Error::Name
        | check::Error::Tag
        | check::Error::EndTag
        | check::Error::Attribute
        | check::Error::Repeated
        | check::Error::CdataEnd
        | check::Error::Reference
        | check::Error::Entity
        | check::Error::Undeclared
        | check::Error::Namespace
        | check::Error::Comment
        | check::Error::Instruction
        | check::Error::DocumentType => None,
    }
}
