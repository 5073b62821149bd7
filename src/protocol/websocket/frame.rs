//! WebSocket frames (RFC 6455): the browser's are read and unmasked in place, ours are written unmasked.

use std::mem;

use thiserror::Error;

/// Reads the browser's frames; keeps bytes only for a partial frame or a fragmented message.
#[derive(Debug)]
pub struct Reader {
    /// The most bytes one message may have.
    limit: usize,
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
    /// No extension was agreed on (§5.2).
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
            Self::TooBig { .. } => TOO_BIG,
        }
    }
}

/// The header of a frame, once it is whole.
struct Header {
    opcode: Opcode,
    finished: bool,
    mask: [u8; 4],
    /// Bytes of the header itself.
    length: usize,
    /// Bytes of header and payload.
    total: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Reader {
    /// A reader that refuses messages of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new(), message: None, lent: Lent::Nothing }
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
                let header = Header::parse(bytes, self.limit)?;
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
            if let Some(header) = Header::parse(&self.held, self.limit)? {
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
            (Opcode::Text, None) if header.finished => return Ok(Place::Alone),
            (Opcode::Text, message @ None) => message.insert(Vec::new()),
            (Opcode::Continuation, Some(message)) => message,
        };
        if message.len().saturating_add(payload.len()) > self.limit {
            return Err(Error::TooBig { limit: self.limit });
        }
        message.extend_from_slice(payload);
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

impl Header {
    /// The header at the front of `bytes`; `None` while it is not whole.
    fn parse(bytes: &[u8], limit: usize) -> Result<Option<Self>, Error> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0b0111_0000 != 0 {
            return Err(Error::Reserved);
        }
        let finished = first & 0b1000_0000 != 0;
        let opcode = Opcode::parse(first & 0b1111)?;
        if second & 0b1000_0000 == 0 {
            return Err(Error::Unmasked);
        }
        let short = second & 0b0111_1111;
        let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
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
        Ok(Some(Self { opcode, finished, mask: [a, b, c, d], length, total: length + payload }))
    }

    /// The frame this header stands before, when it is no part of a longer message.
    fn frame<'a>(&self, payload: &'a [u8]) -> Result<Frame<'a>, Error> {
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
/// A message over the bound (§7.4.1).
const TOO_BIG: u16 = 1009;

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a browser sends it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
            medium @ 126..=65535 => {
                frame.push(0x80 | 0x7E);
                frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                frame.push(0x80 | 0x7F);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Everything a reader makes of `input` when it comes in pieces of `piece` bytes.
    fn read(reader: &mut Reader, input: &[u8], piece: usize) -> Result<Vec<String>, Error> {
        let mut seen = Vec::new();
        for part in input.chunks(piece) {
            let mut part = part.to_vec();
            let mut rest = part.as_mut_slice();
            while let Some(frame) = reader.next(&mut rest)? {
                seen.push(match frame {
                    Frame::Text(text) => format!("text {}", String::from_utf8_lossy(text)),
                    control @ (Frame::Ping(_) | Frame::Pong | Frame::Close(_)) => {
                        format!("{control:?}")
                    }
                });
            }
        }
        Ok(seen)
    }

    fn error_of(frame: &[u8]) -> Error {
        read(&mut Reader::new(1000), frame, 1000).unwrap_err()
    }

    #[test]
    fn the_masked_hello_of_the_rfc_is_read() {
        // RFC 6455 §5.7
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];

        assert_eq!(read(&mut Reader::new(100), &hello, 100).unwrap(), ["text Hello"]);
    }

    #[test]
    fn frames_cut_anywhere_give_the_same_messages() {
        let mut input = masked(0x81, b"<presence/>");
        input.extend(masked(0x01, b"<message>"));
        input.extend(masked(0x89, b"beat"));
        input.extend(masked(0x80, b"</message>"));
        input.extend(masked(0x81, &[b'x'; 300]));
        input.extend(masked(0x8A, b""));
        input.extend(masked(0x88, &[0x03, 0xe8, b'b', b'y', b'e']));
        let long = format!("text {}", "x".repeat(300));
        let expected = [
            "text <presence/>",
            "Ping([98, 101, 97, 116])",
            "text <message></message>",
            &long,
            "Pong",
            "Close(Some(1000))",
        ];

        for piece in 1..=input.len() {
            let mut reader = Reader::new(1000);
            assert_eq!(read(&mut reader, &input, piece).unwrap(), expected, "in pieces of {piece}");
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn what_breaks_rfc_6455_is_refused_by_name() {
        assert_eq!(error_of(&[0x81, 0x05]), Error::Unmasked);
        assert_eq!(error_of(&masked(0xC1, b"x")), Error::Reserved);
        assert_eq!(error_of(&masked(0x83, b"x")), Error::Reserved);
        assert_eq!(error_of(&masked(0x09, b"x")), Error::Control);
        assert_eq!(error_of(&masked(0x89, &[0; 126])), Error::Control);
        assert_eq!(error_of(&masked(0x80, b"x")), Error::Fragments);
        assert_eq!(error_of(&[masked(0x01, b"x"), masked(0x81, b"y")].concat()), Error::Fragments);
        assert_eq!(error_of(&masked(0x82, b"x")), Error::Binary);
        assert_eq!(error_of(&masked(0x88, &[3])), Error::CloseCode);
        assert_eq!(error_of(&masked(0x88, &[0x03, 0xed])), Error::CloseCode);
    }

    #[test]
    fn a_message_over_the_bound_is_refused_before_it_is_kept() {
        let mut announced = vec![0x81, 0xFF];
        announced.extend(u64::MAX.to_be_bytes());
        let mut reader = Reader::new(1000);

        assert_eq!(read(&mut reader, &announced, 1).unwrap_err(), Error::TooBig { limit: 1000 });
        assert!(reader.held.len() < 20);
    }

    #[test]
    fn fragments_that_add_up_over_the_bound_are_refused() {
        let fragments = [masked(0x01, &[b'x'; 600]), masked(0x80, &[b'x'; 600])].concat();

        assert_eq!(error_of(&fragments), Error::TooBig { limit: 1000 });
    }

    #[test]
    fn our_headers_have_the_shortest_form() {
        let header = |payload| {
            let mut out = Vec::new();
            write_text_header(payload, &mut out);
            out
        };

        // RFC 6455 §5.7
        assert_eq!(header(5), [0x81, 0x05]);
        assert_eq!(header(256), [0x81, 0x7E, 0x01, 0x00]);
        assert_eq!(header(65536), [0x81, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
