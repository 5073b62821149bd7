//! The frame reader: the same messages and the same end wherever the bytes are cut; none larger than the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;

use vestibule::protocol::websocket::frame::Error;
use vestibule::protocol::websocket::frame::Frame;
use vestibule::protocol::websocket::frame::Reader;

const LIMIT: usize = 300;

/// What came, and how it ended.
fn messages<'a>(
    parts: impl Iterator<Item = &'a [u8]>,
    deflates: bool,
) -> (Vec<(u8, Vec<u8>)>, Option<Error>) {
    let mut reader = Reader::new(LIMIT).deflating(deflates);
    let mut messages = Vec::new();
    for part in parts {
        let mut part = part.to_vec();
        let mut rest = part.as_mut_slice();
        loop {
            match reader.next(&mut rest) {
                Ok(Some(Frame::Text(text))) => messages.push((b't', text.to_vec())),
                Ok(Some(Frame::Ping(payload))) => messages.push((b'p', payload.to_vec())),
                Ok(Some(Frame::Pong)) => messages.push((b'q', Vec::new())),
                Ok(Some(Frame::Close(code))) => {
                    messages.push((b'c', code.unwrap_or_default().to_be_bytes().to_vec()));
                }
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, stream)) = input.split_first() else { return };

    // Compressed or not (RFC 7692), by a bit of the same byte.
    let deflates = cut & 0x80 != 0;

    let (whole, end) = messages([stream].into_iter(), deflates);
    let (cut, cut_end) = messages(stream.chunks(usize::from(cut & 0x7F) + 1), deflates);

    assert!(whole.iter().all(|(_, payload)| payload.len() <= LIMIT));
    assert_eq!(whole, cut);
    assert_eq!(end, cut_end);
});
