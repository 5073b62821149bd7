//! What is answered under each URL.

pub mod backend;
pub mod host_meta;

/// The body of an answer: whole or streamed.
pub type Body = crate::outbound::Body;
