//! Why a text is not one whole element of the kind XMPP allows.

use thiserror::Error;

/// Why a text is not one whole element of the kind XMPP allows.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// There is nothing but white space.
    #[error("there is no element")]
    Empty,
    /// The text ends inside the element.
    #[error("the text ends before its element does")]
    Incomplete,
    /// Something stands before or after the element.
    #[error("something other than white space stands outside the one element")]
    Outside,
    /// The bytes are not UTF-8.
    #[error("the text is not UTF-8")]
    Encoding,
    /// A control character, U+FFFE or U+FFFF.
    #[error("the text holds a character that XML does not allow")]
    Character,
    /// A tag or an attribute has no good name.
    #[error("a name is not one that XML allows")]
    Name,
    /// A tag is not written as tags are.
    #[error("a tag is malformed")]
    Tag,
    /// An end tag closes something else than what is open.
    #[error("an end tag does not fit its start tag")]
    EndTag,
    /// An attribute lacks its value, its quotes, or holds `<`.
    #[error("an attribute is malformed")]
    Attribute,
    /// An attribute occurs twice in one tag, by name or by namespace.
    #[error("an attribute is given twice")]
    Repeated,
    /// `]]>` stands in a text.
    #[error("a text holds the end of a CDATA section")]
    CdataEnd,
    /// A reference is malformed or stands for a forbidden character.
    #[error("a character reference is malformed")]
    Reference,
    /// An entity other than the five of XML.
    #[error("an entity is used that XML does not define")]
    Entity,
    /// A prefix is used that is not declared.
    #[error("a namespace prefix is not declared")]
    Undeclared,
    /// A declaration breaks the rules of Namespaces in XML.
    #[error("a namespace is declared wrongly")]
    Namespace,
    /// A comment.
    #[error("the text holds a comment")]
    Comment,
    /// A processing instruction or an XML declaration.
    #[error("the text holds a processing instruction")]
    Instruction,
    /// A document type declaration.
    #[error("the text holds a document type declaration")]
    DocumentType,
    /// Elements lie deeper in one another than [`Limits::depth`](crate::protocol::xml::check::Limits::depth).
    #[error("elements are nested too deep")]
    Depth,
    /// A tag has more than [`Limits::attributes`](crate::protocol::xml::check::Limits::attributes).
    #[error("a tag has too many attributes")]
    Attributes,
    /// More prefixes are declared than [`Limits::attributes`](crate::protocol::xml::check::Limits::attributes).
    #[error("too many namespace prefixes are declared")]
    Prefixes,
}

impl Error {
    /// The stream error that tells the browser (RFC 6120 §4.9.3).
    #[must_use]
    pub fn condition(self) -> &'static str {
        match self {
            Self::Comment | Self::Instruction | Self::DocumentType | Self::Entity => {
                "restricted-xml"
            }
            Self::Undeclared | Self::Namespace => "bad-namespace-prefix",
            Self::Depth | Self::Attributes | Self::Prefixes => "policy-violation",
            Self::Empty
            | Self::Incomplete
            | Self::Outside
            | Self::Encoding
            | Self::Character
            | Self::Name
            | Self::Tag
            | Self::EndTag
            | Self::Attribute
            | Self::Repeated
            | Self::CdataEnd
            | Self::Reference => "not-well-formed",
        }
    }
}
