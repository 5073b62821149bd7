//! What comes of a browser, frame by frame (RFC 9113 §6).

use std::time::Instant;

use crate::protocol::http2::code::Code;
use crate::protocol::http2::connection::Connection;
use crate::protocol::http2::connection::Data;
use crate::protocol::http2::connection::Event;
use crate::protocol::http2::connection::Leaving;
use crate::protocol::http2::connection::Reading;
use crate::protocol::http2::connection::answering::LEAVING;
use crate::protocol::http2::frame;
use crate::protocol::http2::frame::GREATEST;
use crate::protocol::http2::frame::Head;
use crate::protocol::http2::frame::Kind;
use crate::protocol::http2::frame::LARGEST;
use crate::protocol::http2::frame::flag;
use crate::protocol::http2::settings;
use crate::protocol::http2::settings::Setting;
use crate::protocol::http2::streams::Standing;
use crate::protocol::http2::streams::State;

impl Connection {
    /// A frame begins: whether it may, and what is read next.
    pub(super) fn begin_frame(
        &mut self,
        head: Head,
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        let is_first = matches!(self.reading, Reading::First);
        if is_first && (head.kind != Kind::Settings || head.has(flag::ACK)) {
            return Err(Code::Protocol);
        }
        head.check()?;
        // Nothing comes between the parts of a header block (§4.3), and none without a beginning (§6.10).
        let goes_on = head.kind == Kind::Continuation;
        if self.block.as_ref().map(|block| block.of.stream) != goes_on.then_some(head.stream) {
            return Err(Code::Protocol);
        }
        match head.kind {
            Kind::Data => self.begin_data(head, now),
            Kind::Other => {
                self.calm.spend(1, now)?;
                self.reading = Reading::Skip(head.length);
                Ok(None)
            }
            Kind::Headers
            | Kind::Priority
            | Kind::ResetStream
            | Kind::Settings
            | Kind::PushPromise
            | Kind::Ping
            | Kind::GoAway
            | Kind::WindowUpdate
            | Kind::Continuation => {
                self.reading = Reading::Payload(head);
                Ok(None)
            }
        }
    }

