//! The browser's end of a connection: TLS, plain behind a reverse proxy, or a stream of HTTP/2; a browser that takes too little for too long is gone.

pub mod incoming;
pub mod pace;
pub mod tunnel;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::browser::pace::Pace;
use crate::browser::tunnel::Tunnel;
use crate::metrics::Metrics;
use crate::metrics::Present;
use crate::metrics::bound::Bound;
use crate::metrics::label::Transport;
use crate::share::Share;
use crate::tls;

/// A connected browser, or the reverse proxy that speaks for it.
pub struct Browser {
    line: Line,
    /// Read already, and given back.
    ahead: Vec<u8>,
    patience: Arc<Patience>,
    rule: Rule,
    standing: Standing,
}

/// How a browser keeps up.
enum Standing {
    /// It owes nothing.
    Level,
    /// It is behind; in a box, because that is large and seldom so.
    Behind(Box<Pace>),
    /// It took too little for too long, and is not waited for again: not for our farewell either.
    Gone,
}

/// What is asked of a browser that does not take what it is sent as fast as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// So many bytes on the whole.
    Floor,
    /// Some byte now and then.
    AnyByte,
}

/// What carries the bytes.
#[derive(Debug)]
pub enum Line {
    /// HTTPS.
    Tls(tls::stream::Stream<TcpStream>),
    /// Plain HTTP on loopback.
    Tcp(TcpStream),
    /// Plain HTTP on a Unix socket.
    Unix(UnixStream),
    /// One stream of a connection with HTTP/2.
    Tunnel(Tunnel),
}

/// How long a browser may take no byte of what it is sent, or too little for longer.
#[derive(Debug)]
pub struct Patience {
    stall: Duration,
    metrics: Arc<Metrics>,
}

impl Patience {
    /// Ends after `stall` without progress; those that were ended are counted.
    #[must_use]
    pub fn new(stall: Duration, metrics: Arc<Metrics>) -> Self {
        Self { stall, metrics }
    }
}

