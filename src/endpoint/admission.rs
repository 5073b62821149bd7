//! Letting a visitor in: who it is, what the server is shown, and the sign-in, within one hold.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use tokio::time::Instant;
use tokio::time::sleep;
use tracing::debug;

use crate::endpoint::Edge;
use crate::metrics::Kind;
use crate::outbound;
use crate::pass::Pass;
use crate::protocol::jid::Domain;
use crate::protocol::jid::Jid;
use crate::protocol::jid::Localpart;
use crate::protocol::login::Goal;
use crate::protocol::welcome::Resumable;
use crate::protocol::welcome::Who;
use crate::site::Site;
use crate::site::XmppDomain;
use crate::upstream::login::Stream;
use crate::upstream::login::Target;
use crate::visitor;
use crate::visitor::Freshness;
use crate::visitor::Seen;
use crate::visitor::Visitor;

/// A visitor who is signed in upstream.
#[derive(Debug)]
pub struct Admitted {
    /// What the request says of who it is, and the cookie to be set.
    pub seen: Seen,
    /// Whom the browser may sign in as.
    pub who: Who,
    /// The domain that the edge has chosen.
    pub domain: Domain,
    /// Whether the server's XEP-0198 is of use to the browser.
    pub resumable: Resumable,
    /// The stream behind SASL.
    pub stream: Box<Stream>,
    /// The visitor's name in logs.
    pub name: String,
}

/// Why a visitor is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The site denies it.
    NotWelcome,
    /// Upstream or the site did not answer while the browser was held, or the edge goes down.
    Unavailable,
}

/// Lets in who sent a request; tries again while `hold` lasts and the edge does not go down.
///
/// # Errors
/// [`NotAdmitted`], which is no fault of the visitor's but for [`NotAdmitted::NotWelcome`].
pub async fn admit(
    edge: &Edge,
    site: &Arc<Site>,
    request: (&HeaderMap, IpAddr),
    goal: &Goal,
    hold: Duration,
) -> Result<Admitted, NotAdmitted> {
    tokio::select! {
        // Who is signed in just as the edge goes down would only be sent away again.
        biased;
        () = edge.shutdown.cancelled() => Err(NotAdmitted::Unavailable),
        admitted = let_in(edge, site, request, goal, hold) => admitted,
    }
}

/// Not to be begun when the edge goes down; dropping it ends the sign-in.
async fn let_in(
    edge: &Edge,
    site: &Arc<Site>,
    (headers, address): (&HeaderMap, IpAddr),
    goal: &Goal,
    hold: Duration,
) -> Result<Admitted, NotAdmitted> {
    let end = Instant::now() + hold;
    let seen = recognise(edge, site, (headers, address), end).await?;
    let (target, who, resumable) =
        place(edge, site, &seen.visitor, address).ok_or(NotAdmitted::NotWelcome)?;
    let signed_in =
        edge.gate.sign_in(&target, goal, end.saturating_duration_since(Instant::now())).await;
    let stream = signed_in.map_err(|error| {
        // The gate has told the log, once for all of an outage.
        debug!(
            site = site.name,
            domain = target.domain.as_str(),
            error = outbound::chain(&error),
            "a visitor could not be signed in"
        );
        NotAdmitted::Unavailable
    })?;
    let name =
        target.expected.as_ref().map_or_else(|| seen.visitor.to_string(), ToString::to_string);
    Ok(Admitted { seen, who, domain: target.domain, resumable, stream: Box::new(stream), name })
}

/// Who sent the request; while the site cannot say, it is asked again.
async fn recognise(
    edge: &Edge,
    site: &Arc<Site>,
    (headers, address): (&HeaderMap, IpAddr),
    end: Instant,
) -> Result<Seen, NotAdmitted> {
    loop {
        match edge.visitors.of(site, headers, address, Freshness::NewSession).await {
            Ok(seen) => return Ok(seen),
            Err(visitor::Error::NotWelcome) => return Err(NotAdmitted::NotWelcome),
            Err(visitor::Error::Unavailable) if Instant::now() + PAUSE < end => sleep(PAUSE).await,
            Err(visitor::Error::Unavailable) => return Err(NotAdmitted::Unavailable),
        }
    }
}

/// Where a visitor is signed in, and as whom; none where the site has no place for such.
fn place(
    edge: &Edge,
    site: &Site,
    visitor: &Visitor,
    address: IpAddr,
) -> Option<(Target, Who, Resumable)> {
    match visitor {
        Visitor::Member(member) => {
            let home = site.registered.as_ref()?;
            let (target, resumable) =
                target(edge, home, &member.localpart, (Kind::Member, address));
            let jid = Jid::bare(member.localpart.clone(), home.domain.clone());
            Some((target, Who::Member(jid), resumable))
        }
        Visitor::Guest(guest) => {
            let home = site.guests.as_ref()?;
            let (target, resumable) =
                target(edge, home, &guest.localpart()?, (Kind::Guest, address));
            Some((target, Who::Guest(home.domain.clone()), resumable))
        }
    }
}

fn target(
    edge: &Edge,
    home: &XmppDomain,
    localpart: &Localpart,
    (kind, visitor): (Kind, IpAddr),
) -> (Target, Resumable) {
    let pass = Pass::new(home, localpart.clone(), &edge.tickets);
    let (expected, resumable) = match &pass {
        Pass::Ticket { .. } => {
            (Some(Jid::bare(localpart.clone(), home.domain.clone())), Resumable::Yes)
        }
        // A new anonymous login is a new JID, so there is nothing to come back to.
        Pass::Anonymous => (None, Resumable::No),
    };
    let (upstream, domain) = (home.upstream.clone(), home.domain.clone());
    (Target { upstream, domain, pass, expected, kind, visitor }, resumable)
}

/// Between two questions to a site that cannot say who a visitor is.
const PAUSE: Duration = Duration::from_millis(500);
