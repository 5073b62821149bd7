//! The body of a request on its way to the site: a browser that sends nothing of it for too long is given up.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use hyper::body;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::SizeHint;

use crate::browser::pace::Pace;
use crate::metrics::Metrics;
use crate::metrics::bound::Bound;

/// A body that is not waited for too long.
///
/// Only the time counts in which the browser is waited for: a site that takes its time costs the browser nothing.
#[derive(Debug)]
pub(super) struct Upload<B> {
    body: B,
    stall: Duration,
    pace: Pace,
    metrics: Arc<Metrics>,
}

/// The browser sends nothing more, though it has not said all.
#[derive(Debug, thiserror::Error)]
#[error("the browser sent nothing, or too little, for {0:?}")]
struct Stalled(Duration);

impl<B> Upload<B> {
    /// Ends with an error where nothing comes for `stall`, or too little for longer.
    pub(super) fn new(body: B, stall: Duration, metrics: Arc<Metrics>) -> Self {
        Self { body, stall, pace: Pace::new(stall), metrics }
    }
}

impl<B> body::Body for Upload<B>
where
    B: body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            this.pace.moved(data.map_or(0, Bytes::len));
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.pace.poll_over(cx));
        this.metrics.reached(Bound::BodyTime);
        Poll::Ready(Some(Err(Stalled(this.stall).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::future::poll_fn;

    use http_body_util::BodyExt;
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use tokio::time::advance;
    use tokio::time::sleep;

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    /// A body that the test writes piece by piece.
    struct Pieces(mpsc::Receiver<Bytes>);

    impl body::Body for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn upload() -> (mpsc::Sender<Bytes>, Upload<Pieces>) {
        let (browser, pieces) = mpsc::channel(1);
        (browser, Upload::new(Pieces(pieces), STALL, Arc::new(Metrics::new())))
    }

    #[tokio::test(start_paused = true)]
    async fn browser_may_pause_and_be_slow_but_not_both_for_long() {
        let hour = Duration::from_secs(3600);
        for (bytes, every, lives) in [
            (16 * 1024, 29, true),
            (513, 1, true),
            (1, 1, false),
            (100, 10, false),
            (1 << 20, 31, false),
        ] {
            let (browser, mut upload) = upload();
            let writing = tokio::spawn(async move {
                loop {
                    sleep(Duration::from_secs(every)).await;
                    if browser.send(vec![b'x'; bytes].into()).await.is_err() {
                        return;
                    }
                }
            });

            let began = Instant::now();
            while began.elapsed() < hour
                && let Some(Ok(_)) = upload.frame().await
            {}
            let lived = began.elapsed();
            writing.abort();

            assert_eq!(lived >= hour, lives, "{bytes} in {every} s: {lived:?}");
            assert!(lives || lived <= 2 * STALL, "{bytes} in {every} s: {lived:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_site_takes_nothing_does_not_count() {
        let (browser, mut upload) = upload();
        browser.send(Bytes::from_static(b"x")).await.unwrap();
        upload.frame().await.unwrap().unwrap();

        advance(Duration::from_secs(600)).await;

        // Asked for more, the browser has its time from now on.
        let mut frame = upload.frame();
        poll_fn(|context| {
            assert!(Pin::new(&mut frame).poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        browser.send(Bytes::from_static(b"y")).await.unwrap();
        assert!(frame.await.unwrap().is_ok());
    }
}
