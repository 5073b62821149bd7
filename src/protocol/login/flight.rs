//! What is written in a login.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::protocol::jid::Domain;
use crate::protocol::language::Language;
use crate::protocol::namespace;
use crate::protocol::sasl::Mechanism;
use crate::protocol::xml::element;
use crate::protocol::xml::element::Element;
use crate::secret::Secret;

/// The header of a stream, in this language if the browser has named one.
pub(super) fn write_header(domain: &Domain, language: Option<&Language>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<stream:stream to='");
    element::escape(domain.as_str(), out);
    if let Some(language) = language {
        out.extend_from_slice(b"' xml:lang='");
        element::escape(language.as_str(), out);
    }
    out.extend_from_slice(
        b"' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    );
}

pub(super) fn write_auth(mechanism: Mechanism, message: Option<&Secret>, out: &mut Vec<u8>) {
    let mut auth =
        Element::new("auth", namespace::SASL).with_attribute("mechanism", mechanism.name());
    if let Some(message) = message {
        auth = auth.with_text(&BASE64_STANDARD.encode(message.expose()));
    }
    auth.write(out);
}

pub(super) fn write_response(message: &[u8], out: &mut Vec<u8>) {
    let response = Element::new("response", namespace::SASL);
    response.with_text(&BASE64_STANDARD.encode(message)).write(out);
}

pub(super) fn write_bind(resource: &str, out: &mut Vec<u8>) {
    let resource = Element::new("resource", namespace::BIND).with_text(resource);
    Element::new("iq", namespace::CLIENT)
        .with_attribute("type", "set")
        .with_attribute("id", "bind")
        .with_child(Element::new("bind", namespace::BIND).with_child(resource))
        .write(out);
}
