//! The splitter: the server's byte stream cut into its header, whole stanzas and its end.
//!
//! The server is trusted to write well-formed XML, so this finds only where elements begin and end. It is bounded, and what
//! XMPP forbids (comments, processing instructions, document types) ends the stream here too.

mod cut;
#[cfg(test)]
mod tests;

use std::mem;

use memchr::memchr;
use thiserror::Error;

pub use crate::protocol::xml::splitter::cut::Cut;

/// Cuts a stream into pieces, at whatever byte its reads were cut.
#[derive(Debug)]
pub struct Splitter {
    /// The most bytes that a piece may have.
    limit: usize,
    expected: Expected,
    place: Place,
    /// Elements open below the stream's root.
    depth: usize,
    /// What is there of a piece that is not whole; the allocation goes when the piece is whole.
    partial: Vec<u8>,
    /// Whether `partial` was given out.
    given: bool,
}

/// A piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The start tag of the stream, without the XML declaration before it.
    Header(&'a [u8]),
    /// A whole element below the stream's root.
    Stanza(Cut<'a>),
    /// The stream's end tag.
    End,
}

/// Why the server's stream cannot be cut further.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A stanza or the header has more bytes than allowed.
    #[error("a stanza of the server is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes allowed.
        limit: usize,
    },
    /// A comment, processing instruction or document type.
    #[error("the server sent a comment, a processing instruction or a document type")]
    Restricted,
    /// No stream header where one is due.
    #[error("the server did not begin with a stream header")]
    NoHeader,
    /// Text between stanzas, an element that has no name, or the like.
    #[error("the server's stream is not well-formed")]
    Malformed,
    /// Something comes behind the end of the stream.
    #[error("the server sent more after the end of its stream")]
    AfterEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// An XML declaration or the header.
    Declaration,
    Header,
    Stanzas,
    Nothing,
}

/// What the scan found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Declaration,
    Header,
    Stanza,
    End,
}

/// Where the scan stands, so that it looks at each byte once however the reads were cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between the pieces.
    Outside,
    /// In a stanza's text.
    Text,
    /// Behind `<`.
    Markup,
    /// In a start tag, outside its values.
    Tag {
        /// Whether the last byte was `/`.
        slash: bool,
    },
    /// In a value, up to this quote.
    Value(u8),
    EndTag,
    /// Behind so many bytes of `<![CDATA[`.
    Opening(usize),
    /// In a CDATA section, behind so many `]`, two at most.
    Literal(u8),
    /// In the XML declaration.
    Declaration {
        /// Whether the last byte was `?`.
        question: bool,
    },
}

