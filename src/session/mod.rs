//! Tasks that own an upstream stream, the visitor it belongs to, and the browser attached to it.

pub mod bosh;
pub mod registry;
pub mod relay;
pub mod websocket;
