//! `/http-bind` (XEP-0124): a request is read, its session found, and its answer awaited.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header;
use hyper::header::HeaderValue;
use tokio::time::timeout;
use tracing::debug;

use crate::endpoint::Body as HttpBody;
use crate::endpoint::Departed;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::admission::Admitted;
use crate::endpoint::admission::Caller;
use crate::endpoint::admission::NotAdmitted;
use crate::endpoint::admission::admit;
use crate::endpoint::host;
use crate::endpoint::own_domain;
use crate::endpoint::whole;
use crate::metrics::bound::Bound;
use crate::protocol::bosh::answer;
use crate::protocol::bosh::body;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::payload;
use crate::protocol::login::Goal;
use crate::protocol::welcome::Who;
use crate::session::Subject;
use crate::session::bosh::Hall;
use crate::session::bosh::Mailbox;
use crate::session::end;
use crate::session::owner::Claim;
use crate::session::registry::Found;
use crate::share::budget::Held;
use crate::site::Site;
use crate::visitor;
use crate::visitor::Freshness;

/// Answers a request to `/http-bind`, which may be held for a minute.
///
/// Dropping this tells the session that the browser no longer waits.
///
/// # Errors
/// A [`Refusal`] for another method, and while the edge cannot serve; everything else is told in XML.
pub async fn answer(
    edge: &Edge,
    site: &Arc<Site>,
    request: Request<Incoming>,
    address: IpAddr,
) -> Result<Response<HttpBody>, Refusal> {
    if request.method() == Method::POST {
        posted(edge, site, request, address).await
    } else {
        Err(Refusal::Method("POST, OPTIONS"))
    }
}

async fn posted(
    edge: &Edge,
    site: &Arc<Site>,
    request: Request<Incoming>,
    address: IpAddr,
) -> Result<Response<HttpBody>, Refusal> {
    let host = host(&request).map(ToOwned::to_owned);
    let (head, incoming) = request.into_parts();
    let mut room = edge.bosh.bodies().hold(address);
    let Some(text) = read(edge, incoming, &mut room).await? else {
        return Ok(xml(answer::terminate(Some(Condition::PolicyViolation))));
    };
    let body = Body::parse(&text, &edge.xml);
    if let Some(bound) = bound(&body) {
        edge.metrics.reached(bound);
    }
    let body = match body {
        Ok(body) => body,
        Err(error) => {
            let address = edge.addresses.logged(address);
            debug!(site = site.name, %address, %error, "no body of BOSH");
            return Ok(xml(answer::terminate(Some(Condition::BadRequest))));
        }
    };
    // It has been taken apart; a held request keeps nothing of it.
    drop((text, room));
    let caller = Caller::new(site, &head.headers, host.as_deref(), address);
    match body.sid.clone() {
        Some(sid) => known(edge, site, &caller, (&sid, body)).await,
        None if head.extensions.get::<Departed>().is_some() => Err(Refusal::NoSite),
        // Nobody is signed in for what would end its session at once.
        None if body.payload.is_err() => Ok(xml(answer::terminate(Some(Condition::BadRequest)))),
        None => new(edge, site, &caller, body).await,
    }
}

/// A request of a session that is there, or is not for this visitor, which is told in the same words.
async fn known(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    (sid, body): (&str, Body),
) -> Result<Response<HttpBody>, Refusal> {
    let mailbox = mailbox(edge, site, caller, sid).await?;
    let Some(mailbox) = mailbox else {
        // So also for a session that is there: who guesses is not to learn of it.
        let heard = edge.shutdown.is_cancelled() || edge.bosh.may_miss(caller.address);
        return if heard { over(edge) } else { Err(Refusal::TooMany) };
    };
    match edge.bosh.post(mailbox, body).await {
        Some(answer) => Ok(xml(answer)),
        None => over(edge),
    }
}

/// What is said where there is no session, or none any more.
///
/// Told of the end while the edge goes down, Converse.js asks `/prebind` at once and, where nobody listens just then, never
/// again. A 503 makes Strophe repeat the request until the next edge is there, which knows no such session.
fn over(edge: &Edge) -> Result<Response<HttpBody>, Refusal> {
    if edge.shutdown.is_cancelled() {
        return Err(Refusal::Unavailable);
    }
    Ok(xml(answer::terminate(Some(Condition::ItemNotFound))))
}

