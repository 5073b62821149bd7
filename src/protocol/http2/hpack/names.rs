//! The static table (RFC 7541 appendix A).

use http::HeaderName;
use http::header;

/// How many fields it has.
pub(super) const LENGTH: usize = PSEUDO.len() + NAMES.len();

/// The name and value at a place, from 1 on.
pub(super) fn get(index: usize) -> Option<(&'static str, &'static str)> {
    let place = index.checked_sub(1)?;
    if let Some(&pseudo) = PSEUDO.get(place) {
        return Some(pseudo);
    }
    let name = NAMES.get(place - PSEUDO.len())?;
    Some((name.as_str(), if index == ACCEPT_ENCODING { "gzip, deflate" } else { "" }))
}

/// The name at a place that is no pseudo-header field's.
pub(super) fn header_name(index: u8) -> Option<&'static HeaderName> {
    NAMES.get(usize::from(index).checked_sub(PSEUDO.len() + 1)?)
}

/// Where the name of a field that answers have is.
pub(super) fn index_of(name: &HeaderName) -> Option<usize> {
    let place = match name.as_str() {
        "accept-ranges" => 18,
        "access-control-allow-origin" => 20,
        "age" => 21,
        "allow" => 22,
        "cache-control" => 24,
        "content-disposition" => 25,
        "content-encoding" => 26,
        "content-language" => 27,
        "content-length" => 28,
        "content-location" => 29,
        "content-range" => 30,
        "content-type" => 31,
        "date" => 33,
        "etag" => 34,
        "expires" => 36,
        "last-modified" => 44,
        "link" => 45,
        "location" => 46,
        "refresh" => 52,
        "retry-after" => 53,
        "server" => 54,
        "set-cookie" => 55,
        "strict-transport-security" => 56,
        "vary" => 59,
        "via" => 60,
        "www-authenticate" => 61,
        _ => return None,
    };
    Some(place)
}

const ACCEPT_ENCODING: usize = 16;

const PSEUDO: [(&str, &str); 14] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
];

static NAMES: [HeaderName; 47] = [
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::ACCEPT_RANGES,
    header::ACCEPT,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::AGE,
    header::ALLOW,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::ETAG,
    header::EXPECT,
    header::EXPIRES,
    header::FROM,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::REFERER,
    header::REFRESH,
    header::RETRY_AFTER,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::TRANSFER_ENCODING,
    header::USER_AGENT,
    header::VARY,
    header::VIA,
    header::WWW_AUTHENTICATE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_rfc() {
        // RFC 7541 appendix A.
        for (index, field) in [
            (1, (":authority", "")),
            (8, (":status", "200")),
            (14, (":status", "500")),
            (15, ("accept-charset", "")),
            (16, ("accept-encoding", "gzip, deflate")),
            (32, ("cookie", "")),
            (58, ("user-agent", "")),
            (61, ("www-authenticate", "")),
        ] {
            assert_eq!(get(index), Some(field));
        }
        assert_eq!((get(0), get(62), LENGTH), (None, None, 61));
    }

    #[test]
    fn name_that_an_answer_has_is_found_at_its_place() {
        let found: Vec<_> = NAMES.iter().filter_map(|name| Some((index_of(name)?, name))).collect();

        assert_eq!(found.len(), 26);
        for (index, name) in found {
            assert_eq!(get(index).map(|(name, _)| name), Some(name.as_str()));
        }
    }
}
