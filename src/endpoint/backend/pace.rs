//! Bodies that do not go on: how long one is waited for, and since when the other side has all that came.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use hyper::body;
use hyper::body::Frame;
use hyper::body::SizeHint;
use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep;

use crate::endpoint::Body;

/// A body whose writer has to go on; it ends with [`Stalled`] where that takes too long.
///
/// Only the time counts in which the body is waited for: a reader that takes its time costs the writer nothing.
pub(super) struct Paced {
    body: Body,
    /// The longest that is waited for more.
    limit: Duration,
    /// How much of that is left.
    left: Duration,
    /// Who brings less in a second is taken for silent: bytes. None: every byte is as good as many.
    rate: Option<u32>,
    /// Since when the writer is waited for, and until when.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    turn: Turn,
}

/// The writer of a body has been silent for too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing more came of a body")]
pub(super) struct Stalled;

impl Paced {
    /// An upload: its browser may pause for `limit` and must bring 512 bytes a second.
    pub(super) fn upload(body: Body, limit: Duration) -> Self {
        Self { rate: Some(SLOWEST), ..Self::answer(body, limit) }
    }

    /// An answer: its web server may pause for `limit`, as often as it likes.
    pub(super) fn answer(body: Body, limit: Duration) -> Self {
        Self { body, limit, left: limit, rate: None, waiting: None, turn: Turn::default() }
    }

    /// Whose turn it is.
    pub(super) fn turn(&self) -> Turn {
        self.turn.clone()
    }

    fn came(&mut self, bytes: usize) {
        self.turn.set(Some(Instant::now()));
        let waited = self.waiting.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        let earned = self.rate.map_or(self.limit, |rate| {
            Duration::from_secs(1).saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX)) / rate
        });
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.limit);
    }
}

impl body::Body for Paced {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            this.came(data.map_or(0, Bytes::len));
            return Poll::Ready(frame);
        }
        this.turn.set(None);
        let left = this.left;
        let (_, end) = this.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        ready!(end.as_mut().poll(context));
        Poll::Ready(Some(Err(Box::new(Stalled))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Since when the reader of a body has all that came; nothing while its writer is waited for.
#[derive(Clone)]
pub(super) struct Turn(Arc<Mutex<Option<Instant>>>);

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }
}

impl Turn {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Since when it is the reader's turn.
    pub(super) fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes a second: what no line is too slow for (Apache's `mod_reqtimeout` has 500).
const SLOWEST: u32 = 512;
