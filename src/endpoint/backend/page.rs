//! What a browser sees where the site's own web server does not answer: a page for people, a line for programs.

use hyper::HeaderMap;
use hyper::Response;
use hyper::header;
use hyper::header::HeaderValue;

use crate::endpoint;
use crate::endpoint::Body;
use crate::endpoint::Refusal;

/// Whether a request is for something that a person looks at (RFC 9110 §12.5.1).
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT).iter();
    let mut ranges =
        fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
    ranges.any(|range| {
        let kind = range.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/html")
    })
}

/// A page with nothing of what stands behind us; it bears the refusal itself in its extensions, for whoever counts.
pub(super) fn page(refusal: Refusal) -> Response<Body> {
    let status = refusal.status();
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{status}</title>\n\
         <h1>Not available just now</h1>\n<p>The site does not answer. Please try again in a moment.</p>\n</html>\n"
    );
    let mut response = endpoint::text(status, &html);
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response.extensions_mut().insert(refusal);
    response
}
