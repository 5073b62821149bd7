//! The header of a frame (RFC 6455 §5.2).

use crate::protocol::websocket::frame::COMPRESSED;
use crate::protocol::websocket::frame::Error;
use crate::protocol::websocket::frame::Frame;

/// The header of a frame, once it is whole.
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) finished: bool,
    pub(super) compressed: bool,
    pub(super) mask: [u8; 4],
    /// Bytes of the header itself.
    pub(super) length: usize,
    /// Bytes of header and payload.
    pub(super) total: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Header {
    /// The header at the front of `bytes`; `None` while it is not whole.
    pub(super) fn parse(bytes: &[u8], limit: usize, deflates: bool) -> Result<Option<Self>, Error> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let compressed = first & COMPRESSED != 0;
        if first & 0b0011_0000 != 0 || (compressed && !deflates) {
            return Err(Error::Reserved);
        }
        let finished = first & 0b1000_0000 != 0;
        let opcode = Opcode::parse(first & 0b1111)?;
        if second & 0b1000_0000 == 0 {
            return Err(Error::Unmasked);
        }
        let short = second & 0b0111_1111;
        let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        // A message says so in its first frame (RFC 7692 §6.1).
        if compressed && (is_control || opcode == Opcode::Continuation) {
            return Err(Error::Reserved);
        }
        if is_control && (short > 125 || !finished) {
            return Err(Error::Control);
        }
        let (payload, rest) = match (short, rest) {
            (126, &[a, b, ref rest @ ..]) => (u64::from(u16::from_be_bytes([a, b])), rest),
            (127, rest) => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*length), rest)
            }
            (126, _) => return Ok(None),
            (short, rest) => (u64::from(short), rest),
        };
        // Refused before a byte of it is kept.
        let payload = usize::try_from(payload).ok().filter(|&bytes| bytes <= limit.max(125));
        let payload = payload.ok_or(Error::TooBig { limit })?;
        let &[a, b, c, d, ..] = rest else { return Ok(None) };
        let length = bytes.len() - rest.len() + 4;
        let (mask, total) = ([a, b, c, d], length + payload);
        Ok(Some(Self { opcode, finished, compressed, mask, length, total }))
    }

    /// The frame this header stands before, when it is no part of a longer message.
    pub(super) fn frame<'a>(&self, payload: &'a [u8]) -> Result<Frame<'a>, Error> {
        match self.opcode {
            Opcode::Text | Opcode::Continuation | Opcode::Binary => Ok(Frame::Text(payload)),
            Opcode::Ping => Ok(Frame::Ping(payload)),
            Opcode::Pong => Ok(Frame::Pong),
            Opcode::Close => close_code(payload).map(Frame::Close),
        }
    }
}

impl Opcode {
    fn parse(bits: u8) -> Result<Self, Error> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xA => Ok(Self::Pong),
            _ => Err(Error::Reserved),
        }
    }
}

/// The status code of a close frame (§7.4); the reason behind it is nobody's business.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Error> {
    match *payload {
        [] => Ok(None),
        [a, b, ref reason @ ..] => {
            let code = u16::from_be_bytes([a, b]);
            let sendable = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            (sendable && std::str::from_utf8(reason).is_ok())
                .then_some(Some(code))
                .ok_or(Error::CloseCode)
        }
        [_] => Err(Error::CloseCode),
    }
}
