//! A future that is seldom ready, beside another that wakes their task with every message: it is polled only where it was the
//! one that woke the task.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;

/// Polls the future in it when that has asked for it.
pub(super) struct Aside<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
}

/// What the future wakes: it is noted, and the task is woken.
struct Bell {
    has_rung: AtomicBool,
    task: Mutex<Waker>,
}

impl<F: Future> Aside<F> {
    pub(super) fn new(future: F) -> Self {
        let bell =
            Bell { has_rung: AtomicBool::new(true), task: Mutex::new(Waker::noop().clone()) };
        Self { future: Box::pin(future), bell: Arc::new(bell) }
    }
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        // Before the bell is looked at: who rings later wakes this task.
        this.bell.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        if !this.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(this.bell.clone());
        this.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn future_is_polled_when_it_has_woken_the_task_and_at_no_other_time() {
        let polls = Cell::new(0);
        let (ready, mut awaited) = oneshot::channel();
        let mut aside = Aside::new(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            Pin::new(&mut awaited).poll(cx)
        }));

        for _ in 0..3 {
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut aside).poll(cx))).await;
            assert!(polled.is_pending());
        }
        assert_eq!(polls.get(), 1);

        tokio::join!(async { assert_eq!(aside.await, Ok(7)) }, async { ready.send(7).unwrap() });
        assert_eq!(polls.get(), 2);
    }
}
