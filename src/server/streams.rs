//! The requests of one HTTP/2 connection: how many are under way, and whether their answers are read.

use std::error::Error as StdError;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use hyper::body;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::SizeHint;
use hyper::rt::Executor;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;

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

/// Carries `request` to the end of its answer, but does not wait longer than `stall` for the browser to make room for more.
///
/// The window of a stream is the browser's to open (RFC 9113 §5.2): one that is never opened shows at no socket.
async fn read_in_time(request: impl Future<Output = ()>, stall: Duration) -> End {
    let turn = Arc::new(Turn::default());
    let mut request = pin!(TURN.scope(turn.clone(), request));
    let mut clock = pin!(sleep(stall));
    let mut seen = OURS;
    poll_fn(|cx| {
        if request.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Answered);
        }
        let now = turn.0.load(Ordering::Relaxed);
        if now == OURS {
            return Poll::Pending;
        }
        if now != seen {
            seen = now;
            clock.as_mut().reset(Instant::now() + stall);
        }
        clock.as_mut().poll(cx).map(|()| End::Stalled)
    })
    .await
}

/// Whose turn it is while an answer goes out: [`OURS`], or the browser's for the nth time.
#[derive(Debug, Default)]
struct Turn(AtomicU32);

impl Turn {
    fn is_ours(&self) {
        self.0.store(OURS, Ordering::Relaxed);
    }

    /// As the nth of all, so that one who has made room is told from one who has not.
    fn is_the_browsers(&self, nth: &mut u32) {
        *nth = nth.checked_add(1).unwrap_or(1);
        self.0.store(*nth, Ordering::Relaxed);
    }
}

const OURS: u32 = 0;

tokio::task_local! {
    static TURN: Arc<Turn>;
}

/// The body of an answer, which tells whose turn it is.
pub(super) struct Answer {
    body: Body,
    turn: Option<Arc<Turn>>,
    nth: u32,
}

impl Answer {
    /// To be called where the request runs.
    pub(super) fn new(body: Body) -> Self {
        let turn = TURN.try_with(Arc::clone).ok();
        let mut nth = 0;
        if let Some(turn) = &turn {
            turn.is_the_browsers(&mut nth);
        }
        Self { body, turn, nth }
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
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        match &this.turn {
            Some(turn) if frame.is_ready() => turn.is_the_browsers(&mut this.nth),
            Some(turn) => turn.is_ours(),
            None => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
