//! One website: its host names, the origins of its pages, how it knows its visitors, and its XMPP domains.

mod faults;
mod home;
pub mod jwt;
pub mod key;
pub mod page;
pub mod settings;
pub mod upstream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;

use crate::file::Read;
use crate::protocol::jid::Case;
use crate::protocol::jid::Domain;
use crate::protocol::jid::Localpart;
pub use crate::site::home::Proof;
pub use crate::site::home::XmppDomain;
use crate::site::jwt::Jwt;
use crate::site::key::Algorithm;
use crate::site::page::Origin;
use crate::site::settings::Settings;
use crate::site::settings::Whois;
use crate::site::settings::WithoutSession;

/// One website whose visitors are let into a chat.
#[derive(Debug, Clone)]
pub struct Site {
    /// The first of its hosts, by which it is called in logs.
    pub name: String,
    /// By what its sessions and cookies are held to it: the same over a reload, whichever of its hosts is the first then.
    pub id: String,
    /// Its host names, in lower case and without a port; never empty.
    pub hosts: Vec<String>,
    /// The origins whose pages may speak for a visitor.
    pub origins: Vec<Origin>,
    /// Where its members are at home.
    pub registered: Option<XmppDomain>,
    /// Where its guests are.
    pub guests: Option<XmppDomain>,
    /// The domain of its rooms.
    pub rooms: Option<Domain>,
    /// Routes that pages may ask for, beside those to its own domains.
    pub routes: Vec<String>,
    /// Longest time that something before the site lets a request be held.
    pub wait: Option<Duration>,
    /// What becomes of a visitor without a valid session.
    pub without_session: WithoutSession,
    /// The web server that has the rest of the site.
    pub backend: Option<Uri>,
    /// How the site's own session tells who a visitor is; without one, everybody is a guest.
    pub session: Option<Session>,
    /// What becomes of capitals in a username.
    pub usernames: Case,
    /// Localparts that no visitor is given.
    pub reserved: Vec<Localpart>,
}

/// How a site's session tells who a visitor is.
#[derive(Debug, Clone)]
pub enum Session {
    /// The site is asked.
    Whois(Whois),
    /// The cookie says it and is signed.
    Jwt(Box<Jwt>),
}

/// What is wrong with a site as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No request could ever be this site's.
    #[error("expected at least one host name")]
    NoHosts,
    /// Two sites, or one twice, have the same host.
    #[error("the host {0} is already taken by an earlier entry")]
    HostTaken(String),
    /// Nobody could be signed in anywhere.
    #[error("expected [site.registered], [site.guests] or both: there is no XMPP domain")]
    NoDomain,
    /// A guest could take a member's name.
    #[error("guests need a domain of their own, not that of the members")]
    SharedDomain,
    /// Guests are welcome and have nowhere to go.
    #[error("guests are welcome, but there is no [site.guests]")]
    GuestsWithoutDomain,
    /// Members are known and have nowhere to go.
    #[error("members are recognised, but there is no [site.registered]")]
    MembersWithoutDomain,
    /// There is a domain for members, and nobody is ever one.
    #[error("expected [site.session.whois] or [site.session.jwt]: nobody would ever be a member")]
    NoSession,
    /// Two ways to know one visitor.
    #[error("expected one of whois and jwt, not both")]
    TwoSessions,
    /// Without a name, any request would be taken to the site's whois.
    #[error("expected the name of at least one cookie")]
    NoCookies,
    /// Tickets and tokens are signed.
    #[error("pass = \"{0}\" needs a secret")]
    NoSecret(&'static str),
    /// The server's module refuses such a one, and all that it signs.
    #[error("a ticket secret has at least {} bytes", faults::LEAST_TICKET_SECRET)]
    ShortSecret,
    /// Said and never used.
    #[error("pass = \"anonymous\" has no secret")]
    UnusedSecret,
    /// Nobody in between may read along.
    #[error(
        "tickets and messages would cross the network in the clear to {0}: expected a server on this machine, or \
         security = \"starttls\" or \"tls\""
    )]
    InTheClear(String),
    /// TLS where nothing could listen in.
    #[error(
        "a Unix socket is on this machine: expected security = \"none\", or an upstream as host:port"
    )]
    SocketWithTls,
    /// Said and never used.
    #[error("security = \"none\" has no authority: write security = \"starttls\" or \"tls\"")]
    UnusedAuthority,
    /// No server could prove that it is the domain's.
    #[error("{0}")]
    NoIdentity(String),
    /// The server would make a name up for somebody who has one.
    #[error("a member cannot sign in with pass = \"anonymous\"")]
    AnonymousMember,
    /// Nothing could prove a cookie.
    #[error("expected one of secret, key and jwks: nothing could prove the cookie")]
    NoKey,
    /// Which of them, a token does not say.
    #[error("expected only one of secret, key and jwks")]
    SeveralKeys,
    /// RFC 7518 §3.2.
    #[error("a secret for HS256 has at least {} bytes", jwt::LEAST_SECRET)]
    ShortKey,
    /// Every cookie would prove nothing.
    #[error("the key given here is for another algorithm than {0}")]
    Algorithm(Algorithm),
    /// Who is gone would stay for too long.
    #[error("expected at most {}", humantime_serde::re::humantime::format_duration(*.0))]
    TooLong(Duration),
}

