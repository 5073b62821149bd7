//! permessage-deflate (RFC 7692), without a context from one message to the next: the memory for it is a thread's, not a session's.

use std::cell::RefCell;

use flate2::Compress;
use flate2::Compression;
use flate2::Decompress;
use flate2::FlushCompress;
use flate2::FlushDecompress;
use flate2::Status;

use crate::protocol::websocket::frame::Error;

/// Whether one of these offers can be met (RFC 7692 §5.1) by what we [agree on](AGREED): with no wish about our window, which
/// would have to be named in the answer (§7.1.2.1).
#[must_use]
pub fn is_offered(offers: &str) -> bool {
    offers.split(',').any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        name == "permessage-deflate" && parts.all(can_be_met)
    })
}

fn can_be_met(parameter: &str) -> bool {
    let (name, value) = match parameter.split_once('=') {
        Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"'))),
        None => (parameter, None),
    };
    match (name, value) {
        (
            "server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits",
            None,
        ) => true,
        ("client_max_window_bits", Some(bits)) => {
            bits.parse::<u8>().is_ok_and(|bits| (8..=15).contains(&bits))
        }
        _ => false,
    }
}

/// What is agreed on: neither side remembers what it said before (§7.1.1).
pub const AGREED: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Expands a message of the browser's (§7.2.2), to `limit` bytes at most.
pub(super) fn inflate(payload: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let input = [payload, TAIL].concat();
    INFLATE.with_borrow_mut(|Inflate { state, room }| {
        state.reset(false);
        let (mut rest, mut out) = (input.as_slice(), Vec::new());
        loop {
            let before = (state.total_in(), state.total_out());
            let status = state.decompress(rest, room, FlushDecompress::None);
            let status = status.map_err(|_| Error::Deflate)?;
            let (read, written) = (state.total_in() - before.0, state.total_out() - before.1);
            rest = rest.get(count(read)..).unwrap_or_default();
            let written = room.get(..count(written)).unwrap_or_default();
            if out.len().saturating_add(written.len()) > limit {
                return Err(Error::TooBig { limit });
            }
            out.extend_from_slice(written);
            // Behind a block that says it is the last (§7.2.3.4) nothing is read.
            if status == Status::StreamEnd || (read == 0 && written.is_empty()) {
                let is_whole = status == Status::StreamEnd || rest.is_empty();
                return if is_whole { Ok(out) } else { Err(Error::Deflate) };
            }
        }
    })
}

/// Compresses a message, in parts (§7.2.1).
pub(super) fn deflate(parts: &[&[u8]], out: &mut Vec<u8>) {
    let input = parts.concat();
    DEFLATE.with_borrow_mut(|Deflate { state, room }| {
        state.reset();
        let mut rest = input.as_slice();
        loop {
            let before = (state.total_in(), state.total_out());
            // It cannot fail: there is always room, and the state was reset.
            let _ = state.compress(rest, room, FlushCompress::Sync);
            let (read, written) = (state.total_in() - before.0, state.total_out() - before.1);
            rest = rest.get(count(read)..).unwrap_or_default();
            let written = room.get(..count(written)).unwrap_or_default();
            out.extend_from_slice(written);
            if rest.is_empty() && written.len() < ROOM {
                break;
            }
        }
    });
    out.truncate(out.len().saturating_sub(TAIL.len()));
}

fn count(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

struct Inflate {
    state: Decompress,
    room: [u8; ROOM],
}

struct Deflate {
    state: Compress,
    room: [u8; ROOM],
}

/// The end of a block, which no message has (§7.2.1).
const TAIL: &[u8] = &[0x00, 0x00, 0xff, 0xff];
/// How much is written at once, in bytes.
const ROOM: usize = 16 * 1024;

thread_local! {
    static INFLATE: RefCell<Inflate> =
        RefCell::new(Inflate { state: Decompress::new(false), room: [0; ROOM] });
    static DEFLATE: RefCell<Deflate> =
        RefCell::new(Deflate { state: Compress::new(Compression::fast(), false), room: [0; ROOM] });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(parts: &[&[u8]]) -> Vec<u8> {
        let mut small = Vec::new();
        deflate(parts, &mut small);
        assert!(!small.ends_with(TAIL));
        inflate(&small, 1 << 20).unwrap()
    }

    #[test]
    fn hello_of_the_rfc_is_read_in_each_of_its_forms() {
        // RFC 7692 §7.2.3.1, §7.2.3.3, §7.2.3.4, §7.2.3.5
        for hello in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(hello, 5).unwrap(), b"Hello");
            assert_eq!(inflate(hello, 4), Err(Error::TooBig { limit: 4 }));
        }
    }

    #[test]
    fn offers_are_met_that_can_be() {
        for (offers, is_met) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            ("permessage-deflate; client_max_window_bits=10; server_no_context_takeover", true),
            ("permessage-deflate; server_max_window_bits=\"15\"", false),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", true),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; client_max_window_bits=16", false),
            ("permessage-deflate; something_else", false),
            ("x-webkit-deflate-frame", false),
            ("", false),
        ] {
            assert_eq!(is_offered(offers), is_met, "{offers}");
        }
    }

    proptest! {
        #[test]
        fn message_comes_out_as_it_went_in(
            text in proptest::collection::vec(prop_oneof![4 => b'a'..=b'c', 1 => any::<u8>()], 0..40_000),
            cut in any::<proptest::sample::Index>(),
        ) {
            let (front, back) = text.split_at(cut.index(text.len() + 1));

            prop_assert_eq!(there_and_back(&[front, back]), text);
        }

        #[test]
        fn whatever_comes_no_more_is_kept_than_the_bound(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), limit in 0_usize..300,
        ) {
            if let Ok(out) = inflate(&bytes, limit) {
                prop_assert!(out.len() <= limit);
            }
        }
    }
}
