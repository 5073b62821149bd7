//! Letting a visitor in: who it is, what the server is shown, and the sign-in, within one hold.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use tokio::time::Instant;
use tokio::time::sleep;
use tracing::debug;

use crate::endpoint::Edge;
use crate::metrics::label::Kind;
use crate::origin;
use crate::outbound;
use crate::pass::Pass;
use crate::protocol::jid::Domain;
use crate::protocol::jid::Jid;
use crate::protocol::jid::Localpart;
use crate::protocol::login::Goal;
use crate::protocol::welcome::Resumable;
use crate::protocol::welcome::Who;
use crate::session::owner::Claim;
use crate::session::owner::Name;
use crate::session::roll::Entrance;
use crate::session::roll::Full;
use crate::session::roll::Stay;
use crate::site::Site;
use crate::site::XmppDomain;
use crate::site::page::Origin;
use crate::upstream::login::Stream;
use crate::upstream::login::Target;
use crate::visitor;
use crate::visitor::Freshness;
use crate::visitor::Seen;
use crate::visitor::Visitor;

/// Who asks to be let in, or comes back.
#[derive(Clone, Debug)]
pub struct Caller<'a> {
    /// What came with the request.
    pub headers: &'a HeaderMap,
    /// Where the browser is.
    pub address: IpAddr,
    /// The page that sent the request, as far as it is known.
    pub page: Option<Origin>,
}

/// A visitor who is signed in upstream.
#[derive(Debug)]
pub struct Admitted {
    /// What the request shows of who it is.
    pub claim: Claim,
    /// The cookie to be set.
    pub set_cookie: Option<HeaderValue>,
    /// The visitor's place among those who are here.
    pub stay: Stay,
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
#[derive(Debug)]
pub enum NotAdmitted {
    /// The site denies it; there is a place for somebody who is told so.
    NotWelcome(Stay),
    /// The visitor, or its address, has as much as one may.
    Full(Full),
    /// Upstream or the site did not answer while the browser was held, or the edge goes down.
    Unavailable,
}

impl<'a> Caller<'a> {
    /// Who sent a request with these headers to this host of a site.
    #[must_use]
    pub fn new(site: &Site, headers: &'a HeaderMap, host: Option<&str>, address: IpAddr) -> Self {
        let page = origin::page(headers, site.address(host.unwrap_or_default()));
        Self { headers, address, page }
    }

