//! The elements that a request carries, taken out of its `<body/>` (XEP-0124 §8).

use std::ops::Range;

use thiserror::Error;

use crate::protocol::passage;
use crate::protocol::passage::Passage;
use crate::protocol::xml::check;
use crate::protocol::xml::check::Limits;

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
    passage: Passage,
}

impl Payload {
    /// Takes the elements out of a body whose start tag is checked and ends at `head`.
    ///
    /// # Errors
    /// Where what follows the tag, or one of the elements, is not well-formed or holds what is forbidden, and where there is
    /// text between them.
    pub fn parse(text: &[u8], head: usize, limits: &check::Limits) -> Result<Self, Error> {
        let mut payload = Self::default();
        let (tag, mut rest) = text.split_at_checked(head).unwrap_or_default();
        if tag.ends_with(b"/>") {
            ends(rest)?;
            return Ok(payload);
        }
        // The body is one level of them.
        let limits = Limits { depth: limits.depth.saturating_sub(1), ..*limits };
        loop {
            rest = check::trim_start(rest);
            match rest {
                [] => return Err(check::Error::Incomplete.into()),
                [b'<', b'/', end_tag @ ..] => {
                    let end = end_tag.strip_prefix(b"body").map(check::trim_start);
                    ends(end.and_then(|end| end.strip_prefix(b">")).ok_or(check::Error::EndTag)?)?;
                    return Ok(payload);
                }
                [b'<', b'!', b'[', ..] => return Err(Error::Text),
                [b'<', ..] => {}
                [..] => return Err(Error::Text),
            }
            // Alone, because it leaves the body that declares its prefixes.
            let (root, end) = check::front(rest, &limits)?;
            let (element, after) = rest.split_at_checked(end).unwrap_or_default();
            if payload.bytes.is_empty() {
                payload.bytes.reserve_exact(rest.len() - END.min(rest.len()));
            }
            let passage = passage::over_bosh(&root, element);
            payload.push(element, root.from.unwrap_or(0..0), passage);
            rest = after;
        }
    }

    /// The elements, one after the other, and whether each may go to the server from a browser that is signed in.
    pub fn elements(&self) -> impl Iterator<Item = (&[u8], Passage)> {
        let mut start = 0;
        self.borders.iter().filter_map(move |&Border { end, passage }| {
            let element = self.bytes.get(start..end);
            start = end;
            Some((element?, passage))
        })
    }

    /// Whether all of them may go to the server.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.borders.iter().all(|border| border.passage != Passage::Closed)
    }

    /// All of them as they go upstream.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes they have as they go upstream.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.borders.len()
    }

    /// How many of them are stanzas.
    #[must_use]
    pub fn stanzas(&self) -> usize {
        self.borders.iter().filter(|border| border.passage == Passage::Stanza).count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.borders.is_empty()
    }

    fn push(&mut self, element: &[u8], cut: Range<usize>, passage: Passage) {
        self.bytes.extend_from_slice(element.get(..cut.start).unwrap_or_default());
        self.bytes.extend_from_slice(element.get(cut.end..).unwrap_or_default());
        self.borders.push(Border { end: self.bytes.len(), passage });
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

/// Nothing but white space may stand behind the body.
fn ends(rest: &[u8]) -> Result<(), check::Error> {
    if check::trim_start(rest).is_empty() { Ok(()) } else { Err(check::Error::Outside) }
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

/// What stands behind the elements at least, in bytes.
const END: usize = "</body>".len();

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
        assert_eq!(with_payload("\x0c<a/>"), Err(Error::Text));
    }

    #[test]
    fn nothing_stands_behind_the_body() {
        let rest = |rest: &str| {
            let head = "<body xmlns='http://jabber.org/protocol/httpbind'>";
            let limits = check::Limits::default();
            Payload::parse(format!("{head}{rest}").as_bytes(), head.len(), &limits).map(|_| ())
        };

        assert_eq!(rest("<a/></body \n> \r\n"), Ok(()));
        for (wrong, error) in [
            ("<a/>", check::Error::Incomplete),
            ("<a/></body", check::Error::EndTag),
            ("<a/></bodyx>", check::Error::EndTag),
            ("<a/></ body>", check::Error::EndTag),
            ("<a/></a>", check::Error::EndTag),
            ("<a/></body><body>", check::Error::Outside),
            ("<a/></body>\x0c", check::Error::Outside),
        ] {
            assert_eq!(rest(wrong), Err(error.into()), "{wrong}");
        }
    }

    #[test]
    fn body_counts_as_a_level_of_its_elements() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));

        assert!(with_payload(&nested(63)).is_ok());
        assert_eq!(with_payload(&nested(64)), Err(check::Error::Depth.into()));
    }
}
