//! The XMPP server: dialling it and signing in to it on a visitor's behalf.

pub mod dial;
pub mod gate;
pub mod login;
mod proxy_protocol;
mod server;
pub mod settings;
pub mod stream;
