//! What goes to a browser: answers, room for more, and the end.

use http::HeaderMap;
use http::StatusCode;

use crate::protocol::http2::code::Code;
use crate::protocol::http2::connection::Connection;
use crate::protocol::http2::connection::Leaving;
use crate::protocol::http2::frame;
use crate::protocol::http2::frame::GREATEST;
use crate::protocol::http2::frame::Kind;
use crate::protocol::http2::frame::flag;
use crate::protocol::http2::streams::State;

impl Connection {
    /// Somebody begins to work on a request.
    pub fn begin(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.is_begun = true;
        }
    }

    /// Whether a request is still to be answered.
    #[must_use]
    pub fn awaits(&self, stream: u32) -> bool {
        self.streams.get(stream).is_some()
    }

    /// So many bytes of a body are taken, or given up: there is room for as many more (§6.9).
    pub fn take(&mut self, number: u32, bytes: usize) {
        let most = self.terms.connection_window;
        if let Some(more) = self.receiving.takes(bytes, most) {
            frame::write_window_update(&mut self.queued, 0, more);
        }
        let most = self.terms.stream_window;
        let stream = self.streams.get_mut(number).filter(|stream| stream.state.hears());
        let Some(stream) = stream else { return };
        if let Some(more) = stream.receiving.takes(bytes, most) {
            frame::write_window_update(&mut self.queued, number, more);
        }
    }

    /// Writes what is to be sent before anything else.
    pub fn write_queued(&mut self, out: &mut Vec<u8>) {
        if !self.queued.is_empty() {
            out.extend_from_slice(&self.queued);
            // A new vector, which holds no memory.
            self.queued = Vec::new();
        }
    }

    /// Writes the head of an answer; `ends` where it has no body.
    pub fn write_head(
        &mut self,
        number: u32,
        (status, headers): (StatusCode, &HeaderMap),
        ends: bool,
        out: &mut Vec<u8>,
    ) {
        if self.awaits(number) {
            let mut block = Vec::new();
            self.encoder.write_head(&mut block, status, headers);
            self.write_block(number, &block, ends, out);
        }
    }

    /// Writes what follows a body, and ends it.
    pub fn write_trailers(&mut self, number: u32, headers: &HeaderMap, out: &mut Vec<u8>) {
        if self.awaits(number) {
            let mut block = Vec::new();
            self.encoder.write_trailers(&mut block, headers);
            if block.is_empty() {
                // None may be carried (§8.2.2): the end is all there is to say.
                return self.write_data(number, &[], true, out);
            }
            self.write_block(number, &block, true, out);
        }
    }

    /// How much of a body may be written at once now.
    #[must_use]
    pub fn room(&self, number: u32) -> usize {
        let of_stream = self.streams.get(number).map_or(0, |stream| stream.sending.room());
        of_stream.min(self.sending.room()).min(self.largest)
    }

    /// Writes a piece of a body, no longer than there is [room](Self::room) for.
    pub fn write_data(&mut self, number: u32, piece: &[u8], ends: bool, out: &mut Vec<u8>) {
        let Some(stream) = self.streams.get_mut(number) else { return };
        stream.sending.sent(piece.len());
        self.sending.sent(piece.len());
        // One that is small because there was no more room is none (CVE-2019-9511); the site may have no more to say.
        if piece.len() >= LARGE || self.room(number) > 0 {
            self.calm.earn(USEFUL);
        }
        let flags = if ends { flag::END_STREAM } else { 0 };
        frame::write(out, (Kind::Data, flags), number, piece);
        if ends {
            self.answered(number, out);
        }
    }

    /// Ends our half of a tunnel; the browser ends its own when it likes, or is [reset](Self::reset).
    pub fn write_end(&mut self, number: u32, out: &mut Vec<u8>) {
        let Some(stream) = self.streams.get_mut(number) else { return };
        frame::write(out, (Kind::Data, flag::END_STREAM), number, &[]);
        match stream.state {
            State::Open | State::Ended => stream.state = State::Ended,
            State::HalfClosed => self.answered(number, out),
        }
    }

    /// Ends a request without an answer, or in the midst of it.
    pub fn reset(&mut self, number: u32, code: Code) {
        self.streams.close(number);
        self.streams.remember_reset(number);
        frame::write_reset(&mut self.queued, number, code);
    }

    /// Asks whether the browser is there.
    pub fn ping(&mut self) {
        self.write_ping([0; 8]);
    }

    fn write_ping(&mut self, payload: [u8; 8]) {
        self.pings = self.pings.saturating_add(1);
        frame::write(&mut self.queued, (Kind::Ping, 0), 0, &payload);
    }

    /// Tells the browser to ask elsewhere from now on; what it has asked is answered (§6.8).
    ///
    /// What it asks until it hears of this is answered as well: after its answer to the PING behind it nothing more comes.
    pub fn leave(&mut self) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Told;
            frame::write_go_away(&mut self.queued, GREATEST, Code::NoError);
            self.write_ping(LEAVING);
        }
    }

    /// Writes a header block, in as many frames as it takes.
    fn write_block(&mut self, number: u32, block: &[u8], ends: bool, out: &mut Vec<u8>) {
        let mut fragments = block.chunks(self.largest).peekable();
        let mut kind = Kind::Headers;
        let mut flags = if ends { flag::END_STREAM } else { 0 };
        while let Some(fragment) = fragments.next() {
            if fragments.peek().is_none() {
                flags |= flag::END_HEADERS;
            }
            frame::write(out, (kind, flags), number, fragment);
            (kind, flags) = (Kind::Continuation, 0);
        }
        if ends {
            self.answered(number, out);
        }
    }

    /// An answer is written to its end. What has not come of the request is not wanted any more (§8.1).
    fn answered(&mut self, number: u32, out: &mut Vec<u8>) {
        self.resets = self.resets.saturating_sub(1);
        self.calm.earn(USEFUL);
        let Some(stream) = self.streams.close(number) else { return };
        if stream.state == State::Open {
            self.streams.remember_reset(number);
            frame::write_reset(out, number, Code::NoError);
        }
    }
}

/// What the PING behind our farewell says.
pub(super) const LEAVING: [u8; 8] = *b"farewell";
/// What a piece of an answer earns: somebody reads it, and makes room for more.
const USEFUL: u32 = 5;
/// What such a piece has at least, in bytes, where the browser has made no room for more.
const LARGE: usize = 1024;
