//! What a request brings, as short as two under one rid can be told apart by (XEP-0124 §14.3).

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;

use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::body::Kind;
use crate::protocol::bosh::payload::Payload;

/// A digest of what a request brings, or of nothing.
///
/// It keeps apart what the tabs of one visitor send, not what an enemy would make up: who finds two with one digest loses
/// what he said himself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Content(u64);

impl Content {
    /// What this request brings: its elements, and what it asks for beside them.
    pub(super) fn of(body: &Body) -> Self {
        let elements = body.payload.as_ref();
        let is_empty = elements.is_ok_and(Payload::is_empty);
        if is_empty && body.kind == Kind::Ordinary && body.pause.is_none() {
            return Self::default();
        }
        let mut hasher = DefaultHasher::new();
        match elements {
            Ok(payload) => payload.elements().for_each(|(element, _)| element.hash(&mut hasher)),
            Err(_) => false.hash(&mut hasher),
        }
        std::mem::discriminant(&body.kind).hash(&mut hasher);
        body.pause.hash(&mut hasher);
        Self(hasher.finish().max(1))
    }

    /// Whether it cannot be what was brought before: it is something, and something else.
    ///
    /// Nothing is no other thing: it takes nothing away from anybody, and carries nothing that could be lost. So asks a page
    /// that was reloaded, for a rid that the page before it had used.
    pub(super) fn is_other_than(self, before: Self) -> bool {
        self != Self::default() && self != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::xml::check::Limits;

    fn content(attributes: &str, payload: &str) -> Content {
        let text = format!(
            "<body rid='1' {attributes} xmlns='http://jabber.org/protocol/httpbind'>{payload}</body>"
        );
        Content::of(&Body::parse(text.as_bytes(), &Limits::default()).unwrap())
    }

    #[test]
    fn copy_of_a_request_brings_nothing_other() {
        for (attributes, payload) in [
            ("", ""),
            ("", "<iq id='1'/>"),
            ("pause='60'", ""),
            ("type='terminate'", "<presence/>"),
        ] {
            let (first, copy) = (content(attributes, payload), content(attributes, payload));
            assert!(!copy.is_other_than(first), "{attributes} {payload}");
        }
    }

    #[test]
    fn nothing_is_never_other_and_always_something_is() {
        let something = content("", "<iq id='1'/>");

        assert!(!content("", "").is_other_than(something));
        assert!(something.is_other_than(content("", "")));
    }

    #[test]
    fn other_elements_and_other_wishes_are_other() {
        let something = content("", "<iq id='1'/>");

        for (attributes, payload) in [
            ("", "<iq id='2'/>"),
            ("", "<iq id='1'/><iq id='1'/>"),
            ("type='terminate'", "<iq id='1'/>"),
            ("pause='60'", "<iq id='1'/>"),
            ("", "<iq>"),
        ] {
            assert!(
                content(attributes, payload).is_other_than(something),
                "{attributes} {payload}"
            );
        }
    }
}
