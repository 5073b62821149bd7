//! The language of a stream: what `xml:lang` says in its header (RFC 6120 §4.7.4).

/// A language tag that is well-formed, as far as a header is concerned (RFC 5646 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language(Box<str>);

impl Language {
    /// Reads a tag, of 35 characters at most.
    ///
    /// None where it is none, which is as good as to say nothing: what a language is for is not worth a session.
    #[must_use]
    pub fn parse(tag: &str) -> Option<Self> {
        let mut parts = tag.split('-');
        let language = parts.next().unwrap_or_default();
        let is_part = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let is_tag = is_part(language)
            && language.bytes().all(|byte| byte.is_ascii_alphabetic())
            && parts.all(is_part);
        (is_tag && tag.len() <= LONGEST).then(|| Self(tag.into()))
    }

    /// The tag as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What everybody has room for (RFC 5646 §4.4.1).
const LONGEST: usize = 35;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_and_nothing_else_is() {
        for right in ["en", "de-AT", "zh-Hant-TW", "sl-rozaj-biske-1994", "x-pig-latin"] {
            assert_eq!(Language::parse(right).unwrap().as_str(), right);
        }
        let long = format!("en{}", "-abcdefgh".repeat(4));
        for wrong in
            ["", "-", "en-", "1n", "en_US", "en us", "en'", "&#101;n", "abcdefghi", "é", &long]
        {
            assert_eq!(Language::parse(wrong), None, "{wrong}");
        }
    }
}
