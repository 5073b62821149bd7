//! A member known by asking the site: the named cookies go to a URL of the CMS, which says whose they are.

mod known;
mod reply;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use bytesize::ByteSize;
use hyper::HeaderMap;
use hyper::Request;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;
use tracing::warn;

use crate::metrics::Metrics;
use crate::metrics::bound::Bound;
use crate::outbound;
use crate::outbound::Client;
use crate::site::Site;
use crate::throttle::Throttles;
use crate::visitor::Error;
use crate::visitor::Freshness;
use crate::visitor::Member;
use crate::visitor::cookies::Cookies;
use crate::visitor::whois::known::Answer;
use crate::visitor::whois::known::Flight;
use crate::visitor::whois::known::Hash;
use crate::visitor::whois::known::Key;
use crate::visitor::whois::known::Known;
use crate::visitor::whois::known::Landing;
use crate::visitor::whois::reply::Failure;
use crate::visitor::whois::reply::read;

/// The bounds of asking a site: `[whois]`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a site may take to answer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long an answer may be.
    pub body: ByteSize,
    /// How long an answer is believed for a session that goes on; a site's `expires_in` can only shorten it.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// How long ago the site may have been asked when a session begins.
    #[serde(with = "humantime_serde")]
    pub fresh: Duration,
    /// How much of all answers is remembered.
    pub memory: ByteSize,
    /// How many questions to one site are under way at a time; more wait for their turn, within their `timeout`.
    pub questions: NonZeroUsize,
    /// How many questions to one site may wait or be under way; beyond, visitors are told to come back.
    pub waiting: NonZeroUsize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            body: ByteSize::kib(64),
            keep: Duration::from_secs(60),
            fresh: Duration::from_secs(2),
            memory: ByteSize::mib(16),
            questions: QUESTIONS,
            waiting: WAITING,
        }
    }
}

/// Who is asked about, and what goes along.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whose visitor it is.
    pub site: &'a Arc<Site>,
    /// Where and how the site is asked.
    pub settings: &'a crate::site::settings::Whois,
    /// The cookies of the request.
    pub cookies: &'a Cookies<'a>,
    /// Its headers: the site may hold a session to one browser.
    pub headers: &'a HeaderMap,
    /// The address of the browser.
    pub address: IpAddr,
}

/// What sites have answered lately, and what they are being asked.
///
/// A cookie is asked about once at a time for each browser that shows it, and an answer is used by all who wait for it.
#[derive(Debug)]
pub struct Whois {
    client: Client,
    settings: Settings,
    known: Arc<Known>,
    /// By the name of the site: one that hangs takes nobody else's places.
    rooms: Mutex<HashMap<String, Room>>,
    troubles: Arc<Troubles>,
    metrics: Arc<Metrics>,
}

/// When the log was last told of a site: every cookie that anybody makes up is a question.
#[derive(Debug, Default)]
struct Troubles {
    crowded: Throttles,
    clueless: Throttles,
    nameless: Throttles,
}

/// How many may ask one site.
#[derive(Debug, Clone)]
struct Room {
    /// Those who wait or ask: a question keeps its place to its end, whether or not anybody still waits for it.
    places: Arc<Semaphore>,
    /// Those who ask.
    turns: Arc<Semaphore>,
}

/// A place of a question, and where it waits for its turn.
struct Queued {
    place: OwnedSemaphorePermit,
    turns: Arc<Semaphore>,
}

impl Room {
    fn new(settings: &Settings) -> Self {
        let semaphore =
            |bound: NonZeroUsize| Arc::new(Semaphore::new(bound.get().min(Semaphore::MAX_PERMITS)));
        Self { places: semaphore(settings.waiting), turns: semaphore(settings.questions) }
    }

    fn is_empty(&self) -> bool {
        Arc::strong_count(&self.places) == 1 && Arc::strong_count(&self.turns) == 1
    }
}

