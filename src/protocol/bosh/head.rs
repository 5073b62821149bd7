//! The start tag of a request's `<body/>`, read without building anything of it (XEP-0124 §6).

use memchr::memchr;
use memchr::memchr2;

use crate::protocol::bosh::body::Error;
use crate::protocol::xml::check;

/// A checked start tag of a body.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    /// What stands between its name and its end.
    inside: &'a str,
    /// Where it ends.
    pub(super) end: usize,
}

impl<'a> Head<'a> {
    /// Reads the start tag that `text` begins with.
    ///
    /// # Errors
    /// Where it is not that of a body.
    pub(super) fn parse(text: &'a [u8], limits: check::Limits) -> Result<Self, Error> {
        if !text.starts_with(b"<") {
            return Err(Error::NotBody);
        }
        let (root, end) = check::start_tag(text, &limits)?;
        let namespace = root.namespace.and_then(|range| text.get(range));
        if text.get(root.name.clone()) != Some(b"body") || namespace != Some(NAMESPACE) {
            return Err(Error::NotBody);
        }
        let inside = text.get(root.name.end..end).and_then(|tag| std::str::from_utf8(tag).ok());
        Ok(Self { inside: inside.unwrap_or_default(), end })
    }

    /// Its attributes, as they are written: name and value.
    ///
    /// References are left as they are: none of the values that are read has a use for one.
    pub(super) fn attributes(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut tag = self.inside;
        std::iter::from_fn(move || {
            let (name, rest) = tag.split_at_checked(memchr(b'=', tag.as_bytes())?)?;
            let start = 1 + memchr2(b'"', b'\'', rest.as_bytes())?;
            let quote = *rest.as_bytes().get(start - 1)?;
            let value = rest.get(start..)?;
            let (value, after) = value.split_at_checked(memchr(quote, value.as_bytes())?)?;
            tag = after.get(1..)?;
            Some((name.trim_ascii(), value))
        })
    }

    /// Whether an attribute of this tag is the one of this name that XEP-0206 adds: by its namespace, not its prefix.
    pub(super) fn is_of_xbosh(self, attribute: &str, local: &str) -> bool {
        let Some((prefix, name)) = attribute.split_once(':') else { return false };
        name == local
            && self.attributes().any(|(name, value)| {
                value == XBOSH
                    && name.strip_prefix("xmlns:").is_some_and(|declared| declared == prefix)
            })
    }
}

const NAMESPACE: &[u8] = b"http://jabber.org/protocol/httpbind";
const XBOSH: &str = "urn:xmpp:xbosh";
