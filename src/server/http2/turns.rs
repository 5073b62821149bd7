//! Whose turn it is among the requests of one connection: only who is woken is looked at.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::task::Waker;

/// Those who are woken.
#[derive(Debug, Default)]
pub(super) struct Turns(Arc<Mutex<Woken>>);

#[derive(Debug, Default)]
struct Woken {
    streams: Vec<u32>,
    /// The task of the connection, while it sleeps.
    task: Option<Waker>,
}

/// What wakes one request, and the task of its connection with it.
#[derive(Debug)]
pub(super) struct Turn {
    stream: u32,
    is_woken: AtomicBool,
    turns: Arc<Mutex<Woken>>,
}

impl Turns {
    /// For a request, which is not woken yet.
    pub(super) fn turn(&self, stream: u32) -> Arc<Turn> {
        Arc::new(Turn { stream, is_woken: AtomicBool::new(false), turns: self.0.clone() })
    }

    /// Wakes this task from now on.
    pub(super) fn wake(&self, task: &Waker) {
        let mut woken = lock(&self.0);
        match &mut woken.task {
            Some(known) => known.clone_from(task),
            None => woken.task = Some(task.clone()),
        }
    }

    /// Those who were woken since this was last asked.
    pub(super) fn woken(&self) -> Vec<u32> {
        std::mem::take(&mut lock(&self.0).streams)
    }
}

impl Turn {
    /// Its turn has come; from now on it may be woken again.
    pub(super) fn comes(&self) {
        self.is_woken.store(false, Ordering::Release);
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_woken.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut woken = lock(&self.turns);
        woken.streams.push(self.stream);
        let task = woken.task.clone();
        drop(woken);
        if let Some(task) = task {
            task.wake();
        }
    }
}

fn lock(woken: &Mutex<Woken>) -> MutexGuard<'_, Woken> {
    // Nothing in here panics.
    woken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_woken_twice_has_one_turn_and_then_another() {
        let turns = Turns::default();
        let turn = turns.turn(7);
        let waker = Waker::from(turn.clone());

        waker.wake_by_ref();
        waker.wake_by_ref();
        let first = turns.woken();
        turn.comes();
        waker.wake_by_ref();

        assert_eq!((first, turns.woken(), turns.woken()), (vec![7], vec![7], vec![]));
    }
}
