//! The keys that a site publishes (RFC 7517): fetched once for all who wait, and again for a key that nobody knows.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use hyper::Request;
use hyper::StatusCode;
use hyper::Uri;
use hyper::header;
use jsonwebtoken::Header;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use crate::outbound;
use crate::outbound::Client;
use crate::site::key;
use crate::site::key::Keys;
use crate::throttle::Throttle;
use crate::visitor::Error;
use crate::visitor::Freshness;

/// The bounds of fetching a site's keys: `[jwks]`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long they may take to come.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long the set may be.
    pub body: ByteSize,
    /// How old they may be when a session begins; while they cannot be fetched, older ones do.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// How long nobody fetches them again, whatever key is asked for; who shows a new one is held meanwhile.
    #[serde(with = "humantime_serde")]
    pub pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            body: ByteSize::kib(64),
            keep: Duration::from_secs(60 * 60),
            pause: Duration::from_secs(5),
        }
    }
}

/// The keys of all sites that publish them, by URL; as many as `proxy.toml` names.
#[derive(Debug)]
pub(super) struct Jwks {
    client: Client,
    settings: Settings,
    published: Arc<Mutex<HashMap<String, Published>>>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Published {
    /// What came last, and when it was asked for.
    kept: Option<(Arc<Keys>, Instant)>,
    /// The last time they were asked for, which may be under way.
    flight: Option<Flight>,
    /// Hashes of what tokens call the keys that were not to be had at once, and when each was first asked for; the oldest
    /// goes when there are too many. Whoever makes such names up is held a little, and nobody else is.
    missed: VecDeque<(u64, Instant)>,
    /// When the log was last told that they do not come.
    failures: Throttle,
}

#[derive(Debug)]
struct Flight {
    began: Instant,
    landing: watch::Receiver<Landing>,
}

/// What there is for one token.
struct Found {
    /// A set with its key; or one of which it is certain that its key is not just missing yet.
    known: Option<Arc<Keys>>,
    /// How to get a newer one, where that is called for.
    coming: Option<Coming>,
}

struct Coming {
    landing: watch::Receiver<Landing>,
    /// Whether it was asked for after the key was: only then is a key that is not in it nobody's.
    is_later: bool,
}

type Landing = Option<Result<Arc<Keys>, Error>>;

impl Jwks {
    pub(super) fn new(settings: Settings, client: Client) -> Self {
        Self { client, settings, published: Arc::default(), hasher: RandomState::new() }
    }

    /// The keys at `url`, among which is one for a token with this header, if there is any.
    ///
    /// A key that is not there is nobody's once a set lacks it that was asked for after the key was: before that, the site may
    /// have published it a moment ago. A session that goes on does not wait for keys that it does not need.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when they have never come, or no set has come yet that would have a new one.
    pub(super) async fn keys(
        &self,
        url: &Uri,
        header: &Header,
        freshness: Freshness,
    ) -> Result<Arc<Keys>, Error> {
        let Found { known, coming } = self.find(url, header);
        let waits = known.is_none() || freshness != Freshness::KnownSession;
        let Some(Coming { mut landing, is_later }) = coming.filter(|_| waits) else {
            return known.ok_or(Error::Unavailable);
        };
        // The other end is dropped without a word only if its task panics.
        let landed = landing.wait_for(Option::is_some).await;
        match landed.as_deref().ok().and_then(Option::as_ref) {
            Some(Ok(keys)) if known.is_some() || is_later || has(keys, header) => {
                Ok(Arc::clone(keys))
            }
            Some(Ok(_) | Err(_)) | None => known.ok_or(Error::Unavailable),
        }
    }