    /// What the request shows of who this is; by `seen`, if the site or our own cookie names anybody.
    #[must_use]
    pub fn claim(&self, edge: &Edge, site: &Site, seen: Option<&Seen>) -> Claim {
        Claim {
            site: site.id.clone(),
            name: seen.map(|seen| Name::from(&seen.visitor)),
            proven: seen.is_some_and(|seen| seen.proven),
            page: self.page.clone(),
            marks: edge.visitors.marks(site, self.headers),
        }
    }
}

/// Lets in who sent a request; tries again while `hold` lasts and the edge does not go down.
///
/// # Errors
/// [`NotAdmitted`], which is no fault of the visitor's but for [`NotAdmitted::NotWelcome`].
pub async fn admit(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    goal: &Goal,
    hold: Duration,
) -> Result<Admitted, NotAdmitted> {
    tokio::select! {
        // Who is signed in just as the edge goes down would only be sent away again.
        biased;
        () = edge.shutdown.cancelled() => Err(NotAdmitted::Unavailable),
        admitted = let_in(edge, site, caller, goal, hold) => admitted,
    }
}

/// Not to be begun when the edge goes down; dropping it ends the sign-in.
async fn let_in(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    goal: &Goal,
    hold: Duration,
) -> Result<Admitted, NotAdmitted> {
    let end = Instant::now() + hold;
    let mut freshness = Freshness::NewSession;
    loop {
        let asked = edge.visitors.asked_since(freshness, Instant::now());
        let seen = recognise(edge, site, caller, (freshness, end)).await?;
        let claim = caller.claim(edge, site, seen.as_ref());
        outlive(edge, site, caller, &claim).await;
        let at_home =
            seen.and_then(|seen| Some((place(edge, site, &seen.visitor, caller.address)?, seen)));
        // Before anybody is signed in for it: those under way count, too.
        let entrance = Entrance {
            site: &site.id,
            visitor: at_home.as_ref().map(|(_, seen)| &seen.visitor),
            marks: &claim.marks,
            address: caller.address,
            asked,
        };
        let stay = edge.roll.enter(entrance).map_err(NotAdmitted::Full)?;
        let Some(((target, who, resumable), seen)) = at_home else {
            return Err(NotAdmitted::NotWelcome(stay));
        };
        let Some(stream) = sign_in(edge, site, (&target, goal), (&stay, end)).await? else {
            freshness = Freshness::After(Instant::now());
            continue;
        };
        let name =
            target.expected.as_ref().map_or_else(|| seen.visitor.to_string(), ToString::to_string);
        let (set_cookie, domain) = (seen.set_cookie, target.domain);
        return Ok(Admitted { claim, set_cookie, stay, who, domain, resumable, stream, name });
    }
}

/// Signs the visitor in upstream; nothing where he is revoked before it is done, and has to be asked about anew.
async fn sign_in(
    edge: &Edge,
    site: &Site,
    (target, goal): (&Target, &Goal),
    (stay, end): (&Stay, Instant),
) -> Result<Option<Box<Stream>>, NotAdmitted> {
    let left = end.saturating_duration_since(Instant::now());
    let signed_in = tokio::select! {
        biased;
        () = stay.revoked().cancelled() => None,
        signed_in = edge.gate.sign_in(target, goal, left) => Some(signed_in),
    };
    match signed_in {
        Some(Ok(stream)) => Ok(Some(Box::new(stream)).filter(|_| !stay.revoked().is_cancelled())),
        Some(Err(error)) => {
            // The gate has told the log, once for all of an outage.
            debug!(
                site = site.name,
                domain = target.domain.as_str(),
                error = outbound::chain(&error),
                "a visitor could not be signed in"
            );
            Err(NotAdmitted::Unavailable)
        }
        None if left.is_zero() => Err(NotAdmitted::Unavailable),
        None => Ok(None),
    }
}

/// Ends the sessions of whoever had this browser's cookies before, and is somebody else.
async fn outlive(edge: &Edge, site: &Arc<Site>, caller: &Caller<'_>, claim: &Claim) {
    let name = match &claim.name {
        Some(Name::Member(_)) => claim.name.clone(),
        Some(Name::Guest(_)) | None if claim.marks.cookies.is_none() => return,
        // A signed cookie that has just ended begins no session, but it is no sign that the site has signed anybody out.
        Some(Name::Guest(_)) | None => {
            let Caller { headers, address, .. } = caller;
            match edge.visitors.of(site, headers, *address, Freshness::KnownSession).await {
                Ok(seen) => Some(Name::from(&seen.visitor)),
                Err(visitor::Error::NotWelcome) => None,
                Err(visitor::Error::Unavailable) => return,
            }
        }
    };
    edge.roll.recognise(&site.id, name.as_ref(), &claim.marks);
}

/// Who sent the request, none where nobody is welcome without a session; while the site cannot say, it is asked again.
async fn recognise(
    edge: &Edge,
    site: &Arc<Site>,
    Caller { headers, address, .. }: &Caller<'_>,
    (freshness, end): (Freshness, Instant),
) -> Result<Option<Seen>, NotAdmitted> {
    let _held = edge.metrics.held();
    loop {
        match edge.visitors.of(site, headers, *address, freshness).await {
            Ok(seen) => return Ok(Some(seen)),
            Err(visitor::Error::NotWelcome) => return Ok(None),
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
