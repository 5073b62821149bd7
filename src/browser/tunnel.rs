//! A stream of HTTP/2 that carries a WebSocket (RFC 8441): the session has one end of it, its connection the other.
//!
//! What lies between the two is bounded in both directions: by the window of the stream on its way up, by [`DOWN`] on its way
//! down. While nothing does, there is no buffer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use bytes::Buf as _;
use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

use crate::browser::Browser;

/// The session's end. Dropped before it was shut down, it tells the browser that something broke off.
#[derive(Debug)]
pub struct Tunnel(Arc<Mutex<State>>);

/// The connection's end. The session hears of it when this is dropped before both have come to their end.
#[derive(Debug)]
pub struct Mouth(Arc<Mutex<State>>);

/// A browser that asks for a tunnel, in the extensions of its request; whoever takes it answers 200.
#[derive(Clone, Debug)]
pub struct Opening(Arc<Mutex<Option<Box<Browser>>>>);

/// What there is to be said to the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More, once there is room for it.
    More,
    /// Nothing now.
    Nothing,
    /// Nothing any more.
    End,
    /// The same, and it may not be all: the session is gone without a word.
    Broken,
}

#[derive(Debug)]
struct State {
    /// Of the browser's, and not read.
    up: BytesMut,
    came: Came,
    /// Bytes that were read since the connection last asked.
    taken: usize,
    /// With so many, the connection is told.
    worth: usize,
    /// For the browser, and not framed.
    down: BytesMut,
    said: Said,
    reader: Option<Waker>,
    writer: Option<Waker>,
    connection: Waker,
}

/// What has come of the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// More may come.
    Some,
    /// It has ended its half.
    All,
    /// No more will come, though not all has: it was reset, or its connection is gone.
    Broken,
}

/// What the session has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// It may say more.
    Some,
    /// It has ended its half.
    All,
    /// The same, and it is gone.
    Left,
    /// It is gone without that.
    Dropped,
}

/// A tunnel; `connection` is woken when there is something to be said, or `worth` bytes were read.
#[must_use]
pub fn tunnel(connection: Waker, worth: usize) -> (Tunnel, Mouth) {
    let state = State {
        up: BytesMut::new(),
        came: Came::Some,
        taken: 0,
        worth,
        down: BytesMut::new(),
        said: Said::Some,
        reader: None,
        writer: None,
        connection,
    };
    let state = Arc::new(Mutex::new(state));
    (Tunnel(state.clone()), Mouth(state))
}