    /// A piece of a body begins (§6.1); its padding counts as well (§6.9.1).
    fn begin_data(&mut self, head: Head, now: Instant) -> Result<Option<Event<'static>>, Code> {
        self.receiving.comes(head.length)?;
        let (is_padded, ends) = (head.has(flag::PADDED), head.has(flag::END_STREAM));
        if head.length == 0 && !ends {
            self.calm.spend(1, now)?;
        }
        let (is_late, overflows) = match self.streams.standing(head.stream) {
            Standing::Open(stream) if stream.state.hears() => {
                let overflows = stream.receiving.comes(head.length).is_err();
                (overflows, overflows)
            }
            Standing::Reset => (true, false),
            Standing::Idle => return Err(Code::Protocol),
            Standing::Open(_) | Standing::Closed => return Err(Code::StreamClosed),
        };
        let (stream, content) = (head.stream, head.length);
        let data = Data { stream, content, padding: 0, ends, is_late };
        self.reading = if is_padded { Reading::PadLength(data) } else { Reading::Data(data) };
        if is_padded && content == 0 {
            return Err(Code::FrameSize);
        }
        if overflows { self.fail_stream(stream, Code::FlowControl, now) } else { Ok(None) }
    }

    /// So many of the bytes that follow are padding.
    pub(super) fn pad(&mut self, data: Data, padding: usize, now: Instant) -> Result<(), Code> {
        let content = data.content.checked_sub(1 + padding).ok_or(Code::Protocol)?;
        if content == 0 && !data.ends {
            self.calm.spend(1, now)?;
        }
        self.reading = Reading::Data(Data { content, padding, ..data });
        self.take(data.stream, 1 + padding);
        Ok(())
    }

    /// A piece of what a frame has of a body.
    pub(super) fn data<'a>(
        &mut self,
        data: Data,
        piece: &'a [u8],
        now: Instant,
    ) -> Result<Option<Event<'a>>, Code> {
        let content = data.content.saturating_sub(piece.len());
        self.reading = if content > 0 {
            Reading::Data(Data { content, ..data })
        } else if data.padding > 0 {
            Reading::Skip(data.padding)
        } else {
            Reading::Head
        };
        let ends = data.ends && content == 0;
        let Some(stream) = self.streams.get_mut(data.stream).filter(|_| !data.is_late) else {
            // It has ended meanwhile.
            self.take(data.stream, piece.len());
            return Ok(None);
        };
        if let Some(left) = &mut stream.left {
            let fits = u64::try_from(piece.len()).ok().and_then(|length| left.checked_sub(length));
            match fits {
                Some(rest) if rest == 0 || !ends => *left = rest,
                // The body is not as long as it says it is (§8.1.1).
                Some(_) | None => {
                    self.take(data.stream, piece.len());
                    return self.fail_stream(data.stream, Code::Protocol, now);
                }
            }
        }
        if ends && stream.state == State::Ended {
            self.streams.close(data.stream);
        } else if ends {
            stream.state = State::HalfClosed;
        } else if piece.is_empty() {
            return Ok(None);
        }
        Ok(Some(Event::Data { stream: data.stream, data: piece, ends }))
    }

    /// A whole frame that is no DATA.
    pub(super) fn frame(
        &mut self,
        head: Head,
        payload: &[u8],
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        match head.kind {
            Kind::Headers => return self.headers(head, payload, now),
            Kind::Continuation => return self.continuation(head, payload, now),
            Kind::ResetStream => return self.reset_by_browser(head.stream, now),
            Kind::WindowUpdate => return self.window_update(head.stream, payload, now),
            Kind::Ping if head.has(flag::ACK) => return self.pong(payload, now).map(Some),
            Kind::Ping => {
                self.calm.spend(1, now)?;
                frame::write(&mut self.queued, (Kind::Ping, flag::ACK), 0, payload);
            }
            Kind::Settings if head.has(flag::ACK) => self.calm.spend(1, now)?,
            Kind::Settings => self.settings(payload, now)?,
            Kind::Priority => {
                self.calm.spend(1, now)?;
                check_dependency(head.stream, payload)?;
            }
            // It asks nothing more, and leaves when it has its answers.
            Kind::GoAway => self.calm.spend(1, now)?,
            // The head of none of these leads here.
            Kind::Data | Kind::PushPromise | Kind::Other => return Err(Code::Internal),
        }
        Ok(None)
    }

    /// Settings of the browser, which hold from now on (§6.5.3).
    fn settings(&mut self, payload: &[u8], now: Instant) -> Result<(), Code> {
        self.calm.spend(SETTINGS, now)?;
        for setting in settings::read(payload) {
            match setting? {
                Setting::HeaderTable(bytes) => self.encoder.may_have(bytes),
                Setting::InitialWindow(bytes) => {
                    let more = i64::from(bytes) - i64::from(self.initial);
                    self.initial = bytes;
                    for stream in self.streams.iter_mut() {
                        stream.sending.shift(more)?;
                    }
                }
                Setting::MaxFrame(bytes) => self.largest = bytes.min(LARGEST),
            }
        }
        frame::write(&mut self.queued, (Kind::Settings, flag::ACK), 0, &[]);
        Ok(())
    }

    /// The answer to a PING; where it was the one behind our farewell, all that the browser asked before has come.
    fn pong(&mut self, payload: &[u8], now: Instant) -> Result<Event<'static>, Code> {
        match self.pings.checked_sub(1) {
            Some(left) => self.pings = left,
            // Nobody has asked.
            None => self.calm.spend(1, now)?,
        }
        if payload == LEAVING && self.leaving == Leaving::Told {
            self.leaving = Leaving::Over;
            frame::write_go_away(&mut self.queued, self.streams.last(), Code::NoError);
        }
        Ok(Event::Pong)
    }

    /// Room for more of the answers (§6.9).
    fn window_update(
        &mut self,
        number: u32,
        payload: &[u8],
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        self.calm.spend(1, now)?;
        let bytes = payload.first_chunk().copied().map_or(0, u32::from_be_bytes) & GREATEST;
        if number == 0 {
            self.sending.open(bytes)?;
            return Ok(None);
        }
        match self.streams.standing(number) {
            Standing::Idle => Err(Code::Protocol),
            Standing::Open(stream) => match stream.sending.open(bytes) {
                Ok(()) => Ok(None),
                Err(code) => self.fail_stream(number, code, now),
            },
            // Where the answer was faster there is no stream left to end, and what is wrong stays wrong.
            Standing::Reset | Standing::Closed if bytes == 0 => Err(Code::Protocol),
            Standing::Reset | Standing::Closed => Ok(None),
        }
    }

    /// A request is taken back (§6.4).
    fn reset_by_browser(
        &mut self,
        number: u32,
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        if matches!(self.streams.standing(number), Standing::Idle) {
            return Err(Code::Protocol);
        }
        let Some(stream) = self.streams.close(number) else {
            self.calm.spend(1, now)?;
            // §5.1: what comes behind that was not under way when we ended it.
            self.streams.forget_reset(number);
            return Ok(None);
        };
        // Whoever leaves a page takes back all that it has asked for: that is dear, but allowed. What is taken back with
        // the breath that asked it is no browser's (CVE-2023-44487).
        self.patience.spend(TAKEN_BACK, now)?;
        if !stream.is_begun {
            self.comes_to_nothing()?;
        }
        Ok(Some(Event::Reset { stream: number }))
    }

    /// Ends a stream for what the browser has done on it (§5.4.2), which is counted: whoever provokes resets costs as much
    /// as whoever sends them (CVE-2025-8671).
    pub(super) fn fail_stream(
        &mut self,
        number: u32,
        code: Code,
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        let was_open = self.streams.get(number).is_some();
        self.reset(number, code);
        self.patience.spend(TAKEN_BACK, now)?;
        self.comes_to_nothing()?;
        Ok(was_open.then_some(Event::Reset { stream: number }))
    }

    /// One more request that comes to nothing.
    fn comes_to_nothing(&mut self) -> Result<(), Code> {
        self.resets += 1;
        if self.resets > self.terms.resets { Err(Code::EnhanceYourCalm) } else { Ok(()) }
    }
}

/// No stream waits for itself (RFC 7540 §5.3.1); apart from that, priorities say nothing to us.
pub(super) fn check_dependency(stream: u32, priority: &[u8]) -> Result<(), Code> {
    let on = priority.first_chunk().copied().map_or(0, u32::from_be_bytes) & GREATEST;
    if on == stream { Err(Code::Protocol) } else { Ok(()) }
}

/// What a SETTINGS costs.
const SETTINGS: u32 = 5;
/// What a request costs that is taken back or reset: two hundred at once, and forty a second.
const TAKEN_BACK: u32 = 5;
