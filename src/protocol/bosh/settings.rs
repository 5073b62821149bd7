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
    /// How far the inactivity grows for a browser whose requests come late: it may be away for twice as long as it was lately,
    /// up to this. 10s to 10m: not at all where it is no more than `inactivity`.
    #[serde(with = "humantime_serde")]
    pub slowest: Duration,
    /// The least time between two empty requests of a browser that polls, or has another one waiting: who goes on to ask faster has
    /// the session ended (XEP-0124 §11, §12). Whole seconds, 0s to 10s: at 0s browsers may poll as they like.
    #[serde(with = "humantime_serde")]
    pub polling: Duration,
    /// Longest time a prebound session waits for its browser's first request. 10s to 10m.
    #[serde(with = "humantime_serde")]
    pub attach: Duration,
    /// Longest pause a browser may ask for (XEP-0124 §10). 10s to 10m.
    #[serde(with = "humantime_serde")]
    pub pause: Duration,
    /// How long a missing rid is waited for when later ones are here, where the browser does not repeat it any more. 1s to 30s.
    #[serde(with = "humantime_serde")]
    pub gap: Duration,
    /// The same where it may: Strophe tries again at once, after 8s and after 27s more. At least `gap`, 1s to 2m.
    #[serde(with = "humantime_serde")]
    pub retries: Duration,
    /// How many sessions there may be at once, over all sites.
    pub sessions: usize,
    /// How long the login may take in a session that a browser begins itself. 5s to 5m.
    #[serde(with = "humantime_serde")]
    pub login: Duration,
    /// How much that a browser sends to the server before it has signed in is kept until it has; more ends the session.
    /// 0 B to 256 KiB.
    pub early: ByteSize,
    /// How much that a browser sends before its turn is kept, in requests that wait for one that is missing; more ends the
    /// session. 16 KiB to 1 MiB.
    pub ahead: ByteSize,
    /// How many elements a request may carry; more end the session. 10 to 10,000.
    pub elements: usize,
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
    /// How much goes into one answer, a stanza that is larger alone aside; the rest waits for the next request. 4 KiB to 1 MiB.
    pub answer: ByteSize,
    /// Whether a browser is told `remote-connection-failed` where upstream failed or was lost, as XEP-0124 §17.2 has it, in place of
    /// `system-shutdown` and a 503: Converse.js gives up on it.
    pub remote_connection_failed: bool,
    /// Most bytes of old answers kept for repetition in one session, the last two aside. 0 B to 1 MiB.
    pub answers: ByteSize,
    /// Whether answers are compressed (gzip) for browsers that take it. What a stranger writes and what is secret then stand in
    /// one answer whose length is seen (BREACH).
    pub compress: bool,
    /// The smallest answer that is compressed. 256 B to 64 KiB.
    pub compress_from: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(60),
            // The timers of a tab that nobody looks at run once a minute.
            inactivity: Duration::from_secs(75),
            slowest: Duration::from_secs(180),
            polling: Duration::from_secs(2),
            attach: Duration::from_secs(60),
            pause: Duration::from_secs(120),
            gap: Duration::from_secs(3),
            retries: Duration::from_secs(40),
            sessions: 10_000,
            login: Duration::from_secs(30),
            early: ByteSize::kib(16),
            ahead: ByteSize::kib(256),
            elements: 1_000,
            body: ByteSize::kib(256),
            bodies: ByteSize::mib(64),
            body_time: Duration::from_secs(30),
            unknown_sids: UNKNOWN_SIDS,
            queue: ByteSize::kib(256),
            queue_limit: ByteSize::mib(8),
            remote_connection_failed: false,
            answer: ByteSize::kib(64),
            answers: ByteSize::kib(64),
            compress: false,
            compress_from: ByteSize::kib(1),
        }
    }
}

/// After a restart, 300 browsers behind one address ask twice each for a session that is gone. Strophe begins anew on a 429
/// as on `item-not-found`, so nobody is locked out beyond it either.
const UNKNOWN_SIDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(599);

/// As many bytes as can be counted here.
pub(super) fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}
