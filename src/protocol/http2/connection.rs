//! One connection of a browser (RFC 9113): bytes in, requests out; answers in, bytes out.
//!
//! What a browser does that no browser does ends the connection, also where the RFC would end but its stream: one that
//! provokes nothing but resets is no use to anybody (CVE-2025-8671). Requests that make no sense end their stream alone, and
//! are counted.

mod answering;
mod heading;
mod receiving;

use std::borrow::Cow;
use std::time::Duration;
use std::time::Instant;

use http::HeaderValue;
use http::Request;

use crate::protocol::http2::calm::Calm;
use crate::protocol::http2::code::Code;
use crate::protocol::http2::frame;
use crate::protocol::http2::frame::Head;
use crate::protocol::http2::frame::LARGEST;
use crate::protocol::http2::frame::PREFACE;
use crate::protocol::http2::hpack::decoder::Decoder;
use crate::protocol::http2::hpack::encoder::Encoder;
use crate::protocol::http2::hpack::fields::Most;
use crate::protocol::http2::settings;
use crate::protocol::http2::streams::Streams;
use crate::protocol::http2::window::INITIAL;
use crate::protocol::http2::window::Receiving;
use crate::protocol::http2::window::Sending;

/// What we say of ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Requests under way at once.
    pub streams: u32,
    /// Requests that may come to nothing before anybody has looked at them, beyond as many that were answered.
    pub resets: u32,
    /// Fields of one request.
    pub header_fields: usize,
    /// Bytes of its header, as §6.5.2 counts them.
    pub header_bytes: usize,
    /// The table of fields that a browser may build, in bytes.
    pub header_table: u32,
    /// What may be under way of one upload or tunnel, in bytes.
    pub stream_window: u32,
    /// The same of all uploads and tunnels.
    pub connection_window: u32,
    /// Whether CONNECT is taken for a protocol that it names (RFC 8441).
    pub takes_connect: bool,
}

/// What a browser wants.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, which is taken at once")]
pub enum Event<'a> {
    /// It asks. See [`Connection::begin`].
    Request {
        /// Its number.
        stream: u32,
        /// All but the body; with a [`Protocol`] in its extensions where it is a CONNECT.
        request: Request<()>,
        /// How long its body is, where it says so.
        length: Option<u64>,
        /// Whether there is no body.
        ends: bool,
    },
    /// It asks with a larger header than it may, which was not kept.
    TooLarge {
        /// The number of the request.
        stream: u32,
    },
    /// More of a body. See [`Connection::take`].
    Data {
        /// Whose.
        stream: u32,
        /// The bytes, which may be none.
        data: &'a [u8],
        /// Whether they are the last.
        ends: bool,
    },
    /// A request is not to be answered any more: it was taken back, or broke a rule.
    Reset {
        /// Which.
        stream: u32,
    },
    /// It answers a PING.
    Pong,
}

/// The protocol that a CONNECT asks for (RFC 8441 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol(pub HeaderValue);

/// The machine.
#[derive(Debug)]
pub struct Connection {
    terms: Terms,
    reading: Reading,
    /// The beginning of what is read next, where not all of it has come.
    partial: Vec<u8>,
    /// A header block that goes on in the next frame.
    block: Option<Box<Block>>,
    decoder: Decoder,
    encoder: Encoder,
    streams: Streams,
    sending: Sending,
    receiving: Receiving,
    /// What the window of a new stream begins with, for us.
    initial: u32,
    /// The largest payload that we may send.
    largest: usize,
    calm: Calm,
    /// The same for requests that are taken back or reset. Time alone earns it: with an answer that is cheap for us and for
    /// the browser nobody is to buy one that is dear for the site (CVE-2023-44487).
    patience: Calm,
    /// Requests that came to nothing, less those that were answered.
    resets: u32,
    /// PINGs of ours that are not answered.
    pings: u32,
    /// What is to be sent before anything else.
    queued: Vec<u8>,
    leaving: Leaving,
    /// Whether anything whole has come since somebody last asked.
    has_heard: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// The preface, of which so many bytes have come.
    Preface(usize),
    /// The SETTINGS with which it begins (§3.4).
    First,
    Head,
    Payload(Head),
    /// How much of a frame with DATA is padding.
    PadLength(Data),
    Data(Data),
    /// So many bytes that nobody wants.
    Skip(usize),
}

/// What is left of a frame with DATA.
#[derive(Clone, Copy, Debug)]
struct Data {
    stream: u32,
    /// Bytes of the body.
    content: usize,
    /// Those behind.
    padding: usize,
    ends: bool,
    /// Nobody waits for it any more.
    is_late: bool,
}

/// A header block, as far as it has come.
#[derive(Debug)]
struct Block {
    of: Heading,
    octets: Vec<u8>,
    frames: u32,
}

/// What a header block is.
#[derive(Clone, Copy, Debug)]
struct Heading {
    stream: u32,
    purpose: Purpose,
    ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Request,
    Trailers,
    /// Nobody waits for it any more.
    Late,
}

/// How far the connection is on its way to its end (§6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// The browser is told, and may not have heard it.
    Told,
    /// It has heard it; or we do not wait for that.
    Over,
}

