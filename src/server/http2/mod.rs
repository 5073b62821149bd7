//! HTTP/2 with a browser: the machine of [`crate::protocol::http2`] on its connection, and its requests led to where the
//! others go.
//!
//! One task has it all. While a request is held it keeps no buffer: what is read and written lies in the thread's own.

mod clock;
mod exchange;
mod hearing;
mod turns;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tracing::debug;

use crate::browser::Browser;
use crate::metrics::bound::Bound;
use crate::protocol::bosh::event;
use crate::protocol::http2::code::Code;
use crate::protocol::http2::connection::Connection;
use crate::protocol::http2::connection::Terms;
use crate::scratch::Scratch;
use crate::server::bounds::Bounds;
use crate::server::bounds::Settings;
use crate::server::forwarded::Neighbour;
use crate::server::http2::clock::Clock;
use crate::server::http2::clock::Due;
use crate::server::http2::exchange::Exchange;
use crate::server::http2::exchange::Up;
use crate::server::http2::exchange::Written;
use crate::server::http2::turns::Turns;
use crate::server::way::Way;

/// A connection on which a browser speaks HTTP/2.
pub(super) struct Http2 {
    browser: Browser,
    way: Way,
    bounds: Arc<Bounds>,
    neighbour: Neighbour,
    /// Whose connections are bounded.
    address: Option<IpAddr>,
    /// What marks its requests as those of one browser; none behind a proxy.
    own: Option<event::Connection>,
    machine: Connection,
    /// By their numbers.
    exchanges: Vec<Exchange>,
    /// How many of them are tunnels.
    tunnels: u32,
    turns: Turns,
    clock: Clock,
    /// What the browser has not taken of the last that was written.
    unsent: Vec<u8>,
    /// The request whose turn it is to be answered first.
    first: usize,
}

