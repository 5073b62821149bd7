//! `/prebind`: signs the visitor in and binds before the page asks, and says where to go on from.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde::Serialize;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::browser::incoming::Incoming;
use crate::endpoint::Body;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::admission::Admitted;
use crate::endpoint::admission::Caller;
use crate::endpoint::admission::Known;
use crate::endpoint::admission::admit;
use crate::endpoint::host;
use crate::endpoint::whole;
use crate::protocol::login::Goal;
use crate::session::Subject;
use crate::site::Site;

/// `[prebind]` of proxy.toml.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long a page is held while upstream or the site does not answer, or a bound is reached: Converse.js asks once and
    /// never again. A browser is then sent to the same URL, 19 times at most, so that a page waits twenty times as long; a
    /// program gets a 503, and at a bound a 429 at once.
    #[serde(with = "humantime_serde")]
    pub hold: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        // Reverse proxies give up after 60 s.
        Self { hold: Duration::from_secs(50) }
    }
}

/// What a page is told; Converse.js knows these names.
#[derive(Serialize)]
struct Prebound {
    jid: String,
    sid: String,
    /// What the first request must bear.
    rid: u64,
}

/// Answers `GET` and `POST` of `/prebind`.
///
/// A page is held also where a bound is reached, and sent here again where it was held in vain: it will not ask again of
/// itself.
///
/// # Errors
/// A [`Refusal`] for another method, for who may not enter, and while the edge cannot serve.
pub async fn answer(
    edge: &Edge,
    site: &Arc<Site>,
    request: Request<Incoming>,
    address: IpAddr,
) -> Result<Response<Body>, Refusal> {
    if request.method() != Method::GET && request.method() != Method::POST {
        return Err(Refusal::Method("GET, POST, OPTIONS"));
    }
    let caller = Caller::new(site, request.headers(), host(&request), address);
    let (begun, hold) = (Instant::now(), edge.prebind.hold);
    let again = once_more(&request);
    loop {
        let left = hold.saturating_sub(begun.elapsed());
        let refused = match prebind(edge, site, &caller, left).await {
            Err(refused @ (Refusal::TooMany | Refusal::Unavailable)) => refused,
            answered => return answered,
        };
        let Some(again) = again.as_ref().filter(|_| !edge.shutdown.is_cancelled()) else {
            return Err(refused);
        };
        if hold.saturating_sub(begun.elapsed()) > PAUSE {
            // Where a bound is reached a place is soon free, and the page asks but once.
            let _held = edge.metrics.held();
            tokio::select! {
                () = edge.shutdown.cancelled() => return Err(Refusal::Unavailable),
                () = sleep(PAUSE) => {}
            }
        } else if begun.elapsed() > hold / 2 {
            return Ok(sent_to(again));
        } else {
            // Without a hold it would only be refused twenty times.
            return Err(refused);
        }
    }
}

/// Where a browser is to ask once more, which follows a redirect without a word to the page; nowhere for a program, which may
/// not know what to make of it, and for a page that has been sent here as often as browsers follow.
fn once_more(request: &Request<Incoming>) -> Option<HeaderValue> {
    if !request.headers().contains_key(SEC_FETCH_MODE) {
        return None;
    }
    let times = |query: &str| query.strip_prefix(HELD)?.parse().ok();
    let times: u8 = request.uri().query().map_or(Some(0), times)?;
    let again = times.checked_add(1).filter(|&again| again <= MOST_REDIRECTS)?;
    // Relative: what stands before the path is known to the browser alone.
    HeaderValue::from_str(&format!("?{HELD}{again}")).ok()
}

fn sent_to(location: &HeaderValue) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn prebind(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    hold: Duration,
) -> Result<Response<Body>, Refusal> {
    edge.bosh.check_room()?;
    let goal = Goal::Bind { resource: fresh_resource()? };
    let admitted = admit(edge, site, caller, &goal, Instant::now() + hold).await?;
    let Admitted { known, mut stream } = admitted;
    let target = known.way_back();
    let Known { claim, set_cookie, stay, .. } = known;
    let jid = stream.jid.take().ok_or(Refusal::Unavailable)?;
    let address = edge.addresses.logged(caller.address);
    let subject = Subject { site: site.name.clone(), visitor: jid.to_bare().to_string(), address };
    let reserved = edge.bosh.reserve(claim, stay, site.wait)?;
    let (sid, rid) = edge.bosh.prebind(reserved, *stream, target, subject)?;

    let prebound = Prebound { jid: jid.to_string(), sid: sid.to_string(), rid: rid.get() };
    let text = serde_json::to_vec(&prebound).map_err(|_| Refusal::Unavailable)?;
    let mut response = Response::new(whole(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = set_cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Another one for each page: two tabs with one resource would throw each other out for ever.
fn fresh_resource() -> Result<String, Refusal> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Refusal::Unavailable)?;
    Ok(format!("web-{:016x}", u64::from_be_bytes(bytes)))
}

/// Between two attempts to find a place for a page.
const PAUSE: Duration = Duration::from_secs(2);
/// How often a page has been held before, in the query of its URL.
const HELD: &str = "held=";
/// What browsers follow (Fetch, HTTP-redirect fetch, step 7: 20 is an error).
const MOST_REDIRECTS: u8 = 19;
/// Browsers send it, programs do not.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Where a page asks.
pub const PATH: &str = "/prebind";
