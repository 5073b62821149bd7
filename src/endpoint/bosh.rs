//! `/http-bind` (XEP-0124): a request is read, its session found, and its answer awaited.

pub mod reading;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderValue;
use tokio::time::Instant;
use tracing::debug;

use crate::browser::incoming::Incoming;
use crate::endpoint::Departed;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::admission::Admitted;
use crate::endpoint::admission::Caller;
use crate::endpoint::admission::Known;
use crate::endpoint::admission::NotAdmitted;
use crate::endpoint::admission::admit;
use crate::endpoint::bosh::reading::Arrived;
use crate::endpoint::bosh::reading::read;
use crate::endpoint::coding::is_coded;
use crate::endpoint::host;
use crate::endpoint::own_domain;
use crate::metrics::bound::Bound;
use crate::protocol::bosh::answer;
use crate::protocol::bosh::body;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::event::Connection;
use crate::protocol::bosh::payload;
use crate::protocol::bosh::wishes::CONTENT;
use crate::protocol::login::Goal;
use crate::protocol::stream_error::StreamError;
use crate::protocol::welcome::Who;
use crate::session::Subject;
use crate::session::bosh::Answer;
use crate::session::bosh::Hall;
use crate::session::bosh::Mailbox;
use crate::session::bosh::Reply;
use crate::session::end;
use crate::session::owner::Claim;
use crate::session::registry::Found;
use crate::site::Session;
use crate::site::Site;
use crate::visitor;
use crate::visitor::Freshness;

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Where the browser is.
    pub address: IpAddr,
    /// Its connection, where that is its own.
    pub over: Option<Connection>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It is answered at once.
    Answered(Response<Bytes>),
    /// Its session has it; [`said`] makes an answer of the reply.
    Held(Reply, Shown),
}

/// A session, and that a request has shown whose it is.
#[derive(Debug)]
pub struct Shown {
    sid: String,
    mailbox: Mailbox,
    /// Whether nobody else was asked: the same request would have shown it again.
    is_by_itself: bool,
}

/// Takes in a request to `/http-bind`: up to its answer, or until its session has it.
///
/// # Errors
/// A [`Refusal`] for another method, and while the edge cannot serve; everything else is told in XML.
pub async fn take_in(
    edge: &Edge,
    site: &Arc<Site>,
    request: Request<Incoming>,
    address: IpAddr,
) -> Result<Outcome, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::Method("POST, OPTIONS"));
    }
    let (head, incoming) = request.into_parts();
    let arrived = Box::pin(read(edge, incoming, address)).await?;
    let request = Request::from_parts(head, ());
    let over = request.extensions().get().copied();
    posted(edge, site, (&request, arrived), Sender { address, over }).await
}

