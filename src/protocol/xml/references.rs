//! References (`&amp;`, `&#64;`) and white space: what the bytes of a checked text mean, and how to write what one means.

use std::borrow::Cow;

use crate::protocol::xml::error::Error;
use crate::protocol::xml::names;

/// The character that the reference at the beginning of `text` stands for, and the reference's length.
///
/// # Errors
/// [`Error::Entity`] for any entity but the five of XML itself, [`Error::Reference`] for what is no reference or stands
/// for a character that XML has not.
pub(super) fn read(text: &[u8]) -> Result<(char, usize), Error> {
    let end = memchr::memchr(b';', text).ok_or(Error::Reference)?;
    let character = match text.get(1..end).ok_or(Error::Reference)? {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        _ => return Err(Error::Entity),
    };
    Ok((character, end + 1))
}

fn number(digits: &[u8], radix: u32) -> Result<char, Error> {
    if digits.is_empty() {
        return Err(Error::Reference);
    }
    let mut code = 0_u32;
    for &digit in digits {
        let digit = char::from(digit).to_digit(radix).ok_or(Error::Reference)?;
        code = code
            .checked_mul(radix)
            .and_then(|code| code.checked_add(digit))
            .ok_or(Error::Reference)?;
    }
    char::from_u32(code).filter(|&character| names::is_character(character)).ok_or(Error::Reference)
}

/// An attribute's value as a parser gives it: references replaced, each line end and tab a space (XML 1.0 §3.3.3).
///
/// # Errors
/// As [`read`], and [`Error::Encoding`]; none for a text that was checked.
pub(super) fn value(raw: &[u8]) -> Result<Cow<'_, str>, Error> {
    decode(raw, b' ')
}

/// A text as a parser gives it: references replaced, each line end a line feed (XML 1.0 §2.11).
///
/// # Errors
/// As [`value`].
pub(super) fn text(raw: &[u8]) -> Result<Cow<'_, str>, Error> {
    decode(raw, b'\n')
}

/// A CDATA section's content as a parser gives it: only line ends are changed.
///
/// # Errors
/// [`Error::Encoding`]; none for a text that was checked.
pub(super) fn literal(raw: &[u8]) -> Result<Cow<'_, str>, Error> {
    let raw = str::from_utf8(raw).map_err(|_| Error::Encoding)?;
    Ok(if raw.contains('\r') {
        raw.replace("\r\n", "\n").replace('\r', "\n").into()
    } else {
        raw.into()
    })
}

fn decode(raw: &[u8], line_end: u8) -> Result<Cow<'_, str>, Error> {
    let changed = |&byte: &u8| match byte {
        b'&' | b'\r' => true,
        b'\n' | b'\t' => line_end == b' ',
        _ => false,
    };
    if !raw.iter().any(changed) {
        return str::from_utf8(raw).map(Cow::Borrowed).map_err(|_| Error::Encoding);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((run, after)) =
        rest.iter().position(changed).and_then(|at| rest.split_at_checked(at))
    {
        decoded.extend_from_slice(run);
        let length = if after.first() == Some(&b'&') {
            let (character, length) = read(after)?;
            decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            length
        } else {
            decoded.push(line_end);
            if after.starts_with(b"\r\n") { 2 } else { 1 }
        };
        rest = after.get(length..).unwrap_or_default();
    }
    decoded.extend_from_slice(rest);
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Error::Encoding)
}

/// Writes `text` so that it means itself both in a text and in a value in quotes.
///
/// A tab or line end is written as a reference, since a parser makes a space of it in a value. What XML has no way to
/// write (control characters, U+FFFE, U+FFFF) becomes U+FFFD.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    // Most texts mean themselves as they stand.
    let mut rest = text;
    while let Some((plain, after)) =
        rest.bytes().position(|byte| !means_itself(byte)).and_then(|at| rest.split_at_checked(at))
    {
        out.extend_from_slice(plain.as_bytes());
        let mut characters = after.chars();
        if let Some(character) = characters.next() {
            write_escaped(character, out);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Whether a byte is a character that needs no escape; the first of several never is.
fn means_itself(byte: u8) -> bool {
    matches!(byte, b' '..=0x7f) && !matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'')
}

fn write_escaped(character: char, out: &mut Vec<u8>) {
    match character {
        '&' => out.extend_from_slice(b"&amp;"),
        '<' => out.extend_from_slice(b"&lt;"),
        '>' => out.extend_from_slice(b"&gt;"),
        '"' => out.extend_from_slice(b"&quot;"),
        '\'' => out.extend_from_slice(b"&apos;"),
        '\t' => out.extend_from_slice(b"&#9;"),
        '\n' => out.extend_from_slice(b"&#10;"),
        '\r' => out.extend_from_slice(b"&#13;"),
        other => {
            let shown =
                if names::is_character(other) { other } else { char::REPLACEMENT_CHARACTER };
            out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_what_they_stand_for_and_nothing_is_decoded_twice() {
        let raw = b"&lt;&#x26;amp;&#65;&#x1F600;&quot;&apos;&gt;";

        let decoded = value(raw).unwrap();

        assert_eq!(decoded, "<&amp;A\u{1f600}\"'>");
    }

    #[test]
    fn line_ends_are_spaces_in_a_value_and_line_feeds_in_a_text_unless_written_as_references() {
        let raw = b"a\r\nb\rc\nd\te&#13;&#10;&#9;";

        assert_eq!(value(raw).unwrap(), "a b c d e\r\n\t");
        assert_eq!(text(raw).unwrap(), "a\nb\nc\nd\te\r\n\t");
        assert_eq!(literal(raw).unwrap(), "a\nb\nc\nd\te&#13;&#10;&#9;");
    }

    #[test]
    fn a_number_beyond_all_characters_is_refused_without_overflow() {
        for raw in [
            "&#99999999999999999999;",
            "&#x110000;",
            "&#xD800;",
            "&#0;",
            "&#xFFFE;",
            "&#;",
            "&#x;",
            "&#+1;",
        ] {
            assert_eq!(value(raw.as_bytes()), Err(Error::Reference), "{raw}");
        }
    }
}
