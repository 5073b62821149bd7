//! A value that never prints, compares in constant time, and is wiped when it is dropped.

use std::fmt;

use aws_lc_rs::constant_time;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error as _;
use zeroize::Zeroizing;

/// A key or password that Vestibule shares with somebody.
///
/// In `proxy.toml` it is the text itself, or `{ file = "path" }`, which the reader of the file
/// replaces by the named file's content, less its trailing newline.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes of a secret over.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves, for the one place that must show or use them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `other` is the same secret; takes as long for a wrong one as for the right one.
    #[must_use]
    pub fn matches(&self, other: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.0, other).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // An empty key signs and proves nothing, and most often it is a forgotten variable of a template.
        if text.is_empty() {
            return Err(D::Error::custom("a secret must not be empty"));
        }
        Ok(Self::new(text.as_bytes()))
    }
}

// Only tests write settings down; what they write must not be a way for a secret to get out.
#[cfg(test)]
impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_does_not_print() {
        let secret = Secret::new("hunter2");

        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn secret_matches_only_itself() {
        let secret = Secret::new("hunter2");

        assert!(secret.matches(b"hunter2"));
        assert!(!secret.matches(b"hunter3"));
        assert!(!secret.matches(b"hunter22"));
        assert!(!secret.matches(b""));
    }

    #[test]
    fn empty_secret_is_refused() {
        let read = serde_json::from_str::<Secret>("\"\"");

        assert_eq!(read.unwrap_err().to_string(), "a secret must not be empty");
    }
}
