//! The stream errors that the edge itself ends a stream with (RFC 6120 §4.9.3).

use std::fmt;

use crate::protocol::namespace;
use crate::protocol::xml::check;

/// Why a stream ends, as the browser is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The XML is of a kind that a server would refuse too.
    Xml(check::Error),
    /// Something else than `<open/>`, or another version of it, where a stream begins.
    BadFormat,
    /// A stanza before the login is over.
    NotAuthorized,
    /// A bound or a rule of the edge.
    PolicyViolation,
    /// The login took too long, or the browser is gone.
    ConnectionTimeout,
    /// The server behind is gone, or the edge is going; on this condition browsers come back by themselves.
    SystemShutdown,
    /// An element that has no place in an established stream.
    UnsupportedStanzaType,
}

impl StreamError {
    /// The name of the condition's element.
    #[must_use]
    pub fn condition(self) -> &'static str {
        match self {
            Self::Xml(error) => error.condition(),
            Self::BadFormat => "bad-format",
            Self::NotAuthorized => "not-authorized",
            Self::PolicyViolation => "policy-violation",
            Self::ConnectionTimeout => "connection-timeout",
            Self::SystemShutdown => "system-shutdown",
            Self::UnsupportedStanzaType => "unsupported-stanza-type",
        }
    }

    /// The error as an element that stands alone, its prefix declared.
    #[must_use]
    pub fn to_xml(self) -> String {
        format!(
            "<stream:error xmlns:stream=\"{}\"><{} xmlns=\"{}\"/></stream:error>",
            namespace::STREAM,
            self.condition(),
            namespace::STREAM_ERROR,
        )
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition())
    }
}