    fn find(&self, url: &Uri, header: &Header) -> Found {
        let mut all = lock(&self.published);
        let published = all.entry(url.to_string()).or_default();
        let kept = published.kept.as_ref();
        if let Some((keys, asked)) = kept.filter(|(keys, _)| has(keys, header))
            && asked.elapsed() <= self.settings.keep
        {
            return Found { known: Some(Arc::clone(keys)), coming: None };
        }
        let kept = published.kept.clone();
        let since = published.missed_since(self.hasher.hash_one((header.alg, &header.kid)));
        let known = kept.filter(|(keys, asked)| has(keys, header) || since <= *asked);
        let known = known.map(|(keys, _)| keys);
        let flight = match published.flight.take() {
            Some(flight) if flight.holds(&self.settings) => flight,
            Some(_) | None => self.take_off(url),
        };
        let coming = Coming { landing: flight.landing.clone(), is_later: since <= flight.began };
        published.flight = Some(flight);
        Found { known, coming: Some(coming) }
    }

    /// A task of its own lets it outlive who asked first; its timeout ends it.
    fn take_off(&self, url: &Uri) -> Flight {
        let (client, settings) = (self.client.clone(), self.settings.clone());
        let (published, url, began) = (Arc::clone(&self.published), url.clone(), Instant::now());
        let (landed, landing) = watch::channel(None);
        tokio::spawn(async move {
            let fetched = tokio::time::timeout(settings.timeout, fetch(&client, &url, &settings));
            let answer = match fetched.await.unwrap_or(Err(Failure::Deadline)) {
                Ok(keys) => {
                    let keys = Arc::new(keys);
                    let kept = Some((Arc::clone(&keys), began));
                    lock(&published).entry(url.to_string()).or_default().kept = kept;
                    Ok(keys)
                }
                Err(failure) => {
                    let failure = outbound::chain(&failure);
                    let told = lock(&published).entry(url.to_string()).or_default().failures.tell();
                    if let Some(untold) = told {
                        // A query may hold a token.
                        let (host, path) = (url.host().unwrap_or_default(), url.path());
                        warn!(host, path, failure, untold, "the keys of a site cannot be fetched");
                    }
                    Err(Error::Unavailable)
                }
            };
            // Nobody may be waiting any more.
            landed.send_replace(Some(answer));
        });
        Flight { began, landing }
    }
}

impl Published {
    /// Since when the key is asked for that tokens call so.
    fn missed_since(&mut self, name: u64) -> Instant {
        if let Some((_, since)) = self.missed.iter().find(|(missed, _)| *missed == name) {
            return *since;
        }
        if self.missed.len() >= MOST_MISSED {
            self.missed.pop_front();
        }
        let now = Instant::now();
        self.missed.push_back((name, now));
        now
    }
}

impl Flight {
    /// Whether it is under way, or too short a time ago for another.
    fn holds(&self, settings: &Settings) -> bool {
        // An error says that its task has panicked and will not land.
        let is_under_way = self.landing.borrow().is_none() && self.landing.has_changed().is_ok();
        is_under_way || self.began.elapsed() < settings.pause
    }
}

/// Why there are no keys; for the log.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("their URL cannot be asked")]
    Url(#[source] hyper::http::Error),
    #[error("their URL cannot be asked")]
    Request(#[from] outbound::Error),
    #[error("their URL answered {0}")]
    Status(StatusCode),
    #[error("their URL answered something else")]
    Keys(#[from] key::Error),
    #[error("their URL did not answer in time")]
    Deadline,
}

async fn fetch(client: &Client, url: &Uri, settings: &Settings) -> Result<Keys, Failure> {
    let request = Request::get(url)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .body(outbound::whole(Bytes::new()))
        .map_err(Failure::Url)?;
    let limit = usize::try_from(settings.body.as_u64()).unwrap_or(usize::MAX);
    let response = client.ask(request, limit).await?;
    if response.status() != StatusCode::OK {
        return Err(Failure::Status(response.status()));
    }
    Ok(Keys::of_jwks(response.body())?)
}

/// Whether one of these may be meant by a token with this header.
fn has(keys: &Keys, header: &Header) -> bool {
    keys.meant_by(header.alg, header.kid.as_deref()).next().is_some()
}

fn lock(
    published: &Mutex<HashMap<String, Published>>,
) -> MutexGuard<'_, HashMap<String, Published>> {
    // Nothing that can panic is done under the lock, so the map is whole.
    published.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many names of missing keys are remembered for each site: many times those that a site has ever had.
const MOST_MISSED: usize = 1000;

#[cfg(test)]
mod tests;
