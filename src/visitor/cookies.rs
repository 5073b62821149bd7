//! The cookies of a request, as they came (RFC 6265 §4.2).

use bytesize::ByteSize;
use hyper::HeaderMap;
use hyper::header;
use hyper::header::HeaderValue;
use serde::Deserialize;

/// How many cookies a request to one of our own URLs may have: `[cookies]`. More get a 431.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// In number.
    pub number: usize,
    /// All together, with their names.
    pub bytes: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { number: 100, bytes: ByteSize::kib(16) }
    }
}

/// The cookies of all `cookie` fields of a request, in their order.
#[derive(Debug, Clone)]
pub struct Cookies<'a> {
    pairs: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Cookies<'a> {
    /// Reads the cookies; HTTP/2 splits them over several fields (RFC 9113 §8.2.3).
    #[must_use]
    pub fn of(headers: &'a HeaderMap) -> Self {
        let fields = headers.get_all(header::COOKIE).iter();
        let pairs = fields
            .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
            .filter_map(pair)
            .collect();
        Self { pairs }
    }

    /// The value of the first cookie of that name, as it came: quotes belong to it (RFC 6265 §5.4).
    ///
    /// Of several, browsers send the one with the longest path first, then the oldest. PHP and Node take the first
    /// as well, so a visitor is here who he is there.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.pairs.iter().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| *value)
    }

    /// A `cookie` field with all cookies of those names, as they came; nothing if there is none.
    #[must_use]
    pub fn named(&self, names: &[String]) -> Option<Vec<u8>> {
        let wanted = self
            .pairs
            .iter()
            .filter(|(found, _)| names.iter().any(|name| name.as_bytes() == *found));
        let pairs: Vec<Vec<u8>> =
            wanted.map(|(name, value)| [*name, b"=", *value].concat()).collect();
        if pairs.is_empty() { None } else { Some(pairs.join(&b"; "[..])) }
    }
}

/// Whether the cookies of a request are within these bounds; nothing is copied to find out.
#[must_use]
pub fn are_within(headers: &HeaderMap, bounds: &Settings) -> bool {
    let fields = || headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    // A `u64` holds the lengths of whatever fits into memory.
    let bytes: u64 = fields().map(|field| field.len() as u64).sum();
    let number = fields()
        .flat_map(|field| field.split(|byte| *byte == b';'))
        .filter(|text| !text.trim_ascii().is_empty())
        .count();
    bytes <= bounds.bytes.as_u64() && number <= bounds.number
}

/// Whether an answer with these headers sets one of the named cookies.
#[must_use]
pub fn are_set(headers: &HeaderMap, names: &[String]) -> bool {
    let mut set =
        headers.get_all(header::SET_COOKIE).iter().filter_map(|field| pair(field.as_bytes()));
    set.any(|(found, _)| names.iter().any(|name| name.as_bytes() == found))
}

/// What comes without a name is nobody's cookie.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii();
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = text.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?;
    (!name.is_empty()).then_some((name.trim_ascii_end(), value.trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[&'static str]) -> HeaderMap {
        fields.iter().map(|field| (header::COOKIE, HeaderValue::from_static(field))).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn cookies_of_all_fields_are_read() {
        let headers = headers(&["a=1; b=2", "c=3"]);

        let cookies = Cookies::of(&headers);

        assert_eq!(cookies.first("b"), Some(&b"2"[..]));
        assert_eq!(cookies.first("c"), Some(&b"3"[..]));
        assert_eq!(cookies.first("d"), None);
    }

    #[test]
    fn first_of_two_wins_and_both_are_forwarded() {
        let headers = headers(&["s=old; x=1; s=\"ne=w\""]);

        let cookies = Cookies::of(&headers);

        assert_eq!(cookies.first("s"), Some(&b"old"[..]));
        assert_eq!(cookies.named(&names(&["s", "t"])).unwrap(), b"s=old; s=\"ne=w\"");
    }

    #[test]
    fn only_named_cookies_are_forwarded() {
        let headers = headers(&["PHPSESSID=1; PHPSESSIDCV=2; xPHPSESSID=3; phpsessid=4; =5; 6"]);

        let cookies = Cookies::of(&headers);

        assert_eq!(
            cookies.named(&names(&["PHPSESSID", "PHPSESSIDCV"])).unwrap(),
            b"PHPSESSID=1; PHPSESSIDCV=2"
        );
        assert_eq!(cookies.named(&names(&["other"])), None);
    }

    #[test]
    fn what_no_browser_sends_is_read_as_a_site_would_read_it() {
        let headers = headers(&[" ;; a = 1 ;b=\"2\";c=x=y;\td=; =e; f", ""]);

        let cookies = Cookies::of(&headers);

        for (name, value) in [("a", "1"), ("b", "\"2\""), ("c", "x=y"), ("d", "")] {
            assert_eq!(cookies.first(name), Some(value.as_bytes()), "{name}");
        }
        for name in ["", "e", "f", "A"] {
            assert_eq!(cookies.first(name), None, "{name}");
        }
    }

    #[test]
    fn cookies_are_bounded_in_number_and_bytes_over_all_fields() {
        let bounds = Settings { number: 3, bytes: ByteSize::b(20) };

        for (fields, within) in [
            (&[][..], true),
            (&["a=1; b=2; c=3"], true),
            (&["a=1; b=2; c=3; d=4"], false),
            (&["a=1; b=2", "c=3; d"], false),
            (&["; ; ; ; ; ;"], true),
            (&["a=234567890123456789"], true),
            (&["a=2345678901234567890"], false),
            (&["a=2345678901234", "b=12345"], false),
        ] {
            assert_eq!(are_within(&headers(fields), &bounds), within, "{fields:?}");
        }
    }

    #[test]
    fn cookie_set_by_an_answer_is_seen() {
        let mut headers = HeaderMap::new();
        headers.append(header::SET_COOKIE, HeaderValue::from_static("theme=dark; Path=/"));
        headers
            .append(header::SET_COOKIE, HeaderValue::from_static("PHPSESSID=2; Path=/; HttpOnly"));

        assert!(are_set(&headers, &names(&["PHPSESSID"])));
        assert!(!are_set(&headers, &names(&["Path", "HttpOnly"])));
    }
}
