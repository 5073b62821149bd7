//! The listeners, and what stands between a socket and an endpoint.

pub mod forwarded;
pub mod listen;
