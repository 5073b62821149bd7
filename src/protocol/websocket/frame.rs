//! WebSocket frames (RFC 6455): the browser's are read and unmasked in place, ours are written unmasked.

mod header;

use std::mem;

use thiserror::Error;

use crate::protocol::websocket::deflate;
use crate::protocol::websocket::frame::header::Header;
use crate::protocol::websocket::frame::header::Opcode;

/// Reads the browser's frames; keeps bytes only for a partial frame or a fragmented message.
#[derive(Debug)]
pub struct Reader {
    /// The most bytes one message may have.
    limit: usize,
    /// Whether messages may be compressed (RFC 7692).
    deflates: bool,
    /// Whether the message under way is.
    compressed: bool,
    /// The beginning of a frame whose rest has not come.
    held: Vec<u8>,
    /// The fragments of a message that is not finished; `None` outside one.
    message: Option<Vec<u8>>,
    /// What the frame given out last was borrowed from, to be dropped at the next call.
    lent: Lent,
}

#[derive(Clone, Copy, Debug)]
enum Lent {
    Nothing,
    Held,
    Message,
}

/// One whole message or control frame of the browser.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole text message, its UTF-8 unchecked.
    Text(&'a [u8]),
    /// To be answered with the same bytes (§5.5.2).
    Ping(&'a [u8]),
    /// The answer to a ping of ours, or a heartbeat (§5.5.3).
    Pong,
    /// The browser closes, with its status code if it gave one (§5.5.1).
    Close(Option<u16>),
}

/// How a browser broke RFC 6455; [`Error::close_code`] is what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// A browser masks every frame (§5.1).
    #[error("a frame without mask")]
    Unmasked,
    /// No extension was agreed on that uses it (§5.2).
    #[error("a frame with reserved bits or a reserved opcode")]
    Reserved,
    /// A control frame is short and whole (§5.5).
    #[error("a control frame that is fragmented or longer than 125 bytes")]
    Control,
    /// A continuation without a beginning, or a beginning inside a message (§5.4).
    #[error("fragments out of order")]
    Fragments,
    /// XMPP is carried in text (RFC 7395 §3.2).
    #[error("a binary frame")]
    Binary,
    /// A status code that may not be sent, or half a one (§7.4.1).
    #[error("a close frame with a status code that cannot be")]
    CloseCode,
    /// A compressed message that is none (RFC 7692 §7.2.2).
    #[error("a message that is not compressed as it says")]
    Deflate,
    /// The message is longer than the bound.
    #[error("a message longer than {limit} bytes")]
    TooBig {
        /// The bound.
        limit: usize,
    },
}

impl Error {
    /// The status code of our close frame (§7.4.1).
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::Unmasked | Self::Reserved | Self::Control | Self::Fragments | Self::CloseCode => {
                PROTOCOL_ERROR
            }
            Self::Binary => UNSUPPORTED,
            Self::Deflate => INVALID_DATA,
            Self::TooBig { .. } => TOO_BIG,
        }
    }
}

