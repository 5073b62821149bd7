//! `/http-bind` (XEP-0124): a request is read, its session found, and its answer awaited.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderValue;
use tokio::time::timeout;
use tracing::debug;

use crate::endpoint::Body as HttpBody;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::admission::Admitted;
use crate::endpoint::admission::NotAdmitted;
use crate::endpoint::admission::admit;
use crate::endpoint::own_domain;
use crate::endpoint::whole;
use crate::origin;
use crate::origin::Allowed;
use crate::protocol::bosh::answer;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::login::Goal;
use crate::protocol::welcome::Who;
use crate::protocol::xml::check::Limits;
use crate::session::Subject;
use crate::session::bosh::Hall;
use crate::session::registry::Owner;
use crate::site::Site;
use crate::visitor;
use crate::visitor::Freshness;
use crate::visitor::Visitors;

/// Answers a request to `/http-bind`, which may be held for a minute.
///
/// Dropping this tells the session that the browser no longer waits.
///
/// # Errors
/// A [`Refusal`] for a foreign origin or another method; everything else is told in XML, or by a dressed 503.
pub async fn answer(
    edge: &Edge,
    site: &Arc<Site>,
    request: Request<Incoming>,
    address: IpAddr,
) -> Result<Response<HttpBody>, Refusal> {
    let allowed = allow(site, request.headers(), address)?;
    if request.method() == Method::OPTIONS {
        return Ok(preflight(&allowed));
    }
    if request.method() != Method::POST {
        return Err(Refusal::Method("POST, OPTIONS"));
    }
    let answered = posted(edge, site, request, address).await;
    let mut response = answered.unwrap_or_else(Refusal::response);
    allowed.dress(response.headers_mut());
    Ok(response)
}

/// Whether the request may speak for a visitor of the site.
///
/// # Errors
/// [`Refusal::ForeignOrigin`]
pub(super) fn allow(site: &Site, headers: &HeaderMap, address: IpAddr) -> Result<Allowed, Refusal> {
    origin::check(headers, site, Visitors::uses_cookie(site, headers)).map_err(|refused| {
        debug!(site = site.name, %address, %refused, "request refused");
        Refusal::ForeignOrigin
    })
}

/// The answer to `OPTIONS`.
pub(super) fn preflight(allowed: &Allowed) -> Response<HttpBody> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    allowed.dress_preflight(response.headers_mut());
    response
}

async fn posted(
    edge: &Edge,
    site: &Arc<Site>,
    request: Request<Incoming>,
    address: IpAddr,
) -> Result<Response<HttpBody>, Refusal> {
    let (head, incoming) = request.into_parts();
    let limit = usize::try_from(edge.bosh.settings().body.as_u64()).unwrap_or(usize::MAX);
    let Some(text) = read(incoming, limit).await? else {
        return Ok(xml(answer::terminate(Some(Condition::PolicyViolation))));
    };
    let body = match Body::parse(&text, &Limits::default()) {
        Ok(body) => body,
        Err(error) => {
            debug!(site = site.name, %address, %error, "no body of BOSH");
            return Ok(xml(answer::terminate(Some(Condition::BadRequest))));
        }
    };
    // It has been taken apart; a held request keeps nothing of it.
    drop(text);
    match body.sid.clone() {
        Some(sid) => known(edge, site, (&head.headers, address), &sid, body).await,
        // Nobody is signed in for what would end its session at once.
        None if body.payload.is_err() => Ok(xml(answer::terminate(Some(Condition::BadRequest)))),
        None => new(edge, site, (&head.headers, address), body).await,
    }
}

/// A request of a session that is there, or is not for this visitor, which is told in the same words.
async fn known(
    edge: &Edge,
    site: &Arc<Site>,
    (headers, address): (&HeaderMap, IpAddr),
    sid: &str,
    body: Body,
) -> Result<Response<HttpBody>, Refusal> {
    let who = match edge.visitors.of(site, headers, address, Freshness::KnownSession).await {
        Ok(seen) => {
            Owner { site: site.name.clone(), visitor: Some(seen.visitor), proven: seen.proven }
        }
        Err(visitor::Error::NotWelcome) => nobody(site),
        // Strophe repeats the request on a 503, and the session is still there.
        Err(visitor::Error::Unavailable) => return Err(Refusal::Unavailable),
    };
    match edge.bosh.post(sid, &who, body).await {
        Some(answer) => Ok(xml(answer)),
        // Told of the end, Converse.js asks `/prebind` at once and, where nobody listens just then, never again. A 503 makes it
        // repeat the request until the next edge is there, which knows no such session.
        None if edge.shutdown.is_cancelled() => Err(Refusal::Unavailable),
        None => Ok(xml(answer::terminate(Some(Condition::ItemNotFound)))),
    }
}

/// A request that begins a session: the visitor is signed in before it is answered.
async fn new(
    edge: &Edge,
    site: &Arc<Site>,
    (headers, address): (&HeaderMap, IpAddr),
    body: Body,
) -> Result<Response<HttpBody>, Refusal> {
    // Who shows no cookie is a guest, if anybody.
    let guest = (!Visitors::uses_cookie(site, headers)).then_some(address);
    edge.bosh.check_room(guest)?;
    let hold = edge.gate.settings().hold;
    let subject = |visitor| Subject { site: site.name.clone(), visitor, address };
    let (owner, hall, subject, cookie) =
        match admit(edge, site, (headers, address), &Goal::Features, hold).await {
            Ok(Admitted { seen, who, domain, stream, name, .. }) => {
                let owner = Owner {
                    site: site.name.clone(),
                    visitor: Some(seen.visitor),
                    proven: seen.proven,
                };
                (owner, Hall { who, domain, stream: Some(*stream) }, subject(name), seen.set_cookie)
            }
            Err(NotAdmitted::NotWelcome) => {
                let hall = Hall { who: Who::Nobody, domain: own_domain(site)?, stream: None };
                (nobody(site), hall, subject("nobody".to_owned()), None)
            }
            Err(NotAdmitted::Unavailable) => return Err(Refusal::Unavailable),
        };
    let reserved = edge.bosh.reserve(owner, address)?;
    let answered =
        edge.bosh.begin(reserved, hall, body, subject).await.ok_or(Refusal::Unavailable)?;
    let mut response = xml(answered);
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The owner of a session whose browser is told that it may not enter.
fn nobody(site: &Site) -> Owner {
    Owner { site: site.name.clone(), visitor: None, proven: false }
}

/// The whole body of a request; none where it is larger than `limit`.
async fn read(incoming: Incoming, limit: usize) -> Result<Option<Bytes>, Refusal> {
    let read = timeout(READ, Limited::new(incoming, limit).collect());
    match read.await {
        Ok(Ok(body)) => Ok(Some(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Ok(None),
        Ok(Err(_)) => Err(Refusal::BadRequest("the request broke off")),
        Err(_) => Err(Refusal::BadRequest("the request took too long")),
    }
}

fn xml(body: Bytes) -> Response<HttpBody> {
    let mut response = Response::new(whole(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Where BOSH is spoken.
pub const PATH: &str = "/http-bind";

/// How long a request may take to arrive.
const READ: Duration = Duration::from_secs(30);
