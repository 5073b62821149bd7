//! What sites have answered lately, and what they are being asked: by cookies, and by the browser that shows them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use bytesize::ByteSize;
use moka::sync::Cache;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::visitor::Error;
use crate::visitor::Member;

/// Who is asked about: hashes, so that a copy of this memory opens no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Of the site and the named cookies; what is forgotten is forgotten of all browsers that show them.
    pub(super) cookies: Hash,
    /// Of what else the site is told: it may hold a session to one browser.
    pub(super) browser: Hash,
}

pub(super) type Hash = [u8; 32];

/// What a site has said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) member: Option<Member>,
    pub(super) asked: Instant,
    /// How long it may be believed.
    pub(super) keep: Duration,
    /// What it weighs in memory.
    pub(super) bytes: usize,
}

/// A question on its way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) asked: Instant,
    pub(super) landing: watch::Receiver<Landing>,
}

pub(super) type Landing = Option<Result<Arc<Answer>, Error>>;

/// Answers and flights; whoever holds the lock of the flights changes either.
#[derive(Debug)]
pub(super) struct Known {
    answers: Cache<Hash, Arc<Answers>>,
    /// Under one lock with changes of `answers`: what is forgotten can so not come back from a flight.
    flights: Mutex<Flights>,
    /// Of whom the site could not say last who they are, and when that was.
    unsaid: Cache<(Hash, Hash), Instant>,
}

/// The last answers about one set of cookies, the latest at the end.
type Answers = Vec<(Hash, Arc<Answer>)>;

/// The questions on their way that others may still join, by cookies and then by browser.
#[derive(Debug, Default)]
pub(super) struct Flights(HashMap<Hash, Vec<(Hash, Flight)>>);

impl Flights {
    pub(super) fn get(&self, key: &Key) -> Option<&Flight> {
        let mut flights = self.0.get(&key.cookies)?.iter();
        flights.find(|(browser, _)| *browser == key.browser).map(|(_, flight)| flight)
    }

    /// Joined from now on, in place of an older one.
    pub(super) fn insert(&mut self, key: &Key, flight: Flight) {
        let flights = self.0.entry(key.cookies).or_default();
        flights.retain(|(browser, _)| *browser != key.browser);
        flights.push((key.browser, flight));
    }

    /// Whether this flight was still the one to join.
    fn remove(&mut self, key: &Key, landed: &watch::Sender<Landing>) -> bool {
        let Some(flights) = self.0.get_mut(&key.cookies) else { return false };
        let before = flights.len();
        flights.retain(|(_, flight)| !flight.landing.same_channel(&landed.subscribe()));
        let found = flights.len() < before;
        if flights.is_empty() {
            self.0.remove(&key.cookies);
        }
        found
    }
}

impl Known {
    /// Remembers answers of `memory` in all, none for longer than `keep`.
    pub(super) fn new(memory: ByteSize, keep: Duration) -> Self {
        let weight = |_: &Hash, answers: &Arc<Answers>| {
            let bytes: usize = answers.iter().map(|(_, answer)| answer.bytes + ENTRY).sum();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let answers = Cache::builder()
            .weigher(weight)
            .max_capacity(memory.as_u64())
            .time_to_live(keep)
            .build();
        let unsaid = Cache::builder().max_capacity(UNSAID).time_to_live(keep).build();
        Self { answers, flights: Mutex::default(), unsaid }
    }

    pub(super) fn flights(&self) -> MutexGuard<'_, Flights> {
        // Every change under this lock is whole, so what a panicking thread leaves behind is in order.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer that was asked for no longer than `oldest` ago.
    pub(super) fn answer(&self, key: &Key, oldest: Duration) -> Option<Arc<Answer>> {
        let answers = self.answers.get(&key.cookies)?;
        let (_, answer) = answers.iter().find(|(browser, _)| *browser == key.browser)?;
        (answer.asked.elapsed() <= oldest.min(answer.keep)).then(|| Arc::clone(answer))
    }

    /// Lets a flight tell those who wait for it, and later askers unless it was forgotten or overtaken by a fresher one.
    pub(super) fn land(
        &self,
        key: &Key,
        landed: &watch::Sender<Landing>,
        answer: Result<Arc<Answer>, Error>,
    ) {
        let mut flights = self.flights();
        if flights.remove(key, landed) {
            let visitor = (key.cookies, key.browser);
            match &answer {
                Ok(answer) => {
                    self.unsaid.invalidate(&visitor);
                    self.remember(key, answer);
                }
                Err(_) => self.unsaid.insert(visitor, Instant::now()),
            }
        }
        drop(flights);
        landed.send_replace(Some(answer));
    }

    /// Drops what is known of these cookies, and cuts the questions on their way loose from who asks next.
    pub(super) fn forget(&self, cookies: &Hash) {
        let mut flights = self.flights();
        flights.0.remove(cookies);
        self.answers.invalidate(cookies);
    }

    /// When the site last could not say who this is, if it has not said so since.
    pub(super) fn unsaid_at(&self, key: &Key) -> Option<Instant> {
        self.unsaid.get(&(key.cookies, key.browser))
    }

    fn remember(&self, key: &Key, answer: &Arc<Answer>) {
        let known = self.answers.get(&key.cookies);
        let others = known.iter().flat_map(|answers| answers.iter());
        let mut answers: Answers =
            others.filter(|(browser, _)| *browser != key.browser).cloned().collect();
        let surplus = (answers.len() + 1).saturating_sub(BROWSERS);
        answers.drain(..surplus);
        answers.push((key.browser, Arc::clone(answer)));
        self.answers.insert(key.cookies, Arc::new(answers));
    }
}

/// So many browsers with the same cookies are remembered: one visitor has one, at a new address now and then.
const BROWSERS: usize = 8;

/// Of so many visitors it is remembered that their site could not say who they are; of others it is asked again at once.
const UNSAID: u64 = 16 * 1024;

/// What an answer takes besides its text: keys, instants, allocations.
const ENTRY: usize = 256;
