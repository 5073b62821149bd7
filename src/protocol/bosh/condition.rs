//! The terminal conditions a browser is told, a closed list (XEP-0124 §17.2).

use std::fmt;

/// Why a BOSH session, or the attempt to begin one, is over for the browser.
///
/// The specification has more, which are never sent:
///
/// - `host-gone`: what a site's domains were is not remembered.
/// - `improper-addressing`: no `to` is needed, because the edge chooses the domain.
/// - `internal-server-error`: whoever cannot be served gets a 503, on which clients repeat the request.
/// - `see-other-uri`: BOSH is spoken where it is asked for.
/// - `undefined-condition`: there is always another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// What was posted is not a `<body/>` of whole, harmless elements.
    BadRequest,
    /// The browser wants to be taken to a server that is not the site's. Converse.js gives up on it, which asks for none.
    HostUnknown,
    /// There is no such session, not for this browser, or its rid is outside the window.
    ItemNotFound,
    /// Another request that was here at the same time has ended the session.
    OtherRequest,
    /// A bound was reached.
    PolicyViolation,
    /// Upstream is lost, where the administrator wants it told so: Converse.js gives up on it.
    RemoteConnectionFailed,
    /// Upstream ended the stream with an error, which stands inside the body.
    RemoteStreamError,
    /// Upstream is lost, or we shut down; the browser may come back.
    SystemShutdown,
}

impl Condition {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::HostUnknown => "host-unknown",
            Self::ItemNotFound => "item-not-found",
            Self::OtherRequest => "other-request",
            Self::PolicyViolation => "policy-violation",
            Self::RemoteConnectionFailed => "remote-connection-failed",
            Self::RemoteStreamError => "remote-stream-error",
            Self::SystemShutdown => "system-shutdown",
        }
    }

    /// The status of HTTP that the condition has superseded, by which a legacy browser is told: one that named no version of
    /// BOSH when its session began (XEP-0124 §17.1).
    #[must_use]
    pub fn status(self) -> Option<u16> {
        match self {
            Self::BadRequest => Some(400),
            Self::PolicyViolation => Some(403),
            Self::ItemNotFound => Some(404),
            Self::HostUnknown
            | Self::OtherRequest
            | Self::RemoteConnectionFailed
            | Self::RemoteStreamError
            | Self::SystemShutdown => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