impl Reader {
    /// A reader that refuses messages of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (held, lent) = (Vec::new(), Lent::Nothing);
        Self { limit, deflates: false, compressed: false, held, message: None, lent }
    }

    /// The same, whose browser may compress what it says (RFC 7692).
    #[must_use]
    pub fn deflating(self, deflates: bool) -> Self {
        Self { deflates, ..self }
    }

    /// Whether messages may be compressed.
    #[must_use]
    pub fn deflates(&self) -> bool {
        self.deflates
    }

    /// Takes the next whole message or control frame off the front of `input`.
    ///
    /// `None`: all of `input` was taken, and the rest of the frame has yet to come.
    ///
    /// # Errors
    /// When the browser broke RFC 6455; the connection is over then.
    #[expect(clippy::mut_mut, reason = "the caller's slice is advanced past what was taken")]
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Frame<'a>>, Error> {
        self.drop_lent();
        loop {
            if self.held.is_empty() {
                let bytes = mem::take(input);
                let header = Header::parse(bytes, self.limit, self.deflates)?;
                let Some(header) = header.filter(|header| header.total <= bytes.len()) else {
                    self.held = bytes.to_vec();
                    return Ok(None);
                };
                let (frame, rest) = bytes.split_at_mut(header.total);
                *input = rest;
                let payload = frame.get_mut(header.length..).unwrap_or_default();
                unmask(header.mask, payload);
                match self.place(&header, payload)? {
                    Place::Part => continue,
                    Place::Last => return Ok(Some(self.lend_message())),
                    Place::Alone => return header.frame(payload).map(Some),
                }
            }
            let Some(header) = self.fill(input)? else { return Ok(None) };
            let mut frame = mem::take(&mut self.held);
            let payload = frame.get_mut(header.length..).unwrap_or_default();
            unmask(header.mask, payload);
            match self.place(&header, payload)? {
                Place::Part => {}
                Place::Last => return Ok(Some(self.lend_message())),
                Place::Alone => {
                    self.held = frame;
                    self.lent = Lent::Held;
                    return header
                        .frame(self.held.get(header.length..).unwrap_or_default())
                        .map(Some);
                }
            }
        }
    }

    /// Whether nothing is held: an idle reader.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.lent, Lent::Held) || self.held.is_empty()
    }

    fn drop_lent(&mut self) {
        match mem::replace(&mut self.lent, Lent::Nothing) {
            Lent::Nothing => {}
            Lent::Held => self.held = Vec::new(),
            Lent::Message => self.message = None,
        }
    }

    fn lend_message(&mut self) -> Frame<'_> {
        self.lent = Lent::Message;
        Frame::Text(self.message.as_deref().unwrap_or_default())
    }

    /// Moves from `input` what the held frame lacks; its header once it is whole.
    #[expect(clippy::mut_mut, reason = "as in `next`")]
    fn fill(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Error> {
        let header = loop {
            if let Some(header) = Header::parse(&self.held, self.limit, self.deflates)? {
                break header;
            }
            let Some((byte, rest)) = mem::take(input).split_first_mut() else { return Ok(None) };
            self.held.push(*byte);
            *input = rest;
        };
        let lacking = header.total.saturating_sub(self.held.len());
        let bytes = mem::take(input);
        let (wanted, rest) = bytes.split_at_mut(lacking.min(bytes.len()));
        self.held.reserve_exact(lacking);
        self.held.extend_from_slice(wanted);
        *input = rest;
        Ok((self.held.len() == header.total).then_some(header))
    }

    /// What a frame is to the message under way (§5.4); a part is kept.
    fn place(&mut self, header: &Header, payload: &[u8]) -> Result<Place, Error> {
        let message = match (header.opcode, &mut self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(Place::Alone),
            (Opcode::Binary, _) => return Err(Error::Binary),
            (Opcode::Text, Some(_)) | (Opcode::Continuation, None) => return Err(Error::Fragments),
            (Opcode::Text, None) if header.finished && !header.compressed => {
                return Ok(Place::Alone);
            }
            (Opcode::Text, message @ None) => {
                self.compressed = header.compressed;
                message.insert(Vec::new())
            }
            (Opcode::Continuation, Some(message)) => message,
        };
        if message.len().saturating_add(payload.len()) > self.limit {
            return Err(Error::TooBig { limit: self.limit });
        }
        message.extend_from_slice(payload);
        if header.finished && self.compressed {
            *message = deflate::inflate(message, self.limit)?;
        }
        Ok(if header.finished { Place::Last } else { Place::Part })
    }
}

/// What a frame is to the message it belongs to.
enum Place {
    /// A control frame, or a message in one frame.
    Alone,
    /// The message goes on.
    Part,
    /// The message is whole with it.
    Last,
}

/// XORs `payload` with the mask (§5.3), eight bytes at a time.
fn unmask(mask: [u8; 4], payload: &mut [u8]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes the header of one of our text messages of `payload` bytes; the payload follows.
pub fn write_text_header(payload: usize, out: &mut Vec<u8>) {
    write_header(0x1, payload, out);
}

/// The same of a compressed one, its payload as it is sent (RFC 7692 §6.1).
pub fn write_compressed_header(payload: usize, out: &mut Vec<u8>) {
    write_header(COMPRESSED | 0x1, payload, out);
}

/// Writes a ping, which the browser answers by itself.
pub fn write_ping(out: &mut Vec<u8>) {
    write_header(0x9, 0, out);
}

/// Writes the answer to a ping.
pub fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_header(0xA, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Writes a close frame with a status code of §7.4.1.
pub fn write_close(code: u16, out: &mut Vec<u8>) {
    write_header(0x8, 2, out);
    out.extend_from_slice(&code.to_be_bytes());
}

fn write_header(opcode: u8, payload: usize, out: &mut Vec<u8>) {
    out.push(0b1000_0000 | opcode);
    match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

/// Closed as agreed (§7.4.1).
pub const NORMAL: u16 = 1000;
/// The browser broke the protocol (§7.4.1).
const PROTOCOL_ERROR: u16 = 1002;
/// A kind of data that XMPP has no use for (§7.4.1).
const UNSUPPORTED: u16 = 1003;
/// Text that is none (§7.4.1, §8.1).
pub(super) const INVALID_DATA: u16 = 1007;
/// A message over the bound (§7.4.1).
const TOO_BIG: u16 = 1009;
/// The bit of a message that is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0b0100_0000;

#[cfg(test)]
mod tests;
