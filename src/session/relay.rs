//! The relay of an established WebSocket session: one future that holds both ends and, while nothing happens, no buffer.

pub(super) mod farewell;
pub mod managed;
pub(super) mod pipe;

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite as _;
use tokio::io::ReadBuf;

use crate::browser::Browser;
use crate::metrics::Carried;
use crate::metrics::label::Transport;
use crate::protocol::namespace;
use crate::protocol::stream_error::Meaning;
use crate::protocol::stream_error::meaning;
use crate::protocol::websocket::frame;
use crate::protocol::websocket::frame::Frame;
use crate::protocol::websocket::frame::Reader;
use crate::protocol::websocket::framing;
use crate::protocol::websocket::framing::Message;
use crate::protocol::xml::check::Limits;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter;
use crate::protocol::xml::splitter::Cut;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;
use crate::scratch::Scratch;
use crate::session::end::End;
use crate::session::relay::managed::Due;
use crate::session::relay::managed::Ends;
use crate::session::relay::managed::Managed;
use crate::session::relay::pipe::poll_drain;
use crate::session::relay::pipe::poll_send;
use crate::session::waiting::Waiting;
use crate::upstream::stream::Socket;

/// Both ends of a session whose browser has seen the features behind its login.
pub struct Relay {
    browser: Browser,
    upstream: Socket,
    reader: Reader,
    splitter: Splitter,
    limits: Limits,
    /// Framed for the browser, but not yet taken by its socket.
    to_browser: Vec<u8>,
    /// Checked for upstream, but not yet taken by its socket.
    to_upstream: Vec<u8>,
    /// What the browser's last ping held; only the last is answered (RFC 6455 §5.5.3), so that pings cannot pile up.
    pong: Option<Box<[u8]>>,
    /// What else the edge has to say to it by itself; each of it once, however often it was asked.
    due: Due,
    heard: Heard,
    managed: Managed,
    /// By what the server knows the stream, where nobody has asked since it said so.
    named: Option<Box<str>>,
    /// Since somebody last asked.
    carried: Traffic,
    /// What happened before the relay began; gone with the first poll.
    ahead: Option<Box<Ahead>>,
}

/// What happened before the relay began.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Read of the browser, behind its login.
    pub browser: Vec<u8>,
    /// Read of upstream, behind ours.
    pub upstream: Vec<u8>,
    /// Said by the browser, and checked for upstream.
    pub said: Vec<u8>,
    /// Whether both count already.
    pub managed: Managed,
    /// Framed for the browser.
    pub framed: Vec<u8>,
}

/// Where a browser that goes without a word finds its stream again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comeback {
    /// At the server, which it asks through another stream.
    ToServer,
    /// Here, for so long.
    Here(Duration),
    /// Nowhere.
    No,
}

/// What was carried in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the browser to upstream.
    pub up: Carried,
    /// From upstream to the browser.
    pub down: Carried,
}

/// Whether the browser has been heard since somebody last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something came from it.
    Yes,
    /// Nothing came; it may be gone.
    No,
}

impl Relay {
    /// Joins the two ends; what they said `ahead` goes first.
    #[must_use]
    pub fn new(
        browser: (Browser, Reader),
        upstream: (Socket, Splitter),
        limits: Limits,
        mut ahead: Ahead,
    ) -> Self {
        Self {
            browser: browser.0,
            upstream: upstream.0,
            reader: browser.1,
            splitter: upstream.1,
            limits,
            to_browser: Vec::new(),
            to_upstream: Vec::new(),
            pong: None,
            due: Due::default(),
            heard: Heard::Yes,
            managed: std::mem::take(&mut ahead.managed),
            named: None,
            carried: Traffic::default(),
            ahead: Some(Box::new(ahead)),
        }
    }

