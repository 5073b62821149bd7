//! Asking a site again about the member behind a WebSocket: no request of the browser's comes by that would show its cookies.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderValue;

use crate::endpoint::Edge;
use crate::secret::Secret;
use crate::session::owner::Name;
use crate::session::websocket::standing::Asking;
use crate::session::websocket::standing::Standing;
use crate::session::websocket::standing::Witness;
use crate::site::Session;
use crate::site::Site;
use crate::visitor;
use crate::visitor::Freshness;
use crate::visitor::cookies::Cookies;

/// What the site was shown of a member at the upgrade, as short as can be: it is kept as long as the socket.
pub(super) struct Recheck {
    edge: Arc<Edge>,
    /// As it was then.
    site: Arc<Site>,
    name: Name,
    cookies: Secret,
    agent: Option<Box<[u8]>>,
    address: IpAddr,
}

impl Recheck {
    /// Asks about who sent a request with these headers; nothing of a guest, whom the edge knows by a cookie of its own.
    #[must_use]
    pub(super) fn of(
        edge: &Arc<Edge>,
        site: &Arc<Site>,
        (name, headers): (Option<&Name>, &HeaderMap),
        address: IpAddr,
    ) -> Option<Box<Self>> {
        let name = name.filter(|name| matches!(name, Name::Member(_)))?;
        let cookies = match site.session.as_ref()? {
            Session::Whois(whois) => whois.cookies.as_slice(),
            Session::Jwt(jwt) => std::slice::from_ref(&jwt.cookie),
        };
        let cookies = Secret::new(Cookies::of(headers).named(cookies)?);
        let agent = match &site.session {
            Some(Session::Whois(_)) => {
                headers.get(header::USER_AGENT).map(|agent| agent.as_bytes().into())
            }
            _ => None,
        };
        let (edge, site, name) = (Arc::clone(edge), Arc::clone(site), name.clone());
        Some(Box::new(Self { edge, site, name, cookies, agent, address }))
    }

    fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        let mut cookies = HeaderValue::from_bytes(self.cookies.expose()).ok()?;
        cookies.set_sensitive(true);
        headers.insert(header::COOKIE, cookies);
        if let Some(agent) = &self.agent {
            headers.insert(header::USER_AGENT, HeaderValue::from_bytes(agent).ok()?);
        }
        Some(headers)
    }
}

impl Witness for Recheck {
    fn ask(&self) -> Asking<'_> {
        Box::pin(async {
            let Some(headers) = self.headers() else { return Standing::Unsaid };
            let freshness = Freshness::KnownSession;
            let Self { edge, address, .. } = self;
            // By its secrets and keys of now: an old one may have been taken back.
            let sites = edge.sites.now();
            let Some(site) = sites.identified(&self.site.id) else { return Standing::Denied };
            match edge.visitors.of(site, &headers, *address, freshness).await {
                Ok(seen) if Name::from(&seen.visitor) == self.name => Standing::Same,
                Ok(_) | Err(visitor::Error::NotWelcome) => Standing::Denied,
                Err(visitor::Error::Unavailable) => Standing::Unsaid,
            }
        })
    }
}
