//! The scanner: one pass over one element, nothing forbidden passes (RFC 6120 §11, XML 1.0, Namespaces in XML 1.0).
//!
//! It does not recurse, and as long as an element is of usual shape (16 levels, 16 attributes to a tag, no prefix declared)
//! it allocates nothing.

use std::ops::Range;

use serde::Deserialize;

use crate::protocol::xml::error::Error;
use crate::protocol::xml::names;
use crate::protocol::xml::names::Name;
use crate::protocol::xml::namespaces::Scopes;
use crate::protocol::xml::references;
use crate::protocol::xml::stack::Stack;

/// What one element may be made of, at most: `[xml]` of proxy.toml, for what browsers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Elements inside one another, the outermost counted. 8 to 1024.
    pub depth: u16,
    /// Attributes of one tag, and prefixes declared at one place. 8 to 1024.
    pub attributes: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, attributes: 64 }
    }
}

/// Who wants to know what the scanner sees, in the order of the text; what it was told counts only if the scan succeeds.
pub(super) trait Visit<'a> {
    /// A start tag's name, and where it begins.
    fn open(&mut self, name: &Name<'a>, at: usize);
    /// An attribute of the tag opened last.
    fn attribute(&mut self, attribute: &Attribute<'a>);
    /// Text as written, its references whole.
    fn text(&mut self, raw: &'a [u8]);
    /// The content of a CDATA section.
    fn literal(&mut self, raw: &'a [u8]);
    /// The element opened last and not yet closed ends.
    fn close(&mut self);
}

/// An attribute as written.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    /// Its name.
    pub(super) name: Name<'a>,
    /// Its value, without the quotes, its references not replaced.
    pub(super) value: &'a [u8],
    /// Where the value lies.
    pub(super) value_range: Range<usize>,
    /// Where the white space before the attribute begins; it ends with the quote behind the value.
    pub(super) begin: usize,
}

/// Scans `text`, which must be one whole element; `outer` are the prefixes that are declared around it, with the
/// namespaces they are bound to.
///
/// # Errors
/// Whatever is not one well-formed element within `limits`, by its first fault.
#[inline]
pub(super) fn scan<'a, V: Visit<'a>>(
    text: &'a [u8],
    limits: Limits,
    outer: &[(&'a str, &'a str)],
    visitor: &mut V,
) -> Result<(), Error> {
    names::check_characters(text)?;
    let mut scanner = Scanner::new(text, limits, visitor);
    for (prefix, namespace) in outer {
        scanner.scopes.declare(prefix.as_bytes(), namespace.as_bytes(), 0, u16::MAX)?;
    }
    scanner.skip_space();
    scanner.element()?;
    scanner.skip_space();
    match scanner.rest() {
        [] => Ok(()),
        [b'<', b'?', ..] => Err(Error::Instruction),
        [b'<', b'!', b'-', b'-', ..] => Err(Error::Comment),
        [..] => Err(Error::Outside),
    }
}

/// Scans the element that `text` begins with, and hands back its end; what follows is not looked at.
///
/// # Errors
/// Where there is no well-formed element within `limits`, by its first fault.
pub(super) fn front<'a, V: Visit<'a>>(
    text: &'a [u8],
    limits: Limits,
    visitor: &mut V,
) -> Result<usize, Error> {
    let mut scanner = Scanner::new(text, limits, visitor);
    scanner.element()?;
    scanner.checked()
}

/// Scans the start tag that `text` begins with, and hands back its end; what follows is not looked at.
///
/// # Errors
/// Where there is no well-formed start tag within `limits`, by its first fault.
pub(super) fn start_tag<'a, V: Visit<'a>>(
    text: &'a [u8],
    limits: Limits,
    visitor: &mut V,
) -> Result<usize, Error> {
    let mut scanner = Scanner::new(text, limits, visitor);
    scanner.begin()?;
    scanner.checked()
}

struct Scanner<'a, 'v, V> {
    text: &'a [u8],
    /// How far it is scanned.
    at: usize,
    limits: Limits,
    /// The names of the elements that are open.
    open: Stack<'a>,
    /// The names of the attributes of the tag that is being read.
    attributes: Stack<'a>,
    scopes: Scopes<'a>,
    visitor: &'v mut V,
}

impl<'a, 'v, V: Visit<'a>> Scanner<'a, 'v, V> {
    fn new(text: &'a [u8], limits: Limits, visitor: &'v mut V) -> Self {
        let (open, attributes, scopes) = (Stack::new(), Stack::new(), Scopes::default());
        Self { text, at: 0, limits, open, attributes, scopes, visitor }
    }

    /// One whole element.
    #[inline]
    fn element(&mut self) -> Result<(), Error> {
        self.begin()?;
        while !self.open.is_empty() {
            self.run()?;
            self.markup()?;
        }
        Ok(())
    }

    /// The start tag of the outermost element.
    #[inline]
    fn begin(&mut self) -> Result<(), Error> {
        match self.peek() {
            Some(b'<') => self.markup(),
            Some(_) => Err(Error::Outside),
            None => Err(Error::Empty),
        }
    }

    /// How far it is scanned, all of it characters that XML has.
    fn checked(&self) -> Result<usize, Error> {
        names::check_characters(self.text.get(..self.at).unwrap_or_default())?;
        Ok(self.at)
    }

    /// Text up to the next `<`.
    #[inline]
    fn run(&mut self) -> Result<(), Error> {
        let text = self.rest();
        let mut length = 0;
        loop {
            let rest = text.get(length..).unwrap_or_default();
            length += memchr::memchr3(b'<', b'&', b']', rest).ok_or(Error::Incomplete)?;
            match text.get(length..).unwrap_or_default() {
                [b'&', ..] => length += references::read(text.get(length..).unwrap_or_default())?.1,
                [b']', b']', b'>', ..] => return Err(Error::CdataEnd),
                [b']', ..] => length += 1,
                [..] => break,
            }
        }
        if length > 0 {
            self.visitor.text(text.get(..length).unwrap_or_default());
            self.at += length;
        }
        Ok(())
    }

    /// What begins with the `<` that the scanner stands at.
    #[inline]
    fn markup(&mut self) -> Result<(), Error> {
        self.at += 1;
        match self.peek() {
            Some(b'/') => self.end_tag(),
            Some(b'!') => self.declaration(),
            Some(b'?') => Err(Error::Instruction),
            Some(_) => self.start_tag(),
            None => Err(Error::Incomplete),
        }
    }

    #[inline]
    fn start_tag(&mut self) -> Result<(), Error> {
        if self.open.len() >= usize::from(self.limits.depth) {
            return Err(Error::Depth);
        }
        let name = names::read(self.rest())?;
        self.visitor.open(&name, self.at);
        self.at += name.whole.len();
        self.attributes.clear();
        let mut prefixed = !name.prefix.is_empty();
        let empty = loop {
            let begin = self.at;
            self.skip_space();
            match self.peek() {
                Some(b'>') => break false,
                Some(b'/') => break true,
                Some(_) if self.at > begin => prefixed |= self.attribute(begin)?,
                Some(_) => return Err(Error::Tag),
                None => return Err(Error::Incomplete),
            }
        };
        self.expect(if empty { b"/>" } else { b">" })?;
        if prefixed {
            self.resolve(&name)?;
        }
        if empty {
            self.close();
        } else {
            self.open.push(name.whole);
        }
        Ok(())
    }

    /// Reads an attribute; says whether it has a prefix that must be declared.
    #[inline]
    fn attribute(&mut self, begin: usize) -> Result<bool, Error> {
        if self.attributes.len() >= usize::from(self.limits.attributes) {
            return Err(Error::Attributes);
        }
        let name = names::read(self.rest())?;
        if self.attributes.as_slice().contains(&name.whole) {
            return Err(Error::Repeated);
        }
        self.attributes.push(name.whole);
        self.at += name.whole.len();
        self.skip_space();
        self.expect(b"=").map_err(|_| Error::Attribute)?;
        self.skip_space();
        let value = self.value()?;
        let value_range = self.at - 1 - value.len()..self.at - 1;
        let depth = self.open.len() + 1;
        let is_declaration = name.prefix == b"xmlns" || name.whole == b"xmlns";
        if is_declaration {
            let prefix = if name.prefix.is_empty() { b"".as_slice() } else { name.local };
            self.scopes.declare(prefix, value, depth, self.limits.attributes)?;
        }
        let prefixed = !is_declaration && !name.prefix.is_empty();
        self.visitor.attribute(&Attribute { name, value, value_range, begin });
        Ok(prefixed)
    }

    /// Reads a value in its quotes.
    #[inline]
    fn value(&mut self) -> Result<&'a [u8], Error> {
        let quote = self.peek().ok_or(Error::Incomplete)?;
        if quote != b'"' && quote != b'\'' {
            return Err(Error::Attribute);
        }
        self.at += 1;
        let text = self.rest();
        let mut length = 0;
        loop {
            let rest = text.get(length..).unwrap_or_default();
            length += memchr::memchr3(quote, b'<', b'&', rest).ok_or(Error::Incomplete)?;
            match text.get(length..).unwrap_or_default() {
                [b'<', ..] => return Err(Error::Attribute),
                [b'&', ..] => length += references::read(text.get(length..).unwrap_or_default())?.1,
                [..] => break,
            }
        }
        self.at += length + 1;
        text.get(..length).ok_or(Error::Incomplete)
    }

    /// A prefix may be declared behind its first use in a tag, so this waits for the tag's end.
    #[cold]
    fn resolve(&mut self, name: &Name<'a>) -> Result<(), Error> {
        if !name.prefix.is_empty() {
            self.scopes.resolve(name)?;
        }
        let mut seen = Vec::new();
        for whole in self.attributes.as_slice() {
            let attribute = names::read(whole)?;
            if attribute.prefix.is_empty() || attribute.prefix == b"xmlns" {
                continue;
            }
            let expanded = (self.scopes.resolve(&attribute)?, attribute.local);
            if seen.contains(&expanded) {
                return Err(Error::Repeated);
            }
            seen.push(expanded);
        }
        Ok(())
    }

    #[inline]
    fn end_tag(&mut self) -> Result<(), Error> {
        self.at += 1;
        // None is open where the text begins with an end tag.
        let name = self.open.pop().ok_or(Error::EndTag)?;
        self.expect(name).map_err(|_| Error::EndTag)?;
        self.skip_space();
        self.expect(b">").map_err(|_| Error::EndTag)?;
        self.close();
        Ok(())
    }

    #[inline]
    fn close(&mut self) {
        self.scopes.leave(self.open.len() + 1);
        self.visitor.close();
    }

    /// The one thing allowed that begins with `<!` is a CDATA section inside the element.
    #[cold]
    fn declaration(&mut self) -> Result<(), Error> {
        let rest = self.rest();
        if rest.starts_with(b"!--") {
            return Err(Error::Comment);
        }
        if rest.starts_with(b"!DOCTYPE") {
            return Err(Error::DocumentType);
        }
        if self.open.is_empty() {
            return Err(Error::Tag);
        }
        self.expect(b"![CDATA[").map_err(|_| Error::Tag)?;
        let content = self.rest();
        let length = memchr::memmem::find(content, b"]]>").ok_or(Error::Incomplete)?;
        self.visitor.literal(content.get(..length).unwrap_or_default());
        self.at += length + 3;
        Ok(())
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while self.peek().is_some_and(names::is_space) {
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, what: &[u8]) -> Result<(), Error> {
        if !self.rest().starts_with(what) {
            return Err(Error::Tag);
        }
        self.at += what.len();
        Ok(())
    }
}
