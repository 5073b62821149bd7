//! Vestibule: the edge between the web and an XMPP server.

pub mod scratch;
pub mod secret;

pub mod protocol;

pub mod tls;
pub mod browser;

pub mod pass;

pub mod upstream;

pub mod session;
