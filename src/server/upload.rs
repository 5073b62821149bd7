//! The body of a request on its way to the site: a browser that sends nothing of it for too long is given up.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use hyper::body;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::body::SizeHint;
use tokio::time::Sleep;
use tokio::time::sleep;

use crate::metrics::Bound;
use crate::metrics::Metrics;

/// A body that is not waited for too long.
#[derive(Debug)]
pub(super) struct Upload {
    body: Incoming,
    stall: Duration,
    metrics: Arc<Metrics>,
    /// Runs while nothing comes.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// The browser sends nothing more, though it has not said all.
#[derive(Debug, thiserror::Error)]
#[error("the browser sent nothing for {0:?}")]
struct Stalled(Duration);

impl Upload {
    /// Ends with an error where nothing comes for `stall`.
    pub(super) fn new(body: Incoming, stall: Duration, metrics: Arc<Metrics>) -> Self {
        Self { body, stall, metrics, stalled: None }
    }
}

impl body::Body for Upload {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.stalled = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let stall = this.stall;
        ready!(this.stalled.get_or_insert_with(|| Box::pin(sleep(stall))).as_mut().poll(cx));
        this.stalled = None;
        this.metrics.reached(Bound::BodyTime);
        Poll::Ready(Some(Err(Stalled(stall).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
