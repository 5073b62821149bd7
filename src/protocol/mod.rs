//! The protocols, pure: bytes and events in, bytes and actions out; no network, no clock, no dice.

pub mod bosh;
pub mod jid;
pub mod xml;
