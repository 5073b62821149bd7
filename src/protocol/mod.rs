//! Pure machines: bytes and events in, bytes and actions out.

pub mod jid;
