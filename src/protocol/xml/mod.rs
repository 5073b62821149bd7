//! XML as XMPP allows it (RFC 6120 §11): streams cut into stanzas, single elements checked, small ones read and written.

pub mod check;
pub mod element;
mod error;
mod names;
mod namespaces;
mod references;
mod scan;
pub mod splitter;
mod stack;
