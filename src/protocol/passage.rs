//! What a signed-in browser may say to the server: stanzas, stream management and client state; never a second login.

use crate::protocol::namespace;
use crate::protocol::xml::check::Kind;
use crate::protocol::xml::check::Root;

/// What an element of a browser is to the stream of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// A stanza, which XEP-0198 counts.
    Stanza,
    /// Something else that may go there.
    Beside,
    /// It may not.
    Closed,
}

/// What a checked element is over BOSH, where the edge manages the stream with the server itself (XEP-0198), and no browser
/// may meddle; `root` is what the check told of `text`.
#[must_use]
pub fn over_bosh(root: &Root, text: &[u8]) -> Passage {
    let named = root.namespace.clone().and_then(|range| text.get(range));
    match root.kind {
        Kind::Message | Kind::Presence | Kind::Iq => Passage::Stanza,
        Kind::Other if named == Some(namespace::STREAM_MANAGEMENT.as_bytes()) => Passage::Closed,
        Kind::Open | Kind::Close | Kind::Other if is_open_to(root, text) => Passage::Beside,
        Kind::Open | Kind::Close | Kind::Other => Passage::Closed,
    }
}

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

/// An element of stream management (XEP-0198), by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Managing {
    /// `<enable/>`: both begin to count (§3).
    Enable,
    /// `<resume/>`: a stream of before is to go on (§5).
    Resume,
    /// `<r/>`: how many have arrived? (§4)
    Ask,
    /// `<a/>`: so many (§4).
    Answer,
    /// Anything else in its namespace.
    Other,
}

/// Which element of stream management a checked element is, if it is one; `root` is what the check told of `text`.
#[must_use]
pub fn managing(root: &Root, text: &[u8]) -> Option<Managing> {
    let namespace = root.namespace.clone().and_then(|range| text.get(range));
    if root.kind != Kind::Other || namespace != Some(namespace::STREAM_MANAGEMENT.as_bytes()) {
        return None;
    }
    let name = text.get(root.name.clone()).unwrap_or_default();
    Some(match name.rsplit(|&byte| byte == b':').next().unwrap_or_default() {
        b"enable" => Managing::Enable,
        b"resume" => Managing::Resume,
        b"r" => Managing::Ask,
        b"a" => Managing::Answer,
        _ => Managing::Other,
    })
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
    fn over_bosh_nobody_manages_the_stream_but_the_edge() {
        let over_bosh = |text: &str| {
            over_bosh(&check(text.as_bytes(), &Limits::default()).unwrap(), text.as_bytes())
        };

        assert_eq!(over_bosh("<iq xmlns='jabber:client'/>"), Passage::Stanza);
        assert_eq!(over_bosh("<active xmlns='urn:xmpp:csi:0'/>"), Passage::Beside);
        assert_eq!(over_bosh("<a xmlns='urn:xmpp:sm:3' h='9'/>"), Passage::Closed);
        assert_eq!(over_bosh("<s:a xmlns:s='urn:xmpp:sm:3' h='9'/>"), Passage::Closed);
        assert_eq!(over_bosh("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), Passage::Closed);
    }

    #[test]
    fn elements_of_stream_management_are_known_by_name_and_namespace_however_written() {
        let managing = |text: &str| {
            managing(&check(text.as_bytes(), &Limits::default()).unwrap(), text.as_bytes())
        };

        assert_eq!(managing("<r xmlns='urn:xmpp:sm:3'/>"), Some(Managing::Ask));
        assert_eq!(managing("<s:a xmlns:s='urn:xmpp:sm:3' h='9'/>"), Some(Managing::Answer));
        assert_eq!(managing("<resume xmlns='urn:xmpp:sm:3'/>"), Some(Managing::Resume));
        assert_eq!(managing("<enable xmlns='urn:xmpp:sm:3'/>"), Some(Managing::Enable));
        assert_eq!(managing("<resumed xmlns='urn:xmpp:sm:3'/>"), Some(Managing::Other));
        assert_eq!(managing("<r xmlns='urn:xmpp:csi:0'/>"), None);
        assert_eq!(managing("<message/>"), None);
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
