//! `/xmpp-websocket` (RFC 7395): the visitor is signed in before the 101, so that whatever fails, fails before features.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;
use tracing::debug;

use crate::browser::Browser;
use crate::browser::Place;
use crate::endpoint::Body;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::admission::Admitted;
use crate::endpoint::admission::Caller;
use crate::endpoint::admission::NotAdmitted;
use crate::endpoint::admission::admit;
use crate::endpoint::host;
use crate::endpoint::own_domain;
use crate::endpoint::whole;
use crate::protocol::login::Goal;
use crate::session::Subject;
use crate::session::roll::Stay;
use crate::session::websocket::Arrival;
use crate::session::websocket::Entry;
use crate::session::websocket::run;
use crate::site::Site;

/// Where browsers find it, as the world expects it (XEP-0156 tells).
pub const PATH: &str = "/xmpp-websocket";

/// Answers an upgrade; the session goes on in a task of its own.
///
/// # Errors
/// A [`Refusal`] of what is no upgrade, before anything is looked up, or where the visitor has taken its share. Whatever
/// else goes wrong later is told in XMPP behind the 101: any other status
/// makes Converse knock a dozen times in eight seconds.
pub async fn upgrade(
    edge: &Arc<Edge>,
    site: &Arc<Site>,
    mut request: Request<Incoming>,
    address: IpAddr,
) -> Result<Response<Body>, Refusal> {
    let accept = accept_key(&request)?;
    let upgraded = hyper::upgrade::on(&mut request);
    let place = request.extensions_mut().remove::<Place>();
    let hold = edge.gate.settings().hold;
    let caller = Caller::new(site, request.headers(), host(&request), address);
    let admitted = admit(edge, site, &caller, &Goal::Features, hold).await;

    if edge.shutdown.is_cancelled() {
        // The connection is closed behind its next answer, so that there is no upgrade any more.
        return Err(Refusal::Unavailable);
    }
    let mut response = switching_protocols(accept);
    let domain = own_domain(site)?;
    let (entry, visitor, stay) = match admitted {
        Ok(Admitted { set_cookie, stay, who, domain, resumable, stream, name, .. }) => {
            if let Some(cookie) = set_cookie {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            (Entry::Admitted { stream, who, domain, resumable }, name, stay)
        }
        Err(NotAdmitted::NotWelcome(stay)) => (Entry::Denied { domain }, "nobody".to_owned(), stay),
        Err(NotAdmitted::Full(_)) => return Err(Refusal::TooMany),
        Err(NotAdmitted::Unavailable) => {
            (Entry::Unavailable { domain }, "unknown".to_owned(), edge.roll.unknown())
        }
    };
    let address = edge.addresses.logged(address);
    let subject = Subject { site: site.name.clone(), visitor, address };
    edge.tasks.spawn(arrive(edge.clone(), (upgraded, place), entry, (subject, stay)));
    Ok(response)
}

/// Ends with the session's login; the relay behind it is a task of its own.
async fn arrive(
    edge: Arc<Edge>,
    (upgraded, place): (OnUpgrade, Option<Place>),
    entry: Entry,
    (subject, stay): (Subject, Stay),
) {
    // hyper may still be writing answers that came before.
    let upgraded = match timeout(edge.websocket.login, upgraded).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => return debug!(%error, "the browser left before its upgrade was done"),
        Err(_) => return debug!("an upgrade was not done in time"),
    };
    let Some((browser, read_ahead)) = Browser::taken_from_http(upgraded) else { return };
    let limits = edge.xml;
    let arrival = Arrival { browser, read_ahead, place, limits, entry, subject, stay };
    run(arrival, edge.websocket.clone(), edge.tasks.clone(), edge.shutdown.clone()).await;
}

/// Checks the opening handshake (RFC 6455 §4.2.1, RFC 7395 §3.1); the value of `Sec-WebSocket-Accept`.
fn accept_key(request: &Request<Incoming>) -> Result<HeaderValue, Refusal> {
    if request.method() != Method::GET {
        return Err(Refusal::Method("GET"));
    }
    let headers = request.headers();
    if !lists(headers, &header::UPGRADE, "websocket")
        || !lists(headers, &header::CONNECTION, "upgrade")
    {
        return Err(Refusal::UpgradeRequired);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::BadRequest("Sec-WebSocket-Version: 13 is spoken here"));
    }
    if !lists(headers, &header::SEC_WEBSOCKET_PROTOCOL, "xmpp") {
        return Err(Refusal::BadRequest("Sec-WebSocket-Protocol: xmpp is spoken here (RFC 7395)"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if BASE64_STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return Err(Refusal::BadRequest("Sec-WebSocket-Key is missing or malformed"));
    }
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, ACCEPT_SUFFIX].concat());
    HeaderValue::from_str(&BASE64_STANDARD.encode(hash))
        .map_err(|_| Refusal::BadRequest("Sec-WebSocket-Key"))
}

/// Whether a header, a comma-separated list in one or more fields, names `wanted`.
fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let fields = headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|item| item.trim().eq_ignore_ascii_case(wanted))
}

fn switching_protocols(accept: HeaderValue) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("xmpp"));
    response
}

/// What RFC 6455 §1.3 hashes behind the key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
