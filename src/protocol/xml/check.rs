//! The check of a browser's bytes: one whole well-formed element, nothing forbidden, without building anything of it.

use std::ops::Range;

use crate::protocol::xml::names;
use crate::protocol::xml::names::Name;
use crate::protocol::xml::scan;
use crate::protocol::xml::scan::Attribute;
use crate::protocol::xml::scan::Visit;

pub use crate::protocol::xml::error::Error;
pub use crate::protocol::xml::scan::Limits;

/// What the relay needs to know of a checked element; byte ranges within its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The name of its tag, with the prefix if it has one.
    pub name: Range<usize>,
    /// Its namespace as written, without the quotes: the value of its `xmlns=''`, or of its `xmlns:p=''` where its name is
    /// `p:…`; none where its tag has no such attribute.
    pub namespace: Option<Range<usize>>,
    /// Its whole unprefixed `from=''` with the white space before it: without these bytes it is the same element
    /// without a sender.
    pub from: Option<Range<usize>>,
    /// Which of the elements that the edge knows it is.
    pub kind: Kind,
}

/// The elements of a browser that the edge tells apart.
///
/// It goes by the unprefixed name, and by the namespace as written, or its absence; whatever is written in another way is
/// [`Kind::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `<message/>`, in `jabber:client` or without a namespace.
    Message,
    /// `<presence/>`, likewise.
    Presence,
    /// `<iq/>`, likewise.
    Iq,
    /// `<open/>` of RFC 7395.
    Open,
    /// `<close/>` of RFC 7395.
    Close,
    /// Anything else.
    Other,
}

/// Checks that `text` is one whole element, with nothing but white space around it, that a server will accept.
///
/// Well-formed as both XML 1.0 and expat have it, with Namespaces in XML; no comment, processing instruction, XML
/// declaration, document type or entity but the five (RFC 6120 §11.1).
///
/// # Errors
/// The first fault in the text.
pub fn check(text: &[u8], limits: &Limits) -> Result<Root, Error> {
    let mut outermost = Outermost::default();
    scan::scan(text, *limits, &[], &mut outermost)?;
    Ok(outermost.root(text))
}

/// Checks the element that `text` begins with, as [`check`] does, and hands back its end; what follows is not looked at.
///
/// # Errors
/// The first fault in the element.
pub fn front(text: &[u8], limits: &Limits) -> Result<(Root, usize), Error> {
    let mut outermost = Outermost::default();
    let end = scan::front(text, *limits, &mut outermost)?;
    Ok((outermost.root(text), end))
}

/// Checks the start tag that `text` begins with, as [`check`] does, and hands back its end; what follows is not looked at.
///
/// # Errors
/// The first fault in the tag.
pub fn start_tag(text: &[u8], limits: &Limits) -> Result<(Root, usize), Error> {
    let mut outermost = Outermost::default();
    let end = scan::start_tag(text, *limits, &mut outermost)?;
    Ok((outermost.root(text), end))
}

/// `text` behind the white space that it begins with.
#[must_use]
pub fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !names::is_space(*byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

fn kind(name: &[u8], namespace: Option<&[u8]>) -> Kind {
    match (name, namespace) {
        (b"message", None | Some(b"jabber:client")) => Kind::Message,
        (b"presence", None | Some(b"jabber:client")) => Kind::Presence,
        (b"iq", None | Some(b"jabber:client")) => Kind::Iq,
        (b"open", Some(b"urn:ietf:params:xml:ns:xmpp-framing")) => Kind::Open,
        (b"close", Some(b"urn:ietf:params:xml:ns:xmpp-framing")) => Kind::Close,
        (_, _) => Kind::Other,
    }
}

/// Notes what the outermost tag says.
#[derive(Default)]
struct Outermost<'a> {
    name: Range<usize>,
    prefix: &'a [u8],
    namespace: Option<Range<usize>>,
    from: Option<Range<usize>>,
    tags: usize,
}

impl Outermost<'_> {
    fn root(self, text: &[u8]) -> Root {
        let Self { name, namespace, from, .. } = self;
        let bytes = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
        let kind = kind(bytes(&name), namespace.as_ref().map(bytes));
        Root { name, namespace, from, kind }
    }
}

