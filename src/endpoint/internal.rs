//! What monitoring and administrators ask, on a listener of its own: `/metrics`, `/health`, `/ready`, and what a site
//! tells: `/sessions/revoke`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderValue;
use hyper::http::uri::Authority;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::browser::incoming::Incoming;
use crate::endpoint::Body;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::host;
use crate::endpoint::revoke;
use crate::endpoint::text;
use crate::secret::Secret;
use crate::site::Site;
use crate::upstream::dial::dial;

/// The internal endpoints. They are on no listener of browsers.
#[derive(Debug)]
pub struct Internal {
    edge: Arc<Edge>,
    secret: Option<Secret>,
    looked: Mutex<Option<Looked>>,
}

/// Which servers could not be reached when they were last looked for.
#[derive(Debug)]
struct Looked {
    at: Instant,
    missing: Vec<String>,
}

impl Internal {
    /// Tells of `edge` to whoever shows `secret`; to everybody, if there is none.
    #[must_use]
    pub fn new(edge: Arc<Edge>, secret: Option<Secret>) -> Self {
        Self { edge, secret, looked: Mutex::new(None) }
    }

    /// Answers a request; 401 without the secret, and where there is none, 421 under a name.
    ///
    /// `by_file` is whether it comes over a Unix socket, where no browser gets.
    pub async fn answer(&self, request: Request<Incoming>, by_file: bool) -> Response<Body> {
        // No page of a browser on this machine has business here, whatever name it found for it.
        if request.headers().contains_key(header::ORIGIN) {
            return Refusal::ForeignOrigin.response();
        }
        if !self.is_shown_by(request.headers()) {
            return unauthorized();
        }
        if self.secret.is_none() && !by_file && !is_unnamed(&request) {
            return misdirected();
        }
        match request.uri().path() {
            METRICS => get(&request).map_or_else(Refusal::response, |()| self.metrics()),
            HEALTH => {
                get(&request).map_or_else(Refusal::response, |()| text(StatusCode::OK, "ok\n"))
            }
            READY => match get(&request) {
                Ok(()) => self.ready().await,
                Err(refusal) => refusal.response(),
            },
            revoke::PATH => {
                revoke::answer(&self.edge, request).await.unwrap_or_else(Refusal::response)
            }
            _ => Refusal::NotFound.response(),
        }
    }

    fn is_shown_by(&self, headers: &HeaderMap) -> bool {
        let Some(secret) = &self.secret else { return true };
        let shown = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let shown = shown.and_then(|shown| shown.split_at_checked(BEARER.len()));
        shown.is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case(BEARER) && secret.matches(shown)
        })
    }

    fn metrics(&self) -> Response<Body> {
        let mut response = text(StatusCode::OK, &self.edge.metrics.text());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROMETHEUS));
        response
    }

    /// 200 where browsers should come: the edge is not going down, and each XMPP server can be reached.
    async fn ready(&self) -> Response<Body> {
        if self.edge.shutdown.is_cancelled() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "going down\n");
        }
        let missing = self.missing().await;
        if missing.is_empty() {
            return text(StatusCode::OK, "ready\n");
        }
        let lines = missing.iter().map(|server| format!("{server} cannot be reached\n"));
        text(StatusCode::SERVICE_UNAVAILABLE, &lines.collect::<String>())
    }

    /// The servers that do not answer, by a connection to each that is made for it.
    ///
    /// Not by how the last sign-in went: nobody signs in where a load balancer sends nobody, so a server that was down once
    /// would be so for ever. Whoever asks more often than each [`FRESH`] is told the same.
    async fn missing(&self) -> Vec<String> {
        // Held over the connections, so that they are made once for all who ask.
        let mut looked = self.looked.lock().await;
        if let Some(looked) = looked.as_ref().filter(|looked| looked.at.elapsed() < FRESH) {
            return looked.missing.clone();
        }
        let sites = self.edge.sites.now();
        let servers: BTreeSet<String> = sites.iter().flat_map(|site| servers(site)).collect();
        let mut dials = JoinSet::new();
        for server in servers {
            dials.spawn(async move {
                let answers = matches!(timeout(ANSWER, dial(&server)).await, Ok(Ok(_)));
                (!answers).then_some(server)
            });
        }
        let mut missing: Vec<String> = dials.join_all().await.into_iter().flatten().collect();
        missing.sort();
        *looked = Some(Looked { at: Instant::now(), missing: missing.clone() });
        missing
    }
}

fn servers(site: &Site) -> impl Iterator<Item = String> {
    let homes = site.registered.iter().chain(&site.guests);
    homes.map(|home| home.upstream.address.clone())
}

/// Whether a request names this machine by its address or as localhost, or not at all, which no browser does.
///
/// Any other name may be a stranger's, who has it lead here now: to a page of theirs we would be their own site.
fn is_unnamed<B>(request: &Request<B>) -> bool {
    if request.uri().authority().is_none() && !request.headers().contains_key(header::HOST) {
        return true;
    }
    let Some(Ok(authority)) = host(request).map(str::parse::<Authority>) else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn get<B>(request: &Request<B>) -> Result<(), Refusal> {
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    is_get.then_some(()).ok_or(Refusal::Method("GET, HEAD"))
}

fn unauthorized() -> Response<Body> {
    let mut response = text(StatusCode::UNAUTHORIZED, "show the secret of [internal]\n");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn misdirected() -> Response<Body> {
    text(StatusCode::MISDIRECTED_REQUEST, "ask by address or as localhost, or set a secret\n")
}

const METRICS: &str = "/metrics";
const HEALTH: &str = "/health";
const READY: &str = "/ready";

const BEARER: &[u8] = b"Bearer ";
/// The text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long a server may take to accept a connection.
const ANSWER: Duration = Duration::from_secs(2);
/// How long it is believed whether it has.
const FRESH: Duration = Duration::from_secs(5);