/// How a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    /// Everything is said.
    #[error("it is over")]
    Over,
    /// The browser has left, or is not waited for any more.
    #[error("the browser is gone")]
    Gone(#[from] io::Error),
    /// It does what no browser does.
    #[error("{0}")]
    Broken(#[from] Code),
    /// It never asked anything.
    #[error("the browser said nothing")]
    Silent,
    /// It does not answer a PING, or does not leave when it is told to.
    #[error("the browser does not answer")]
    Deaf,
}

impl Http2 {
    /// A browser that `neighbour` has brought over TLS, from an address whose connections may be bounded; its requests are marked
    /// as those of one connection.
    pub(super) fn new(
        browser: Browser,
        way: Way,
        bounds: Arc<Bounds>,
        (neighbour, address, own): (Neighbour, Option<IpAddr>, Option<event::Connection>),
    ) -> Self {
        let machine = Connection::new(terms(bounds.settings(), &way));
        let clock = Clock::new(bounds.settings());
        let (exchanges, turns, unsent, first) = (Vec::new(), Turns::default(), Vec::new(), 0);
        Self {
            browser,
            way,
            bounds,
            neighbour,
            address,
            own,
            machine,
            exchanges,
            tunnels: 0,
            turns,
            clock,
            unsent,
            first,
        }
    }

    /// Answers requests until the browser leaves, or nothing more is to be answered.
    pub(super) async fn serve(mut self) {
        let shutdown = self.way.shutdown().clone();
        let mut leaving = pin!(shutdown.cancelled());
        let mut is_leaving = false;
        let end = poll_fn(|cx| {
            if !is_leaving && leaving.as_mut().poll(cx).is_ready() {
                is_leaving = true;
                self.leave();
            }
            self.poll_end(cx)
        })
        .await;
        // Nobody waits for what is under way.
        self.exchanges = Vec::new();
        debug!(%end, "a connection ended");
        match end {
            End::Over | End::Broken(_) => {
                if let End::Broken(Code::EnhanceYourCalm) = end {
                    self.bounds.metrics().reached(Bound::Streams);
                }
                self.say_farewell().await.ok();
            }
            End::Silent => self.bounds.metrics().reached(Bound::HeaderTime),
            End::Gone(_) | End::Deaf => {}
        }
    }

    /// Writes what is left to be said, and closes.
    async fn say_farewell(&mut self) -> io::Result<()> {
        let mut last = std::mem::take(&mut self.unsent);
        self.machine.write_queued(&mut last);
        self.browser.write_all(&last).await?;
        self.browser.shutdown().await
    }

    /// The browser is to ask elsewhere from now on.
    fn leave(&mut self) {
        self.machine.leave();
        self.clock.leaves();
    }

    /// Does what can be done now.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.turns.wake(cx.waker());
        for _ in 0..ROUNDS {
            match self.round(cx) {
                Ok(true) => {}
                Ok(false) => match self.clock.poll((&self.machine, self.tunnels), cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(due) => match due {
                        Due::Ping => self.machine.ping(),
                        Due::Leave => self.leave(),
                        Due::Silent => return Poll::Ready(End::Silent),
                        Due::Deaf => return Poll::Ready(End::Deaf),
                    },
                },
                Err(end) => return Poll::Ready(end),
            }
        }
        // Others on this thread have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, lets everybody go on whose turn it is, and writes once; whether anything was done.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let has_read = self.machine.queued() < QUEUED && self.read(cx)?;
        self.go_on();
        let has_written = self.write(cx)?;
        if self.machine.is_over() && self.unsent.is_empty() && self.machine.queued() == 0 {
            return Err(End::Over);
        }
        Ok(has_read || has_written)
    }

    /// Lets everybody go on who was woken.
    fn go_on(&mut self) {
        for stream in self.turns.woken() {
            let Some(place) = self.place(stream) else { continue };
            let Some(exchange) = self.exchanges.get_mut(place) else { continue };
            exchange.go_on();
            let taken = exchange.taken();
            if taken > 0 {
                self.machine.take(stream, taken);
            }
        }
    }

    /// Writes what is there to be written, in one piece; whether anything was.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.poll_sent(cx)?.is_pending() {
            return Ok(false);
        }
        let mut scratch = Scratch::empty(&OUTGOING);
        let out = scratch.get();
        self.machine.write_queued(out);
        self.write_answers(out);
        // What ends a request that is not answered to its end.
        self.machine.write_queued(out);
        if out.is_empty() {
            return Ok(false);
        }
        let sent = match Pin::new(&mut self.browser).poll_write(cx, out) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        self.unsent.extend_from_slice(out.get(sent..).unwrap_or_default());
        Ok(true)
    }

    /// Ready when the browser has taken all that was written before.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.unsent.is_empty() {
            let Poll::Ready(sent) = Pin::new(&mut self.browser).poll_write(cx, &self.unsent)?
            else {
                return Ok(Poll::Pending);
            };
            // A new vector once it is empty: one that was drained keeps its memory.
            self.unsent = self.unsent.split_off(sent.min(self.unsent.len()));
        }
        match Pin::new(&mut self.browser).poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Writes a piece of each answer in turn, as long as there is room.
    fn write_answers(&mut self, out: &mut Vec<u8>) {
        let stall = self.bounds.settings().stall;
        let mut idle = 0;
        while idle < self.exchanges.len() && out.len() + LEAST < WRITE {
            self.first = if self.first < self.exchanges.len() { self.first } else { 0 };
            let most = WRITE.saturating_sub(out.len() + LEAST);
            let Some(exchange) = self.exchanges.get_mut(self.first) else { break };
            let stream = exchange.stream();
            match exchange.write(&mut self.machine, (most, stall), out) {
                Written::Nothing => {
                    idle += 1;
                    self.first += 1;
                }
                Written::Piece => {
                    idle = 0;
                    self.first += 1;
                }
                Written::All => {
                    idle = 0;
                    self.end(stream);
                }
                Written::Stalled => {
                    self.bounds.metrics().reached(Bound::WriteTime);
                    self.machine.reset(stream, Code::Cancel);
                    self.end(stream);
                }
            }
        }
    }

    /// Forgets a request that is over.
    fn end(&mut self, stream: u32) {
        let Some(place) = self.place(stream) else { return };
        let exchange = self.exchanges.remove(place);
        match exchange.up {
            Up::Nothing => {}
            Up::Body(inlet) => self.machine.take(stream, inlet.remaining()),
            Up::Tunnel(mouth) => {
                self.machine.take(stream, mouth.remaining());
                self.tunnels = self.tunnels.saturating_sub(1);
                self.browser.carries_websocket(self.tunnels > 0);
            }
        }
        if self.exchanges.is_empty() {
            // A new one, which holds no memory.
            self.exchanges = Vec::new();
        }
    }

    /// One more.
    fn add(&mut self, exchange: Exchange) {
        if let Up::Tunnel(_) = exchange.up {
            self.tunnels = self.tunnels.saturating_add(1);
            self.browser.carries_websocket(true);
        }
        // What is answered without a look is there before those that came before it.
        let place = self.exchanges.partition_point(|other| other.stream() < exchange.stream());
        self.exchanges.insert(place, exchange);
    }

    fn place(&self, stream: u32) -> Option<usize> {
        self.exchanges.binary_search_by_key(&stream, Exchange::stream).ok()
    }
}

/// What we say of ourselves.
fn terms(settings: &Settings, way: &Way) -> Terms {
    Terms {
        streams: settings.streams,
        resets: u32::try_from(settings.resets).unwrap_or(u32::MAX),
        header_fields: settings.header_fields.get(),
        header_bytes: usize::try_from(settings.header_bytes.as_u64()).unwrap_or(usize::MAX),
        header_table: HEADER_TABLE,
        stream_window: STREAM_WINDOW,
        connection_window: CONNECTION_WINDOW,
        takes_connect: matches!(way, Way::Sites(_)) && settings.tunnels() > 0,
    }
}

thread_local! {
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What may be under way of one upload or WebSocket, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all uploads and WebSockets of one connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The table of fields that a browser may build, in bytes.
const HEADER_TABLE: u32 = 4096;
/// What one write has at most: two records of TLS.
const WRITE: usize = 32 * 1024;
/// What a piece of an answer needs beside its bytes, at least.
const LEAST: usize = 9;
/// With so many bytes of ours waiting to be read, a browser is not listened to.
const QUEUED: usize = 16 * 1024;
/// How often one connection reads and writes before others have their turn.
const ROUNDS: usize = 8;
