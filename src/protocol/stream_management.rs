//! Stream management (XEP-0198): which stanzas have arrived on either side, and how a stream goes on over another connection.
//!
//! The server's acknowledgements are compared with what was sent and not yet acknowledged
//! ([`unacknowledged`]); [`client`] is the part of the one who enables and resumes, [`server`] that of the one who is asked to.

pub mod client;
pub mod server;
pub mod unacknowledged;

use thiserror::Error;

use crate::protocol::namespace;

/// What makes the other side's counting useless.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// More is acknowledged than was sent, or less than before (XEP-0198 §6).
    #[error(
        "{h} stanzas are acknowledged, where {acknowledged} were before and {sent} have been sent"
    )]
    Count {
        /// What the other side says.
        h: u32,
        /// What it said before.
        acknowledged: u32,
        /// What it could say at most.
        sent: u32,
    },
    /// An element without the count that it must have.
    #[error("<{name}/> has no count")]
    NoCount {
        /// The name of the element.
        name: String,
    },
    /// Another stream is resumed than was to be.
    #[error("another stream is resumed")]
    Other,
    /// An element that has no place now.
    #[error("<{name}/> has no place here")]
    Unexpected {
        /// The name of the element.
        name: String,
    },
}

impl Error {
    /// The stream error that the other side is told (XEP-0198 §6).
    #[must_use]
    pub fn to_xml(&self) -> String {
        let too_high = match self {
            Self::Count { h, sent, .. } => format!(
                "<handled-count-too-high xmlns='{}' h='{h}' send-count='{sent}'/>",
                namespace::STREAM_MANAGEMENT
            ),
            Self::NoCount { .. } | Self::Other | Self::Unexpected { .. } => String::new(),
        };
        format!(
            "<stream:error><undefined-condition xmlns='{}'/>{too_high}</stream:error>",
            namespace::STREAM_ERROR
        )
    }
}