impl Whois {
    pub(super) fn new(settings: Settings, client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            known: Arc::new(Known::new(settings.memory, settings.keep)),
            rooms: Mutex::default(),
            troubles: Arc::default(),
            metrics,
            client,
            settings,
        }
    }

    /// The member whose cookies these are; nobody without one of the named cookies, and the site is then not asked.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the site does not say.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
        freshness: Freshness,
    ) -> Result<Option<Member>, Error> {
        let Some(cookies) = question.cookies.named(&question.settings.cookies) else {
            return Ok(None);
        };
        let key = key(question, &cookies);
        let mut landing = match self.known_or_flight(key, freshness, question, &cookies) {
            Found::Answer(answer) => return Ok(answer.member.clone()),
            Found::Flight(landing) => landing,
            Found::Impossible => return Err(Error::Unavailable),
        };
        // Who has waited for this site in vain does not wait again: a session goes on meanwhile, and finds the next answer.
        if freshness == Freshness::KnownSession && self.known.unsaid_at(&key).is_some() {
            return Err(Error::Unavailable);
        }
        // The other end is dropped without a word only if its task panics.
        let landed = landing.wait_for(Option::is_some).await.map_err(|_| Error::Unavailable)?;
        match &*landed {
            Some(Ok(answer)) => Ok(answer.member.clone()),
            Some(Err(error)) => Err(*error),
            None => Err(Error::Unavailable),
        }
    }

    /// Drops what is known of these cookies, and cuts a question on its way loose from who asks next.
    pub(super) fn forget(&self, site: &Site, cookies: &Cookies) {
        if let Some(cookies) = cookies.named(site.cookies()) {
            self.forget_hash(&hash_of_cookies(site, &cookies));
        }
    }

    /// The same, by [`hash_of_cookies`].
    pub(super) fn forget_hash(&self, cookies: &Hash) {
        self.known.forget(cookies);
    }

    /// The earliest that a site can have been asked for an answer that is this fresh to who asks `now`.
    pub(super) fn asked_since(&self, freshness: Freshness, now: Instant) -> Instant {
        // Without an instant so long ago nobody was asked before the first there is, and `now` costs a question at most.
        now.checked_sub(self.oldest(freshness, now)).unwrap_or(now)
    }

    fn oldest(&self, freshness: Freshness, now: Instant) -> Duration {
        match freshness {
            Freshness::NewSession => self.settings.fresh.min(self.settings.keep),
            Freshness::KnownSession => self.settings.keep,
            // Who was asked before it is older by now, if only by a little.
            Freshness::After(instant) => now.saturating_duration_since(instant),
        }
    }

    fn known_or_flight(
        &self,
        key: Key,
        freshness: Freshness,
        question: &Question,
        cookies: &[u8],
    ) -> Found {
        let oldest = self.oldest(freshness, Instant::now());
        let mut flights = self.known.flights();
        if let Some(answer) = self.known.answer(&key, oldest) {
            return Found::Answer(answer);
        }
        if let Some(flight) = flights.get(&key)
            && flight.asked.elapsed() <= oldest
            // An error says that its task has panicked and will not land.
            && flight.landing.has_changed().is_ok()
        {
            return Found::Flight(flight.landing.clone());
        }
        if freshness == Freshness::KnownSession
            && self.known.unsaid_at(&key).is_some_and(|at| at.elapsed() < PAUSE)
        {
            return Found::Impossible;
        }
        let Some(queued) = self.queue(&question.site.name) else {
            self.metrics.reached(Bound::Questions);
            let site = &question.site.name;
            if let Some(untold) = self.troubles.crowded.tell(site) {
                warn!(site, untold, "too many questions to the site are under way");
            }
            return Found::Impossible;
        };
        let Some(request) = request(question, cookies) else { return Found::Impossible };
        let flight = self.take_off(key, request, Arc::clone(question.site), queued);
        let landing = flight.landing.clone();
        flights.insert(&key, flight);
        Found::Flight(landing)
    }

    /// A place among those who ask this site.
    fn queue(&self, site: &str) -> Option<Queued> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if !rooms.contains_key(site) {
            // A site that the configuration has no more leaves nothing behind.
            rooms.retain(|_, room| !room.is_empty());
        }
        let room = rooms.entry(site.to_owned()).or_insert_with(|| Room::new(&self.settings));
        let place = Arc::clone(&room.places).try_acquire_owned().ok()?;
        Some(Queued { place, turns: Arc::clone(&room.turns) })
    }

    /// A task of its own lets a question outlive who asked first; its timeout ends it.
    fn take_off(
        &self,
        key: Key,
        request: Request<outbound::Body>,
        site: Arc<Site>,
        Queued { place, turns }: Queued,
    ) -> Flight {
        let (client, known) = (self.client.clone(), Arc::clone(&self.known));
        let (settings, troubles) = (self.settings.clone(), Arc::clone(&self.troubles));
        let asked = Instant::now();
        let (landed, landing) = watch::channel(None);
        tokio::spawn(async move {
            let ask = async {
                let _turn = turns.acquire().await.map_err(|_| Failure::Closed)?;
                let limit = usize::try_from(settings.body.as_u64()).unwrap_or(usize::MAX);
                Ok(client.ask(request, limit).await?)
            };
            let answered =
                tokio::time::timeout(settings.timeout, ask).await.unwrap_or(Err(Failure::Deadline));
            let answer = answered.and_then(|response| {
                read(&site, &response, (asked, settings.keep), &troubles.nameless)
            });
            let answer = answer.map(Arc::new).map_err(|failure| {
                let failure = outbound::chain(&failure);
                if let Some(untold) = troubles.clueless.tell(&site.name) {
                    warn!(site = site.name, failure, untold, "{CLUELESS}");
                } else {
                    debug!(site = site.name, failure, "{CLUELESS}");
                }
                Error::Unavailable
            });
            drop(place);
            known.land(&key, &landed, answer);
        });
        Flight { asked, landing }
    }
}

