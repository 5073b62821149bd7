//! What an administrator may set about BOSH: `[bosh]` in proxy.toml.

use std::num::NonZeroU32;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// Times and bounds of a BOSH session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Longest time a request is held; a browser may ask for less. 1s to 60s: Strophe gives up after 64s.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// Longest time a browser may have no request here. 10s to 10m.
    #[serde(with = "humantime_serde")]
    pub inactivity: Duration,
    /// Longest time a prebound session waits for its browser's first request. 10s to 10m.
    #[serde(with = "humantime_serde")]
    pub attach: Duration,
    /// Longest pause a browser may ask for (XEP-0124 §10). 10s to 10m.
    #[serde(with = "humantime_serde")]
    pub pause: Duration,
    /// How long a missing rid is waited for when later ones are here. 1s to 30s.
    #[serde(with = "humantime_serde")]
    pub gap: Duration,
    /// How many sessions there may be at once, over all sites.
    pub sessions: usize,
    /// How long the login may take in a session that a browser begins itself. 5s to 5m.
    #[serde(with = "humantime_serde")]
    pub login: Duration,
    /// How much that a browser sends to the server before it has signed in is kept until it has; more ends the session.
    /// 0 B to 256 KiB.
    pub early: ByteSize,
    /// The largest request. 16 KiB to 4 MiB.
    pub body: ByteSize,
    /// How much is held at once of requests that are still arriving; one address has an eighth of it. Beyond it they get a 503.
    pub bodies: ByteSize,
    /// How long a request may take to arrive; a slower one gets a 408. 5s to 5m.
    #[serde(with = "humantime_serde")]
    pub body_time: Duration,
    /// Requests for sessions that are not there, or not the visitor's, of one IPv4 address or one /64 of IPv6: so many at
    /// once, and as many again each minute; more get a 429.
    pub unknown_sids: NonZeroU32,
    /// How much may wait for a browser before upstream is read no further. 16 KiB to 16 MiB.
    pub queue: ByteSize,
    /// How much may wait for a browser at all; more ends the session. At least `queue` and the largest stanza of upstream.
    pub queue_limit: ByteSize,
    /// Most bytes of old answers kept for repetition in one session, the last two aside. 0 B to 1 MiB.
    pub answers: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(60),
            inactivity: Duration::from_secs(60),
            attach: Duration::from_secs(60),
            pause: Duration::from_secs(120),
            gap: Duration::from_secs(3),
            sessions: 10_000,
            login: Duration::from_secs(30),
            early: ByteSize::kib(16),
            body: ByteSize::kib(256),
            bodies: ByteSize::mib(64),
            body_time: Duration::from_secs(30),
            unknown_sids: UNKNOWN_SIDS,
            queue: ByteSize::kib(256),
            queue_limit: ByteSize::mib(8),
            answers: ByteSize::kib(64),
        }
    }
}

/// After a restart, 300 browsers behind one address ask twice each for a session that is gone. Strophe begins anew on a 429
/// as on `item-not-found`, so nobody is locked out beyond it either.
const UNKNOWN_SIDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(599);
