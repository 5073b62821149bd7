//! The protocols, pure: bytes and events in, bytes and actions out; no async, no clock, no dice.

pub mod bosh;
pub mod xml;