enum Found {
    Answer(Arc<Answer>),
    Flight(watch::Receiver<Landing>),
    Impossible,
}

/// Nothing where the secret or the cookies cannot stand in a header; a browser's can.
fn request(question: &Question, cookies: &[u8]) -> Option<Request<outbound::Body>> {
    let bearer = [b"Bearer ", question.settings.secret.expose()].concat();
    let mut bearer = HeaderValue::from_bytes(&bearer).ok()?;
    bearer.set_sensitive(true);
    let mut cookies = HeaderValue::from_bytes(cookies).ok()?;
    cookies.set_sensitive(true);
    let mut request = Request::get(question.settings.url.clone())
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, bearer)
        .header(header::COOKIE, cookies)
        .header(X_FORWARDED_FOR, question.address.to_string())
        // A CMS that holds its sessions to TLS would redirect us otherwise, and the browser is on TLS.
        .header(X_FORWARDED_PROTO, "https")
        .header(X_FORWARDED_HOST, &question.site.name)
        .body(outbound::whole(Bytes::new()))
        .ok()?;
    if let Some(agent) = question.headers.get(header::USER_AGENT) {
        request.headers_mut().insert(header::USER_AGENT, agent.clone());
    }
    Some(request)
}

/// Whose answer it is: what the site is told of a visitor, whole.
fn key(question: &Question, cookies: &[u8]) -> Key {
    let agent = question.headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    // No address has a zero byte.
    let browser = hash(&[question.address.to_string().as_bytes(), b"\0", agent]);
    Key { cookies: hash_of_cookies(question.site, cookies), browser }
}

/// What stands for the cookies of a site's visitor, so that a copy of our memory opens no session.
pub(super) fn hash_of_cookies(site: &Site, cookies: &[u8]) -> Hash {
    // No host name has a zero byte, so site and cookies cannot flow into each other.
    hash(&[site.id.as_bytes(), b"\0", cookies])
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// How long a site that could not say who a visitor is is not asked again for a session of his that goes on.
const PAUSE: Duration = Duration::from_secs(1);
const CLUELESS: &str = "the site cannot say who a visitor is";

const QUESTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
const WAITING: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests;
