//! What comes of a browser: requests are begun, and their bodies led to them.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use hyper::Method;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::Bytes;
use tokio::io::AsyncRead;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use crate::browser::Place;
use crate::browser::incoming::Incoming;
use crate::browser::incoming::Inlet;
use crate::browser::incoming::coming;
use crate::browser::tunnel::Mouth;
use crate::browser::tunnel::Opening;
use crate::browser::tunnel::Tunnel;
use crate::browser::tunnel::tunnel;
use crate::endpoint::Refusal;
use crate::endpoint::text;
use crate::metrics::bound::Bound;
use crate::protocol::http2::connection::Event;
use crate::scratch::Scratch;
use crate::server::http2::CONNECTION_WINDOW;
use crate::server::http2::End;
use crate::server::http2::Http2;
use crate::server::http2::exchange::Exchange;
use crate::server::http2::exchange::Up;
use crate::server::http2::turns::Turn;

/// A request that is not begun, because what follows it may belong to it.
struct Asked {
    stream: u32,
    turn: Arc<Turn>,
    request: Request<()>,
    length: Option<u64>,
    upload: Upload,
}

/// What has come of a body.
enum Upload {
    Nothing,
    All(Bytes),
    Some(Inlet, Incoming),
    /// It is none, but what goes through a tunnel.
    Tunnel(Mouth, Tunnel),
}

