//! A ticket: good once, for seconds, for one user of one host; `prosody/mod_auth_vestibule.lua` believes it.

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::secret::Secret;

/// `[ticket]` in `proxy.toml`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long a ticket is good after it was written, at most `vestibule_max_lifetime` of the server's module (60 s).
    #[serde(with = "humantime_serde")]
    pub lifetime: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(10) }
    }
}

/// Makes the tickets of one XMPP domain.
pub struct Mint {
    key: hmac::Key,
    lifetime: Duration,
}

impl Mint {
    /// Tickets that are signed with `secret` and good for `lifetime`.
    #[must_use]
    pub fn new(secret: &Secret, lifetime: Duration) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), lifetime }
    }

    /// Makes a ticket for `localpart@domain`, both prepared: the server compares what it has prepared itself.
    ///
    /// `nonce` is random; a ticket with one that was used before is refused.
    #[must_use]
    pub fn mint(&self, localpart: &str, domain: &str, now: SystemTime, nonce: [u8; 16]) -> String {
        // A clock before 1970 is wrong in any case, and the server will say so.
        let issued = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let expires = issued.saturating_add(self.lifetime).as_millis();
        let issued = issued.as_millis();
        let nonce = BASE64_URL_SAFE_NO_PAD.encode(nonce);
        let signed = format!("{VERSION}\0{localpart}\0{domain}\0{issued}\0{expires}\0{nonce}");
        let mac = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        format!("{VERSION}.{issued}.{expires}.{nonce}.{mac}")
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mint").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

const VERSION: &str = "vt1";

#[cfg(test)]
mod tests {
    use super::*;

    fn mint() -> Mint {
        Mint::new(&Secret::new("a secret that only the tests know"), Duration::from_secs(10))
    }

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    #[test]
    fn ticket_is_as_the_servers_module_reads_it() {
        let ticket = mint().mint("bob", "xmpp.example.org", at(1_700_000_000_123), [0xff; 16]);

        // The MAC as Python's hmac module has it.
        let expected = "vt1.1700000000123.1700000010123._____________________w.xOtkOg2XjhZ2QVTdAhJfj2BiUfzagcJ216ifoIO9YAw";
        assert_eq!(ticket, expected);
    }

    #[test]
    fn signature_covers_everything_and_its_borders() {
        let mac = |localpart, domain, now, nonce| {
            let ticket = mint().mint(localpart, domain, at(now), nonce);
            ticket.rsplit_once('.').unwrap().1.to_owned()
        };
        let bob = mac("bob", "example.org", 1, [0; 16]);

        assert_eq!(mac("bob", "example.org", 1, [0; 16]), bob);
        assert_ne!(mac("eve", "example.org", 1, [0; 16]), bob);
        assert_ne!(mac("bob", "example.net", 1, [0; 16]), bob);
        assert_ne!(mac("bob", "example.org", 2, [0; 16]), bob);
        assert_ne!(mac("bob", "example.org", 1, [1; 16]), bob);
        assert_ne!(mac("bobe", "xample.org", 1, [0; 16]), bob);
    }

    #[test]
    fn longest_localpart_leaves_the_password_within_what_saslprep_takes() {
        let ticket = mint().mint(&"b".repeat(1023), "xmpp.example.org", SystemTime::now(), [0; 16]);

        // Prosody refuses passwords of more than 1023 bytes.
        assert!(ticket.len() < 128, "{ticket}");
    }

    #[test]
    fn clock_before_1970_is_no_panic() {
        let ticket = mint().mint(
            "bob",
            "example.org",
            SystemTime::UNIX_EPOCH - Duration::from_secs(1),
            [0; 16],
        );

        assert!(ticket.starts_with("vt1.0.10000."), "{ticket}");
    }
}