/// An error, and the key below `[[site]]` that it is about (empty: the site as a whole).
pub type Fault = (&'static str, Error);

impl Site {
    /// Makes a site of what the administrator wrote; the files that it names are read by `read` alone.
    ///
    /// # Errors
    /// Everything that does not fit together.
    pub fn new(mut settings: Settings, read: Read) -> Result<Self, Vec<Fault>> {
        let mut faults = faults::of(&settings);
        let registered =
            XmppDomain::new((settings.registered.take(), read), &home::REGISTERED, &mut faults);
        let guests = XmppDomain::new((settings.guests.take(), read), &home::GUESTS, &mut faults);
        let hosts: Vec<String> = settings.hosts.into_iter().map(|host| host.0.0).collect();
        let Some(name) = hosts.first().cloned() else { return Err(faults) };
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut origins: Vec<Origin> =
            settings.origins.into_iter().map(|origin| origin.0).collect();
        if origins.is_empty() {
            origins = hosts.iter().map(|host| Origin::of_host(host)).collect();
        }
        let without_session = settings.without_session.unwrap_or(match guests {
            Some(_) => WithoutSession::Guest,
            None => WithoutSession::Refuse,
        });
        let session = match (settings.session.whois, settings.session.jwt) {
            (Some(whois), _) => Some(Session::Whois(whois)),
            (None, Some(jwt)) => Jwt::new(jwt).map(Box::new).map(Session::Jwt),
            (None, None) => None,
        };
        Ok(Self {
            id: name.clone(),
            name,
            hosts,
            origins,
            registered,
            guests,
            rooms: settings.rooms.map(|rooms| rooms.0),
            routes: settings.routes,
            wait: settings.wait,
            without_session,
            backend: settings.backend.map(|backend| backend.0.0),
            session,
            usernames: settings.usernames.into(),
            reserved: settings.reserved.into_iter().map(|name| name.0).collect(),
        })
    }

    /// The names of the cookies that say who a visitor of this site is.
    #[must_use]
    pub fn cookies(&self) -> &[String] {
        match &self.session {
            Some(Session::Whois(whois)) => &whois.cookies,
            Some(Session::Jwt(jwt)) => std::slice::from_ref(&jwt.cookie),
            None => &[],
        }
    }

    /// Whether a page that asks for this route (`proto:host:port`) asks for nothing else than it gets.
    #[must_use]
    pub fn is_served_by(&self, route: &str) -> bool {
        let host = route.strip_prefix("xmpp:").map(|rest| rest.split(':').next().unwrap_or(rest));
        let mut homes = self.registered.iter().chain(&self.guests);
        homes.any(|home| host.is_some_and(|host| host.eq_ignore_ascii_case(home.domain.as_str())))
            || self.routes.iter().any(|known| known == route)
    }

    /// Whether this authority, with or without a port, is one of its hosts.
    #[must_use]
    pub fn is_reached_at(&self, authority: &str) -> bool {
        host_of(authority).is_some_and(|host| self.hosts.contains(&host))
    }

    /// The origin under which `authority`, or else the site itself, is reached.
    ///
    /// Of several at one host that with the port; a reverse proxy may have another one, and the first is as good as any then.
    #[must_use]
    pub fn address(&self, authority: &str) -> Origin {
        let host = host_of(authority).unwrap_or_default();
        let at_port = |origin: &&Origin| origin.is_at(&host, port_of(authority));
        let known = |wanted: &str| {
            let mut at_host = self.origins.iter().filter(|origin| origin.host() == wanted);
            at_host.clone().find(at_port).or_else(|| at_host.next())
        };
        let own = || self.hosts.iter().find_map(|host| known(host));
        known(&host)
            .filter(|_| self.hosts.contains(&host))
            .or_else(own)
            .cloned()
            .unwrap_or_else(|| Origin::of_host(&self.name))
    }
}

impl Site {
    /// This site as it is at the hosts that it had: their pages may still speak there.
    fn as_at_hosts_of(&self, old: &Self) -> Self {
        let own =
            old.origins.iter().filter(|origin| old.hosts.iter().any(|host| host == origin.host()));
        let origins = self.origins.iter().chain(own).cloned().collect();
        Self { hosts: old.hosts.clone(), origins, ..self.clone() }
    }
}

/// Every site of this Vestibule, found by the host of a request.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    all: Vec<Arc<Site>>,
    by_host: HashMap<String, Arc<Site>>,
    /// Sites that are no more, but for sessions that are still there.
    departed: Vec<Arc<Site>>,
}

