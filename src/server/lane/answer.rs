//! Writing an answer: head and body in one piece.

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::io::Write;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::SystemTime;

use hyper::Response;
use hyper::body::Bytes;
use hyper::header;
use tokio::io::AsyncWrite;

use crate::browser::Browser;
use crate::endpoint::bosh;
use crate::origin::Allowed;
use crate::protocol::bosh::wishes::CONTENT;
use crate::scratch::Scratch;

/// What is left of an answer.
pub(super) struct Unsent {
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
    /// Whether the connection ends behind it.
    pub(super) is_last: bool,
}

/// Begins to write an answer, in one piece where it is not large; what the browser does not take now is handed back.
///
/// # Errors
/// When the connection is broken.
pub(super) fn begin(
    browser: &mut Browser,
    response: Response<Bytes>,
    is_last: bool,
) -> io::Result<Unsent> {
    let mut scratch = Scratch::empty(&OUTGOING);
    let out = scratch.get();
    write_head(out, &response, response.body().len(), is_last);
    send(browser, out, response.into_body(), is_last)
}

/// The same for what nearly all answers are: a body of a session, in the usual type and uncoded.
///
/// # Errors
/// As [`begin`].
pub(super) fn begin_usual(
    browser: &mut Browser,
    body: Bytes,
    allowed: &Allowed,
    is_last: bool,
) -> io::Result<Unsent> {
    let mut scratch = Scratch::empty(&OUTGOING);
    let out = scratch.get();
    write_usual_head(out, allowed, body.len(), is_last);
    send(browser, out, body, is_last)
}

/// Sends what is written, and the body behind it.
fn send(
    browser: &mut Browser,
    out: &mut Vec<u8>,
    mut body: Bytes,
    is_last: bool,
) -> io::Result<Unsent> {
    if body.len() <= PIECE {
        out.extend_from_slice(&body);
        body = Bytes::new();
    }
    // Who writes the rest waits for the browser.
    let mut cx = Context::from_waker(Waker::noop());
    let sent = match Pin::new(browser).poll_write(&mut cx, out) {
        Poll::Ready(sent) => sent?,
        Poll::Pending => 0,
    };
    Ok(Unsent { head: out.get(sent..).unwrap_or_default().to_vec(), body, is_last })
}

/// Writes the head that [`write_head`] writes for what [`bosh::said`] makes of a body, dressed for its page.
fn write_usual_head(out: &mut Vec<u8>, allowed: &Allowed, length: usize, is_last: bool) {
    out.extend_from_slice(b"HTTP/1.1 200 OK");
    field(out, "content-type", CONTENT.as_bytes());
    field(out, "cache-control", bosh::CACHE.as_bytes());
    for (name, value) in allowed.fields() {
        field(out, name, value);
    }
    write_end(out, Some(length), is_last);
}

/// Writes the head of an answer with a body of `length` bytes; `is_last` where the connection ends with it.
fn write_head<B>(out: &mut Vec<u8>, response: &Response<B>, length: usize, is_last: bool) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let status = response.status();
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH && name != header::CONNECTION && name != header::DATE {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    // 204 has neither a body nor its length (RFC 9110 §8.6).
    write_end(out, (status != hyper::StatusCode::NO_CONTENT).then_some(length), is_last);
}

/// Writes the fields that end a head.
fn write_end(out: &mut Vec<u8>, length: Option<usize>, is_last: bool) {
    if is_last {
        field(out, "connection", b"close");
    }
    if let Some(length) = length {
        field(out, "content-length", b"");
        // A vector takes whatever is written.
        let _ = write!(out, "{length}");
    }
    NOW.with_borrow_mut(|now| field(out, "date", now.text().as_bytes()));
    out.extend_from_slice(b"\r\n\r\n");
}

/// A header field, with the end of the line before it.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
}

/// The date of a second, which is written once.
#[derive(Default)]
struct Date {
    second: u64,
    text: String,
}

impl Date {
    fn text(&mut self) -> &str {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second || self.text.is_empty() {
            *self = Self { second, text: httpdate::fmt_http_date(now) };
        }
        &self.text
    }
}

thread_local! {
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static NOW: RefCell<Date> = RefCell::default();
}

/// What is copied to go out with its head, in bytes.
const PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use hyper::header::HeaderValue;

    use super::*;
    use crate::session::bosh::Answer;

    #[test]
    fn head_says_how_long_the_body_is_when_it_was_written_and_whether_anything_follows() {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::FORBIDDEN;
        response.headers_mut().append("vary", HeaderValue::from_static("Origin"));

        let mut out = Vec::new();
        write_head(&mut out, &response, 7, true);

        let head = String::from_utf8(out).unwrap();
        let date = head.split_once("date: ").unwrap().1.trim_end();
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        assert_eq!(
            head,
            format!(
                "HTTP/1.1 403 Forbidden\r\nvary: Origin\r\nconnection: close\r\ncontent-length: 7\r\ndate: {date}\r\n\r\n"
            )
        );
    }

    #[test]
    fn usual_head_is_the_one_that_the_answer_would_have_had() {
        for origin in [None, Some("https://www.example.org")] {
            let allowed = Allowed::of(origin.map(HeaderValue::from_static));
            let answer = Answer::Body(Bytes::from_static(b"body"), None);
            let mut response = bosh::told(answer);
            allowed.dress(response.headers_mut());

            let (mut usual, mut out) = (Vec::new(), Vec::new());
            write_head(&mut out, &response, 4, false);
            write_usual_head(&mut usual, &allowed, 4, false);

            assert_eq!(String::from_utf8(usual), String::from_utf8(out));
        }
    }

    #[test]
    fn answer_without_content_has_no_length() {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;

        let mut out = Vec::new();
        write_head(&mut out, &response, 0, false);

        assert!(!String::from_utf8(out).unwrap().contains("content-length"));
    }
}
