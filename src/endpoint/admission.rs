//! Letting a visitor in: who it is, what the server is shown, and the sign-in, within one hold.

use std::future::Future;
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
use crate::protocol::jid::Jid;
use crate::protocol::jid::Localpart;
use crate::protocol::language::Language;
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
    /// What the browser's texts are in, if the request says so.
    pub language: Option<Language>,
}

/// A visitor who is known and has a place among those who are here, but is not signed in upstream.
#[derive(Debug)]
pub struct Known {
    /// What the request shows of who it is.
    pub claim: Claim,
    /// The cookie to be set.
    pub set_cookie: Option<HeaderValue>,
    /// The visitor's place among those who are here.
    pub stay: Stay,
    /// Whom the browser may sign in as.
    pub who: Who,
    /// Where the visitor is signed in upstream, and as whom.
    pub target: Target,
    /// Whether the server's XEP-0198 is of use to the browser.
    pub resumable: Resumable,
    /// The visitor's name in logs.
    pub name: String,
}

impl Known {
    /// Where the visitor's stream can go on over another connection; nowhere where that would be somebody else's.
    #[must_use]
    pub fn way_back(&self) -> Option<Target> {
        match self.resumable {
            Resumable::Yes => Some(self.target.clone()),
            Resumable::No => None,
        }
    }
}

/// A visitor who is signed in upstream.
#[derive(Debug)]
pub struct Admitted {
    /// What was known before.
    pub known: Known,
    /// The stream behind SASL.
    pub stream: Box<Stream>,
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
        Self { headers, address, page, language: None }
    }

    /// The same, whose texts are in this language.
    #[must_use]
    pub fn speaking(self, language: Option<Language>) -> Self {
        Self { language, ..self }
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

/// Lets in who sent a request; tries again until `end`, while the edge does not go down.
///
/// # Errors
/// [`NotAdmitted`], which is no fault of the visitor's but for [`NotAdmitted::NotWelcome`].
pub async fn admit(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    goal: &Goal,
    end: Instant,
) -> Result<Admitted, NotAdmitted> {
    let let_in = async {
        let mut freshness = Freshness::NewSession;
        loop {
            let known = meet(edge, site, caller, (freshness, end)).await?;
            if let Some(stream) = sign_in(edge, site, (&known, goal), end).await? {
                return Ok(Admitted { known, stream });
            }
            freshness = Freshness::After(Instant::now());
        }
    };
    while_up(edge, let_in).await
}

/// Recognises who sent a request, and keeps a place for the visitor; asks again until `end`, while the edge does not go down.
///
/// # Errors
/// As [`admit`].
pub async fn recognise(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    end: Instant,
) -> Result<Known, NotAdmitted> {
    let recognised = async {
        let mut freshness = Freshness::NewSession;
        loop {
            let known = meet(edge, site, caller, (freshness, end)).await?;
            // What was remembered of the visitor may be older than the site's word that it is over.
            if !known.stay.is_revoked() {
                return Ok(known);
            }
            if Instant::now() >= end {
                return Err(NotAdmitted::Unavailable);
            }
            freshness = Freshness::After(Instant::now());
        }
    };
    while_up(edge, recognised).await
}

/// Not begun when the edge goes down, and dropped when it does, which ends a sign-in.
async fn while_up<T>(
    edge: &Edge,
    under_way: impl Future<Output = Result<T, NotAdmitted>>,
) -> Result<T, NotAdmitted> {
    tokio::select! {
        // Who is signed in just as the edge goes down would only be sent away again.
        biased;
        () = edge.shutdown.cancelled() => Err(NotAdmitted::Unavailable),
        done = under_way => done,
    }
}

/// Finds out who it is, ends what this browser's last visitor had, and takes a place.
async fn meet(
    edge: &Edge,
    site: &Arc<Site>,
    caller: &Caller<'_>,
    (freshness, end): (Freshness, Instant),
) -> Result<Known, NotAdmitted> {
    let asked = edge.visitors.asked_since(freshness, Instant::now());
    let seen = ask(edge, site, caller, (freshness, end)).await?;
    let claim = caller.claim(edge, site, seen.as_ref());
    outlive(edge, site, caller, &claim).await;
    let at_home = seen.and_then(|seen| Some((place(edge, site, &seen.visitor, caller)?, seen)));
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
    let name =
        target.expected.as_ref().map_or_else(|| seen.visitor.to_string(), ToString::to_string);
    Ok(Known { claim, set_cookie: seen.set_cookie, stay, who, target, resumable, name })
}

/// Signs the visitor in upstream; nothing where he is revoked before it is done, and has to be asked about anew.
async fn sign_in(
    edge: &Edge,
    site: &Site,
    (Known { target, stay, .. }, goal): (&Known, &Goal),
    end: Instant,
) -> Result<Option<Box<Stream>>, NotAdmitted> {
    let left = end.saturating_duration_since(Instant::now());
    let signed_in = tokio::select! {
        biased;
        () = stay.revoked() => None,
        signed_in = edge.gate.sign_in(target, goal, left) => Some(signed_in),
    };
    match signed_in {
        Some(Ok(stream)) => Ok(Some(Box::new(stream)).filter(|_| !stay.is_revoked())),
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
async fn ask(
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
    caller: &Caller<'_>,
) -> Option<(Target, Who, Resumable)> {
    match visitor {
        Visitor::Member(member) => {
            let home = site.registered.as_ref()?;
            let (target, resumable) = target(edge, home, &member.localpart, (Kind::Member, caller));
            let own = Jid::bare(member.localpart.clone(), home.domain.clone());
            let guests = site.guests.as_ref().map(|guests| guests.domain.clone());
            Some((target, Who::Member { own, guests }, resumable))
        }
        Visitor::Guest(guest) => {
            let home = site.guests.as_ref()?;
            let (target, resumable) =
                target(edge, home, &guest.localpart()?, (Kind::Guest, caller));
            Some((target, Who::Guest(home.domain.clone()), resumable))
        }
    }
}

fn target(
    edge: &Edge,
    home: &XmppDomain,
    localpart: &Localpart,
    (kind, caller): (Kind, &Caller<'_>),
) -> (Target, Resumable) {
    let pass = Pass::new(home, localpart.clone(), &edge.tickets);
    let (expected, resumable) = match &pass {
        Pass::Ticket { .. } | Pass::Jwt { .. } => {
            (Some(Jid::bare(localpart.clone(), home.domain.clone())), Resumable::Yes)
        }
        // A new anonymous login is a new JID, so there is nothing to come back to.
        Pass::Anonymous => (None, Resumable::No),
    };
    let (upstream, domain) = (home.upstream.clone(), home.domain.clone());
    let (visitor, language) = (caller.address, caller.language.clone());
    (Target { upstream, domain, language, pass, expected, kind, visitor }, resumable)
}

/// Between two questions to a site that cannot say who a visitor is.
const PAUSE: Duration = Duration::from_millis(500);