impl Sites {
    /// Makes the sites of what the administrator wrote; the files that they name are read by `read` alone.
    ///
    /// # Errors
    /// Everything that does not fit together, with the place of the site in the file.
    pub fn new(settings: Vec<Settings>, read: Read) -> Result<Self, Vec<(usize, Fault)>> {
        let mut made = Self::default();
        let mut faults = Vec::new();
        for (place, settings) in settings.into_iter().enumerate() {
            match Site::new(settings, read) {
                Ok(site) => {
                    let taken = made.add(site).into_iter();
                    faults.extend(taken.map(|error| (place, ("hosts", error))));
                }
                Err(found) => faults.extend(found.into_iter().map(|fault| (place, fault))),
            }
        }
        if faults.is_empty() { Ok(made) } else { Err(faults) }
    }

    fn add(&mut self, site: Site) -> Vec<Error> {
        let site = Arc::new(site);
        self.all.push(Arc::clone(&site));
        let mut taken = Vec::new();
        for host in &site.hosts {
            if self.by_host.insert(host.clone(), Arc::clone(&site)).is_some() {
                taken.push(Error::HostTaken(host.clone()));
            }
        }
        taken
    }

    /// The site that a request's host or authority names, with or without a port.
    #[must_use]
    pub fn by_host(&self, authority: &str) -> Option<&Arc<Site>> {
        self.by_host.get(&host_of(authority)?)
    }

    /// The site whose members or guests are at the XMPP domain that a request's host names.
    #[must_use]
    pub fn by_xmpp_domain(&self, authority: &str) -> Option<&Arc<Site>> {
        let host = host_of(authority)?;
        self.all.iter().find(|site| {
            let homes = [&site.registered, &site.guests].into_iter().flatten();
            let domains = homes.map(|xmpp| &xmpp.domain).chain(&site.rooms);
            domains.into_iter().any(|domain| domain.as_str() == host)
        })
    }

    /// The site with this identity as it is now; one that is no more as it was, while it is kept for its sessions.
    #[must_use]
    pub fn identified(&self, id: &str) -> Option<&Arc<Site>> {
        self.all.iter().chain(&self.departed).find(|site| site.id == id)
    }