/// Takes in a POST whose body was [read].
///
/// # Errors
/// As [`take_in`].
pub async fn posted(
    edge: &Edge,
    site: &Arc<Site>,
    (request, Arrived { text, room }): (&Request<()>, Arrived<'_>),
    Sender { address, over }: Sender,
) -> Result<Outcome, Refusal> {
    let Some(text) = text else {
        return Ok(answered(answer::terminate(Some(Condition::PolicyViolation))));
    };
    // No `accept` has told the browser of a coding that is understood here (XEP-0124 §7.2).
    if is_coded(request.headers()) {
        return Ok(answered(answer::terminate(Some(Condition::BadRequest))));
    }
    let body = Body::parse(&text, &edge.xml);
    if let Some(bound) = bound(&body) {
        edge.metrics.reached(bound);
    }
    let body = match body {
        Ok(body) => Body { over, ..body },
        Err(error) => {
            let address = edge.addresses.logged(address);
            debug!(site = site.name, %address, %error, "no body of BOSH");
            return Ok(answered(answer::terminate(Some(Condition::BadRequest))));
        }
    };
    // It has been taken apart; a held request keeps nothing of it.
    drop((text, room));
    let language = body.wishes.as_ref().and_then(|wishes| wishes.language.clone());
    let caller = Caller::new(site, request.headers(), host(request), address).speaking(language);
    match body.sid.clone() {
        Some(sid) => known(edge, site, &caller, (&sid, body)).await,
        None if request.extensions().get::<Departed>().is_some() => Err(Refusal::NoSite),
        // Nobody is signed in for what would end its session at once.
        None if body.payload.is_err() => {
            Ok(Outcome::Answered(refused(Condition::BadRequest, body.is_legacy())))
        }
        None => Box::pin(new(edge, site, &caller, body)).await.map(Outcome::Answered),
    }
}

/// A request of a session that is there, or is not for this visitor, which is told in the same words.
async fn known(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    (sid, body): (&str, Body),
) -> Result<Outcome, Refusal> {
    let mailbox = mailbox(edge, site, caller, sid).await?;
    let Some(mailbox) = mailbox else {
        // So also for a session that is there: who guesses is not to learn of it.
        let heard = edge.shutdown.is_cancelled() || edge.bosh.may_miss(caller.address);
        let over = if heard { no_session(edge) } else { Err(Refusal::TooMany) };
        return over.map(Outcome::Answered);
    };
    let is_by_itself = !matches!(site.session, Some(Session::Whois(_)));
    let shown = Shown { sid: sid.to_owned(), mailbox: mailbox.clone(), is_by_itself };
    match edge.bosh.post(mailbox, body).await {
        Some(reply) => Ok(Outcome::Held(reply, shown)),
        None => no_session(edge).map(Outcome::Answered),
    }
}

impl Shown {
    /// Whether a request with the same head shows the same, for a moment: the site is not asked, who could say otherwise.
    #[must_use]
    pub fn may_be_repeated(&self) -> bool {
        self.is_by_itself
    }

    /// Hands the body of such a request, which came over this connection, to the session; none where it is to be taken in as
    /// any other.
    #[must_use]
    pub fn again(&self, edge: &Edge, text: &[u8], over: Option<Connection>) -> Option<Reply> {
        let body = Body::parse(text, &edge.xml).ok()?;
        if body.sid.as_deref() != Some(&self.sid) || body.payload.is_err() {
            return None;
        }
        edge.bosh.post_now(&self.mailbox, Body { over, ..body })
    }
}

/// The answer that a session gave; none where it has ended.
///
/// # Errors
/// A [`Refusal`] while the edge goes down.
pub fn said(edge: &Edge, answer: Option<Answer>) -> Result<Response<Bytes>, Refusal> {
    answer.map_or_else(|| no_session(edge), |answer| Ok(told(answer)))
}

/// What is said where there is no session, or none any more.
///
/// Told of the end while the edge goes down, Converse.js asks `/prebind` at once and, where nobody listens just then, never
/// again. A 503 makes Strophe repeat the request until the next edge is there, which knows no such session.
fn no_session(edge: &Edge) -> Result<Response<Bytes>, Refusal> {
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
        Found::Outlived(bell) => {
            bell.revoke();
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
) -> Result<Response<Bytes>, Refusal> {
    if body.wishes.as_ref().is_some_and(|wishes| !wishes.is_of_xmpp_1()) {
        return Ok(xml(answer::stream_error(StreamError::UnsupportedVersion)));
    }
    let route = body.wishes.as_ref().and_then(|wishes| wishes.route.as_deref());
    if route.is_some_and(|route| !site.is_served_by(route)) {
        return Ok(refused(Condition::HostUnknown, false));
    }
    edge.bosh.check_room()?;
    let end = Instant::now() + edge.gate.settings().hold;
    let address = edge.addresses.logged(caller.address);
    let subject = |visitor| Subject { site: site.name.clone(), visitor, address };
    let (reserved, hall, subject, cookie) = match admit(edge, site, caller, &Goal::Features, end)
        .await
    {
        Ok(Admitted { known, stream }) => {
            let way_back = known.way_back();
            let Known { claim, set_cookie, stay, who, target, name, .. } = known;
            let stream = Some(*stream);
            let hall = Hall { who, domain: target.domain, stream, target: way_back };
            (edge.bosh.reserve(claim, stay, site.wait)?, hall, subject(name), set_cookie)
        }
        Err(NotAdmitted::NotWelcome(stay)) => {
            let claim = caller.claim(edge, site, None);
            let (who, domain) = (Who::Nobody, own_domain(site)?);
            let hall = Hall { who, domain, stream: None, target: None };
            (edge.bosh.reserve(claim, stay, site.wait)?, hall, subject("nobody".to_owned()), None)
        }
        Err(NotAdmitted::Unavailable) if edge.bosh.settings().remote_connection_failed => {
            return Ok(refused(Condition::RemoteConnectionFailed, false));
        }
        Err(refused) => return Err(refused.into()),
    };
    let answered =
        edge.bosh.begin(reserved, hall, body, subject).await.ok_or(Refusal::Unavailable)?;
    let mut response = told(answered);
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The bound that a request was beyond, where that is its fault.
fn bound(body: &Result<Body, body::Error>) -> Option<Bound> {
    match body {
        Err(body::Error::Xml(error))
        | Ok(Body { payload: Err(payload::Error::Xml(error)), .. }) => end::bound_of(*error),
        Ok(_) | Err(_) => None,
    }
}

/// What a session has said.
pub(crate) fn told(answer: Answer) -> Response<Bytes> {
    match answer {
        Answer::Body(body, None) => xml(body),
        Answer::Body(body, Some(content)) => typed(body, &content),
        Answer::Refused(condition) => refused(condition, true),
    }
}

/// The end that is told by a condition, or by the status of HTTP that a legacy browser knows (XEP-0124 §17.1).
fn refused(condition: Condition, is_legacy: bool) -> Response<Bytes> {
    let status = condition.status().filter(|_| is_legacy);
    let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        return xml(answer::terminate(Some(condition)));
    };
    let mut response = xml(Bytes::new());
    *response.status_mut() = status;
    response
}

/// A body of the type that the browser has asked for (XEP-0124 §7.1).
///
/// Such a one could be taken for a page of the site, with what others wrote in it: nothing in it may act.
fn typed(body: Bytes, content: &str) -> Response<Bytes> {
    let mut response = xml(body);
    let headers = response.headers_mut();
    if let Ok(content) = HeaderValue::from_str(content) {
        headers.insert(header::CONTENT_TYPE, content);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn answered(body: Bytes) -> Outcome {
    Outcome::Answered(xml(body))
}

fn xml(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE));
    response
}

/// What is said of answers to those who keep copies.
pub const CACHE: &str = "no-store";
/// Where BOSH is spoken.
pub const PATH: &str = "/http-bind";
