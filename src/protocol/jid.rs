//! A stand-in for the addresses until they are written: lower-case ASCII only.

use std::fmt;

/// What becomes of capitals in a site's username.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Case {
    /// They are folded.
    #[default]
    Fold,
    /// They are refused.
    Exact,
}

/// Why a text is no address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address")]
pub struct Error(String);

/// The part before the `@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Localpart(String);

/// The part after the `@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain(String);

impl Localpart {
    /// From a username.
    ///
    /// # Errors
    /// Not a name.
    pub fn of_username(name: &str, case: Case) -> Result<Self, Error> {
        let folded = name.to_ascii_lowercase();
        if name.is_empty() || !name.is_ascii() || (case == Case::Exact && folded != name) {
            return Err(Error(name.to_owned()));
        }
        Ok(Self(folded.replace(' ', "\\20")))
    }

    /// From a localpart.
    ///
    /// # Errors
    /// Not a localpart.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.contains(' ') {
            return Err(Error(text.to_owned()));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Localpart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Domain {
    /// From a domain.
    ///
    /// # Errors
    /// Not a domain.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.contains(' ') {
            return Err(Error(text.to_owned()));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