impl Splitter {
    /// A splitter at the beginning of a stream; `limit` is the most bytes of one stanza.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (expected, place) = (Expected::Declaration, Place::Outside);
        Self { limit, expected, place, depth: 0, partial: Vec::new(), given: false }
    }

    /// Cuts the next whole piece off `input`, which is advanced past it.
    ///
    /// With none, all of `input` was used, and what is there of the next piece is kept. A piece that lies in `input` whole is
    /// not copied. White space between pieces is skipped.
    ///
    /// # Errors
    /// What makes the stream useless; nothing that comes after it can be trusted to be what it seems.
    pub fn next<'a, 'input: 'a>(
        &'a mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<Piece<'a>>, Error> {
        if mem::take(&mut self.given) {
            self.partial = Vec::new();
        }
        loop {
            if self.place == Place::Outside {
                *input = input.trim_ascii_start();
            }
            let Some((end, found)) = self.scan(input)? else {
                self.bound(input.len())?;
                self.partial.extend_from_slice(mem::take(input));
                return Ok(None);
            };
            self.bound(end)?;
            let (last, rest) = input.split_at_checked(end).ok_or(Error::Malformed)?;
            *input = rest;
            if found == Found::Declaration {
                self.partial = Vec::new();
                continue;
            }
            let whole = self.join(last);
            return Ok(Some(match found {
                Found::Declaration | Found::Header => Piece::Header(whole),
                Found::Stanza => Piece::Stanza(Cut::of(whole).ok_or(Error::Malformed)?),
                Found::End => Piece::End,
            }));
        }
    }

    /// Expects a new stream header (RFC 6120 §4.3.3).
    pub fn restart(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Whether it holds nothing of a piece that is not whole.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.given || self.partial.is_empty()
    }

    /// Refuses a piece that `more` bytes make too large.
    fn bound(&self, more: usize) -> Result<(), Error> {
        let fits = self.partial.len().checked_add(more).is_some_and(|length| length <= self.limit);
        if fits { Ok(()) } else { Err(Error::TooLarge { limit: self.limit }) }
    }

    /// The piece whose last bytes are `last`.
    fn join<'a>(&'a mut self, last: &'a [u8]) -> &'a [u8] {
        if self.partial.is_empty() {
            return last;
        }
        self.partial.extend_from_slice(last);
        self.given = true;
        &self.partial
    }

    /// Goes on through `bytes` to the end of the piece, if it lies there.
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<(usize, Found)>, Error> {
        let mut at = 0;
        while let Some(rest @ [first, ..]) = bytes.get(at..) {
            let mut found = None;
            at += match self.place {
                Place::Outside => self.outside(*first)?,
                Place::Markup => self.markup(*first)?,
                Place::Text => self.up_to(b'<', Place::Markup, rest),
                Place::Value(quote) => self.value(quote, rest),
                Place::Tag { slash } => self.tag(slash, rest, &mut found)?,
                Place::EndTag => self.end_tag(rest, &mut found),
                Place::Opening(seen) => self.opening(seen, *first)?,
                Place::Literal(brackets) => self.literal(brackets, rest),
                Place::Declaration { question } => self.declaration(question, *first, &mut found),
            };
            if let Some(found) = found {
                self.place = Place::Outside;
                return Ok(Some((at, found)));
            }
        }
        Ok(None)
    }

    fn outside(&mut self, first: u8) -> Result<usize, Error> {
        match self.expected {
            Expected::Nothing => return Err(Error::AfterEnd),
            Expected::Declaration | Expected::Header if first != b'<' => {
                return Err(Error::NoHeader);
            }
            Expected::Stanzas if first != b'<' => return Err(Error::Malformed),
            Expected::Declaration | Expected::Header | Expected::Stanzas => {}
        }
        self.place = Place::Markup;
        Ok(1)
    }

    fn markup(&mut self, first: u8) -> Result<usize, Error> {
        self.place = match first {
            b'/' if self.expected == Expected::Stanzas => Place::EndTag,
            b'?' if self.expected == Expected::Declaration => {
                Place::Declaration { question: false }
            }
            b'!' if self.depth > 0 => Place::Opening(2),
            b'?' | b'!' => return Err(Error::Restricted),
            b'>' | b'/' | b'=' | b'<' | b'"' | b'\'' | 0..=b' ' => return Err(Error::Malformed),
            _ => Place::Tag { slash: false },
        };
        Ok(1)
    }

    /// To the byte `end` and what follows it, or to the end of `rest`.
    fn up_to(&mut self, end: u8, next: Place, rest: &[u8]) -> usize {
        let Some(length) = memchr(end, rest) else { return rest.len() };
        self.place = next;
        length + 1
    }

    fn value(&mut self, quote: u8, rest: &[u8]) -> usize {
        let Some(length) = rest.iter().position(|&byte| byte == quote) else { return rest.len() };
        self.place = Place::Tag { slash: false };
        length + 1
    }

    fn tag(&mut self, slash: bool, rest: &[u8], found: &mut Option<Found>) -> Result<usize, Error> {
        // Most tags are short: here a plain loop is faster than memchr.
        let end = rest.iter().position(|byte| matches!(byte, b'>' | b'"' | b'\''));
        let length = end.unwrap_or(rest.len());
        let slash = match length.checked_sub(1) {
            Some(last) => rest.get(last) == Some(&b'/'),
            None => slash,
        };
        self.place = match rest.get(length) {
            None => Place::Tag { slash },
            Some(b'>') => {
                *found = self.start_tag_ended(slash)?;
                Place::Text
            }
            Some(&quote) => Place::Value(quote),
        };
        Ok(length + usize::from(end.is_some()))
    }

    fn start_tag_ended(&mut self, empty: bool) -> Result<Option<Found>, Error> {
        match self.expected {
            Expected::Declaration | Expected::Header if empty => Err(Error::NoHeader),
            Expected::Declaration | Expected::Header => {
                self.expected = Expected::Stanzas;
                Ok(Some(Found::Header))
            }
            Expected::Stanzas | Expected::Nothing => {
                self.depth += usize::from(!empty);
                Ok((self.depth == 0).then_some(Found::Stanza))
            }
        }
    }

    fn end_tag(&mut self, rest: &[u8], found: &mut Option<Found>) -> usize {
        let Some(length) = memchr(b'>', rest) else { return rest.len() };
        self.place = Place::Text;
        if let Some(depth) = self.depth.checked_sub(1) {
            self.depth = depth;
            *found = (depth == 0).then_some(Found::Stanza);
        } else {
            self.expected = Expected::Nothing;
            *found = Some(Found::End);
        }
        length + 1
    }

    fn opening(&mut self, seen: usize, first: u8) -> Result<usize, Error> {
        if CDATA.get(seen) != Some(&first) {
            return Err(Error::Restricted);
        }
        let seen = seen + 1;
        self.place = if seen == CDATA.len() { Place::Literal(0) } else { Place::Opening(seen) };
        Ok(1)
    }

    fn literal(&mut self, brackets: u8, rest: &[u8]) -> usize {
        match (rest.first(), brackets) {
            (Some(b']'), _) => {
                self.place = Place::Literal(if brackets == 0 { 1 } else { 2 });
                1
            }
            (Some(b'>'), 2) => {
                self.place = Place::Text;
                1
            }
            (_, _) => {
                self.place = Place::Literal(0);
                memchr(b']', rest).unwrap_or(rest.len())
            }
        }
    }

    fn declaration(&mut self, question: bool, first: u8, found: &mut Option<Found>) -> usize {
        if question && first == b'>' {
            self.expected = Expected::Header;
            *found = Some(Found::Declaration);
        }
        self.place = Place::Declaration { question: first == b'?' };
        1
    }
}

const CDATA: &[u8] = b"<![CDATA[";
