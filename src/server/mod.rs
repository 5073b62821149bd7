//! Listening, accepting, HTTP, and the way from a path to its endpoint.

pub mod accept;
pub mod forwarded;
pub mod listen;
pub mod live;
pub mod router;