impl Http2 {
    /// Reads what has come.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut scratch = Scratch::sized(&INCOMING, READ);
        let mut read = ReadBuf::new(scratch.get().get_mut(..READ).unwrap_or_default());
        match Pin::new(&mut self.browser).poll_read(cx, &mut read) {
            Poll::Pending => return Ok(false),
            Poll::Ready(done) => done?,
        }
        let mut input = read.filled();
        if input.is_empty() {
            return Err(End::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        let now = Instant::now();
        let mut asked = Vec::new();
        let received = loop {
            match self.machine.receive(&mut input, now.into_std()) {
                Ok(Some(event)) => self.take(event, &mut asked),
                Ok(None) => break Ok(true),
                Err(code) => break Err(End::Broken(code)),
            }
        };
        if self.machine.has_heard() {
            self.clock.hears(now);
        }
        for asked in asked {
            self.begin(asked);
        }
        received
    }

    fn take(&mut self, event: Event<'_>, asked: &mut Vec<Asked>) {
        match event {
            Event::Request { stream, request, length, ends } => {
                let turn = self.turns.turn(stream);
                let upload = match ends {
                    true => Upload::All(Bytes::new()),
                    false if request.method() == Method::CONNECT => {
                        let (tunnel, mouth) = tunnel(turn.clone().into(), self.worth());
                        Upload::Tunnel(mouth, tunnel)
                    }
                    false => Upload::Nothing,
                };
                asked.push(Asked { stream, turn, request, length, upload });
            }
            Event::TooLarge { stream } => {
                self.bounds.metrics().reached(Bound::Header);
                self.machine.begin(stream);
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                let answer = text(status, "the header of the request is too large\n");
                let turn = self.turns.turn(stream);
                self.add(Exchange::answered(stream, turn, answer));
            }
            Event::Data { stream, data, ends } => {
                match asked.iter_mut().find(|asked| asked.stream == stream) {
                    Some(asked) => self.comes_at_once(asked, data, ends),
                    None => self.comes(stream, data, ends),
                }
            }
            Event::Reset { stream } => {
                asked.retain(|asked| asked.stream != stream);
                self.end(stream);
            }
            Event::Pong => self.clock.pong(),
        }
    }

    /// More of a body whose request is not begun: most bodies are whole with their first piece.
    fn comes_at_once(&mut self, asked: &mut Asked, data: &[u8], ends: bool) {
        match (&asked.upload, ends) {
            (Upload::Nothing, true) => {
                self.machine.take(asked.stream, data.len());
                asked.upload = Upload::All(Bytes::copy_from_slice(data));
            }
            (Upload::Nothing, false) => {
                let (inlet, outlet) = coming(asked.length, asked.turn.clone().into());
                inlet.comes(data, false);
                asked.upload = Upload::Some(inlet, Incoming::Http2(outlet));
            }
            (Upload::Some(inlet, _), ends) => inlet.comes(data, ends),
            (Upload::Tunnel(mouth, _), ends) => mouth.comes(data, ends),
            // Nothing comes behind the end.
            (Upload::All(_), _) => {}
        }
    }

    /// More of a body whose request is under way.
    fn comes(&mut self, stream: u32, data: &[u8], ends: bool) {
        let exchange = self.place(stream).and_then(|place| self.exchanges.get(place));
        match exchange.map(|exchange| &exchange.up) {
            Some(Up::Body(inlet)) => inlet.comes(data, ends),
            Some(Up::Tunnel(mouth)) => {
                mouth.comes(data, ends);
                self.machine.take(stream, mouth.taken());
                if !self.machine.awaits(stream) {
                    self.end(stream);
                }
            }
            Some(Up::Nothing) | None => self.machine.take(stream, data.len()),
        }
    }

    /// Begins to answer a request.
    fn begin(&mut self, Asked { stream, turn, mut request, length, upload }: Asked) {
        if let Some(own) = self.own {
            request.extensions_mut().insert(own);
        }
        self.machine.begin(stream);
        let (up, body) = match upload {
            Upload::All(body) => (Up::Nothing, Incoming::Here(body)),
            Upload::Some(inlet, body) => (Up::Body(inlet), body),
            Upload::Nothing => {
                let (inlet, outlet) = coming(length, turn.clone().into());
                (Up::Body(inlet), Incoming::Http2(outlet))
            }
            Upload::Tunnel(mouth, tunnel) => match self.place_for_a_tunnel() {
                Ok(place) => {
                    let opening = Opening::new(self.browser.through(tunnel));
                    request.extensions_mut().insert(opening);
                    request.extensions_mut().insert(place);
                    (Up::Tunnel(mouth), Incoming::Here(Bytes::new()))
                }
                Err(refusal) => {
                    self.bounds.metrics().refused(refusal.reason());
                    self.machine.take(stream, mouth.remaining());
                    return self.add(Exchange::answered(stream, turn, refusal.response()));
                }
            },
        };
        let answer = self.way.answer(request.map(|()| body), self.neighbour, true);
        let mut exchange = Exchange::new(stream, turn, up, Box::pin(answer));
        exchange.go_on();
        self.add(exchange);
    }

    /// A place for one more tunnel, which is as dear as a connection: behind it is a session, and another connection.
    fn place_for_a_tunnel(&self) -> Result<Place, Refusal> {
        let metrics = self.bounds.metrics();
        if self.tunnels >= self.bounds.settings().tunnels() {
            metrics.reached(Bound::WebSockets);
            return Err(Refusal::TooMany);
        }
        let share = self.bounds.share(self.address).map_err(|_| Refusal::TooMany)?;
        let permit = self.bounds.room_now().ok_or(Refusal::Unavailable)?;
        Ok(Place::new(permit, share, None))
    }

    /// With how many bytes that were read of one tunnel it is worth while to look after it: so few that all together never
    /// keep the browser from sending more.
    fn worth(&self) -> usize {
        let all = usize::try_from(CONNECTION_WINDOW / 4).unwrap_or(usize::MAX);
        let tunnels = usize::try_from(self.bounds.settings().tunnels()).unwrap_or(usize::MAX);
        all.checked_div(tunnels).unwrap_or(all).min(WORTH)
    }
}

thread_local! {
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What one read takes at most.
const READ: usize = 16 * 1024;
/// The same where there are few: far less than one may have under way.
const WORTH: usize = 32 * 1024;
