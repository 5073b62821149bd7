//! Vestibule: the edge between the web and an XMPP server.
pub mod protocol;
