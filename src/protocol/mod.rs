//! The protocols, pure: bytes and events in, bytes and actions out; no async, no clock, no dice.

pub mod bosh;
pub mod jid;
pub mod login;
pub mod namespace;
pub mod passage;
pub mod sasl;
pub mod stream_error;
pub mod websocket;
pub mod welcome;
pub mod xml;
