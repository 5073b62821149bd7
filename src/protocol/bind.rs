//! Binding a resource (RFC 6120 §7): what a browser wishes for, and what the server has given it.

use crate::protocol::namespace;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Cut;

/// A browser's request to bind a resource of its own choice (§7.7.1).
#[derive(Debug)]
pub struct Wish {
    iq: Element,
    resource: String,
}

impl Wish {
    /// The wish in what a browser says, if it is one: a request that leaves the choice to the server is none.
    #[must_use]
    pub fn parse(elements: &[u8]) -> Option<Self> {
        memchr::memmem::find(elements, namespace::BIND.as_bytes())?;
        let iq = Element::parse_in(elements, SCOPE).ok().filter(|iq| iq.name() == "iq")?;
        let resource = iq.child("bind", namespace::BIND)?.child("resource", namespace::BIND)?;
        let resource = Some(resource.text().into_owned()).filter(|name| !name.is_empty())?;
        Some(Self { iq, resource })
    }

    /// What is wished for.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The same request, in which the choice is left to the server (§7.6).
    #[must_use]
    pub fn left_to_the_server(&self) -> Vec<u8> {
        let mut iq = Element::new("iq", namespace::CLIENT);
        for (name, value) in self.iq.attributes() {
            iq = iq.with_attribute(name, value);
        }
        iq.with_child(Element::new("bind", namespace::BIND)).to_bytes()
    }
}

/// The resource of the JID that this answer of the server gives to a browser; none where it is no such answer.
#[must_use]
pub fn given(cut: &Cut<'_>) -> Option<String> {
    if cut.name() != b"iq" {
        return None;
    }
    memchr::memmem::find(cut.bytes, namespace::BIND.as_bytes())?;
    let iq = Element::parse_in(cut.bytes, SCOPE).ok()?;
    let jid = iq.child("bind", namespace::BIND)?.child("jid", namespace::BIND)?.text();
    jid.split_once('/').map(|(_, resource)| resource.to_owned())
}

/// What the header of the stream declares.
const SCOPE: &[(&str, &str)] = &[("", namespace::CLIENT)];

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(inside: &str) -> String {
        format!(
            "<iq xmlns='jabber:client' type='set' id='b1'>\
             <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{inside}</bind></iq>"
        )
    }

    // RFC 6120 §7.7.1, §7.6.1
    #[test]
    fn wish_for_a_resource_can_be_left_out_of_the_request() {
        let wish = Wish::parse(asked("<resource>balcony</resource>").as_bytes()).unwrap();

        assert_eq!(wish.resource(), "balcony");
        let left = Element::parse(&wish.left_to_the_server()).unwrap();
        assert_eq!(left, Element::parse(asked("").replace("></bind>", "/>").as_bytes()).unwrap());
    }

    #[test]
    fn what_leaves_the_choice_to_the_server_or_binds_nothing_is_no_wish() {
        for said in [
            &asked(""),
            &asked("<resource/>"),
            "<iq xmlns='jabber:client' type='set' id='b1'><resource>balcony</resource></iq>",
            "<message xmlns='jabber:client'><body>urn:ietf:params:xml:ns:xmpp-bind</body></message>",
            "",
        ] {
            assert!(Wish::parse(said.as_bytes()).is_none(), "{said}");
        }
    }

    #[test]
    fn what_the_server_has_given_is_the_resource_of_the_jid() {
        let given = |text: &str| {
            given(&Cut {
                bytes: text.as_bytes(),
                name_end: 3,
                has_namespace: false,
                declares_stream: false,
            })
        };
        let bound = asked("<jid>bob@xmpp.example.org/balcony/2</jid>");

        assert_eq!(given(&bound).as_deref(), Some("balcony/2"));
        assert_eq!(given("<iq type='result' id='b1'/>"), None);
        assert_eq!(given(&asked("")), None);
    }
}
