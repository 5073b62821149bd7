//! HPACK (RFC 7541): header blocks read, with the table that the browser builds; and written, without one.

pub mod decoder;
pub mod encoder;
pub mod fields;
mod huffman;
mod integer;
mod names;
mod table;

/// A header block that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It breaks off.
    #[error("the header block breaks off")]
    Short,
    /// A number of it is larger than anything has use for (§5.1).
    #[error("a number is too large")]
    Number,
    /// It names a field that is in no table (§2.3.3).
    #[error("an index is in no table")]
    Index,
    /// Its Huffman code is none (§5.2).
    #[error("the Huffman code is wrong")]
    Huffman,
    /// It makes the table larger than it may be, or later than at its beginning (§4.2, §6.3).
    #[error("the size of the table changes as it may not")]
    Size,
}
