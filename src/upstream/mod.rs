//! The XMPP server: dialling it and signing in to it on a visitor's behalf.

pub mod dial;
pub mod login;
pub mod settings;
