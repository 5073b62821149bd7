//! Bodies that do not go on: how long an answer is waited for, and since when a web server has all of an upload that came.

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

/// An answer that may pause as often as it likes, but each time no longer than so.
pub(super) struct Paced {
    body: Body,
    longest: Duration,
    /// Runs while the web server is waited for: a browser that takes its time costs it nothing.
    pause: Option<Pin<Box<Sleep>>>,
}

/// The web server has been silent for too long in the midst of its answer.
#[derive(Debug, thiserror::Error)]
#[error("nothing more came of the answer for {0:?}")]
struct Stalled(Duration);

impl Paced {
    pub(super) fn new(body: Body, longest: Duration) -> Self {
        Self { body, longest, pause: None }
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
            this.pause = None;
            return Poll::Ready(frame);
        }
        let longest = this.longest;
        let pause = this.pause.get_or_insert_with(|| Box::pin(sleep(longest)));
        ready!(pause.as_mut().poll(context));
        Poll::Ready(Some(Err(Stalled(longest).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An upload that says whose turn it is: the browser's to send more, or the web server's to take it and to answer.
pub(super) struct Upload {
    body: Body,
    turn: Turn,
}

/// Since when it is the web server's turn; nothing while it is the browser's.
#[derive(Clone)]
pub(super) struct Turn(Arc<Mutex<Option<Instant>>>);

impl Upload {
    /// The upload, and whose turn it is; at first the web server's.
    pub(super) fn new(body: Body) -> (Self, Turn) {
        let turn = Turn(Arc::new(Mutex::new(Some(Instant::now()))));
        (Self { body, turn: turn.clone() }, turn)
    }
}

impl Turn {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub(super) fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl body::Body for Upload {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.turn.set(frame.is_ready().then(Instant::now));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
