//! The cookies of a request: the same however many fields they come in, and nobody is told of others than were named.
#![no_main]

use hyper::HeaderMap;
use hyper::header;
use hyper::header::HeaderValue;
use libfuzzer_sys::fuzz_target;

use vestibule::visitor::cookies::Cookies;

fn headers<'a>(fields: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let values = fields.filter_map(|field| HeaderValue::from_bytes(field).ok());
    values.map(|value| (header::COOKIE, value)).collect()
}

/// What RFC 6265 §5.4 makes of a name and a value, read by hand: the first of that name.
fn first<'a>(text: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    text.split(|byte| *byte == b';').find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..at].trim_ascii() == wanted).then(|| pair[at + 1..].trim_ascii())
    })
}

fuzz_target!(|input: &[u8]| {
    // Each line a field, as HTTP/2 sends them; joined, it is what HTTP/1.1 would have sent.
    let split = headers(input.split(|byte| *byte == b'\n'));
    let all: Vec<&[u8]> = split.values().map(HeaderValue::as_bytes).collect();
    let all = all.join(&b"; "[..]);
    let joined = headers([&all[..]].into_iter());
    let (split, joined) = (Cookies::of(&split), Cookies::of(&joined));

    for pair in all.split(|byte| *byte == b';') {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if name.is_empty() {
            assert_eq!(split.first(name), None, "what has no name is nobody's");
            continue;
        }
        assert_eq!(split.first(name), first(&all, name.as_bytes()));
        assert_eq!(split.first(name), joined.first(name));

        let named = split.named(&[name.to_owned()]);
        assert_eq!(named.is_some(), split.first(name).is_some());
        let Some(named) = named else { continue };
        // What is forwarded is a field, and in it stand those of that name and no others.
        let forwarded = headers([&named[..]].into_iter());
        assert_eq!(forwarded.len(), 1);
        assert_eq!(Cookies::of(&forwarded).first(name), split.first(name));
        for pair in named.split(|byte| *byte == b';') {
            let at = pair.iter().position(|byte| *byte == b'=').expect("a cookie has a value");
            assert_eq!(pair[..at].trim_ascii(), name.as_bytes());
        }
    }
});
