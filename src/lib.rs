//! Vestibule: the edge between the web and an XMPP server.

pub mod pass;
pub mod protocol;
pub mod secret;
