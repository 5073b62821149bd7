//! A site's username made a localpart (XEP-0106), and refused where two names would become one.

use std::borrow::Cow;

use serde::Deserialize;
use serde::Serialize;

use crate::protocol::jid::Error;
use crate::protocol::jid::Localpart;

/// What becomes of capitals in a site's username.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// `Bob` and `bob` are one: the site does not tell them apart.
    #[default]
    Fold,
    /// `Bob` is refused: the site may have a `bob` who is somebody else.
    Exact,
}

impl Localpart {
    /// Makes a localpart of a site's username: escaped (XEP-0106), then prepared.
    ///
    /// No two usernames become one localpart, but those that differ in ASCII capitals alone with [`Case::Fold`].
    ///
    /// # Errors
    /// [`Error::Changed`] when preparing would change more than `case` allows; else what is wrong with the name.
    pub fn of_username(name: &str, case: Case) -> Result<Self, Error> {
        if name.starts_with(' ') || name.ends_with(' ') {
            return Err(Error::Space);
        }
        let escaped = escape(name);
        let prepared = Self::parse(&escaped)?;
        let expected = match case {
            Case::Fold => Cow::Owned(escaped.to_ascii_lowercase()),
            Case::Exact => Cow::Borrowed(escaped.as_str()),
        };
        if prepared.0 == *expected { Ok(prepared) } else { Err(Error::Changed) }
    }
}

/// Escapes what a localpart may not hold (XEP-0106).
///
/// A backslash is escaped wherever it would else begin an escape sequence. Capitals count here as small letters: nodeprep
/// folds them, and `a\2Fb` must not become what `a/b` becomes.
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name.chars();
    while let Some(character) = rest.next() {
        let code = ESCAPED.iter().find(|(other, _)| *other == character).map(|(_, code)| *code);
        match code {
            Some(BACKSLASH) if !begins_with_code(rest.as_str()) => escaped.push(character),
            Some(code) => {
                escaped.push('\\');
                escaped.push_str(code);
            }
            None => escaped.push(character),
        }
    }
    escaped
}

fn begins_with_code(text: &str) -> bool {
    text.get(..2)
        .is_some_and(|begin| ESCAPED.iter().any(|(_, code)| code.eq_ignore_ascii_case(begin)))
}

const BACKSLASH: &str = "5c";

/// XEP-0106 §4.2, table 2.
const ESCAPED: [(char, &str); 10] = [
    (' ', "20"),
    ('"', "22"),
    ('&', "26"),
    ('\'', "27"),
    ('/', "2f"),
    (':', "3a"),
    ('<', "3c"),
    ('>', "3e"),
    ('@', "40"),
    ('\\', BACKSLASH),
];

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::protocol::jid::Part;

    fn local(name: &str, case: Case) -> Result<String, Error> {
        Localpart::of_username(name, case).map(String::from)
    }

    #[test]
    fn usernames_are_escaped_as_the_examples_have_it() {
        // XEP-0106 §5.1
        let examples = [
            ("space cadet", "space\\20cadet"),
            ("call me \"ishmael\"", "call\\20me\\20\\22ishmael\\22"),
            ("at&t guy", "at\\26t\\20guy"),
            ("d'artagnan", "d\\27artagnan"),
            ("/.fanboy", "\\2f.fanboy"),
            ("::foo::", "\\3a\\3afoo\\3a\\3a"),
            ("<foo>", "\\3cfoo\\3e"),
            ("user@host", "user\\40host"),
            ("c:\\net", "c\\3a\\net"),
            ("c:\\\\net", "c\\3a\\\\net"),
            ("c:\\cool stuff", "c\\3a\\cool\\20stuff"),
            ("c:\\5commas", "c\\3a\\5c5commas"),
        ];

        for (name, escaped) in examples {
            assert_eq!(local(name, Case::Exact).as_deref(), Ok(escaped), "{name}");
        }
    }

    #[test]
    fn two_usernames_never_become_one_localpart() {
        // Every text of up to five of the pieces that escapes are made of, and names that fold elsewhere.
        let pieces = ["\\", "2", "0", "5", "c", "C", "f", " ", "/", "@", "\"", "x"];
        let mut names = vec![String::new()];
        let mut begin = 0;
        for _ in 0..5 {
            let end = names.len();
            for index in begin..end {
                names.extend(pieces.map(|piece| format!("{}{piece}", names[index])));
            }
            begin = end;
        }
        let odd = [
            "straße",
            "strasse",
            "ﬁn",
            "fin",
            "σ",
            "ς",
            "Σ",
            "a\u{200d}b",
            "ab",
            "ｂｏｂ",
            "bob",
            "\u{212a}",
            "k",
            "é",
            "e\u{301}",
        ];
        names.extend(odd.map(str::to_owned));

        for case in [Case::Fold, Case::Exact] {
            let mut taken: HashMap<String, String> = HashMap::new();
            for name in &names {
                let Ok(local) = local(name, case) else { continue };
                let same = |other: &String| match case {
                    Case::Fold => other.eq_ignore_ascii_case(name),
                    Case::Exact => other == name,
                };
                let other = taken.entry(local.clone()).or_insert_with(|| name.clone());
                assert!(same(other), "{name:?} and {other:?} are both {local:?}");
            }
            assert!(taken.len() > 10_000);
        }
    }

    #[test]
    fn a_username_that_preparing_would_change_is_refused() {
        for name in [
            "straße",
            "ﬁn",
            "ς",
            "Σ",
            "Ä",
            "a\u{200d}b",
            "ｂｏｂ",
            "\u{212a}",
            "e\u{301}",
            "a\u{ad}b",
            "²",
        ] {
            assert_eq!(local(name, Case::Fold), Err(Error::Changed), "{name}");
        }
        for name in ["a\u{7f}", "a\tb", "a\u{a0}b", "\u{e000}", "\u{1f600}\u{10ffff}"] {
            assert_eq!(local(name, Case::Fold), Err(Error::Forbidden(Part::Localpart)), "{name:?}");
        }
    }

    #[test]
    fn capitals_fold_or_are_refused_as_the_site_says() {
        assert_eq!(local("BoB", Case::Fold).as_deref(), Ok("bob"));
        assert_eq!(local("BoB", Case::Exact), Err(Error::Changed));
        assert_eq!(local("a\\2Fb", Case::Fold).as_deref(), Ok("a\\5c2fb"));
    }

    #[test]
    fn a_username_has_one_to_1023_bytes_and_no_space_at_its_ends() {
        assert_eq!(local("", Case::Fold), Err(Error::Empty(Part::Localpart)));
        assert_eq!(local(" bob", Case::Fold), Err(Error::Space));
        assert_eq!(local("bob ", Case::Fold), Err(Error::Space));
        assert!(local(&"a".repeat(1023), Case::Fold).is_ok());
        assert_eq!(local(&"a".repeat(1024), Case::Fold), Err(Error::TooLong(Part::Localpart)));
        assert_eq!(local(&"@".repeat(342), Case::Fold), Err(Error::TooLong(Part::Localpart)));
    }
}
