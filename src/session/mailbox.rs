//! A session's mailbox: what is posted waits for its turn, and who posts more than may wait for room.
//!
//! A channel of tokio's is made for many messages, and takes a kilobyte from the first on. Of a session that says nothing
//! most of the time that is a good part, and there are many.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use thiserror::Error;
use tokio::sync::Notify;

/// Where to post to a session.
#[derive(Debug)]
pub struct Mailbox<M>(Arc<Shared<M>>);

/// What was posted to a session, in turn; dropped, it takes no more.
#[derive(Debug)]
pub struct Posts<M>(Arc<Shared<M>>);

/// Why nothing was posted.
#[derive(Debug, Error)]
pub enum Refused<M> {
    /// As many wait as may: what is handed back may be posted later.
    #[error("as many messages wait as may")]
    Full(M),
    /// The session takes no more.
    #[error("the session takes no more")]
    Closed,
}

#[derive(Debug)]
struct Shared<M> {
    state: Mutex<State<M>>,
    room: Notify,
}

#[derive(Debug)]
struct State<M> {
    waiting: VecDeque<M>,
    reader: Option<Waker>,
    is_closed: bool,
}

/// A mailbox, and what is posted to it.
#[must_use]
pub fn mailbox<M>() -> (Mailbox<M>, Posts<M>) {
    let state = State { waiting: VecDeque::new(), reader: None, is_closed: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), room: Notify::new() });
    (Mailbox(shared.clone()), Posts(shared))
}

impl<M> Mailbox<M> {
    /// Posts a message, once there is room for it; whether the session takes it.
    ///
    /// Cancel safe: a message was posted or it was not.
    pub async fn post(&self, mut message: M) -> bool {
        loop {
            // Before it is looked whether there is room: what is made between the two is not missed.
            let room = self.0.room.notified();
            message = match self.post_now(message) {
                Ok(()) => return true,
                Err(Refused::Closed) => return false,
                Err(Refused::Full(message)) => message,
            };
            room.await;
        }
    }

    /// Posts a message.
    ///
    /// # Errors
    /// Where there is no room for it just now, or never.
    pub fn post_now(&self, message: M) -> Result<(), Refused<M>> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() >= MOST {
            return Err(Refused::Full(message));
        }
        state.waiting.push_back(message);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> Posts<M> {
    /// The next message; cancel safe.
    pub async fn next(&mut self) -> M {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Takes no more, and forgets what waits.
    pub fn close(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let forgotten = mem::take(&mut state.waiting);
        drop(state);
        drop(forgotten);
        self.0.room.notify_waiters();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<M> {
        let mut state = self.0.lock();
        let Some(message) = state.waiting.pop_front() else {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        self.0.room.notify_one();
        Poll::Ready(message)
    }
}

impl<M> Drop for Posts<M> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<M> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // Nothing that can panic is done under the lock, so that what it guards is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many may wait; a browser has two under way.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn what_is_posted_comes_in_turn_and_wakes_who_waits_for_it() {
        let (mailbox, mut posts) = mailbox();
        let reader = tokio::spawn(async move { (posts.next().await, posts.next().await) });
        yield_now().await;

        assert!(mailbox.post(1).await && mailbox.clone().post(2).await);

        assert_eq!(reader.await.unwrap(), (1, 2));
    }

    #[tokio::test]
    async fn who_posts_more_than_may_wait_waits_for_room() {
        let (mailbox, mut posts) = mailbox();
        for message in 0..MOST {
            assert!(mailbox.post_now(message).is_ok());
        }
        assert!(matches!(mailbox.post_now(MOST), Err(Refused::Full(MOST))));
        let late: Vec<_> = (0..3)
            .map(|later| {
                let mailbox = mailbox.clone();
                tokio::spawn(async move { mailbox.post(MOST + later).await })
            })
            .collect();
        yield_now().await;

        let mut heard = Vec::new();
        for _ in 0..MOST + 3 {
            heard.push(posts.next().await);
            yield_now().await;
        }

        assert_eq!(heard, (0..MOST + 3).collect::<Vec<_>>());
        for post in late {
            assert!(post.await.unwrap());
        }
    }

    #[tokio::test]
    async fn mailbox_of_a_session_that_is_over_takes_nothing_and_keeps_nobody_waiting() {
        let (mailbox, posts) = mailbox();
        let (waiting, forgotten) = (Arc::new(()), Arc::new(()));
        for _ in 0..MOST {
            assert!(mailbox.post_now(forgotten.clone()).is_ok());
        }
        let late = tokio::spawn({
            let (mailbox, waiting) = (mailbox.clone(), waiting.clone());
            async move { mailbox.post(waiting).await }
        });
        yield_now().await;

        drop(posts);

        assert!(!late.await.unwrap());
        assert_eq!((Arc::strong_count(&waiting), Arc::strong_count(&forgotten)), (1, 1));
        assert!(!mailbox.post(waiting).await);
    }
}
