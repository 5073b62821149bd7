//! The protocols, pure: bytes and events in, bytes and actions out; no network, no clock, no dice.

pub mod jid;
pub mod websocket;
pub mod xml;
