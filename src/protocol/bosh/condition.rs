//! The terminal conditions a browser is told, a closed list (XEP-0124 §17.2).

use std::fmt;

/// Why a BOSH session, or the attempt to begin one, is over for the browser.
///
/// The specification has more. Those left out are never sent: on `host-unknown` and
/// `remote-connection-failed` Converse.js gives up for good, and an outage is not for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// What was posted is not a `<body/>` of whole, harmless elements.
    BadRequest,
    /// There is no such session, not for this browser, or its rid is outside the window.
    ItemNotFound,
    /// A bound was reached.
    PolicyViolation,
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
            Self::ItemNotFound => "item-not-found",
            Self::PolicyViolation => "policy-violation",
            Self::RemoteStreamError => "remote-stream-error",
            Self::SystemShutdown => "system-shutdown",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
