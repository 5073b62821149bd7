//! What is logged, and how: `[log]`.

use serde::Deserialize;

use crate::address::Addresses;

/// The log, which goes to standard error.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for programs.
    pub format: Format,
    /// How much.
    pub level: Level,
    /// What is said of browsers' addresses.
    pub addresses: Addresses,
}

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One line of text.
    #[default]
    Text,
    /// One line of JSON.
    Json,
}

/// Which events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What needs somebody.
    Error,
    /// And what may need somebody.
    Warn,
    /// And one line per session.
    #[default]
    Info,
    /// And why each request ended as it did.
    Debug,
    /// And everything else that can be said without a secret.
    Trace,
}

impl From<Level> for tracing::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}
