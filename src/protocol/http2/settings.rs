//! SETTINGS (RFC 9113 §6.5): what the browser wants, and what we say of ourselves.

use crate::protocol::http2::code::Code;
use crate::protocol::http2::connection::Terms;
use crate::protocol::http2::frame;
use crate::protocol::http2::frame::GREATEST;
use crate::protocol::http2::frame::Kind;
use crate::protocol::http2::frame::LARGEST;

/// A setting of the browser that we heed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// How large the table of our encoder may be, in bytes.
    HeaderTable(u32),
    /// What we may send on a new stream before we are given more room, in bytes.
    InitialWindow(u32),
    /// The largest payload of a frame that it takes.
    MaxFrame(usize),
}

/// The settings in a frame that we heed, in their order.
pub(super) fn read(payload: &[u8]) -> impl Iterator<Item = Result<Setting, Code>> {
    let (settings, _) = payload.as_chunks();
    settings.iter().filter_map(|&[a, b, c, d, e, f]| {
        one(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])).transpose()
    })
}

/// One setting; none if it is for nothing that we do (§6.5.2).
fn one(name: u16, value: u32) -> Result<Option<Setting>, Code> {
    Ok(match name {
        HEADER_TABLE => Some(Setting::HeaderTable(value)),
        INITIAL_WINDOW if value > GREATEST => return Err(Code::FlowControl),
        INITIAL_WINDOW => Some(Setting::InitialWindow(value)),
        MAX_FRAME => match usize::try_from(value) {
            Ok(value) if (LARGEST..1 << 24).contains(&value) => Some(Setting::MaxFrame(value)),
            Ok(_) | Err(_) => return Err(Code::Protocol),
        },
        ENABLE_PUSH | ENABLE_CONNECT if value > 1 => return Err(Code::Protocol),
        _ => None,
    })
}

/// Writes ours, and the window of the connection.
pub(super) fn write(terms: &Terms, initial: u32, out: &mut Vec<u8>) {
    let header_bytes = u32::try_from(terms.header_bytes).unwrap_or(u32::MAX);
    let mut payload = Vec::new();
    let mut set = |name: u16, value: u32| {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    };
    set(HEADER_TABLE, terms.header_table);
    set(MAX_STREAMS, terms.streams);
    set(INITIAL_WINDOW, terms.stream_window);
    set(MAX_HEADER_LIST, header_bytes);
    if terms.takes_connect {
        set(ENABLE_CONNECT, 1);
    }
    // Nothing is served by the priorities of RFC 7540, so a browser need not send them (RFC 9218 §2.1).
    set(NO_PRIORITIES, 1);
    frame::write(out, (Kind::Settings, 0), 0, &payload);
    if let Some(more) = terms.connection_window.checked_sub(initial).filter(|&more| more > 0) {
        frame::write_window_update(out, 0, more);
    }
}

const HEADER_TABLE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_STREAMS: u16 = 0x3;
const INITIAL_WINDOW: u16 = 0x4;
const MAX_FRAME: u16 = 0x5;
const MAX_HEADER_LIST: u16 = 0x6;
/// RFC 8441 §3.
const ENABLE_CONNECT: u16 = 0x8;
/// RFC 9218 §2.1.
const NO_PRIORITIES: u16 = 0x9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_out_of_its_range_ends_the_connection() {
        // RFC 9113 §6.5.2.
        for (name, value, expected) in [
            (2, 2, Err(Code::Protocol)),
            (2, 1, Ok(None)),
            (4, GREATEST + 1, Err(Code::FlowControl)),
            (4, 0, Ok(Some(Setting::InitialWindow(0)))),
            (5, 16_383, Err(Code::Protocol)),
            (5, 1 << 24, Err(Code::Protocol)),
            (5, (1 << 24) - 1, Ok(Some(Setting::MaxFrame((1 << 24) - 1)))),
            (0xff, 7, Ok(None)),
        ] {
            assert_eq!(one(name, value), expected, "{name} {value}");
        }
    }
}
