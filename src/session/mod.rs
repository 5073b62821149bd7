//! Tasks that own an upstream stream, the visitor it belongs to, and the browser attached to it.

mod aside;
pub mod bosh;
pub mod end;
pub mod mailbox;
pub mod owner;
pub mod registry;
pub mod relay;
pub mod roll;
pub mod stream_management;
pub mod waiting;
pub mod websocket;

use std::fmt;

use tracing::info;

use crate::address::Logged;

/// What the log says of a session: never a cookie, a token or a stanza.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The site's name.
    pub site: String,
    /// The visitor's JID or name, as far as it is known.
    pub visitor: String,
    /// The browser's address.
    pub address: Logged,
}

impl Subject {
    /// The one line that the operator gets of each session.
    pub fn report(&self, transport: &str, reason: &dyn fmt::Display) {
        let Self { site, visitor, address } = self;
        info!(site, visitor, transport, %address, %reason, "session ended");
    }
}
