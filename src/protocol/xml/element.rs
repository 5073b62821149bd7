//! One small element, owned: for handshakes, never on the path of a stanza.

use std::borrow::Cow;

use crate::protocol::xml::error::Error;
use crate::protocol::xml::names::Name;
use crate::protocol::xml::namespaces::XML;
use crate::protocol::xml::references;
use crate::protocol::xml::scan;
use crate::protocol::xml::scan::Attribute;
use crate::protocol::xml::scan::Limits;
use crate::protocol::xml::scan::Visit;

pub use crate::protocol::xml::references::escape;

/// An element with its namespace, attributes and children.
///
/// Two are equal when they are written the same but for quotes, white space inside tags and the spelling of references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// As written: `stream:features`.
    whole: String,
    namespace: Option<String>,
    /// As written, declarations of namespaces among them, in their order.
    attributes: Vec<(String, String)>,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// Reads one whole element, checked as [`check`](crate::protocol::xml::check::check) does.
    ///
    /// # Errors
    /// The first fault in `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_in(bytes, &[])
    }

    /// The same for an element cut from a stream whose header declared prefixes; `outer` pairs each prefix with its
    /// namespace, the empty prefix with the default namespace.
    ///
    /// # Errors
    /// The first fault in `bytes` or `outer`.
    pub fn parse_in(bytes: &[u8], outer: &[(&str, &str)]) -> Result<Self, Error> {
        let mut tree = Tree::default();
        scan::scan(bytes, Limits::default(), outer, &mut tree)?;
        let mut element = tree.root.ok_or(Error::Empty)?;
        element.resolve(&mut outer.to_vec());
        match tree.fault {
            Some(fault) => Err(fault),
            None => Ok(element),
        }
    }

    /// Reads a stream's header, which is a start tag that stays open.
    ///
    /// # Errors
    /// The first fault in `bytes`, of which nothing may follow the tag.
    pub fn parse_header(bytes: &[u8]) -> Result<Self, Error> {
        let mut whole =
            bytes.trim_ascii_end().strip_suffix(b">").ok_or(Error::Incomplete)?.to_vec();
        whole.extend_from_slice(b"/>");
        Self::parse(&whole)
    }

    /// An empty element of the namespace `namespace`, which it declares.
    #[must_use]
    pub fn new(name: &str, namespace: &str) -> Self {
        let attributes = vec![("xmlns".to_owned(), namespace.to_owned())];
        let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        Self { whole: name.to_owned(), namespace, attributes, nodes: Vec::new() }
    }

    /// With the attribute `name`, in the place of one of that name it had.
    #[must_use]
    pub fn with_attribute(mut self, name: &str, value: &str) -> Self {
        match self.attributes.iter_mut().find(|(other, _)| other == name) {
            Some((_, other)) => value.clone_into(other),
            None => self.attributes.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// With `child` behind what it holds.
    #[must_use]
    pub fn with_child(mut self, child: Self) -> Self {
        self.nodes.push(Node::Element(child));
        self
    }

    /// With `text` behind what it holds.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.push_text(text);
        self
    }

    /// The name without its prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        self.whole.split_once(':').map_or(self.whole.as_str(), |(_, local)| local)
    }

    /// The prefix as written.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        self.whole.split_once(':').map(|(prefix, _)| prefix)
    }

    /// The namespace that its prefix, or the lack of one, stands for where it was read.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Whether it is `name` in `namespace`.
    #[must_use]
    pub fn is(&self, name: &str, namespace: &str) -> bool {
        self.name() == name && self.namespace() == Some(namespace)
    }

    /// The value of the attribute written as `name`, `xml:lang` and `xmlns:stream` among them.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All attributes as written, declarations of namespaces among them.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The elements directly inside.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(child) => Some(child),
            Node::Text(_) => None,
        })
    }

    /// The first element directly inside that is `name` in `namespace`.
    #[must_use]
    pub fn child(&self, name: &str, namespace: &str) -> Option<&Self> {
        self.children().find(|child| child.is(name, namespace))
    }

    /// The text directly inside, that of its children not counted.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.nodes.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        let first = texts.next().unwrap_or_default();
        texts.fold(Cow::Borrowed(first), |all, more| all + more)
    }

    /// Writes it as it was read or built, with what must be escaped escaped.
    ///
    /// A prefix that was declared around it when it was read is not declared by this.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'<');
        out.extend_from_slice(self.whole.as_bytes());
        for (name, value) in &self.attributes {
            out.push(b' ');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"='");
            escape(value, out);
            out.push(b'\'');
        }
        if self.nodes.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        for node in &self.nodes {
            match node {
                Node::Element(child) => child.write(out),
                Node::Text(text) => escape(text, out),
            }
        }
        out.extend_from_slice(b"</");
        out.extend_from_slice(self.whole.as_bytes());
        out.push(b'>');
    }

    /// What [`Element::write`] writes, alone.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn push_text(&mut self, more: &str) {
        if let Some(Node::Text(text)) = self.nodes.last_mut() {
            text.push_str(more);
        } else if !more.is_empty() {
            self.nodes.push(Node::Text(more.to_owned()));
        }
    }

    /// Gives it and all inside their namespaces; the scan has bounded the depth of this.
    fn resolve<'a>(&'a mut self, scope: &mut Vec<(&'a str, &'a str)>) {
        let Self { whole, namespace, attributes, nodes } = self;
        let outside = scope.len();
        for (name, value) in attributes.iter() {
            match name.strip_prefix("xmlns") {
                Some("") => scope.push(("", value)),
                Some(rest) => {
                    if let Some(prefix) = rest.strip_prefix(':') {
                        scope.push((prefix, value));
                    }
                }
                None => {}
            }
        }
        let prefix = whole.split_once(':').map_or("", |(prefix, _)| prefix);
        let bound = scope.iter().rev().find(|(other, _)| *other == prefix).map(|&(_, name)| name);
        let bound = if prefix == "xml" { Some(XML) } else { bound };
        *namespace = bound.filter(|name| !name.is_empty()).map(str::to_owned);
        for node in nodes {
            match node {
                Node::Element(child) => child.resolve(scope),
                Node::Text(_) => {}
            }
        }
        scope.truncate(outside);
    }
}

