//! What a request becomes on its way to the site's own web server.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Uri;
use hyper::Version;
use hyper::body::Body as _;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;

use crate::endpoint;
use crate::endpoint::Body;
use crate::outbound;

/// The request as the site's own web server gets it; nothing if it names no page, or its host is no text.
pub(super) fn outgoing(
    request: Request<Body>,
    backend: &Uri,
    address: IpAddr,
    https: bool,
) -> Option<Request<Body>> {
    // A tunnel is nothing that a site has, and `*` is nothing that belongs to one.
    if *request.method() == Method::CONNECT || !request.uri().path().starts_with('/') {
        return None;
    }
    let host = HeaderValue::from_str(endpoint::host(&request)?).ok()?;
    let (mut head, body) = request.into_parts();
    head.uri = Uri::builder()
        .scheme(backend.scheme()?.clone())
        .authority(backend.authority()?.clone())
        .path_and_query(head.uri.path_and_query()?.clone())
        .build()
        .ok()?;
    head.version = Version::HTTP_11;
    // hyper waits for the browser's "continue" itself.
    head.headers.remove(header::EXPECT);
    remove_hop_by_hop(&mut head.headers);
    remove_hearsay(&mut head.headers);
    // hyper writes what holds for the body, but leaves a POST without one without a length; some servers then say 411.
    let length =
        body.size_hint().exact().filter(|_| head.headers.contains_key(header::CONTENT_LENGTH));
    head.headers.remove(header::CONTENT_LENGTH);
    if let Some(length) = length {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let proto = if https { "https" } else { "http" };
    head.headers.insert(X_FORWARDED_FOR, HeaderValue::from_str(&address.to_string()).ok()?);
    head.headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    head.headers.insert(X_FORWARDED_HOST, host.clone());
    head.headers.insert(header::HOST, host);
    Some(Request::from_parts(head, body))
}

/// The same request once more, where asking twice is no more than asking once (RFC 9110 §9.2.2) and nothing was uploaded.
pub(super) fn repetition(request: &Request<Body>) -> Option<Request<Body>> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(outbound::whole(Bytes::new()));
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    Some(again)
}

/// Removes what is for one connection only (RFC 9110 §7.6.1).
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let listed = headers.get_all(header::CONNECTION).iter().filter_map(|field| field.to_str().ok());
    let listed: Vec<HeaderName> = listed
        .flat_map(|field| field.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes what a browser says about where it is and what it asks for: only we and the proxies before us know.
fn remove_hearsay(headers: &mut HeaderMap) {
    let is_hearsay = |name: &HeaderName| {
        // CGI has one name for all of these: HTTP_X_REAL_IP is X-Real-IP and X_Real_IP (RFC 3875 §4.1.18).
        let name = name.as_str().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        name.starts_with("x-forwarded-") || HEARSAY.contains(&name.as_str())
    };
    let hearsay: Vec<HeaderName> =
        headers.keys().filter(|name| is_hearsay(name)).cloned().collect();
    for name in hearsay {
        headers.remove(name);
    }
}

const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    // With an upgrade to h2c alone, which never goes on (RFC 7540 §3.2.1).
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Beside `X-Forwarded-…`: addresses that some proxy writes, URLs that some framework believes, and `Proxy`, which CGI
/// turns into the `HTTP_PROXY` that programs send their own requests through.
const HEARSAY: [&str; 8] = [
    "forwarded",
    "proxy",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
