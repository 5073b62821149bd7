//! A whole stanza of the server: where its tag's name ends, and what it declares.

/// A whole element below the stream's root, as the server wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// Where its tag's name ends, which is where an attribute can be put in.
    pub name_end: usize,
    /// Whether its tag has `xmlns=`.
    pub has_namespace: bool,
    /// Whether its tag has `xmlns:stream=`.
    pub declares_stream: bool,
}

impl<'a> Cut<'a> {
    /// Reads the tag of a whole element, which the scan has found to have an end.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let ends_name = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>');
        let name_end = bytes.iter().position(ends_name)?;
        let mut cut = Self { bytes, name_end, has_namespace: false, declares_stream: false };
        let mut rest = bytes.get(name_end..)?.trim_ascii_start();
        while !matches!(rest, [b'>' | b'/', ..]) {
            let (name, after) = rest.split_at_checked(position(b'=', rest)?)?;
            match name.trim_ascii_end() {
                b"xmlns" => cut.has_namespace = true,
                b"xmlns:stream" => cut.declares_stream = true,
                _ => {}
            }
            let after = after.get(1..)?.trim_ascii_start();
            let (quote, value) = after.split_first()?;
            rest = value.get(position(*quote, value)? + 1..)?.trim_ascii_start();
        }
        Some(cut)
    }

    /// The name of its tag, with its prefix.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.bytes.get(1..self.name_end).unwrap_or_default()
    }

    /// Whether it is a message, a presence or an iq of the stream: what XEP-0198 counts.
    #[must_use]
    pub fn is_stanza(&self) -> bool {
        matches!(self.name(), b"message" | b"presence" | b"iq")
    }

    /// Writes it so that it means the same outside its stream: with the stream's default namespace and the declaration of
    /// the prefix `stream` where it lacks and needs them.
    pub fn write_alone(&self, out: &mut Vec<u8>) {
        let (name, rest) = self.bytes.split_at_checked(self.name_end).unwrap_or_default();
        out.extend_from_slice(name);
        if !self.has_namespace {
            out.extend_from_slice(b" xmlns='jabber:client'");
        }
        if !self.declares_stream && name.starts_with(b"<stream:") {
            out.extend_from_slice(b" xmlns:stream='http://etherx.jabber.org/streams'");
        }
        out.extend_from_slice(rest);
    }
}

/// Names and values are short: here a plain loop is faster than memchr.
fn position(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&other| other == byte)
}
