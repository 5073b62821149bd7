//! What an administrator may set about BOSH: `[bosh]` in proxy.toml.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// Times and bounds of a BOSH session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
    /// Most bytes that wait for a browser in one session. 64 KiB to 16 MiB, and at least two stanzas.
    pub queue: ByteSize,
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
            queue: ByteSize::mib(1),
            answers: ByteSize::kib(64),
        }
    }
}
