//! `/xmpp-websocket` (RFC 7395): the visitor is known before the 101, and signed in upstream while the browser opens its stream.

mod opening;
mod recheck;

use std::net::IpAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::Response;
use hyper::header;
use hyper::header::HeaderMap;
use tokio::time::Instant;

use crate::browser::Place;
use crate::browser::incoming::Incoming;
use crate::endpoint::Body;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::admission::Caller;
use crate::endpoint::admission::Known;
use crate::endpoint::admission::NotAdmitted;
use crate::endpoint::admission::recognise;
use crate::endpoint::host;
use crate::endpoint::own_domain;
use crate::endpoint::websocket::opening::Line;
use crate::endpoint::websocket::opening::Opening;
use crate::endpoint::websocket::recheck::Recheck;
use crate::protocol::websocket::deflate;
use crate::session::Subject;
use crate::session::roll::Stay;
use crate::session::websocket::Arrival;
use crate::session::websocket::Entry;
use crate::session::websocket::run;
use crate::session::websocket::standing::Witness;
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
    let opening = Opening::of(&mut request)?;
    let place = request.extensions_mut().remove::<Place>();
    let until = Instant::now() + edge.gate.settings().hold;
    let caller = Caller::new(site, request.headers(), host(&request), address);
    let known = recognise(edge, site, &caller, until).await;

    if edge.shutdown.is_cancelled() {
        // The connection is closed behind its next answer, so that there is no upgrade any more.
        return Err(Refusal::Unavailable);
    }
    let deflates = edge.websocket.deflate && offers_deflate(request.headers());
    let mut response = opening.answer(deflates);
    let domain = own_domain(site)?;
    let mut witness = None;
    let (entry, visitor, stay) = match known {
        Ok(Known { claim, set_cookie, stay, who, target, resumable, name }) => {
            let shown = (claim.name.as_ref(), request.headers());
            witness = Recheck::of(edge, site, shown, address);
            if let Some(cookie) = set_cookie {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            (Entry::Known { target, until, who, resumable }, name, stay)
        }
        Err(NotAdmitted::NotWelcome(stay)) => (Entry::Denied { domain }, "nobody".to_owned(), stay),
        Err(NotAdmitted::Full(_)) => return Err(Refusal::TooMany),
        Err(NotAdmitted::Unavailable) => {
            (Entry::Unavailable { domain }, "unknown".to_owned(), edge.roll.unknown())
        }
    };
    let address = edge.addresses.logged(address);
    let subject = Subject { site: site.name.clone(), visitor, address };
    let witness = witness.map(|witness| witness as Box<dyn Witness>);
    edge.tasks.spawn(arrive(
        edge.clone(),
        (opening.into_line(), deflates, place),
        entry,
        (subject, stay, witness),
    ));
    Ok(response)
}

/// Ends with the session's login; the relay behind it is a task of its own.
async fn arrive(
    edge: Arc<Edge>,
    (line, deflates, place): (Line, bool, Option<Place>),
    entry: Entry,
    (subject, stay, witness): (Subject, Stay, Option<Box<dyn Witness>>),
) {
    let Some((browser, read_ahead)) = line.browser(edge.websocket.login).await else { return };
    let limits = edge.xml;
    let arrival =
        Arrival { browser, read_ahead, deflates, place, limits, entry, subject, stay, witness };
    let Edge { gate, websocket, tasks, shutdown, .. } = &*edge;
    run(arrival, gate, websocket, (tasks, shutdown)).await;
}

fn offers_deflate(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).into_iter();
    offers.filter_map(|offer| offer.to_str().ok()).any(deflate::is_offered)
}
