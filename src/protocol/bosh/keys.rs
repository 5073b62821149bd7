//! Keys that follow from one another, so that who only reads along cannot join in (XEP-0124 §15).

use std::collections::VecDeque;

use aws_lc_rs::digest;

use crate::protocol::bosh::window::REACH;
use crate::protocol::bosh::window::Rid;

/// What a request shows of its keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keys {
    /// The next of the sequence that runs, if it is one.
    pub key: Option<Key>,
    /// The first of a sequence that begins.
    pub new: Option<Key>,
}

/// A key: SHA-1 in hexadecimal digits, as they were written.
#[derive(Debug, Clone, Copy)]
pub struct Key([u8; DIGITS]);

impl Key {
    /// A key, if the text is one.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let digits: [u8; DIGITS] = text.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(Self(digits))
    }

    /// The key that was shown before this one; it is made of the digits as they are written.
    fn before(self) -> Self {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let digits = if self.0.iter().any(u8::is_ascii_uppercase) { UPPER } else { LOWER };
        let halves = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let mut key = [0; DIGITS];
        for (digit, half) in key.iter_mut().zip(halves) {
            *digit = digits.get(usize::from(half)).copied().unwrap_or_default();
        }
        Self(key)
    }
}

// "Because case is not significant in hexadecimal encoding, key comparisons SHOULD be case insensitive" (§15.3).
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Key {}

/// The keys of a session: the last that was shown, and those before it for repetitions.
#[derive(Debug)]
pub(super) struct Chain {
    /// The last request whose turn it was.
    last: Rid,
    /// What the key of the next request must follow.
    shown: Key,
    /// What the last requests showed, in the order of their rids.
    requests: VecDeque<(Rid, Keys)>,
}

impl Chain {
    /// The chain that a request begins, if it does.
    pub(super) fn begin(rid: Rid, keys: &Keys) -> Option<Self> {
        Some(Self { last: rid, shown: keys.new?, requests: VecDeque::from([(rid, *keys)]) })
    }

    /// Whether a request whose turn it is, or that had its turn, shows what it must.
    ///
    /// A repetition shows the same again. Where rids were done without, the key is hashed once for each of them.
    pub(super) fn admits(&mut self, rid: Rid, keys: Option<&Keys>) -> bool {
        let keys = keys.copied().unwrap_or_default();
        if rid <= self.last {
            let mut known = self.requests.iter().filter(|(known, _)| *known == rid);
            // Of those that are forgotten no answer is left either.
            return known.next().is_none_or(|(_, shown)| *shown == keys);
        }
        let Some(key) = keys.key else { return false };
        let missing = rid.get().saturating_sub(self.last.get()).saturating_sub(1).min(REACH);
        let mut shown = vec![(rid, keys)];
        let mut before = key.before();
        for number in (1..=missing).map(|back| rid.get().saturating_sub(back)) {
            shown.extend(Rid::new(number).map(|rid| (rid, Keys { key: Some(before), new: None })));
            before = before.before();
        }
        if before != self.shown {
            return false;
        }
        self.last = rid;
        self.shown = keys.new.unwrap_or(key);
        self.requests.extend(shown.into_iter().rev());
        while self.requests.len() > KEPT {
            self.requests.pop_front();
        }
        true
    }
}

const DIGITS: usize = 40;
const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
/// No fewer than there are answers that may be asked for again.
const KEPT: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_before_another_is_its_sha_1_in_digits() {
        // XEP-0124 §15.4: the key of the second example follows that of the first.
        let second = Key::read("bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d").unwrap();

        let first = Key::read("ca393b51b682f61f98e7877d61146407f3d0a770").unwrap();

        assert_eq!(second.before(), first);
    }

    #[test]
    fn case_of_digits_means_nothing_and_other_texts_are_no_keys() {
        assert_eq!(
            Key::read("BFB06A6F113CD6FD3838AB9D300FDB4FE3DA2F7D"),
            Key::read("bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d")
        );
        for text in ["", "bfb0", "gfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d"] {
            assert_eq!(Key::read(text), None, "{text}");
        }
    }
}
