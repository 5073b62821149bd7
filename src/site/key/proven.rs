//! Tokens whose signature has been verified: each request over BOSH shows the same one again.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use moka::sync::Cache;
use serde_json::Map;
use serde_json::Value;

/// What the tokens say that a set of keys has proven lately, by their hash. Only who has a key gets anything in here.
#[derive(Clone, Debug)]
pub(super) struct Proven(Cache<[u8; 32], Arc<Map<String, Value>>>);

impl Default for Proven {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build())
    }
}

impl Proven {
    /// What this token says: as it was when it was verified, or as `verify` has it.
    pub(super) fn claims<E>(
        &self,
        token: &[u8],
        verify: impl FnOnce() -> Result<Map<String, Value>, E>,
    ) -> Result<Arc<Map<String, Value>>, E> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        if let Some(claims) = self.0.get(&hash) {
            return Ok(claims);
        }
        let claims = Arc::new(verify()?);
        self.0.insert(hash, Arc::clone(&claims));
        Ok(claims)
    }
}

/// So many members with a session over BOSH are spared the verification; the others' takes some µs a request.
const MOST: u64 = 10_000;
/// Who has asked nothing for so long is away.
const IDLE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_verified_once_and_another_anew() {
        let proven = Proven::default();
        let mut verified = 0;
        let mut claims = |token: &[u8], proves: bool| {
            let verify = || {
                verified += 1;
                if proves { Ok(Map::new()) } else { Err("no") }
            };
            proven.claims(token, verify).is_ok()
        };

        assert!(claims(b"bob's", true));
        assert!(claims(b"bob's", false));
        assert!(!claims(b"mallory's", false));
        assert!(!claims(b"mallory's", false));
        assert_eq!(verified, 3);
    }
}