    /// The site that had this host until a while ago.
    #[must_use]
    pub fn departed(&self, authority: &str) -> Option<&Arc<Site>> {
        self.departed.iter().find(|site| site.is_reached_at(authority))
    }

    /// Every site that has this host, or had it and is kept for its sessions.
    pub fn ever_at(&self, authority: &str) -> impl Iterator<Item = &Arc<Site>> {
        let departed = self.departed.iter().filter(move |site| site.is_reached_at(authority));
        self.by_host(authority).into_iter().chain(departed)
    }

    /// `next`, each with the identity of the site that it was before; those that are no more are kept while they have
    /// sessions, as `has_sessions` says of an identity.
    #[must_use]
    pub fn followed_by(&self, next: Self, has_sessions: impl Fn(&str) -> bool) -> Self {
        let next = next.identified_after(self);
        let goes_on = |old: &Site| next.all.iter().find(|site| site.id == old.id);
        let is_gone = |old: &Site| old.hosts.iter().any(|host| next.by_host(host).is_none());
        let before = self.departed.iter().filter(|old| has_sessions(&old.id));
        let before = self.all.iter().chain(before);
        let departed = before.filter_map(|old| match goes_on(old) {
            // Whoever is still at a host that it had is known as the site knows its visitors now.
            Some(site) => is_gone(old).then(|| Arc::new(site.as_at_hosts_of(old))),
            None => Some(Arc::clone(old)),
        });
        let departed = departed.take(DEPARTED).collect();
        Self { departed, ..next }
    }

    /// These sites, each with the identity of the one in `before` that it goes on with: that of the same first host, or else
    /// one that shares a host. No two have one, nor has a new one that of a site with sessions.
    fn identified_after(mut self, before: &Self) -> Self {
        let old = || before.all.iter().chain(&before.departed);
        let mut ids: HashMap<String, String> = HashMap::new();
        let by_name = old().map(|old| (old, std::slice::from_ref(&old.name)));
        let by_any_host = old().map(|old| (old, old.hosts.as_slice()));
        for (old, hosts) in by_name.chain(by_any_host) {
            let is_free = |site: &&Arc<Site>| !ids.contains_key(&site.name);
            let heir = hosts.iter().filter_map(|host| self.by_host(host)).find(is_free);
            if let Some(heir) = heir.filter(|_| !ids.values().any(|id| *id == old.id)) {
                ids.insert(heir.name.clone(), old.id.clone());
            }
        }
        for site in &self.all {
            if !ids.contains_key(&site.name) {
                let is_taken = |id: &String| {
                    old().any(|old| old.id == *id) || ids.values().any(|given| given == id)
                };
                let numbered = (2..).map(|number: u64| format!("{}#{number}", site.name));
                let mut wanted = std::iter::once(site.name.clone()).chain(numbered);
                let id = wanted.find(|id| !is_taken(id)).unwrap_or_default();
                ids.insert(site.name.clone(), id);
            }
        }
        let mut made = Self::default();
        for site in std::mem::take(&mut self.all) {
            let id = ids.remove(&site.name).unwrap_or_else(|| site.id.clone());
            // None is taken twice: they have been added once.
            made.add(Site { id, ..Site::clone(&site) });
        }
        made
    }

    /// All sites, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.all.iter()
    }

    /// Whether there is no site at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// The host of an authority as sites are written: lower case, no port, no final dot.
///
/// Nothing where something else than a port follows: who reads a host up to `/` or `@` must not see another one than we do.
fn host_of(authority: &str) -> Option<String> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        // The colons of an IPv6 address stand within brackets.
        Some(_) if authority.ends_with(']') => authority,
        Some(_) => return None,
        None => authority,
    };
    Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
}

/// The port of an authority that names one.
fn port_of(authority: &str) -> Option<u16> {
    authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Who removes more sites than this loses the sessions of the first of them.
const DEPARTED: usize = 1000;

#[cfg(test)]
pub(crate) mod tests;
