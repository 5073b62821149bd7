//! Header blocks of answers, written: without a table, so that there is nothing to keep for a browser that says nothing.

use http::HeaderMap;
use http::HeaderName;
use http::StatusCode;
use http::header;

use crate::protocol::http2::hpack::integer;
use crate::protocol::http2::hpack::names;

/// Writes the header blocks of one connection.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The browser has taken room from the table, and is to hear that we use none (RFC 7541 §4.2).
    owes_size: bool,
}

impl Encoder {
    /// The browser lets us have a table of so many bytes; until then it is [`TABLE`].
    pub fn may_have(&mut self, bytes: u32) {
        self.owes_size |= bytes < TABLE;
    }

    /// Writes the head of an answer.
    pub fn write_head(&mut self, out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
        self.begin(out);
        match status.as_u16() {
            200 => out.push(0x88),
            204 => out.push(0x89),
            206 => out.push(0x8a),
            304 => out.push(0x8b),
            400 => out.push(0x8c),
            404 => out.push(0x8d),
            500 => out.push(0x8e),
            _ => {
                integer::write(out, (0, 4), STATUS);
                text(out, status.as_str().as_bytes());
            }
        }
        write_fields(out, headers);
    }

    /// Writes what follows a body.
    pub fn write_trailers(&mut self, out: &mut Vec<u8>, headers: &HeaderMap) {
        self.begin(out);
        write_fields(out, headers);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.owes_size) {
            out.push(0x20);
        }
    }
}

/// Writes the fields that are not for one connection of HTTP/1.1 alone (RFC 9113 §8.2.2).
fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        if is_of_a_connection(name) {
            continue;
        }
        // What may not be indexed by anybody is said to be so (RFC 7541 §7.1.3).
        let first = if value.is_sensitive() { 0x10 } else { 0 };
        if let Some(index) = names::index_of(name) {
            integer::write(out, (first, 4), index);
        } else {
            out.push(first);
            text(out, name.as_str().as_bytes());
        }
        text(out, value.as_bytes());
    }
}

/// Whether a field belongs to a connection of HTTP/1.1 (RFC 9113 §8.2.2).
#[must_use]
pub fn is_of_a_connection(name: &HeaderName) -> bool {
    matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Writes a text without Huffman code: it costs more than the bytes that it spares here.
fn text(out: &mut Vec<u8>, text: &[u8]) {
    integer::write(out, (0, 7), text.len());
    out.extend_from_slice(text);
}

/// The table that there is unless a setting says otherwise, in bytes (RFC 9113 §6.5.2).
pub const TABLE: u32 = 4096;
/// Where `:status` is in the static table.
const STATUS: usize = 8;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn head_is_written_without_what_is_for_a_connection() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("close"));
        headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        headers.insert("content-type", HeaderValue::from_static("x"));
        headers.insert("x-own", HeaderValue::from_static("y"));
        let mut out = Vec::new();

        Encoder::default().write_head(&mut out, StatusCode::FORBIDDEN, &headers);

        assert_eq!(out, b"\x08\x03403\x0f\x10\x01x\x00\x05x-own\x01y");
    }

    #[test]
    fn browser_that_takes_room_from_the_table_hears_once_that_there_is_none() {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());

        encoder.may_have(65_536);
        encoder.write_head(&mut out, StatusCode::OK, &HeaderMap::new());
        encoder.may_have(0);
        encoder.write_head(&mut out, StatusCode::OK, &HeaderMap::new());
        encoder.write_head(&mut out, StatusCode::OK, &HeaderMap::new());

        assert_eq!(out, [0x88, 0x20, 0x88, 0x88]);
    }
}
