//! Vestibule: the edge between the web and an XMPP server.

pub mod secret;

pub mod protocol;

pub mod tls;

pub mod outbound;

pub mod site;

pub mod origin;

pub mod visitor;

pub mod endpoint;

pub mod server;

pub mod config;
