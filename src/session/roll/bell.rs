//! Calling a session from outside: it is revoked, or somebody wants its stream over another socket and asks whether its browser
//! is still there.

use std::mem;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::sync::oneshot;

use crate::session::waiting::Waiting;

/// Whether the browser that has a stream is there.
#[derive(Debug)]
pub enum Presence {
    /// It has just been heard, and the server was given so many of its stanzas since both count, modulo 2^32.
    Here {
        /// How many.
        taken: u32,
    },
    /// It is not, or no session has such a stream.
    Gone,
    /// It is not, and the edge has kept its stream, which now is of whoever asked.
    Waits(Box<Waiting>),
}

/// Who keeps the stream of a browser that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The server.
    Server,
    /// The edge.
    Edge,
}

/// Who wants to know; where it is dropped, the browser is taken for gone.
pub type Question = oneshot::Sender<Presence>;

/// What calls a session from outside: it is revoked, or somebody wants its stream.
#[derive(Debug, Default)]
pub struct Bell {
    is_revoked: AtomicBool,
    questions: Mutex<Vec<Question>>,
    rung: Notify,
}

/// What a session is called for.
#[derive(Debug)]
pub enum Call {
    /// It is to end: the visitor is no longer who he was.
    Revoked,
    /// Somebody wants its stream.
    Asked(Vec<Question>),
}

impl Bell {
    /// Ends the session; false where it was to end already.
    pub fn revoke(&self) -> bool {
        let is_first = !self.is_revoked.swap(true, Ordering::AcqRel);
        self.rung.notify_waiters();
        is_first
    }

    /// Whether the session is to end.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Acquire)
    }

    /// Waits until the session is to end.
    pub async fn revoked(&self) {
        self.rung(|| self.is_revoked().then_some(())).await;
    }

    /// Asks; the answer comes, or an error when the session is over.
    pub(super) fn ask(&self) -> oneshot::Receiver<Presence> {
        let (question, answer) = oneshot::channel();
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).push(question);
        self.rung.notify_waiters();
        answer
    }

    /// Nobody answers any more: who has asked is told so.
    pub(super) fn silence(&self) {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until somebody asks.
    pub(super) async fn asked(&self) -> Vec<Question> {
        self.rung(|| self.take_questions()).await
    }

    /// What it calls for now.
    pub(in crate::session) fn call(&self) -> Option<Call> {
        let revoked = self.is_revoked().then_some(Call::Revoked);
        revoked.or_else(|| self.take_questions().map(Call::Asked))
    }

    /// Done when it rings again; where it does so before that is awaited, only once this is enabled.
    pub(in crate::session) fn rings(&self) -> Notified<'_> {
        self.rung.notified()
    }

    fn take_questions(&self) -> Option<Vec<Question>> {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        Some(mem::take(&mut *questions)).filter(|asked| !asked.is_empty())
    }

    /// Looks once, and again each time it has rung, until there is something.
    async fn rung<T>(&self, looked_for: impl Fn() -> Option<T>) -> T {
        loop {
            let mut rung = pin!(self.rung.notified());
            // Who rings between the look and the wait is heard, too.
            rung.as_mut().enable();
            if let Some(found) = looked_for() {
                return found;
            }
            rung.await;
        }
    }
}
