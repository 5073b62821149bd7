//! Listening, accepting, HTTP, and the way from a path to its endpoint.

pub mod accept;
pub mod bounds;
mod connection;
pub mod forwarded;
pub mod listen;
mod proxied;
pub mod router;
mod streams;
pub mod threads;
mod upload;
pub mod way;
