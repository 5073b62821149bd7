//! The elements that a request carries, taken out of its `<body/>` (XEP-0124 §8).

use std::ops::Range;

use thiserror::Error;

use crate::protocol::passage;
use crate::protocol::xml::check;

/// The elements of a request, each whole and checked, without its `from`.
///
/// Who sends is known from the session; what a browser writes there may be stale, and servers end streams for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    bytes: Vec<u8>,
    borders: Vec<Border>,
}

/// Where an element ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Border {
    end: usize,
    /// Whether it may go to the server from a browser that is signed in.
    passes: bool,
}

impl Payload {
    /// Takes the elements out of a body whose start tag ends at `head`.
    ///
    /// # Errors
    /// Where the whole or one of the elements is not well-formed or holds what is forbidden, and where there is text
    /// between them.
    pub fn parse(text: &[u8], head: usize, limits: &check::Limits) -> Result<Self, Error> {
        check::check(text, limits)?;
        let mut payload = Self::default();
        if text.get(..head).is_some_and(|tag| tag.ends_with(b"/>")) {
            return Ok(payload);
        }
        let mut rest = text.get(head..).unwrap_or_default();
        loop {
            rest = rest.trim_ascii_start();
            if rest.starts_with(b"</") {
                return Ok(payload);
            }
            if !rest.starts_with(b"<") || rest.starts_with(b"<!") {
                return Err(Error::Text);
            }
            // The whole is well-formed, so there is an end.
            let (element, after) =
                element_end(rest).and_then(|end| rest.split_at_checked(end)).ok_or(Error::Text)?;
            // Alone, because it leaves the body that declares its prefixes.
            let root = check::check(element, limits)?;
            let passes = passage::is_open_to(&root, element);
            payload.push(element, root.from.unwrap_or(0..0), passes);
            rest = after;
        }
    }

    /// The elements, one after the other, and whether each may go to the server from a browser that is signed in.
    pub fn elements(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let mut start = 0;
        self.borders.iter().filter_map(move |&Border { end, passes }| {
            let element = self.bytes.get(start..end);
            start = end;
            Some((element?, passes))
        })
    }

    /// Whether all of them may go to the server.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.borders.iter().all(|border| border.passes)
    }

    /// All of them as they go upstream.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.borders.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.borders.is_empty()
    }

    fn push(&mut self, element: &[u8], cut: Range<usize>, passes: bool) {
        self.bytes.extend_from_slice(element.get(..cut.start).unwrap_or_default());
        self.bytes.extend_from_slice(element.get(cut.end..).unwrap_or_default());
        self.borders.push(Border { end: self.bytes.len(), passes });
    }
}

/// What is wrong with the elements of a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// They, or the whole, are not well-formed, or hold what is forbidden.
    #[error("the body or an element in it is not harmless XML")]
    Xml(#[from] check::Error),
    /// There is text between them.
    #[error("there is text between the elements")]
    Text,
}

/// Where the first element of checked text ends.
fn element_end(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        at += memchr::memchr(b'<', text.get(at..)?)?;
        let rest = text.get(at..)?;
        if rest.starts_with(b"<![CDATA[") {
            at += memchr::memmem::find(rest, b"]]>")?;
            continue;
        }
        let end = tag_end(text, at)?;
        let tag = text.get(at..end)?;
        if tag.starts_with(b"</") {
            depth = depth.saturating_sub(1);
        } else if !tag.ends_with(b"/>") {
            depth += 1;
        }
        if depth == 0 {
            return Some(end);
        }
        at = end;
    }
}

/// Where the tag ends that begins at `start`: past the first `>` outside quotes.
pub(super) fn tag_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        at += memchr::memchr3(b'>', b'"', b'\'', text.get(at..)?)?;
        match text.get(at)? {
            b'>' => return Some(at + 1),
            quote => at += 2 + memchr::memchr(*quote, text.get(at + 1..)?)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_payload(payload: &str) -> Result<Payload, Error> {
        let head = "<body rid='7' sid='s' xmlns='http://jabber.org/protocol/httpbind'>";
        Payload::parse(
            format!("{head}{payload}</body>").as_bytes(),
            head.len(),
            &check::Limits::default(),
        )
    }

    fn elements(payload: &str) -> Vec<String> {
        let payload = with_payload(payload).unwrap();
        payload
            .elements()
            .map(|(element, _)| String::from_utf8(element.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn elements_are_taken_apart_at_their_own_borders() {
        let found = elements(
            " <presence xmlns='jabber:client'/>\n<message xmlns='jabber:client' to='a&gt;b>c/>'><body>1 &lt; 2</body>\
             <x><![CDATA[</message><a>]]></x></message><iq><q/><q></q></iq>\t",
        );

        assert_eq!(
            found,
            [
                "<presence xmlns='jabber:client'/>",
                "<message xmlns='jabber:client' to='a&gt;b>c/>'><body>1 &lt; 2</body><x><![CDATA[</message><a>]]></x></message>",
                "<iq><q/><q></q></iq>",
            ]
        );
    }

    #[test]
    fn from_is_removed_from_each_element_and_nothing_else() {
        let found = elements(
            "<message from='bob@x/old' xmlns='jabber:client'><forwarded from='kept'/></message>\
             <iq id='1' from=\"bob@x\"/>",
        );

        assert_eq!(
            found,
            ["<message xmlns='jabber:client'><forwarded from='kept'/></message>", "<iq id='1'/>"]
        );
    }

    #[test]
    fn text_between_elements_is_refused() {
        assert_eq!(with_payload("<a/>text"), Err(Error::Text));
        assert_eq!(with_payload("<![CDATA[text]]>"), Err(Error::Text));
    }
}
