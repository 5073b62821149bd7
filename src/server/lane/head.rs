//! The heads of requests that the lane takes: of one exact form, about which no two readers can disagree. Everything else is
//! for the library.

pub mod said;

use std::ops::Range;

use bytes::Bytes;
use httparse::EMPTY_HEADER;
use httparse::Header;
use hyper::Method;
use hyper::Request;
use hyper::Uri;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use memchr::memchr2_iter;

use crate::endpoint::bosh;

/// What has come of a connection.
#[derive(Debug)]
pub enum Verdict {
    /// A request to BOSH in the plain form.
    Plain(Plain),
    /// The beginning of what may become one.
    Partial,
    /// Something else, or it cannot be told: not for the lane.
    Other,
}

/// A request in the plain form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    method: &'static Method,
    path: &'static str,
    /// How long its head is, in bytes.
    pub head: usize,
    /// How long the body is that follows, in bytes.
    pub body: usize,
    /// Whether the connection ends with its answer.
    pub is_last: bool,
    /// Where the head says how long the body is, if it does.
    length: Option<Range<usize>>,
}

/// What a request may have.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Header fields.
    pub fields: usize,
    /// Bytes of the head.
    pub head: usize,
    /// Bytes of the body.
    pub body: usize,
}

/// What `bytes` are, of which the first `seen` were [`Verdict::Partial`] before.
///
/// The plain form (RFC 9112): `POST` or `OPTIONS` to the path of BOSH without a query, HTTP/1.1; every line ends with CR LF
/// and none begins with white space; one `Host`; with `POST` one `Content-Length` of digits alone, with `OPTIONS` none; no
/// `Transfer-Encoding`, `Expect` or `Upgrade`; no `Connection` but a single `keep-alive` or `close`.
#[must_use]
pub fn read(bytes: &[u8], seen: usize, most: Most) -> Verdict {
    let Some(method) = method(bytes) else { return Verdict::Other };
    let end = match end(bytes, seen) {
        Ok(Some(end)) if end <= most.head => end,
        Ok(None) if bytes.len() <= most.head => return Verdict::Partial,
        Ok(_) | Err(NotPlain) => return Verdict::Other,
    };
    let head = bytes.get(..end).unwrap_or_default();
    plain(method, head, most).map_or(Verdict::Other, Verdict::Plain)
}

/// It is no request in the plain form.
#[derive(Debug)]
struct NotPlain;

/// The method of a line that the lane takes, as far as it has come; nothing where it is another.
fn method(bytes: &[u8]) -> Option<&'static Method> {
    let is_line = |line: &[u8]| bytes.starts_with(line) || line.starts_with(bytes);
    LINES.iter().find(|(_, line)| is_line(line)).map(|(method, _)| method)
}

/// Where the head ends, past its empty line; none as long as it does not.
fn end(bytes: &[u8], seen: usize) -> Result<Option<usize>, NotPlain> {
    // What is seen again: a line may have ended where the last read did.
    let from = seen.saturating_sub(3);
    let mut lines = memchr2_iter(b'\r', b'\n', bytes.get(from..).unwrap_or_default());
    while let Some(at) = lines.next() {
        let at = from + at;
        match bytes.get(at..).unwrap_or_default() {
            [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Ok(None),
            [b'\r', b'\n', b'\r', b'\n', ..] => return Ok(Some(at + 4)),
            // No line goes on in the next, and none ends otherwise.
            [b'\r', b'\n', b' ' | b'\t' | b'\r' | b'\n', ..] => return Err(NotPlain),
            [b'\r', b'\n', ..] => {
                lines.next();
            }
            // The end of a line of which the rest was seen before.
            [b'\n', ..] if at.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b'\r') => {}
            _ => return Err(NotPlain),
        }
    }
    Ok(None)
}

