//! Listening, accepting, HTTP, and the way from a path to its endpoint.

pub mod accept;
pub mod bounds;
mod connection;
mod date;
pub mod forwarded;
mod http2;
pub mod lane;
pub mod listen;
mod proxied;
pub mod router;
pub mod threads;
mod upload;
pub mod way;
