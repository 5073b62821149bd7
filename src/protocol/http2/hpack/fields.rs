//! The fields of one header block, as they were written: names and values in one piece of memory.

use bytes::Bytes;
use http::HeaderName;

use crate::protocol::http2::hpack::names;

/// What a header block may hold; what is more is read and not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Fields, those of the request line not counted.
    pub fields: usize,
    /// Bytes, as RFC 9113 §6.5.2 counts them.
    pub bytes: usize,
}

/// The fields, in their order.
#[derive(Debug)]
pub struct Fields {
    /// What they are made of.
    pub(super) octets: Vec<u8>,
    list: Vec<Field>,
    most: Most,
    /// As the RFC counts it.
    bytes: usize,
    regular: usize,
}

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    name: Name,
    value: Span,
}

/// A name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// By its place in the static table.
    Static(u8),
    Octets(Span),
}

/// A part of the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    from: usize,
    to: usize,
}

/// A name that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// One that is known without a look.
    Known(&'static HeaderName),
    /// Any other, which may be no name at all; those of a request line begin with a colon.
    Octets(&'a [u8]),
}

impl Fields {
    /// None yet, of a header block of so many bytes.
    #[must_use]
    pub fn with_capacity(block: usize, most: Most) -> Self {
        // What is repeated is longer than it was written, as a rule.
        let octets = Vec::with_capacity(block.saturating_mul(2).min(most.bytes));
        Self { octets, list: Vec::with_capacity(FIELDS), most, bytes: 0, regular: 0 }
    }

    /// Whether all of them are here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.bytes <= self.most.bytes && self.regular <= self.most.fields
    }

    /// The values, to be had by their spans, and every name with its value.
    pub fn into_parts(self) -> (Bytes, impl Iterator<Item = (OwnedName, std::ops::Range<usize>)>) {
        let fields = self.list.into_iter();
        (
            Bytes::from(self.octets),
            fields.map(|Field { name, value }| (name.owned(), value.from..value.to)),
        )
    }

    /// Begins a text at the end of the octets.
    pub(super) fn begin(&self) -> usize {
        self.octets.len()
    }

    /// The text since then.
    pub(super) fn since(&self, from: usize) -> Span {
        Span { from, to: self.octets.len() }
    }

    pub(super) fn text(&self, Span { from, to }: Span) -> &[u8] {
        self.octets.get(from..to).unwrap_or_default()
    }

    /// Keeps a field of which all that was written since `from` is; or none of it, where that is too much.
    pub(super) fn keep(&mut self, name: Name, value: Span, from: usize) {
        let name_text = match name {
            Name::Static(index) => {
                names::get(usize::from(index)).map_or("", |(name, _)| name).as_bytes()
            }
            Name::Octets(span) => self.text(span),
        };
        let bytes = name_text.len() + (value.to - value.from) + OVERHEAD;
        self.regular += usize::from(name_text.first() != Some(&b':'));
        self.bytes = self.bytes.saturating_add(bytes);
        if self.is_whole() && self.list.len() <= self.most.fields.saturating_add(PSEUDO) {
            self.list.push(Field { name, value });
        } else {
            // Nothing that follows is kept either.
            self.bytes = self.bytes.max(self.most.bytes.saturating_add(1));
            self.octets.truncate(from);
        }
    }
}

/// A name, apart from what it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedName(Name);

impl OwnedName {
    /// The name, of a field whose octets these are.
    #[must_use]
    pub fn said<'a>(&self, octets: &'a [u8]) -> Said<'a> {
        match self.0 {
            Name::Static(index) => match names::header_name(index) {
                Some(name) => Said::Known(name),
                None => Said::Octets(
                    names::get(usize::from(index)).map_or("", |(name, _)| name).as_bytes(),
                ),
            },
            Name::Octets(Span { from, to }) => {
                Said::Octets(octets.get(from..to).unwrap_or_default())
            }
        }
    }
}

impl Name {
    fn owned(self) -> OwnedName {
        OwnedName(self)
    }
}

/// What each field counts for beside its name and value (RFC 9113 §6.5.2).
const OVERHEAD: usize = 32;
/// What there is room for at first; browsers send some twenty.
const FIELDS: usize = 24;
/// Fields that make up a request line, with some to be refused.
const PSEUDO: usize = 8;
