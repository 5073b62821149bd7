//! The requests of one HTTP/2 connection: how many are under way, and whether their answers are read.

use std::error::Error as StdError;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use hyper::body;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::SizeHint;
use hyper::rt::Executor;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::browser::pace::Pace;
use crate::endpoint::Body;
use crate::metrics::Metrics;
use crate::metrics::bound::Bound;

/// What hyper spawns each request of a connection on.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    requests: Arc<watch::Sender<Requests>>,
    stall: Duration,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Requests {
    under_way: u32,
    begun: u64,
}

impl Streams {
    /// No request yet; one whose answer is not read for `stall` will be reset.
    pub(super) fn new(stall: Duration, metrics: Arc<Metrics>) -> Self {
        Self { requests: Arc::default(), stall, metrics }
    }

    /// Whether there has been any request.
    pub(super) fn have_begun(&self) -> bool {
        self.requests.borrow().begun > 0
    }

    /// Ends when no request has been under way for `then`, or for `first` before the first one.
    ///
    /// Cancel safe.
    pub(super) async fn idle(&self, first: Duration, then: Duration) {
        let mut requests = self.requests.subscribe();
        loop {
            let Requests { under_way, begun } = *requests.borrow_and_update();
            // The sender lives in `self`, so there is always a next change.
            if under_way > 0 {
                requests.changed().await.ok();
                continue;
            }
            tokio::select! {
                () = sleep(if begun == 0 { first } else { then }) => return,
                _changed = requests.changed() => {}
            }
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    /// Spawns a request; its task ends with the request, or when the browser does not read the answer.
    fn execute(&self, request: F) {
        let busy = Busy::new(self.requests.clone());
        let (stall, metrics) = (self.stall, self.metrics.clone());
        tokio::spawn(async move {
            let _panics = metrics.watch();
            let _busy = busy;
            if let End::Stalled = read_in_time(request, stall).await {
                metrics.reached(Bound::WriteTime);
            }
        });
    }
}

/// A request under way.
struct Busy(Arc<watch::Sender<Requests>>);

impl Busy {
    fn new(requests: Arc<watch::Sender<Requests>>) -> Self {
        requests.send_modify(|requests| {
            requests.under_way += 1;
            requests.begun += 1;
        });
        Self(requests)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|requests| requests.under_way = requests.under_way.saturating_sub(1));
    }
}

enum End {
    Answered,
    Stalled,
}

/// Carries `request` to the end of its answer, but does not wait too long for the browser to make room for more.
///
/// The window of a stream is the browser's to open (RFC 9113 §5.2): one that is never opened, or by a byte now and then,
/// shows at no socket.
async fn read_in_time(request: impl Future<Output = ()>, stall: Duration) -> End {
    let turn = Arc::new(Turn::default());
    let mut request = pin!(TURN.scope(turn.clone(), request));
    let mut pace = Pace::new(stall);
    poll_fn(|cx| {
        if request.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Answered);
        }
        let is_the_browsers = turn.is_the_browsers.load(Ordering::Relaxed);
        let bytes = turn.taken.swap(0, Ordering::Relaxed);
        if bytes > 0 || !is_the_browsers {
            pace.moved(bytes);
        }
        if !is_the_browsers {
            return Poll::Pending;
        }
        pace.poll_over(cx).map(|()| End::Stalled)
    })
    .await
}

/// Whose turn it is while an answer goes out: at first ours.
#[derive(Debug, Default)]
struct Turn {
    is_the_browsers: AtomicBool,
    /// Bytes for which there was room since somebody last asked.
    taken: AtomicUsize,
}

tokio::task_local! {
    static TURN: Arc<Turn>;
}

/// The body of an answer, which tells whose turn it is.
pub(super) struct Answer {
    body: Body,
    turn: Option<Arc<Turn>>,
    /// What is left of a frame that is larger than a piece.
    rest: Bytes,
}

impl Answer {
    /// To be called where the request runs.
    pub(super) fn new(body: Body) -> Self {
        let turn = TURN.try_with(Arc::clone).ok();
        if let Some(turn) = &turn {
            turn.is_the_browsers.store(true, Ordering::Relaxed);
        }
        Self { body, turn, rest: Bytes::new() }
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, <Body as body::Body>::Error>>> {
        if self.rest.is_empty() {
            let body = Pin::new(&mut self.body);
            let Some(frame) = ready!(body::Body::poll_frame(body, cx)?) else {
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl body::Body for Answer {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = this.poll_piece(cx);
        if let Some(turn) = &this.turn {
            turn.is_the_browsers.store(frame.is_ready(), Ordering::Relaxed);
            if let Poll::Ready(Some(Ok(frame))) = &frame {
                turn.taken.fetch_add(frame.data_ref().map_or(0, Bytes::len), Ordering::Relaxed);
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// What an answer is cut into, in bytes: at the floor a browser has read it just before it is given up.
const PIECE: usize = 15 * 1024;