/// The element as far as it is scanned.
#[derive(Default)]
struct Tree {
    /// Those open, the innermost last.
    open: Vec<Element>,
    root: Option<Element>,
    /// What the scan let pass and could not be decoded: nothing, unless scan and decoding disagree.
    fault: Option<Error>,
}

impl Tree {
    fn decoded<'a>(&mut self, text: Result<Cow<'a, str>, Error>) -> Cow<'a, str> {
        text.unwrap_or_else(|fault| {
            self.fault = Some(fault);
            Cow::default()
        })
    }

    fn push_text(&mut self, text: Result<Cow<'_, str>, Error>) {
        let text = self.decoded(text);
        if let Some(element) = self.open.last_mut() {
            element.push_text(&text);
        }
    }
}

impl<'a> Visit<'a> for Tree {
    fn open(&mut self, name: &Name<'a>, _: usize) {
        let whole = self.decoded(references::literal(name.whole)).into_owned();
        self.open.push(Element {
            whole,
            namespace: None,
            attributes: Vec::new(),
            nodes: Vec::new(),
        });
    }

    fn attribute(&mut self, attribute: &Attribute<'a>) {
        let name = self.decoded(references::literal(attribute.name.whole)).into_owned();
        let value = self.decoded(references::value(attribute.value)).into_owned();
        if let Some(element) = self.open.last_mut() {
            element.attributes.push((name, value));
        }
    }

    fn text(&mut self, raw: &'a [u8]) {
        self.push_text(references::text(raw));
    }

    fn literal(&mut self, raw: &'a [u8]) {
        self.push_text(references::literal(raw));
    }

    fn close(&mut self) {
        let closed = self.open.pop();
        match (self.open.last_mut(), closed) {
            (Some(outer), Some(closed)) => outer.nodes.push(Node::Element(closed)),
            (None, closed) => self.root = closed,
            (Some(_), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_cut_from_a_stream_are_read_with_the_prefix_of_its_header() {
        let cut = b"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
            </mechanisms></stream:features>";
        let outer = [("stream", "http://etherx.jabber.org/streams"), ("", "jabber:client")];

        let features = Element::parse_in(cut, &outer).unwrap();

        assert!(features.is("features", "http://etherx.jabber.org/streams"));
        assert_eq!(features.prefix(), Some("stream"));
        let mechanisms = features.child("mechanisms", "urn:ietf:params:xml:ns:xmpp-sasl").unwrap();
        assert_eq!(
            mechanisms.child("mechanism", "urn:ietf:params:xml:ns:xmpp-sasl").unwrap().text(),
            "PLAIN"
        );
        assert_eq!(Element::parse(cut), Err(Error::Undeclared));
    }

    #[test]
    fn a_header_is_read_though_it_stays_open() {
        let header = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='7'>";

        let stream = Element::parse_header(header).unwrap();

        assert!(stream.is("stream", "http://etherx.jabber.org/streams"));
        assert_eq!(stream.attribute("id"), Some("7"));
        assert!(Element::parse_header(b"<a/>").is_err());
        assert!(Element::parse_header(b"<a><b>").is_err());
    }

    #[test]
    fn namespaces_are_those_in_scope_where_a_child_stands() {
        let text = b"<a xmlns='one' xmlns:p='two'><b/><p:b/><b xmlns=''/><b xmlns='three'/><xml:b/><b/></a>";

        let element = Element::parse(text).unwrap();

        let namespaces: Vec<_> = element.children().map(Element::namespace).collect();
        assert_eq!(
            namespaces,
            [Some("one"), Some("two"), None, Some("three"), Some(XML), Some("one")]
        );
    }

    #[test]
    fn what_was_built_is_read_back_the_same_whatever_it_holds() {
        let odd = "a<b>&\"'c\t\r\n]]> \u{1f600} &amp;";
        let built = Element::new("iq", "jabber:client")
            .with_attribute("id", "old")
            .with_attribute("id", odd)
            .with_text(odd)
            .with_child(Element::new("query", "urn:x").with_text(odd))
            .with_text("");

        let bytes = built.to_bytes();

        assert_eq!(Element::parse(&bytes).unwrap(), built);
        assert_eq!(built.attribute("id"), Some(odd));
        assert_eq!(built.text(), odd);
    }

    #[test]
    fn what_cannot_be_written_in_xml_is_replaced() {
        let built = Element::new("a", "u").with_text("\0\u{ffff}\u{1b}");

        let read = Element::parse(&built.to_bytes()).unwrap();

        assert_eq!(read.text(), "\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn text_around_children_and_in_cdata_is_one_text() {
        let element = Element::parse(b"<a>1&amp;<b>no</b>2<![CDATA[<&amp;>]]>3</a>").unwrap();

        assert_eq!(element.text(), "1&2<&amp;>3");
    }
}
