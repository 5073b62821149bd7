//! The protocols, pure: bytes and events in, bytes and actions out; no async, no clock, no dice.

pub mod bind;
pub mod bosh;
pub mod bounce;
pub mod http2;
pub mod jid;
pub mod language;
pub mod login;
pub mod namespace;
pub mod passage;
pub mod sasl;
pub mod stream_error;
pub mod stream_management;
pub mod websocket;
pub mod welcome;
pub mod xml;