impl Opening {
    /// At the other end of a tunnel is this browser.
    #[must_use]
    pub fn new(browser: Browser) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(browser)))))
    }

    /// The browser, for the first who asks.
    #[must_use]
    pub fn take(self) -> Option<Box<Browser>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Mouth {
    /// More comes of the browser; `ends` where that is all.
    pub fn comes(&self, data: &[u8], ends: bool) {
        let mut state = lock(&self.0);
        if ends {
            state.came = Came::All;
        }
        match state.said {
            Said::Some | Said::All => state.up.extend_from_slice(data),
            Said::Left | Said::Dropped => state.taken = state.taken.saturating_add(data.len()),
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// How many bytes were read, or are of no use to anybody, since this was last asked.
    #[must_use]
    pub fn taken(&self) -> usize {
        std::mem::take(&mut lock(&self.0).taken)
    }

    /// The same at the end, when nobody asks any more.
    #[must_use]
    pub fn remaining(&self) -> usize {
        let state = lock(&self.0);
        state.taken.saturating_add(state.up.len())
    }

    /// Whether the session is gone: what it has said is the last.
    #[must_use]
    pub fn is_left(&self) -> bool {
        matches!(lock(&self.0).said, Said::Left | Said::Dropped)
    }

    /// Hands out what there is to be said, at most so many bytes of it; and whether there is more.
    #[must_use]
    pub fn speak(&self, most: usize, say: impl FnOnce(&[u8])) -> Next {
        let mut state = lock(&self.0);
        let length = state.down.len().min(most);
        if length > 0 {
            say(state.down.get(..length).unwrap_or_default());
            state.down.advance(length);
        }
        if state.down.is_empty() {
            // A new one, which holds no memory.
            state.down = BytesMut::new();
        }
        let next = match (state.said, state.came) {
            _ if !state.down.is_empty() => Next::More,
            (Said::Some, _) => Next::Nothing,
            (Said::All | Said::Left, _) | (Said::Dropped, Came::All) => Next::End,
            (Said::Dropped, Came::Some | Came::Broken) => Next::Broken,
        };
        // Also where but a little is gone: a browser that takes any byte now and then is waited for.
        let writer = if length > 0 { state.writer.take() } else { None };
        drop(state);
        wake(writer);
        next
    }
}

impl Drop for Mouth {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        // Who writes hears of it as well, whatever the browser has ended.
        let is_over = state.came == Came::All && state.said != Said::Some;
        if !is_over {
            state.came = Came::Broken;
        }
        let (reader, writer) = (state.reader.take(), state.writer.take());
        drop(state);
        wake(reader);
        wake(writer);
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        let length = state.up.len().min(buf.remaining());
        if length > 0 {
            buf.put_slice(state.up.get(..length).unwrap_or_default());
            state.up.advance(length);
            if state.up.is_empty() {
                // The same.
                state.up = BytesMut::new();
            }
            state.taken = state.taken.saturating_add(length);
            if state.taken >= state.worth {
                state.connection.wake_by_ref();
            }
            return Poll::Ready(Ok(()));
        }
        match state.came {
            Came::Some => {
                state.reader.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
                Poll::Pending
            }
            Came::All => Poll::Ready(Ok(())),
            Came::Broken => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        if state.came == Came::Broken || state.said != Said::Some {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = buf.len().min(DOWN.saturating_sub(state.down.len()));
        if length == 0 && !buf.is_empty() {
            state.writer.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
            return Poll::Pending;
        }
        state.down.extend_from_slice(buf.get(..length).unwrap_or_default());
        state.connection.wake_by_ref();
        Poll::Ready(Ok(length))
    }

    /// What is written needs nobody's help to go on.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if state.said == Said::Some {
            state.said = Said::All;
            state.connection.wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.said = match state.said {
            Said::Some => Said::Dropped,
            Said::All | Said::Left | Said::Dropped => Said::Left,
        };
        let unread = std::mem::take(&mut state.up).len();
        state.taken = state.taken.saturating_add(unread);
        state.connection.wake_by_ref();
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing in here panics.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What may wait for the browser of one tunnel, in bytes: as much as goes into one record of TLS.
pub const DOWN: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn pair() -> (Tunnel, Mouth) {
        tunnel(Waker::noop().clone(), 4)
    }

    fn spoken(mouth: &Mouth, most: usize) -> (Vec<u8>, Next) {
        let mut said = Vec::new();
        let next = mouth.speak(most, |bytes| said.extend_from_slice(bytes));
        (said, next)
    }

    #[tokio::test]
    async fn what_comes_is_read_in_its_order_up_to_the_end_and_counted() {
        let (mut session, mouth) = pair();
        mouth.comes(b"abc", false);
        mouth.comes(b"def", true);

        let mut first = [0; 4];
        session.read_exact(&mut first).await.unwrap();
        let taken = (mouth.taken(), mouth.remaining());
        let mut rest = Vec::new();
        session.read_to_end(&mut rest).await.unwrap();

        assert_eq!((&first, taken, &*rest), (b"abcd", (4, 2), &b"ef"[..]));
        assert_eq!(mouth.taken(), 2);
    }

    #[tokio::test]
    async fn what_is_said_waits_for_room_and_takes_no_more_than_its_share() {
        let (mut session, mouth) = pair();

        let all = vec![b'x'; DOWN + 1];
        let length = session.write(&all).await.unwrap();
        let is_full =
            poll_fn(|cx| Poll::Ready(Pin::new(&mut session).poll_write(cx, b"more").is_pending()));
        let is_full = is_full.await;
        let (first, next) = spoken(&mouth, 10);

        assert_eq!((length, is_full, first.len(), next), (DOWN, true, 10, Next::More));
        assert_eq!(spoken(&mouth, DOWN).1, Next::Nothing);
        assert_eq!(session.write(b"more").await.unwrap(), 4);
    }

    #[tokio::test]
    async fn session_that_shuts_down_has_said_all_and_one_that_is_dropped_may_not_have() {
        let (mut session, mouth) = pair();
        session.write_all(b"bye").await.unwrap();
        session.shutdown().await.unwrap();
        drop(session);
        let (other, broken) = pair();
        drop(other);
        let (third, ended) = pair();
        ended.comes(b"", true);
        drop(third);

        assert_eq!(spoken(&mouth, 9), (b"bye".to_vec(), Next::End));
        assert_eq!(spoken(&broken, 9).1, Next::Broken);
        assert_eq!(spoken(&ended, 9).1, Next::End);
        assert!(broken.is_left());
    }

    #[tokio::test]
    async fn browser_that_is_cut_off_never_looks_like_one_that_has_ended() {
        let (mut session, mouth) = pair();
        mouth.comes(b"half", false);

        drop(mouth);
        let mut read = Vec::new();
        let error = session.read_to_end(&mut read).await.unwrap_err();

        assert_eq!((&*read, error.kind()), (&b"half"[..], io::ErrorKind::ConnectionReset));
        assert!(session.write_all(b"x").await.is_err());
    }

    #[tokio::test]
    async fn browser_that_ended_its_half_and_went_is_written_to_no_more() {
        let (mut session, mouth) = pair();
        mouth.comes(b"all", true);

        drop(mouth);

        assert!(session.write_all(b"x").await.is_err());
    }
}
