//! The names of the XML namespaces that the edge speaks itself.

/// Stanzas between client and server (RFC 6120 §4.8.2).
pub const CLIENT: &str = "jabber:client";
/// Stream headers, features and errors (RFC 6120 §4.8.1).
pub const STREAM: &str = "http://etherx.jabber.org/streams";
/// The conditions of stream errors (RFC 6120 §4.9.2).
pub const STREAM_ERROR: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// The conditions of stanza errors (RFC 6120 §8.3.2).
pub const STANZA_ERROR: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// SASL (RFC 6120 §6).
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// STARTTLS (RFC 6120 §5).
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// Resource binding (RFC 6120 §7).
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// The elements around a stream over WebSocket (RFC 7395 §3.3).
pub const FRAMING: &str = "urn:ietf:params:xml:ns:xmpp-framing";
/// Stream management (XEP-0198).
pub const STREAM_MANAGEMENT: &str = "urn:xmpp:sm:3";