impl<'a> Visit<'a> for Outermost<'a> {
    #[inline]
    fn open(&mut self, name: &Name<'a>, at: usize) {
        if self.tags == 0 {
            self.name = at..at + name.whole.len();
            self.prefix = name.prefix;
        }
        self.tags += 1;
    }

    #[inline]
    fn attribute(&mut self, attribute: &Attribute<'a>) {
        if self.tags > 1 {
            return;
        }
        // An element with a prefix is not of its default namespace, whatever it says there.
        let prefixed = !self.prefix.is_empty();
        let of_default = !prefixed && attribute.name.whole == b"xmlns";
        let of_prefix =
            prefixed && attribute.name.prefix == b"xmlns" && attribute.name.local == self.prefix;
        if of_default || of_prefix {
            self.namespace = Some(attribute.value_range.clone());
        }
        if attribute.name.whole == b"from" {
            self.from = Some(attribute.begin..attribute.value_range.end + 1);
        }
    }

    fn text(&mut self, _: &'a [u8]) {}

    fn literal(&mut self, _: &'a [u8]) {}

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::string_slice, reason = "a test fails by panicking")]

    use super::*;

    fn checked(text: &str) -> Result<Root, Error> {
        check(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_message_is_known_with_where_its_sender_and_namespace_stand() {
        let text = "\r\n <message to='a@b' xmlns=\"jabber:client\"\n from = 'evil@b/c' id='1'><body>hi</body></message> ";

        let root = checked(text).unwrap();

        assert_eq!(&text[root.name.clone()], "message");
        assert_eq!(&text[root.namespace.unwrap()], "jabber:client");
        assert_eq!(&text[root.from.unwrap()], "\n from = 'evil@b/c'");
        assert_eq!(root.kind, Kind::Message);
    }

    #[test]
    fn a_sender_cut_out_leaves_the_same_element_without_a_sender() {
        for text in [
            "<iq from='x'/>",
            "<iq from=\"\" to='y'/>",
            "<iq\tto='y' from='a&amp;b'><from from='z'/></iq>",
        ] {
            let root = checked(text).unwrap();

            let from = root.from.unwrap();
            let without = [&text[..from.start], &text[from.end..]].concat();

            assert_eq!(checked(&without).unwrap().from, None, "{without}");
        }
    }

    #[test]
    fn only_the_outermost_tag_and_only_unprefixed_attributes_count() {
        let text = "<iq xml:from='no' xmlns:a='u' a:from='no'><q xmlns='inner' from='no'/></iq>";

        let root = checked(text).unwrap();

        assert_eq!((root.namespace, root.from, root.kind), (None, None, Kind::Iq));
    }

    #[test]
    fn the_namespace_of_an_element_with_a_prefix_is_the_one_of_its_prefix() {
        let namespace =
            |text: &str| checked(text).unwrap().namespace.map(|range| text[range].to_owned());

        assert_eq!(
            namespace("<p:auth xmlns='mild' xmlns:q='other' xmlns:p='sharp'/>").as_deref(),
            Some("sharp")
        );
        assert_eq!(namespace("<auth xmlns:auth='mild' xmlns='sharp'/>").as_deref(), Some("sharp"));
        assert_eq!(namespace("<auth xmlns:p='mild'/>"), None);
        assert_eq!(namespace("<xml:auth xmlns='mild'/>"), None);
    }

    #[test]
    fn a_kind_goes_by_the_name_and_the_namespace() {
        let kinds = [
            ("<presence/>", Kind::Presence),
            ("<iq xmlns='jabber:client'/>", Kind::Iq),
            ("<iq xmlns='jabber:server'/>", Kind::Other),
            ("<c:iq xmlns:c='jabber:client'/>", Kind::Other),
            ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", Kind::Open),
            ("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", Kind::Close),
            ("<open/>", Kind::Other),
            ("<r xmlns='urn:xmpp:sm:3'/>", Kind::Other),
        ];

        for (text, kind) in kinds {
            assert_eq!(checked(text).unwrap().kind, kind, "{text}");
        }
    }

    #[test]
    fn element_or_tag_at_the_front_is_checked_and_what_follows_is_not_looked_at() {
        let (limits, text) =
            (Limits::default(), b"<iq a='>'><q>1 &lt; 2</q></iq></body>\x00<a".as_slice());

        let (root, end) = front(text, &limits).unwrap();
        let (_, tag) = start_tag(text, &limits).unwrap();

        assert_eq!(text.get(..end), Some(b"<iq a='>'><q>1 &lt; 2</q></iq>".as_slice()));
        assert_eq!(root.kind, Kind::Iq);
        assert_eq!(text.get(..tag), Some(b"<iq a='>'>".as_slice()));
    }

    #[test]
    fn element_or_tag_at_the_front_has_no_fault_that_the_whole_would_not_have() {
        let limits = Limits::default();
        for (fault, error) in [
            ("", Error::Empty),
            ("a<b/>", Error::Outside),
            ("</a>", Error::EndTag),
            ("<!-- c --><a/>", Error::Comment),
            ("<?xml version='1.0'?><a/>", Error::Instruction),
            ("<!DOCTYPE a><a/>", Error::DocumentType),
            ("<![CDATA[a]]>", Error::Tag),
            ("<a b='\x01'/>", Error::Character),
            ("<a b='1' b='2'/>", Error::Repeated),
            ("<p:a/>", Error::Undeclared),
            ("<a", Error::Incomplete),
        ] {
            assert_eq!(front(fault.as_bytes(), &limits), Err(error), "{fault}");
            assert_eq!(start_tag(fault.as_bytes(), &limits), Err(error), "{fault}");
        }
        assert_eq!(front(b"<a b='\xff'/>", &limits), Err(Error::Encoding));
        assert_eq!(front(b"<a>\x01</a>", &limits), Err(Error::Character));
        assert_eq!(front(b"<a><b></a>", &limits), Err(Error::EndTag));
        assert_eq!(front(b"<a>", &limits), Err(Error::Incomplete));
    }

    #[test]
    fn depth_and_attributes_are_bounded_to_the_one() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        let wide = |count: usize| {
            let attributes: Vec<String> =
                (0..count).map(|number| format!("a{number}=''")).collect();
            format!("<a {}/>", attributes.join(" "))
        };

        assert!(checked(&nested(64)).is_ok());
        assert_eq!(checked(&nested(65)), Err(Error::Depth));
        assert!(checked(&wide(64)).is_ok());
        assert_eq!(checked(&wide(65)), Err(Error::Attributes));
    }

    #[test]
    fn prefixes_in_scope_are_bounded_however_they_are_spread() {
        let declared = |levels: usize| {
            let tag = |level| format!("<a xmlns:p{level}='u{level}'>");
            (0..levels).map(tag).collect::<String>() + &"</a>".repeat(levels)
        };
        let limits = Limits { depth: 64, attributes: 8 };

        assert!(check(declared(8).as_bytes(), &limits).is_ok());
        assert_eq!(check(declared(9).as_bytes(), &limits), Err(Error::Prefixes));
        assert!(
            check(format!("<a>{}{}</a>", declared(8), declared(8)).as_bytes(), &limits).is_ok()
        );
    }
}
