//! XMPP over WebSocket: frames (RFC 6455) and what they carry (RFC 7395).

pub mod frame;
pub mod framing;
