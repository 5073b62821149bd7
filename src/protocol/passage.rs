//! What a signed-in browser may say to the server: stanzas, stream management and client state; never a second login.

use crate::protocol::namespace;
use crate::protocol::xml::check::Kind;
use crate::protocol::xml::check::Root;

/// Whether a checked element may go to the server; `root` is what the check told of `text`.
///
/// A second login could carry an authorization identity, which servers have been known to believe.
#[must_use]
pub fn is_open_to(root: &Root, text: &[u8]) -> bool {
    match root.kind {
        Kind::Message | Kind::Presence | Kind::Iq => true,
        Kind::Open | Kind::Close => false,
        Kind::Other => {
            let namespace = root.namespace.clone().and_then(|range| text.get(range));
            namespace.is_some_and(|namespace| {
                BESIDE_STANZAS.iter().any(|allowed| allowed.as_bytes() == namespace)
            })
        }
    }
}

/// Stream management (XEP-0198) and client state (XEP-0352).
const BESIDE_STANZAS: &[&str] = &[namespace::STREAM_MANAGEMENT, "urn:xmpp:csi:0"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::xml::check::Limits;
    use crate::protocol::xml::check::check;

    fn passes(text: &str) -> bool {
        is_open_to(&check(text.as_bytes(), &Limits::default()).unwrap(), text.as_bytes())
    }

    #[test]
    fn stanzas_stream_management_and_client_state_pass() {
        for element in [
            "<message/>",
            "<presence xmlns='jabber:client'/>",
            "<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
            "<enable xmlns='urn:xmpp:sm:3' resume='true'/>",
            "<active xmlns='urn:xmpp:csi:0'/>",
        ] {
            assert!(passes(element), "{element}");
        }
    }

    #[test]
    fn logins_headers_and_errors_do_not_pass_however_they_are_written() {
        for element in [
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGJvYgBib2I=</auth>",
            "<x:auth xmlns:x='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGJvYgBib2I=</x:auth>",
            "<s:auth xmlns='urn:xmpp:csi:0' xmlns:s='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>",
            "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='xmpp.test' version='1.0'/>",
            "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>",
            "<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>",
            "<auth mechanism='PLAIN'/>",
            "<message xmlns='jabber:server'/>",
        ] {
            assert!(!passes(element), "{element}");
        }
    }
}
