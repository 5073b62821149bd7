//! `POST /sessions/revoke` of the internal listener: a site ends the streams of a visitor whom it signs out.

use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::header;
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde::Serialize;
use tokio::time::timeout;

use crate::browser::incoming::Incoming;
use crate::endpoint::Body;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::whole;
use crate::protocol::jid::Localpart;
use crate::session::owner::Name;
use crate::session::roll::Ended;
use crate::session::roll::Whom;
use crate::site::Site;

/// Where a site asks.
pub const PATH: &str = "/sessions/revoke";

/// What a site asks for: one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// One of its host names.
    site: String,
    /// As whois or the JWT says it.
    username: Option<String>,
    /// The `session_id` of whois.
    session_id: Option<String>,
}

#[derive(Serialize)]
struct Reply {
    /// How many sessions end.
    ended: usize,
}

/// Ends the sessions, over either transport, of the visitor whom a question names: `{"site": …, "username": …}`, or
/// `{"site": …, "session_id": …}` for those of one session at the site.
///
/// The answer, `{"ended": 2}`, does not wait until the browsers know. What the site has said about the cookies is
/// forgotten, so that whoever comes back with one is asked about anew.
///
/// # Errors
/// A [`Refusal`] for anything else.
pub async fn answer(edge: &Edge, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::Method("POST"));
    }
    let reading = Limited::new(request.into_body(), LARGEST).collect();
    let read = timeout(edge.bosh.settings().body_time, reading).await.map_err(|_| Refusal::Late)?;
    let question = read.map_err(|_| Refusal::TooLarge)?.to_bytes();
    let question = serde_json::from_slice(&question).map_err(|_| Refusal::BadRequest(SHAPE))?;
    let reply = Reply { ended: revoke(edge, question)? };
    let text = serde_json::to_vec(&reply).map_err(|_| Refusal::Unavailable)?;
    let mut response = Response::new(whole(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// How many sessions end.
fn revoke(edge: &Edge, question: Question) -> Result<usize, Refusal> {
    let Question { site, username, session_id } = question;
    let sites = edge.sites.now();
    let mut sites = sites.ever_at(&site).peekable();
    if sites.peek().is_none() {
        return Err(Refusal::BadRequest("no site has this name"));
    }
    let whom = |site: &Site| match (&username, &session_id) {
        (Some(username), None) => {
            let localpart = Localpart::of_username(username, site.usernames);
            Ok(localpart.map(|localpart| Whom::Named(Name::Member(localpart))).ok())
        }
        (None, Some(session_id)) => Ok(Some(Whom::Session(session_id.clone()))),
        (Some(_), Some(_)) | (None, None) => Err(Refusal::BadRequest(SHAPE)),
    };
    let mut ended = Ended::default();
    for site in sites {
        // Who can have no address has no sessions.
        if let Some(whom) = whom(site)? {
            ended += edge.roll.revoke(&site.id, &whom);
        }
    }
    for cookies in &ended.cookies {
        edge.visitors.forget_marked(cookies);
    }
    Ok(ended.sessions)
}

/// The most bytes of a question.
const LARGEST: usize = 16 * 1024;
const SHAPE: &str = "expected {\"site\": …, \"username\": …} or {\"site\": …, \"session_id\": …}";
