//! What the gate knows of one server: who goes through, what it dislikes, and when the log was last told.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use crate::metrics::label::Kind;
use crate::protocol::login::Pace;
use crate::throttle::Throttle;
use crate::upstream::settings::Settings;

/// One server; what happens to it happens to no other.
#[derive(Debug)]
pub(super) struct Server {
    /// Sign-ins under way.
    pub(super) under_way: Lane,
    /// Browsers that are held, those under way included.
    pub(super) waiting: Lane,
    /// When the log was last told of a failure.
    pub(super) failures: Throttle,
    careful_until: Mutex<Option<Instant>>,
}

/// Places that are taken for a while, the last of them by members alone.
#[derive(Debug)]
pub(super) struct Lane {
    all: Semaphore,
    guests: Semaphore,
}

/// A place that is taken.
#[derive(Debug)]
#[must_use = "it is free again when this is dropped"]
pub(super) struct Entered<'a> {
    _all: SemaphorePermit<'a>,
    _guest: Option<SemaphorePermit<'a>>,
}

impl Server {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            under_way: Lane::new(settings.sign_ins),
            waiting: Lane::new(settings.waiting),
            failures: Throttle::default(),
            careful_until: Mutex::new(None),
        }
    }

    /// How the next sign-in is paced, where `pipelining` is the administrator's word.
    pub(super) fn pace(&self, pipelining: bool) -> Pace {
        let until = *self.careful_until.lock().unwrap_or_else(PoisonError::into_inner);
        let is_careful = until.is_some_and(|until| Instant::now() < until);
        if pipelining && !is_careful { Pace::Pipelined } else { Pace::StepByStep }
    }

    /// Something came of a sign-in that no server should do: perhaps it cannot be talked to before it has spoken.
    pub(super) fn be_careful(&self) {
        let mut until = self.careful_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + CAREFUL);
    }
}

impl Lane {
    fn new(places: NonZeroUsize) -> Self {
        let places = places.get().min(Semaphore::MAX_PERMITS);
        // A flood of guests leaves the members a way in.
        let guests = (places / 4 * 3).max(1);
        Self { all: Semaphore::new(places), guests: Semaphore::new(guests) }
    }

    /// Waits for a place; cancel safe, though another try goes to the end of the queue.
    pub(super) async fn enter(&self, kind: Kind) -> Option<Entered<'_>> {
        // Neither is ever closed. A guest waits among the guests first, holding no place of the others.
        let guest = match kind {
            Kind::Member => None,
            Kind::Guest | Kind::Nobody => Some(self.guests.acquire().await.ok()?),
        };
        Some(Entered { _all: self.all.acquire().await.ok()?, _guest: guest })
    }

    /// Takes a place if there is one.
    pub(super) fn try_enter(&self, kind: Kind) -> Option<Entered<'_>> {
        let guest = match kind {
            Kind::Member => None,
            Kind::Guest | Kind::Nobody => Some(self.guests.try_acquire().ok()?),
        };
        Some(Entered { _all: self.all.try_acquire().ok()?, _guest: guest })
    }
}

/// How long a server that surprised us is signed in to step by step: a restart is over by then, and what dislikes pipelining
/// costs one visitor a second try every so often (`pipelining = false` spares it).
const CAREFUL: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn server(sign_ins: usize) -> Server {
        let sign_ins = NonZeroUsize::new(sign_ins).unwrap();
        Server::new(&Settings { sign_ins, waiting: sign_ins, ..Settings::default() })
    }

    #[test]
    fn guests_leave_a_quarter_of_the_places_to_members() {
        let lane = server(8).under_way;

        let guests: Vec<_> = std::iter::from_fn(|| lane.try_enter(Kind::Guest)).collect();
        let members: Vec<_> = std::iter::from_fn(|| lane.try_enter(Kind::Member)).collect();

        assert_eq!((guests.len(), members.len()), (6, 2));
        drop(guests);
        assert!(lane.try_enter(Kind::Guest).is_some());
    }

    #[test]
    fn one_place_is_for_whoever_comes_first() {
        let lane = server(1).under_way;

        let guest = lane.try_enter(Kind::Guest);

        assert!(guest.is_some() && lane.try_enter(Kind::Member).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_surprised_us_is_signed_in_to_step_by_step_for_a_while() {
        let server = server(1);
        assert_eq!(server.pace(true), Pace::Pipelined);
        assert_eq!(server.pace(false), Pace::StepByStep);

        server.be_careful();

        assert_eq!(server.pace(true), Pace::StepByStep);
        advance(CAREFUL).await;
        assert_eq!(server.pace(true), Pace::Pipelined);
    }
}