impl Connection {
    /// Nothing has come yet; our settings are to be sent.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let mut queued = Vec::new();
        settings::write(&terms, INITIAL, &mut queued);
        let remembered = terms.streams.saturating_add(terms.resets);
        Self {
            reading: Reading::Preface(0),
            partial: Vec::new(),
            block: None,
            decoder: Decoder::new(usize::try_from(terms.header_table).unwrap_or(0)),
            encoder: Encoder::default(),
            streams: Streams::new(usize::try_from(remembered).unwrap_or(usize::MAX)),
            sending: Sending::new(INITIAL),
            receiving: Receiving::new(terms.connection_window.max(INITIAL)),
            initial: INITIAL,
            largest: LARGEST,
            calm: Calm::new(EARNING),
            patience: Calm::new(EARNING / 4),
            resets: 0,
            pings: 0,
            queued,
            leaving: Leaving::No,
            has_heard: false,
            terms,
        }
    }

    /// Takes bytes off the front of `input`, up to the next that the browser wants; none where all are taken.
    ///
    /// # Errors
    /// The code with which the connection ends. What is queued says so to the browser; nothing is to be received any more.
    pub fn receive<'a>(
        &mut self,
        input: &mut &'a [u8],
        now: Instant,
    ) -> Result<Option<Event<'a>>, Code> {
        let received = self.read(input, now);
        if let Err(code) = received {
            self.leaving = Leaving::Over;
            frame::write_go_away(&mut self.queued, self.streams.last(), code);
        }
        received
    }

    fn read<'a>(&mut self, input: &mut &'a [u8], now: Instant) -> Result<Option<Event<'a>>, Code> {
        loop {
            let event = match self.reading {
                Reading::Preface(seen) => {
                    self.reading = preface(input, seen)?;
                    None
                }
                Reading::First | Reading::Head => {
                    let Some(head) = self.gather(input, Head::LENGTH) else { return Ok(None) };
                    let head = head.first_chunk().copied().map(Head::read).ok_or(Code::Internal)?;
                    self.begin_frame(head, now)?
                }
                Reading::Payload(head) => {
                    let Some(payload) = self.gather(input, head.length) else { return Ok(None) };
                    self.reading = Reading::Head;
                    let event = self.frame(head, &payload, now)?;
                    self.has_heard |= self.block.is_none();
                    event
                }
                Reading::PadLength(data) => {
                    let Some((&length, rest)) = input.split_first() else { return Ok(None) };
                    *input = rest;
                    self.pad(data, usize::from(length), now)?;
                    None
                }
                Reading::Data(data) => {
                    if input.is_empty() && data.content > 0 {
                        return Ok(None);
                    }
                    let (piece, rest) = input.split_at(data.content.min(input.len()));
                    *input = rest;
                    self.has_heard = true;
                    self.data(data, piece, now)?
                }
                Reading::Skip(left) => {
                    let (_, rest) = input.split_at(left.min(input.len()));
                    let left = left.saturating_sub(input.len());
                    *input = rest;
                    self.reading = if left == 0 { Reading::Head } else { Reading::Skip(left) };
                    None
                }
            };
            if event.is_some() || input.is_empty() && self.waits() {
                return Ok(event);
            }
        }
    }

    /// Whether nothing can go on without more bytes.
    fn waits(&self) -> bool {
        match self.reading {
            Reading::Payload(head) => head.length > 0,
            Reading::Data(data) => data.content > 0,
            Reading::Preface(_)
            | Reading::First
            | Reading::Head
            | Reading::PadLength(_)
            | Reading::Skip(_) => true,
        }
    }

    /// So many bytes in one piece, as soon as they have come.
    fn gather<'a>(&mut self, input: &mut &'a [u8], length: usize) -> Option<Cow<'a, [u8]>> {
        if self.partial.is_empty()
            && let Some((whole, rest)) = input.split_at_checked(length)
        {
            *input = rest;
            return Some(Cow::Borrowed(whole));
        }
        let missing = length.saturating_sub(self.partial.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.partial.extend_from_slice(taken);
        *input = rest;
        // A new vector afterwards, which holds no memory.
        (self.partial.len() == length).then(|| Cow::Owned(std::mem::take(&mut self.partial)))
    }

    /// Whether anything whole has come since this was last asked: a frame, but for a header block that goes on and on, or
    /// a part of a body.
    pub fn has_heard(&mut self) -> bool {
        std::mem::take(&mut self.has_heard)
    }

    /// Whether any request has come.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.streams.last() > 0
    }

    /// Requests that are not answered to their end.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.streams.len()
    }

    /// Whether everything is said and done: the connection is to be closed once what is queued is sent.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.leaving == Leaving::Over && self.streams.len() == 0
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued.len()
    }

    fn most(&self) -> Most {
        Most { fields: self.terms.header_fields, bytes: self.terms.header_bytes }
    }
}

/// How long it takes until a frame that asks for nothing may be sent once more.
const EARNING: Duration = Duration::from_millis(20);

/// Takes the preface, or as much of it as has come.
fn preface(input: &mut &[u8], seen: usize) -> Result<Reading, Code> {
    let wanted = PREFACE.get(seen..).unwrap_or_default();
    let length = wanted.len().min(input.len());
    let (said, rest) = input.split_at(length);
    if !wanted.starts_with(said) {
        return Err(Code::Protocol);
    }
    *input = rest;
    let seen = seen + length;
    Ok(if seen == PREFACE.len() { Reading::First } else { Reading::Preface(seen) })
}

#[cfg(test)]
mod tests;