/// A connection's place among those that are allowed at once; free again when the last who holds it lets go.
///
/// It travels in the extensions of a request: whoever takes the connection over takes it along.
#[derive(Clone, Debug)]
pub struct Place(#[expect(dead_code, reason = "held, not read")] Arc<Taken>);

/// What a connection has taken.
#[derive(Debug)]
#[expect(dead_code, reason = "held, not read")]
struct Taken {
    of_all: OwnedSemaphorePermit,
    of_its_address: Option<Share<IpAddr>>,
    counted: Option<Present>,
}

impl Place {
    /// Takes the place that the permit stands for, the one among those of its address, and the one that metrics show.
    #[must_use]
    pub fn new(
        of_all: OwnedSemaphorePermit,
        of_its_address: Option<Share<IpAddr>>,
        counted: Option<Present>,
    ) -> Self {
        Self(Arc::new(Taken { of_all, of_its_address, counted }))
    }
}

impl Browser {
    /// A browser at the other end of `line`.
    #[must_use]
    pub fn new(line: Line, patience: Arc<Patience>) -> Self {
        Self { line, ahead: Vec::new(), patience, rule: Rule::Floor, standing: Standing::Level }
    }

    /// Gives back what was read of it already, and is to be read once more.
    pub fn read_again(&mut self, mut ahead: Vec<u8>) {
        ahead.append(&mut self.ahead);
        self.ahead = ahead;
    }

    /// The browser behind an upgrade, with HTTP gone from it, and what HTTP has read of it already.
    ///
    /// Any byte will do now, for a phone with a bad line is slow but steady, and one more login with all its rooms would be
    /// slower. Who has a WebSocket is bounded in number.
    #[must_use]
    pub fn taken_from_http(upgraded: Upgraded) -> Option<(Self, Bytes)> {
        // The listeners serve nothing but browsers.
        let parts = upgraded.downcast::<TokioIo<Self>>().ok()?;
        Some((parts.io.into_inner().of_a_websocket(), parts.read_buf))
    }

    /// The same browser at the other end of a tunnel through its connection: over it goes a WebSocket, as behind an upgrade.
    #[must_use]
    pub fn through(&self, tunnel: Tunnel) -> Self {
        Self::new(Line::Tunnel(tunnel), self.patience.clone()).of_a_websocket()
    }

    /// How a session with a WebSocket over this is counted.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self.line {
            Line::Tls(_) | Line::Tcp(_) | Line::Unix(_) => Transport::WebSocket,
            Line::Tunnel(_) => Transport::WebSocketHttp2,
        }
    }

    /// Whether a WebSocket goes over this connection beside whatever else it carries: the same holds for it then.
    pub fn carries_websocket(&mut self, carries: bool) {
        self.rule = if carries { Rule::AnyByte } else { Rule::Floor };
    }

    fn of_a_websocket(self) -> Self {
        Self { rule: Rule::AnyByte, standing: Standing::Level, ..self }
    }

    /// Passes `tried` on, which has moved so many bytes; an error instead, if the browser has taken too little for too long.
    fn poll_progress<T>(
        &mut self,
        tried: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if let (Poll::Pending, Standing::Level) = (&tried, &self.standing) {
            self.standing = Standing::Behind(Box::new(Pace::new(self.patience.stall)));
        }
        match (&tried, &mut self.standing) {
            (Poll::Ready(outcome), Standing::Behind(pace)) => {
                pace.moved(outcome.as_ref().map_or(0, bytes));
                if self.rule == Rule::AnyByte || pace.is_fresh() {
                    self.standing = Standing::Level;
                }
                return tried;
            }
            (Poll::Pending, Standing::Behind(pace)) => {
                ready!(pace.poll_over(cx));
                self.standing = Standing::Gone;
                self.patience.metrics.reached(Bound::WriteTime);
            }
            (Poll::Ready(_), Standing::Level | Standing::Gone) => return tried,
            (Poll::Pending, Standing::Level | Standing::Gone) => {}
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Browser {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let fits = this.ahead.len().min(buf.remaining());
            buf.put_slice(this.ahead.get(..fits).unwrap_or_default());
            // A new vector once it is empty: one that was drained keeps its memory.
            this.ahead = this.ahead.split_off(fits);
            return Poll::Ready(Ok(()));
        }
        match &mut this.line {
            Line::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Line::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Line::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Line::Tunnel(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Browser {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tried = match &mut this.line {
            Line::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Line::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Line::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Line::Tunnel(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        this.poll_progress(tried, |&sent| sent, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let tried = match &mut this.line {
            Line::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Line::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Line::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Line::Tunnel(stream) => Pin::new(stream).poll_flush(cx),
        };
        this.poll_progress(tried, |()| 0, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let tried = match &mut this.line {
            Line::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Line::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Line::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Line::Tunnel(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        this.poll_progress(tried, |()| 0, cx)
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::Instant;
    use tokio::time::advance;

    use super::*;

    const STALL: Duration = Duration::from_secs(30);
    const HOUR: Duration = Duration::from_secs(3600);

    /// A browser whose other end does nothing, and that end.
    async fn connected() -> (Browser, TcpStream, Arc<Metrics>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let patience = Arc::new(Patience::new(STALL, metrics.clone()));
        (Browser::new(Line::Tcp(socket), patience), other, metrics)
    }

    /// One attempt to write that is refused, or not.
    async fn tried(
        browser: &mut Browser,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut outcome = Some(outcome);
        poll_fn(|cx| {
            let outcome = outcome.take().unwrap_or(Poll::Pending);
            Poll::Ready(browser.poll_progress(outcome, |&sent| sent, cx))
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn browser_that_takes_nothing_is_gone_when_patience_is_over() {
        let (mut browser, _silent, metrics) = connected().await;

        // Time goes on while nothing else happens.
        let mut written = Ok(());
        while written.is_ok() {
            written = browser.write_all(&[0; 4096]).await;
        }

        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Nobody waits for it once more, though a WebSocket would say farewell.
        let (gone, farewell) = (Instant::now(), browser.write_all(&[0; 4096]).await);
        assert_eq!(farewell.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(gone.elapsed(), Duration::ZERO);
        assert!(metrics.text().contains("{bound=\"write_time\"} 1"));
    }

    /// How long a browser lives, of an hour at most, that takes so many bytes every so many seconds.
    async fn lives(browser: &mut Browser, bytes: usize, every: u64) -> Duration {
        let began = Instant::now();
        while began.elapsed() < HOUR {
            assert!(tried(browser, Poll::Pending).await.is_pending());
            for _ in 0..every {
                advance(Duration::from_secs(1)).await;
                if tried(browser, Poll::Pending).await.is_ready() {
                    return began.elapsed();
                }
            }
            assert!(tried(browser, Poll::Ready(Ok(bytes))).await.is_ready());
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn browser_may_pause_and_be_slow_but_not_both_for_long() {
        for (bytes, every, expected) in
            [(16 * 1024, 29, true), (513, 1, true), (4096, 10, false), (1, 1, false)]
        {
            let (mut browser, _other, metrics) = connected().await;

            let lived = lives(&mut browser, bytes, every).await;

            assert_eq!(lived >= HOUR, expected, "{bytes} in {every} s: {lived:?}");
            let count = u8::from(!expected);
            assert!(metrics.text().contains(&format!("{{bound=\"write_time\"}} {count}")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn browser_with_a_websocket_that_takes_any_byte_now_and_then_stays() {
        let (browser, _other, metrics) = connected().await;
        let mut browser = browser.of_a_websocket();

        let slow = lives(&mut browser, 1, 29).await;
        let silent = lives(&mut browser, 1, 31).await;

        assert!(slow >= HOUR && silent < 2 * STALL, "{slow:?}, {silent:?}");
        assert!(metrics.text().contains("{bound=\"write_time\"} 1"));
    }
}
