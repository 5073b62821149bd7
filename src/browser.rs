//! The browser's end of a connection: TLS, or plain behind a reverse proxy; a browser that takes no byte for too long is gone.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio::time::sleep;

use crate::metrics::Metrics;
use crate::metrics::Present;
use crate::metrics::bound::Bound;
use crate::share::Share;
use crate::tls;

/// A connected browser, or the reverse proxy that speaks for it.
pub struct Browser {
    line: Line,
    patience: Arc<Patience>,
    /// Runs while the browser takes nothing; in a box, because it is large and seldom there.
    stalled: Option<Pin<Box<Sleep>>>,
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
}

/// How long a browser may take no byte of what it is sent.
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
        Self { line, patience, stalled: None }
    }

    /// Passes `tried` on; an error instead, if the browser has taken nothing for too long.
    fn poll_progress<T>(
        &mut self,
        tried: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.stalled = None;
            return tried;
        }
        let stall = self.patience.stall;
        let clock = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(clock.as_mut().poll(cx));
        // Who asks again is told again, but it is one browser.
        self.stalled = None;
        self.patience.metrics.reached(Bound::WriteTime);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Browser {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().line {
            Line::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Line::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Line::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
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
        };
        this.poll_progress(tried, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let tried = match &mut this.line {
            Line::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Line::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Line::Unix(stream) => Pin::new(stream).poll_flush(cx),
        };
        this.poll_progress(tried, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let tried = match &mut this.line {
            Line::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Line::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Line::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        this.poll_progress(tried, cx)
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
    use tokio::time::advance;

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

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
    async fn tried(browser: &mut Browser, outcome: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        let mut outcome = Some(outcome);
        poll_fn(|cx| {
            let outcome = outcome.take().unwrap_or(Poll::Pending);
            Poll::Ready(browser.poll_progress(outcome, cx))
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
        assert!(metrics.text().contains("{bound=\"write_time\"} 1"));
    }

    #[tokio::test(start_paused = true)]
    async fn browser_that_takes_a_little_now_and_then_stays() {
        let (mut browser, _other, metrics) = connected().await;

        for _ in 0..3 {
            assert!(tried(&mut browser, Poll::Pending).await.is_pending());
            advance(STALL / 2).await;
            assert!(tried(&mut browser, Poll::Ready(Ok(()))).await.is_ready());
        }
        assert!(tried(&mut browser, Poll::Pending).await.is_pending());
        advance(STALL).await;

        assert!(matches!(tried(&mut browser, Poll::Pending).await, Poll::Ready(Err(_))));
        assert!(metrics.text().contains("{bound=\"write_time\"} 1"));
    }
}
