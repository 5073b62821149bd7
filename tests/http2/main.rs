//! HTTP/2 of our own, held against others: what another's client asks is what is heard, and what h2spec asks of a server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod spec;
mod tunnels;
mod websocket;
