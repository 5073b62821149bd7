//! `[stream_management]` of proxy.toml: XEP-0198 where the edge speaks it itself.

use std::num::NonZeroU32;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use crate::protocol::stream_management::client::Limits;

/// How the edge manages its streams with XMPP servers. Over WebSocket browsers do that themselves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether sessions over BOSH have it, where the server does and the visitor's pass is a ticket.
    pub bosh: bool,
    /// How long a broken connection to the server is tried to be replaced, while the browser waits and notices nothing. What
    /// the server allows may be less.
    #[serde(with = "humantime_serde")]
    pub resume: Duration,
    /// Stanzas that the server has sent and no browser has surely got, before they are acknowledged all the same. 2 to 400:
    /// Prosody 0.12 gives up a stream with more than 500.
    pub untaken: NonZeroU32,
    /// How much that a browser has sent is kept until the server has acknowledged it; then the browser has to wait.
    /// 16 KiB to 16 MiB.
    pub unacknowledged: ByteSize,
    /// The same, in stanzas. 20 to 100,000.
    pub unacknowledged_stanzas: NonZeroU32,
}

impl Settings {
    /// The bounds, as the protocol has them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            arrived: self.untaken.get(),
            bytes: usize::try_from(self.unacknowledged.as_u64()).unwrap_or(usize::MAX),
            stanzas: self.unacknowledged_stanzas.get(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bosh: true,
            // What is said meanwhile is lost if it is in vain.
            resume: Duration::from_secs(30),
            untaken: UNTAKEN,
            unacknowledged: ByteSize::kib(256),
            unacknowledged_stanzas: UNACKNOWLEDGED,
        }
    }
}

const UNTAKEN: NonZeroU32 = NonZeroU32::MIN.saturating_add(299);
const UNACKNOWLEDGED: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);
