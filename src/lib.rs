//! Vestibule: the edge between the web and an XMPP server.

pub mod scratch;
pub mod secret;

pub mod protocol;

pub mod browser;
pub mod outbound;
pub mod tls;

pub mod origin;
pub mod pass;
pub mod site;
pub mod visitor;

pub mod upstream;

pub mod session;

pub mod endpoint;

pub mod server;

pub mod config;

pub mod gateway;
