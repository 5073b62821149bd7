//! The least that a browser must do: pauses are forgiven, and so is a slow line, but not both for long.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep;

/// The time that a browser may still be waited for; it is used up by waiting, and earned back by bytes.
///
/// Only the time counts in which the browser is waited for: whoever else takes its time costs the browser nothing.
#[derive(Debug)]
pub struct Pace {
    most: Duration,
    left: Duration,
    /// Since when the browser is waited for, and until when.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Pace {
    /// A browser that may be waited for as long as `most` at once.
    #[must_use]
    pub fn new(most: Duration) -> Self {
        Self { most, left: most, waiting: None }
    }

    /// The browser has moved so many bytes, or is not waited for any more.
    pub fn moved(&mut self, bytes: usize) {
        let waited = self.waiting.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1).saturating_mul(bytes) / SLOWEST;
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.most);
    }

    /// Whether the browser has all its time and is not waited for.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.waiting.is_none() && self.left == self.most
    }

    /// Waits for the browser; ready when its time is used up. It begins with none of it used, if it is asked once more.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let (_, end) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        ready!(end.as_mut().poll(cx));
        *self = Self::new(self.most);
        Poll::Ready(())
    }
}

/// Bytes a second that a browser must move on the whole: no line is too slow for them (Apache's `mod_reqtimeout` has 500).
const SLOWEST: u32 = 512;
