//! The body of a browser's request, by either version of HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use bytes::Bytes;
use bytes::BytesMut;
use hyper::body;
use hyper::body::Frame;
use hyper::body::SizeHint;

/// A body, as it comes.
#[derive(Debug)]
pub enum Incoming {
    /// Over HTTP/1.1.
    Http1(body::Incoming),
    /// All of it is here.
    Here(Bytes),
    /// Over HTTP/2.
    Http2(Outlet),
}

/// A body that does not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    /// Over HTTP/2.
    #[error("the request was taken back")]
    Reset,
}

/// The end of a body into which it comes. The other end hears of it when this is dropped before the body is whole.
#[derive(Debug)]
pub struct Inlet(Arc<Mutex<State>>);

/// The end of a body at which it is taken.
#[derive(Debug)]
pub struct Outlet(Arc<Mutex<State>>);

/// What lies between the two.
#[derive(Debug)]
struct State {
    /// Not taken yet. Pieces are joined, so that many small ones take no more than their bytes.
    here: BytesMut,
    /// Bytes that were taken since somebody last asked.
    taken: usize,
    /// What is still to be taken of all, where that is known.
    left: Option<u64>,
    progress: Progress,
    /// Who waits for more.
    taker: Option<Waker>,
    /// Who is told when some was taken.
    giver: Waker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// More may come.
    Coming,
    /// All has come.
    Whole,
    /// No more will come, though not all has.
    Broken,
    /// Nobody takes any more.
    GivenUp,
}

/// A body of `length` bytes, where that is known; `giver` is woken when some of it was taken.
#[must_use]
pub fn coming(length: Option<u64>, giver: Waker) -> (Inlet, Outlet) {
    let state = State {
        here: BytesMut::new(),
        taken: 0,
        left: length,
        progress: Progress::Coming,
        taker: None,
        giver,
    };
    let state = Arc::new(Mutex::new(state));
    (Inlet(state.clone()), Outlet(state))
}

impl Inlet {
    /// More comes; `ends` where that is all.
    pub fn comes(&self, data: &[u8], ends: bool) {
        let mut state = lock(&self.0);
        if state.progress == Progress::GivenUp {
            state.taken = state.taken.saturating_add(data.len());
            return;
        }
        state.here.extend_from_slice(data);
        if ends {
            state.progress = Progress::Whole;
        }
        state.wake_taker();
    }

    /// How many bytes were taken, or given up, since this was last asked.
    #[must_use]
    pub fn taken(&self) -> usize {
        std::mem::take(&mut lock(&self.0).taken)
    }

    /// The same at the end, when nobody will take what is left.
    #[must_use]
    pub fn remaining(self) -> usize {
        let state = lock(&self.0);
        state.taken.saturating_add(state.here.len())
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        if state.progress == Progress::Coming {
            state.progress = Progress::Broken;
            state.wake_taker();
        }
    }
}

impl Outlet {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = lock(&self.0);
        if !state.here.is_empty() {
            let data = std::mem::take(&mut state.here).freeze();
            state.taken = state.taken.saturating_add(data.len());
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            state.left = state.left.map(|left| left.saturating_sub(length));
            state.giver.wake_by_ref();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match state.progress {
            Progress::Coming => {
                let waker = state.taker.get_or_insert_with(|| cx.waker().clone());
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            Progress::Whole | Progress::GivenUp => Poll::Ready(None),
            Progress::Broken => Poll::Ready(Some(Err(Error::Reset))),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.progress = Progress::GivenUp;
        let here = std::mem::take(&mut state.here);
        if !here.is_empty() {
            state.taken = state.taken.saturating_add(here.len());
            state.giver.wake_by_ref();
        }
    }
}

impl State {
    fn wake_taker(&mut self) {
        if let Some(taker) = self.taker.take() {
            taker.wake();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing in here panics.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl body::Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Error::Http1))),
            Self::Here(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Here(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Http2(outlet) => outlet.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Here(bytes) => bytes.is_empty(),
            Self::Http2(Outlet(state)) => {
                let state = lock(state);
                state.here.is_empty() && state.progress == Progress::Whole
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Here(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Http2(Outlet(state)) => {
                lock(state).left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn body_is_taken_as_it_comes_and_what_was_taken_is_told() {
        let (inlet, outlet) = coming(Some(6), Waker::noop().clone());
        let mut body = Incoming::Http2(outlet);

        inlet.comes(b"ab", false);
        inlet.comes(b"cd", false);
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let (taken, left) = (inlet.taken(), body::Body::size_hint(&body).exact());
        inlet.comes(b"ef", true);
        drop(inlet);
        let rest = body.collect().await.unwrap().to_bytes();

        assert_eq!((&*first, taken, left, &*rest), (&b"abcd"[..], 4, Some(2), &b"ef"[..]));
    }

    #[tokio::test]
    async fn body_that_breaks_off_is_never_taken_for_a_whole_one() {
        let (inlet, outlet) = coming(None, Waker::noop().clone());

        inlet.comes(b"half", false);
        drop(inlet);

        assert!(Incoming::Http2(outlet).collect().await.is_err());
    }

    #[test]
    fn body_that_is_given_up_counts_as_taken() {
        let (inlet, outlet) = coming(None, Waker::noop().clone());
        inlet.comes(b"some", false);

        drop(outlet);
        inlet.comes(b" more", false);

        assert_eq!(inlet.taken(), 9);
    }
}
