//! What may stand before a `<body/>`: a byte order mark, white space, and the XML declaration (XML 1.0 §2.8).
//!
//! None of it is content, in which XEP-0124 §6 forbids what looks like it; a browser that writes out a whole document has it.

/// The text from its first tag on.
///
/// A declaration is skipped if it says nothing of another encoding than UTF-8; whatever else is there is left, to be refused
/// with the rest.
pub(super) fn skip(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    // Nothing stands before a declaration (XML 1.0 §2.8).
    declared(text).unwrap_or(text).trim_ascii_start()
}

/// What follows a declaration; none where there is none that says the truth.
fn declared(text: &[u8]) -> Option<&[u8]> {
    let inside = text.strip_prefix(b"<?xml")?;
    let end = memchr::memchr(b'>', inside.get(..LONGEST.min(inside.len()))?)?;
    let (inside, rest) = inside.split_at_checked(end)?;
    let inside = std::str::from_utf8(inside.strip_suffix(b"?")?).ok()?;
    let mut said = inside.strip_prefix([' ', '\t', '\r', '\n'])?;
    let mut names = Vec::new();
    while let Some((name, after)) = said.split_once('=') {
        let after = after.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let (value, after) = after.strip_prefix(quote)?.split_once(quote)?;
        let is_true = match name.trim() {
            "version" => value == "1.0",
            "encoding" => value.eq_ignore_ascii_case("utf-8"),
            "standalone" => matches!(value, "yes" | "no"),
            _ => false,
        };
        names.push(name.trim());
        said = is_true.then_some(after)?;
    }
    let is_declaration = matches!(
        names.as_slice(),
        ["version"]
            | ["version", "encoding" | "standalone"]
            | ["version", "encoding", "standalone"]
    );
    if is_declaration && said.trim().is_empty() { rest.strip_prefix(b">") } else { None }
}

/// What some write before UTF-8, though it has no byte order.
const MARK: &[u8] = b"\xEF\xBB\xBF";
/// No declaration that says something is longer.
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declaration_that_says_the_truth_is_no_part_of_the_body() {
        for before in [
            "",
            " \r\n",
            "\u{feff}",
            "<?xml version='1.0'?>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            "\u{feff}<?xml version='1.0' encoding='utf-8' standalone='yes' ?>",
        ] {
            assert_eq!(skip(format!("{before}<body/>").as_bytes()), b"<body/>", "{before}");
        }
    }

    #[test]
    fn anything_else_is_left_to_be_refused() {
        for wrong in [
            "<?xml version='1.0' encoding='ISO-8859-1'?><body/>",
            "<?xml version='1.1'?><body/>",
            "<?xml encoding='utf-8'?><body/>",
            "<?xml version='1.0' version='1.0'?><body/>",
            "<?xml version='1.0' a='b'?><body/>",
            "<?xml version='1.0'><body/>",
            "<?xml?><body/>",
            "<?xml version='1.0'",
            "<?xml-stylesheet href='x'?><body/>",
            "<!-- --><body/>",
        ] {
            assert_eq!(skip(wrong.as_bytes()), wrong.as_bytes(), "{wrong}");
        }
        assert_eq!(skip(b" <?xml version='1.0'?><body/>"), b"<?xml version='1.0'?><body/>");
    }
}
