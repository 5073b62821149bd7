//! XMPP over WebSocket: frames (RFC 6455) and what they carry (RFC 7395).

pub mod acceptance;
pub mod deflate;
pub mod frame;
pub mod framing;