/// Where requests of the session go, if it is the visitor's.
async fn mailbox(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    sid: &str,
) -> Result<Option<Mailbox>, Refusal> {
    if !edge.bosh.knows(sid) {
        return Ok(None);
    }
    let claim = match claim_of(edge, site, caller, Freshness::KnownSession).await {
        Ok(claim) => claim,
        // A session outlives an outage of the site.
        Err(unsaid) => {
            let mailbox = edge.bosh.find_unsaid(sid, &caller.claim(edge, site, None));
            return mailbox.map(Some).ok_or(unsaid);
        }
    };
    match edge.bosh.find(sid, &claim) {
        Found::Mailbox(mailbox) => return Ok(Some(mailbox)),
        Found::Nothing => return Ok(None),
        // What the site said a while ago ends nobody's session.
        Found::Outlived(_) => {}
    }
    let claim = claim_of(edge, site, caller, Freshness::NewSession).await?;
    Ok(match edge.bosh.find(sid, &claim) {
        Found::Mailbox(mailbox) => Some(mailbox),
        Found::Nothing => None,
        Found::Outlived(revoked) => {
            revoked.cancel();
            edge.roll.recognise(&claim.site, claim.name.as_ref(), &claim.marks);
            None
        }
    })
}

/// What the request shows of who sent it.
async fn claim_of(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    freshness: Freshness,
) -> Result<Claim, Refusal> {
    match edge.visitors.of(site, caller.headers, caller.address, freshness).await {
        Ok(seen) => Ok(caller.claim(edge, site, Some(&seen))),
        Err(visitor::Error::NotWelcome) => Ok(caller.claim(edge, site, None)),
        // Strophe repeats the request on a 503, and the session is still there.
        Err(visitor::Error::Unavailable) => Err(Refusal::Unavailable),
    }
}

/// A request that begins a session: the visitor is signed in before it is answered.
async fn new(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    body: Body,
) -> Result<Response<HttpBody>, Refusal> {
    edge.bosh.check_room()?;
    let hold = edge.gate.settings().hold;
    let address = edge.addresses.logged(caller.address);
    let subject = |visitor| Subject { site: site.name.clone(), visitor, address };
    let (reserved, hall, subject, cookie) =
        match admit(edge, site, caller, &Goal::Features, hold).await {
            Ok(Admitted { claim, set_cookie, stay, who, domain, stream, name, .. }) => {
                let hall = Hall { who, domain, stream: Some(*stream) };
                (edge.bosh.reserve(claim, stay)?, hall, subject(name), set_cookie)
            }
            Err(NotAdmitted::NotWelcome(stay)) => {
                let claim = caller.claim(edge, site, None);
                let hall = Hall { who: Who::Nobody, domain: own_domain(site)?, stream: None };
                (edge.bosh.reserve(claim, stay)?, hall, subject("nobody".to_owned()), None)
            }
            Err(refused) => return Err(refused.into()),
        };
    let answered =
        edge.bosh.begin(reserved, hall, body, subject).await.ok_or(Refusal::Unavailable)?;
    let mut response = xml(answered);
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The whole body of a request; none where it is larger than it may be.
async fn read(
    edge: &Edge,
    incoming: Incoming,
    held: &mut Held<'_>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let bounds = edge.bosh.settings();
    let limit = usize::try_from(bounds.body.as_u64()).unwrap_or(usize::MAX);
    let reading = timeout(bounds.body_time, arriving(incoming, limit, held)).await;
    let read = reading.unwrap_or_else(|_| {
        edge.metrics.reached(Bound::BodyTime);
        Err(Refusal::Late)
    });
    match read {
        Err(Refusal::TooLarge) => {
            edge.metrics.reached(Bound::Body);
            Ok(None)
        }
        Err(Refusal::Unavailable) => {
            edge.metrics.reached(Bound::Body);
            Err(Refusal::Unavailable)
        }
        Err(refusal) => Err(refusal),
        Ok(text) => Ok(Some(text)),
    }
}

/// The bound that a request was beyond, where that is its fault.
fn bound(body: &Result<Body, body::Error>) -> Option<Bound> {
    match body {
        Err(body::Error::Xml(error))
        | Ok(Body { payload: Err(payload::Error::Xml(error)), .. }) => end::bound_of(*error),
        Ok(_) | Err(_) => None,
    }
}

/// What arrives, up to `limit` bytes; `held` grows with what is here, not with what is promised.
async fn arriving(
    mut incoming: Incoming,
    limit: usize,
    held: &mut Held<'_>,
) -> Result<Vec<u8>, Refusal> {
    let mut text = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| Refusal::BadRequest("the request broke off"))?;
        let Ok(bytes) = frame.into_data() else { continue };
        let length = text.len().saturating_add(bytes.len());
        if length > limit {
            return Err(Refusal::TooLarge);
        }
        if !held.grow_to(length) {
            return Err(Refusal::Unavailable);
        }
        text.extend_from_slice(&bytes);
    }
    Ok(text)
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