fn plain(method: &'static Method, head: &[u8], most: Most) -> Result<Plain, NotPlain> {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let fields = fields.get_mut(..most.fields.min(FIELDS)).unwrap_or_default();
    let mut parsed = httparse::Request::new(fields);
    // By the parser that the library has.
    let length = parsed.parse(head).map_err(|_| NotPlain)?;
    let path = match parsed.path {
        Some(bosh::PATH) => bosh::PATH,
        Some(SLASHED) => SLASHED,
        Some(_) | None => return Err(NotPlain),
    };
    if length != httparse::Status::Complete(head.len()) || parsed.version != Some(1) {
        return Err(NotPlain);
    }
    let framing = Framing::of(parsed.headers)?;
    let body = match (method == Method::POST, framing.length) {
        (true, Some(length)) if length <= most.body => length,
        (false, None) => 0,
        (true | false, _) => return Err(NotPlain),
    };
    let length = framing.length_stands_in(head);
    Ok(Plain { method, path, head: head.len(), body, is_last: framing.is_last, length })
}

impl Plain {
    /// The whole head, which is what the verdict was about; none where it cannot be told.
    #[must_use]
    pub fn request(&self, head: &[u8]) -> Option<Request<()>> {
        let head = Bytes::copy_from_slice(head);
        let mut fields = [EMPTY_HEADER; FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(&head).ok()?;
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from_static(self.path);
        *request.headers_mut() = headers(parsed.headers, &head).ok()?;
        Some(request)
    }
}

fn is_length(name: &str) -> bool {
    name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str())
}

/// What the fields say about where the request ends.
#[derive(Default)]
struct Framing<'a> {
    length: Option<usize>,
    /// The length as it is written.
    written: &'a [u8],
    is_last: bool,
}

impl<'a> Framing<'a> {
    fn of(fields: &[Header<'a>]) -> Result<Self, NotPlain> {
        let mut framing = Self::default();
        let (mut hosts, mut connections) = (0, 0);
        for Header { name, value } in fields {
            let is = |known: HeaderName| name.eq_ignore_ascii_case(known.as_str());
            match name.len() {
                4 if is(header::HOST) => hosts += 1,
                6 if is(header::EXPECT) => return Err(NotPlain),
                7 if is(header::UPGRADE) => return Err(NotPlain),
                10 if is(header::CONNECTION) => {
                    connections += 1;
                    framing.is_last = value.eq_ignore_ascii_case(b"close");
                    if !framing.is_last && !value.eq_ignore_ascii_case(b"keep-alive") {
                        return Err(NotPlain);
                    }
                }
                14 if is_length(name) => {
                    let length = digits(value).ok_or(NotPlain)?;
                    if framing.length.replace(length).is_some() {
                        return Err(NotPlain);
                    }
                    framing.written = *value;
                }
                17 if is(header::TRANSFER_ENCODING) => return Err(NotPlain),
                _ => {}
            }
        }
        if hosts == 1 && connections <= 1 { Ok(framing) } else { Err(NotPlain) }
    }

    /// Where in the head the length is written, if there is one.
    fn length_stands_in(&self, head: &[u8]) -> Option<Range<usize>> {
        self.length?;
        let start = self.written.as_ptr().addr().checked_sub(head.as_ptr().addr())?;
        let stands = start..start.checked_add(self.written.len())?;
        (head.get(stands.clone()) == Some(self.written)).then_some(stands)
    }
}

/// A number as everybody writes it.
fn digits(text: &[u8]) -> Option<usize> {
    let is_number = match text {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 9 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// The fields; their values are slices of the head.
fn headers(fields: &[Header<'_>], head: &Bytes) -> Result<HeaderMap, NotPlain> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for Header { name, value } in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| NotPlain)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        headers.append(name, value.map_err(|_| NotPlain)?);
    }
    Ok(headers)
}

/// The lines that the lane takes.
static LINES: [(Method, &[u8]); 4] = [
    (Method::POST, b"POST /http-bind HTTP/1.1\r\n"),
    (Method::POST, b"POST /http-bind/ HTTP/1.1\r\n"),
    (Method::OPTIONS, b"OPTIONS /http-bind HTTP/1.1\r\n"),
    (Method::OPTIONS, b"OPTIONS /http-bind/ HTTP/1.1\r\n"),
];
const SLASHED: &str = "/http-bind/";
/// Fields that the lane takes; browsers send some twenty.
const FIELDS: usize = 48;

#[cfg(test)]
mod tests;
