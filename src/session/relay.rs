//! The relay of an established WebSocket session: one future that holds both ends and, while nothing happens, no buffer.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;

use crate::browser::Browser;
use crate::metrics::Carried;
use crate::protocol::stream_error::Meaning;
use crate::protocol::stream_error::StreamError;
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
    heard: Heard,
    /// Since somebody last asked.
    carried: Traffic,
    /// What was read of both ends before the relay began; gone with the first poll.
    ahead: Option<Box<Ahead>>,
}

/// What was read before the relay began.
#[derive(Debug)]
pub struct Ahead {
    /// Of the browser, behind its login.
    pub browser: Vec<u8>,
    /// Of upstream, behind ours.
    pub upstream: Vec<u8>,
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
    /// Joins the two ends; what was read of them `ahead` goes first.
    #[must_use]
    pub fn new(
        browser: (Browser, Reader),
        upstream: (Socket, Splitter),
        limits: Limits,
        ahead: Ahead,
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
            heard: Heard::Yes,
            carried: Traffic::default(),
            ahead: Some(Box::new(ahead)),
        }
    }

    /// Says whether the browser was heard since the last call.
    pub fn take_heard(&mut self) -> Heard {
        std::mem::replace(&mut self.heard, Heard::No)
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
            // What came up may have been a ping.
            down = (down || self.pong.is_some()) && self.poll_down(cx)?.is_ready();
        }
        Poll::Pending
    }

    fn take_ahead(&mut self, mut ahead: Ahead) -> Result<(), End> {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let taken = self.take_frames(&mut ahead.browser, &mut up);
        let taken = taken.and_then(|()| self.take_pieces(&ahead.upstream, &mut down));
        self.to_upstream.append(&mut up);
        self.to_browser.append(&mut down);
        taken
    }

    /// Tells both ends how the session ended, as far as they take it.
    ///
    /// Not cancel safe, and not bounded in time: a caller gives it a deadline and drops the relay.
    pub async fn finish(&mut self, end: &End) {
        match end {
            // The browser has been told the error already.
            End::BrowserClosed | End::UpstreamError(_, Meaning::OfBrowser) => {
                framing::write_close(&mut self.to_browser);
            }
            End::BadStream(error) => framing::write_stream_error(*error, &mut self.to_browser),
            End::Revoked => {
                framing::write_stream_error(StreamError::PolicyViolation, &mut self.to_browser);
            }
            End::BadFrame(error) => framing::write_frame_error(*error, &mut self.to_browser),
            End::BrowserGone => {}
            End::BrowserLeft | End::BrowserSilent => {
                frame::write_close(frame::NORMAL, &mut self.to_browser);
            }
            // On `<close/>` alone, between the features and the bind, Converse.js signs its visitor out for good.
            End::UpstreamClosed
            | End::UpstreamError(_, Meaning::Outage)
            | End::UpstreamLost
            | End::BadUpstream(_)
            | End::Unavailable
            | End::ShutDown => {
                framing::write_stream_error(StreamError::SystemShutdown, &mut self.to_browser);
            }
        }
        // Without its end tag the stream can still be resumed (XEP-0198 §5), by a browser that comes back.
        if matches!(end, End::BrowserClosed | End::BadStream(_) | End::Revoked) {
            self.to_upstream.extend_from_slice(b"</stream:stream>");
        }
        let Self { browser, upstream, to_browser, to_upstream, .. } = self;
        let told = async {
            if !matches!(end, End::BrowserGone) {
                farewell(browser, to_browser).await;
            }
        };
        tokio::join!(told, farewell(upstream, to_upstream));
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
                    match framing::established(text, &self.limits).map_err(End::BadStream)? {
                        Message::Stanza(before, rest) => {
                            out.extend_from_slice(before);
                            out.extend_from_slice(rest);
                            self.carried.up.add(1, before.len() + rest.len());
                        }
                        Message::Close => return Err(End::BrowserClosed),
                    }
                }
                Frame::Ping(payload) => self.pong = Some(payload.into()),
                Frame::Pong => {}
                Frame::Close(_) => return Err(End::BrowserLeft),
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
                    self.carried.down.add(1, cut.bytes.len());
                    framing::write_stanza(&cut, out);
                }
                Piece::Header(_) => return Err(End::BadUpstream(splitter::Error::Malformed)),
                Piece::End => return Err(End::UpstreamClosed),
            }
        }
        Ok(())
    }
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

/// Writes the last words and awaits the other's end: closing with bytes unread makes the kernel take back what it has not sent.
///
/// Whoever is gone already is not told.
pub(super) async fn farewell(to: &mut (impl AsyncRead + AsyncWrite + Unpin), words: &[u8]) {
    let told = async {
        to.write_all(words).await?;
        to.shutdown().await?;
        let mut unread = vec![0; 1024];
        while to.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    told.await.ok();
}

/// Writes `out` as far as `to` takes it now; the rest is kept in `unsent`.
fn poll_send(
    to: &mut (impl AsyncWrite + Unpin),
    out: &[u8],
    unsent: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    if !unsent.is_empty() {
        unsent.extend_from_slice(out);
        return Ok(());
    }
    let mut rest = out;
    while !rest.is_empty() {
        match Pin::new(&mut *to).poll_write(cx, rest) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(sent)) => rest = rest.get(sent..).unwrap_or_default(),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    unsent.extend_from_slice(rest);
    Ok(())
}

/// Writes what `to` did not take before; ready when it has it all.
fn poll_drain(
    to: &mut (impl AsyncWrite + Unpin),
    unsent: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if unsent.capacity() == 0 {
        return Poll::Ready(Ok(()));
    }
    while !unsent.is_empty() {
        let sent = ready!(Pin::new(&mut *to).poll_write(cx, unsent))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        unsent.drain(..sent.min(unsent.len()));
    }
    *unsent = Vec::new();
    Poll::Ready(Ok(()))
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
