//! The keys that a site publishes (RFC 7517): fetched once for all who wait, and again for a key that nobody knows.

use std::collections::HashMap;
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

use crate::outbound;
use crate::outbound::Client;
use crate::site::key;
use crate::site::key::Keys;
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
    /// How long nobody fetches them again, whatever key is asked for.
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
}

#[derive(Debug, Default)]
struct Published {
    /// What came last, and when it was asked for.
    kept: Option<(Arc<Keys>, Instant)>,
    /// The last time they were asked for, which may be under way.
    flight: Option<Flight>,
}

#[derive(Debug)]
struct Flight {
    began: Instant,
    landing: watch::Receiver<Landing>,
}

type Landing = Option<Result<Arc<Keys>, Error>>;

impl Jwks {
    pub(super) fn new(settings: Settings, client: Client) -> Self {
        Self { client, settings, published: Arc::default() }
    }

    /// The keys at `url`, among which is one for a token with this header, if there is any.
    ///
    /// A session that goes on does not wait for keys that it does not need.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when they have never come, or did not come when a new one was asked for.
    pub(super) async fn keys(
        &self,
        url: &Uri,
        header: &Header,
        freshness: Freshness,
    ) -> Result<Arc<Keys>, Error> {
        let (known, landing) = self.known_or_flight(url, header);
        match (&known, landing, freshness) {
            (_, Some(mut landing), Freshness::NewSession | Freshness::After(_))
            | (None, Some(mut landing), Freshness::KnownSession) => {
                // The other end is dropped without a word only if its task panics.
                let landed = landing.wait_for(Option::is_some).await;
                if let Some(Ok(keys)) = landed.as_deref().ok().and_then(Option::as_ref) {
                    return Ok(Arc::clone(keys));
                }
            }
            (_, None, _) | (Some(_), Some(_), Freshness::KnownSession) => {}
        }
        known.ok_or(Error::Unavailable)
    }

    /// The keys that are known, where one of them is meant; and how to get newer ones, where that is called for.
    fn known_or_flight(
        &self,
        url: &Uri,
        header: &Header,
    ) -> (Option<Arc<Keys>>, Option<watch::Receiver<Landing>>) {
        let mut all = lock(&self.published);
        let published = all.entry(url.to_string()).or_default();
        let has = |keys: &Keys| keys.meant_by(header.alg, header.kid.as_deref()).next().is_some();
        let kept = published.kept.as_ref().filter(|(keys, _)| has(keys));
        let known = kept.map(|(keys, _)| Arc::clone(keys));
        if kept.is_some_and(|(_, asked)| asked.elapsed() <= self.settings.keep) {
            return (known, None);
        }
        if let Some(flight) =
            published.flight.as_ref().filter(|flight| flight.holds(&self.settings))
        {
            return (known, Some(flight.landing.clone()));
        }
        let flight = self.take_off(url);
        let landing = flight.landing.clone();
        published.flight = Some(flight);
        (known, Some(landing))
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
                    // A query may hold a token.
                    let (host, path) = (url.host().unwrap_or_default(), url.path());
                    tracing::warn!(host, path, failure, "the keys of a site cannot be fetched");
                    Err(Error::Unavailable)
                }
            };
            // Nobody may be waiting any more.
            landed.send_replace(Some(answer));
        });
        Flight { began, landing }
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

fn lock(
    published: &Mutex<HashMap<String, Published>>,
) -> MutexGuard<'_, HashMap<String, Published>> {
    // Nothing that can panic is done under the lock, so the map is whole.
    published.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