    /// How its browser is attached.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.browser.transport()
    }

    /// Says whether the browser was heard since the last call.
    pub fn take_heard(&mut self) -> Heard {
        std::mem::replace(&mut self.heard, Heard::No)
    }

    /// The server's name for the stream, for the next socket of the browser; given once, when the server has said it.
    pub fn take_name(&mut self) -> Option<Box<str>> {
        self.named.take()
    }

    /// How many of the browser's stanzas the server was given since both count, modulo 2^32.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.managed.taken()
    }

    /// Whether the browser can come back over another socket with nothing lost, and where it finds its stream.
    #[must_use]
    pub fn comeback(&self) -> Comeback {
        match &self.managed {
            Managed::Yes { .. } => Comeback::ToServer,
            Managed::Here(here) if here.is_resumable() => Comeback::Here(here.keep.time),
            Managed::Here(_) | Managed::Offered(_) | Managed::Asked { .. } | Managed::No => {
                Comeback::No
            }
        }
    }

    /// Whether the browser has not acknowledged more than the edge keeps.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        matches!(&self.managed, Managed::Here(here) if !here.server.is_whole())
    }

    /// Takes its stream from a browser that is gone, and what there is still to be said to it; none where the edge does not
    /// keep it.
    #[must_use]
    pub fn part(self) -> Option<(Waiting, Browser, Vec<u8>)> {
        let Self { browser, upstream, splitter, to_browser, to_upstream, managed, .. } = self;
        let Managed::Here(here) = managed else { return None };
        Some((Waiting::new((upstream, splitter), to_upstream, here), browser, to_browser))
    }

    /// Says what was carried since the last call.
    pub fn take_carried(&mut self) -> Traffic {
        std::mem::take(&mut self.carried)
    }

    /// Queues a ping.
    pub fn ping(&mut self) {
        frame::write_ping(&mut self.to_browser);
    }

    /// Carries stanzas both ways until the session is over.
    ///
    /// One read and one write per direction and wake-up; a side is not read while the other takes no more.
    /// Cancel safe: all state is in `self`.
    pub fn poll_carry(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.poll_both(cx).map(|Err(end)| end)
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Result<Infallible, End>> {
        if let Some(ahead) = self.ahead.take() {
            self.take_ahead(*ahead)?;
        }
        // Who has nothing for now is not asked again: it wakes the task when it has.
        let (mut up, mut down) = (true, true);
        while up || down {
            up = up && self.poll_up(cx)?.is_ready();
            // What came up may have been a ping, or answered here.
            let is_due = self.pong.is_some() || self.due.is_any() || !self.to_browser.is_empty();
            down = (down || is_due) && self.poll_down(cx)?.is_ready();
        }
        Poll::Pending
    }

    fn take_ahead(&mut self, mut ahead: Ahead) -> Result<(), End> {
        let (mut up, mut down) = (ahead.said, Vec::new());
        // What was said in the hall goes before what is answered here.
        self.to_browser.append(&mut ahead.framed);
        self.carried.up.add(usize::from(!up.is_empty()), up.len());
        let taken = self.take_frames(&mut ahead.browser, &mut up);
        let taken = taken.and_then(|()| self.take_pieces(&ahead.upstream, &mut down));
        self.to_upstream.append(&mut up);
        self.to_browser.append(&mut down);
        taken
    }

    /// From the browser to upstream, once.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        ready!(poll_drain(&mut self.upstream, &mut self.to_upstream, cx))
            .map_err(|_| End::UpstreamLost)?;
        // What TLS has taken and its socket has not would else lie there until something happens.
        ready!(Pin::new(&mut self.upstream).poll_flush(cx)).map_err(|_| End::UpstreamLost)?;
        let mut incoming = Scratch::sized(&FROM_BROWSER, READ);
        let mut buf = ReadBuf::new(incoming.get());
        ready!(Pin::new(&mut self.browser).poll_read(cx, &mut buf))
            .map_err(|_| End::BrowserGone)?;
        let length = buf.filled().len();
        if length == 0 {
            return Poll::Ready(Err(End::BrowserGone));
        }
        self.heard = Heard::Yes;
        let mut out = Scratch::empty(&TO_UPSTREAM);
        let taken =
            self.take_frames(incoming.get().get_mut(..length).unwrap_or_default(), out.get());
        // What came before the end of the session was accepted, so it still goes.
        poll_send(&mut self.upstream, out.get(), &mut self.to_upstream, cx)
            .map_err(|_| End::UpstreamLost)?;
        Poll::Ready(taken)
    }

    /// From upstream to the browser, once.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        ready!(poll_drain(&mut self.browser, &mut self.to_browser, cx))
            .map_err(|_| End::BrowserGone)?;
        if let Some(payload) = self.pong.take() {
            frame::write_pong(&payload, &mut self.to_browser);
            ready!(poll_drain(&mut self.browser, &mut self.to_browser, cx))
                .map_err(|_| End::BrowserGone)?;
        }
        if self.due.is_any() {
            self.managed.answer(std::mem::take(&mut self.due), &mut self.to_browser);
            ready!(poll_drain(&mut self.browser, &mut self.to_browser, cx))
                .map_err(|_| End::BrowserGone)?;
        }
        ready!(Pin::new(&mut self.browser).poll_flush(cx)).map_err(|_| End::BrowserGone)?;
        let mut incoming = Scratch::sized(&FROM_UPSTREAM, READ);
        let mut buf = ReadBuf::new(incoming.get());
        ready!(Pin::new(&mut self.upstream).poll_read(cx, &mut buf))
            .map_err(|_| End::UpstreamLost)?;
        let length = buf.filled().len();
        if length == 0 {
            return Poll::Ready(Err(End::UpstreamLost));
        }
        let mut out = Scratch::empty(&TO_BROWSER);
        let taken = self.take_pieces(incoming.get().get(..length).unwrap_or_default(), out.get());
        poll_send(&mut self.browser, out.get(), &mut self.to_browser, cx)
            .map_err(|_| End::BrowserGone)?;
        Poll::Ready(taken)
    }

    fn take_frames(&mut self, mut bytes: &mut [u8], out: &mut Vec<u8>) -> Result<(), End> {
        while let Some(frame) = self.reader.next(&mut bytes).map_err(End::BadFrame)? {
            match frame {
                Frame::Text(text) => {
                    let message = framing::established(text, &self.limits);
                    match message.map_err(End::BadStream)? {
                        Message::Stanza(before, rest) => {
                            out.extend_from_slice(before);
                            out.extend_from_slice(rest);
                            self.carried.up.add(1, before.len() + rest.len());
                            self.managed.take();
                        }
                        Message::Managing(managing, element) => {
                            let Self { to_browser: browser, named, due, .. } = self;
                            let ends = Ends { browser, upstream: out, named, due };
                            let heard = self.managed.hear((managing, element), ends);
                            heard.map_err(End::BadStream)?;
                        }
                        Message::Beside(element) => out.extend_from_slice(element),
                        Message::Close => return Err(End::BrowserClosed),
                    }
                }
                Frame::Ping(payload) => self.pong = Some(payload.into()),
                Frame::Pong => {}
                Frame::Close(_) => return Err(End::BrowserLeft),
            }
            // Compressed, one read can be a thousand times as much: it is taken as upstream takes it.
            if out.len() >= READ && !bytes.is_empty() {
                self.browser.read_again(bytes.to_vec());
                break;
            }
        }
        Ok(())
    }

    fn take_pieces(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), End> {
        while let Some(piece) = self.splitter.next(&mut bytes).map_err(End::BadUpstream)? {
            match piece {
                Piece::Stanza(cut) if cut.name() == b"stream:error" => {
                    return Err(take_error(&cut, out));
                }
                Piece::Stanza(cut) => {
                    if let Some(element) = managing(&cut) {
                        self.managed.answered(element.name() == "enabled");
                        // Without one it cannot go on over another socket.
                        self.named = element.attribute("id").map(Into::into);
                    }
                    self.carried.down.add(1, cut.bytes.len());
                    if self.reader.deflates() {
                        framing::write_compressed_stanza(&cut, out);
                    } else {
                        framing::write_stanza(&cut, out);
                    }
                    if let Managed::Here(here) = &mut self.managed {
                        here.send(&cut);
                    }
                }
                Piece::Header(_) => return Err(End::BadUpstream(splitter::Error::Malformed)),
                Piece::End => return Err(End::UpstreamClosed),
            }
        }
        if let Managed::Here(here) = &mut self.managed {
            here.server.let_go();
            here.ask(out);
        }
        Ok(())
    }
}

/// What an element of the server says of stream management, if it does.
fn managing(cut: &Cut<'_>) -> Option<Element> {
    let may_be = matches!(cut.name(), b"enabled" | b"failed");
    let element = may_be.then(|| Element::parse(cut.bytes).ok()).flatten()?;
    (element.namespace() == Some(namespace::STREAM_MANAGEMENT)).then_some(element)
}

/// Upstream's last word: the browser is told what speaks of it.
fn take_error(cut: &Cut<'_>, out: &mut Vec<u8>) -> End {
    let mut alone = Vec::new();
    cut.write_alone(&mut alone);
    let Ok(error) = Element::parse(&alone) else { return End::UpstreamClosed };
    let meaning = meaning(&error);
    if meaning == Meaning::OfBrowser {
        framing::write_stanza(cut, out);
    }
    let condition = error.children().next().map_or("no condition", Element::name);
    End::UpstreamError(condition.to_owned(), meaning)
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

/// What one read takes at most, in each direction.
const READ: usize = 16 * 1024;

thread_local! {
    static FROM_BROWSER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static TO_UPSTREAM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static FROM_UPSTREAM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static TO_BROWSER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[cfg(test)]
mod flushed;

#[cfg(test)]
mod tests;
