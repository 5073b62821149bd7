//! Header blocks of a browser, and the requests that they are (RFC 9113 §6.2, §6.10, §8.1).

use std::time::Instant;

use crate::protocol::http2::code::Code;
use crate::protocol::http2::connection::Block;
use crate::protocol::http2::connection::Connection;
use crate::protocol::http2::connection::Event;
use crate::protocol::http2::connection::Heading;
use crate::protocol::http2::connection::Leaving;
use crate::protocol::http2::connection::Purpose;
use crate::protocol::http2::connection::receiving::check_dependency;
use crate::protocol::http2::frame::Head;
use crate::protocol::http2::frame::LARGEST;
use crate::protocol::http2::frame::flag;
use crate::protocol::http2::hpack::fields::Fields;
use crate::protocol::http2::request;
use crate::protocol::http2::request::Asked;
use crate::protocol::http2::request::Malformed;
use crate::protocol::http2::streams::Standing;
use crate::protocol::http2::streams::State;
use crate::protocol::http2::streams::Stream;
use crate::protocol::http2::window::Receiving;
use crate::protocol::http2::window::Sending;

impl Connection {
    /// A header block begins (§6.2).
    pub(super) fn headers(
        &mut self,
        head: Head,
        payload: &[u8],
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        let (fragment, last) = (fragment(head, payload)?, self.streams.last());
        let purpose = match self.streams.standing(head.stream) {
            Standing::Idle if head.stream.is_multiple_of(2) => return Err(Code::Protocol),
            Standing::Idle => Purpose::Request,
            Standing::Open(stream) if stream.state.hears() => Purpose::Trailers,
            Standing::Reset => Purpose::Late,
            Standing::Open(_) => return Err(Code::StreamClosed),
            Standing::Closed if head.stream == last => return Err(Code::StreamClosed),
            // Numbers only grow (§5.1.1).
            Standing::Closed => return Err(Code::Protocol),
        };
        if purpose == Purpose::Request {
            self.streams.comes(head.stream);
        }
        let of = Heading { stream: head.stream, purpose, ends: head.has(flag::END_STREAM) };
        if head.has(flag::END_HEADERS) {
            return self.block(of, fragment, now);
        }
        self.block = Some(Box::new(Block { of, octets: fragment.to_vec(), frames: 0 }));
        Ok(None)
    }

    /// A header block goes on (§6.10), but not for ever (CVE-2024-27316).
    pub(super) fn continuation(
        &mut self,
        head: Head,
        payload: &[u8],
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        let Some(mut block) = self.block.take() else { return Err(Code::Internal) };
        block.frames += 1;
        block.octets.extend_from_slice(payload);
        let most = self.terms.header_bytes.saturating_mul(2).max(LARGEST);
        if block.frames > CONTINUATIONS || block.octets.len() > most {
            return Err(Code::EnhanceYourCalm);
        }
        if head.has(flag::END_HEADERS) {
            return self.block(block.of, &block.octets, now);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// A whole header block.
    fn block(
        &mut self,
        of: Heading,
        octets: &[u8],
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        if of.purpose == Purpose::Late {
            self.calm.spend(1, now)?;
        }
        let mut fields = Fields::with_capacity(octets.len(), self.most());
        self.decoder.decode(octets, &mut fields).map_err(|_| Code::Compression)?;
        match of.purpose {
            Purpose::Late => Ok(None),
            Purpose::Trailers => self.trailers_of_browser(of, fields, now),
            Purpose::Request => self.request(of, fields, now),
        }
    }

    /// What follows a body ends it, and is not kept (§8.1).
    fn trailers_of_browser(
        &mut self,
        of: Heading,
        fields: Fields,
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        let Some(stream) = self.streams.get_mut(of.stream) else {
            // It has ended between the parts of the block.
            self.calm.spend(1, now)?;
            return Ok(None);
        };
        let is_whole = stream.left.is_none_or(|left| left == 0);
        // Nothing but DATA goes through a tunnel (§8.5).
        let may_be = of.ends && is_whole && !stream.is_tunnel;
        if !may_be || request::are_trailers(fields).is_err() {
            return self.fail_stream(of.stream, Code::Protocol, now);
        }
        stream.state = State::HalfClosed;
        Ok(Some(Event::Data { stream: of.stream, data: &[], ends: true }))
    }

    /// A request.
    fn request(
        &mut self,
        Heading { stream: number, ends, .. }: Heading,
        fields: Fields,
        now: Instant,
    ) -> Result<Option<Event<'static>>, Code> {
        let under_way = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        if under_way >= self.terms.streams || self.leaving == Leaving::Over {
            self.calm.spend(REFUSED, now)?;
            self.reset(number, Code::RefusedStream);
            return Ok(None);
        }
        let is_whole = fields.is_whole();
        let asked = if is_whole {
            request::read(fields, self.terms.takes_connect).and_then(|asked| fitting(asked, ends))
        } else {
            self.calm.spend(TOO_LARGE, now)?;
            Ok(Asked { request: http::Request::new(()), length: None, is_tunnel: false })
        };
        let Ok(Asked { request, length, is_tunnel }) = asked else {
            return self.fail_stream(number, Code::Protocol, now);
        };
        self.streams.open(Stream {
            number,
            state: if ends { State::HalfClosed } else { State::Open },
            is_tunnel,
            is_begun: false,
            sending: Sending::new(self.initial),
            receiving: Receiving::new(self.terms.stream_window),
            left: length,
        });
        Ok(Some(if is_whole {
            Event::Request { stream: number, request, length, ends }
        } else {
            Event::TooLarge { stream: number }
        }))
    }
}

/// The request, where what is said of its body can be so.
fn fitting(asked: Asked, ends: bool) -> Result<Asked, Malformed> {
    let is_none = asked.length.is_none_or(|length| length == 0);
    if ends && !is_none { Err(Malformed) } else { Ok(asked) }
}

/// What a frame with HEADERS has of the header block (§6.2).
fn fragment(head: Head, payload: &[u8]) -> Result<&[u8], Code> {
    let mut rest = payload;
    let mut padding = 0;
    if head.has(flag::PADDED) {
        let (&length, behind) = rest.split_first().ok_or(Code::FrameSize)?;
        (padding, rest) = (usize::from(length), behind);
    }
    if head.has(flag::PRIORITY) {
        let (priority, behind) = rest.split_at_checked(5).ok_or(Code::FrameSize)?;
        check_dependency(head.stream, priority)?;
        rest = behind;
    }
    let length = rest.len().checked_sub(padding).ok_or(Code::Protocol)?;
    rest.get(..length).ok_or(Code::Protocol)
}

/// What a request beyond the bound costs.
const REFUSED: u32 = 2;
/// What a request with too large a header costs.
const TOO_LARGE: u32 = 20;
/// Frames in which a header block may go on.
const CONTINUATIONS: u32 = 32;
