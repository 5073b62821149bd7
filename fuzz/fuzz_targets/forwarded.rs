//! Where a request comes from: a stranger's word counts for nothing, and a proxy's brings no address that nobody wrote.
#![no_main]

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use libfuzzer_sys::fuzz_target;

use vestibule::server::forwarded::Field;
use vestibule::server::forwarded::Neighbour;
use vestibule::server::forwarded::Proxy;
use vestibule::server::forwarded::Trust;
use vestibule::site::settings::Checked;
use vestibule::site::settings::Written;

const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

/// The lines of the input as fields, each beginning with `f` for one that proxies write, else for what they write beside it.
fn headers(input: &[u8], field: Field) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some((kind, value)) = line.split_first() else { continue };
        let name = match (kind, field) {
            (b'f', Field::XForwardedFor) => "x-forwarded-for",
            (b'f', Field::Forwarded) => "forwarded",
            _ => "x-forwarded-proto",
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}

fuzz_target!(|input: &[u8]| {
    for field in [Field::XForwardedFor, Field::Forwarded] {
        let proxies = vec![Checked(Proxy::read("10.0.0.0/8").expect("a network"))];
        let trust = Trust { proxies, field, proxy_protocol: false };
        let headers = headers(input, field);

        for https in [false, true] {
            let source = trust.source(Neighbour::Address(STRANGER), https, &headers);
            assert_eq!((source.address, source.https), (STRANGER, https));
        }

        let source = trust.source(Neighbour::Address(PROXY), true, &headers);
        assert!(source.https, "what came by TLS did");
        assert_eq!(source.address, source.address.to_canonical());
        if source.address != PROXY {
            let is_written = headers.values().any(|value| {
                // Within quotes any character may have a backslash before it (RFC 9110 §5.6.4).
                let text = value.to_str().unwrap_or_default().replace('\\', "");
                let words = text.split([',', ';', '=', '"', ' ', '\t']);
                words.into_iter().any(|word| says(word, source.address))
            });
            assert!(is_written, "nobody wrote {} in {headers:?}", source.address);
        }
        // What stands to the left of what the proxy next to us wrote is a stranger's.
        let mut more = headers.clone();
        if let Some(last) = headers.iter().filter(|(name, _)| *name != "x-forwarded-proto").last() {
            let (name, value) = (last.0.clone(), last.1.clone());
            let own = if field == Field::Forwarded { "for=203.0.113.5" } else { "203.0.113.5" };
            more.append(&name, HeaderValue::from_static(own));
            let now = trust.source(Neighbour::Address(PROXY), true, &more);
            assert_eq!(now.address.to_string(), "203.0.113.5", "{value:?}");
        }
    }
});

/// Whether a word is this address, with a port and brackets or without.
fn says(word: &str, address: IpAddr) -> bool {
    let bare = |text: &str| text.parse::<IpAddr>().is_ok_and(|own| own.to_canonical() == address);
    let without_port = word.rsplit_once(':').map_or(word, |(host, _)| host);
    [word, without_port]
        .into_iter()
        .any(|text| bare(text) || bare(text.trim_start_matches('[').trim_end_matches(']')))
}
