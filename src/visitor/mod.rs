//! Who the browser is: a member whom the site knows, or a guest.

pub mod cookies;
pub mod guest;
pub mod jwks;
pub mod jwt;
pub mod whois;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use tokio::time::Instant;
use tracing::debug;
use tracing::warn;

use crate::metrics::Metrics;
use crate::outbound::Client;
use crate::protocol::jid::Localpart;
use crate::site::Session;
use crate::site::Site;
use crate::site::settings::WithoutSession;
use crate::throttle::Throttles;
use crate::visitor::cookies::Cookies;
use crate::visitor::guest::Guest;
use crate::visitor::jwks::Jwks;
use crate::visitor::whois::Whois;

/// Who is behind a browser.
///
/// Two are equal when they are the same person of the same site, whatever else is known about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visitor {
    /// The site says who it is.
    Member(Member),
    /// Nobody the site knows.
    Guest(Guest),
}

/// A visitor whom the site knows.
#[derive(Debug, Clone)]
pub struct Member {
    /// What stands before the `@`.
    pub localpart: Localpart,
    /// The name to be shown, where the site gives one.
    pub nick: Option<String>,
    /// The groups of the site that the member is in.
    pub groups: Vec<String>,
    /// The site's own name for the session, which outlives changes of the cookie.
    pub session_id: Option<String>,
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.localpart == other.localpart
    }
}

impl Eq for Member {}

impl fmt::Display for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(member) => write!(f, "{}", member.localpart),
            Self::Guest(guest) => write!(f, "{guest}"),
        }
    }
}

/// What a request says about who sent it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Who it is.
    pub visitor: Visitor,
    /// A newly made guest cookie, to be set by the answer.
    pub set_cookie: Option<HeaderValue>,
    /// Whether a cookie says so; a guest who showed none could be anybody.
    pub proven: bool,
}

/// By what a browser is known again, whoever is behind it now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// A hash of the cookies by which the site knows its visitors, as they came; none where none came.
    pub cookies: Option<[u8; 32]>,
    /// The guest whom our own cookie names, whether or not the site knows a member.
    pub guest: Option<guest::Id>,
}

/// Why a request has no visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The site does not know the visitor, and lets no guests in.
    #[error("no valid session, and guests are not welcome")]
    NotWelcome,
    /// The site cannot say who the visitor is; it may in a while.
    #[error("the site cannot say who the visitor is")]
    Unavailable,
}

/// How old an answer of the site may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// A session begins: PHP keeps one cookie over login and logout, so the answer must be of now.
    NewSession,
    /// A session goes on: what was answered a while ago will do, and so will a signed cookie that ended a while ago.
    KnownSession,
    /// A session begins of somebody who was revoked meanwhile: the site must be asked after this instant.
    After(Instant),
}

/// The bounds of finding out who a visitor is.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// Of asking a site.
    pub whois: whois::Settings,
    /// Of fetching a site's keys.
    pub jwks: jwks::Settings,
    /// Of the cookies of one request.
    pub cookies: cookies::Settings,
}

/// What tells visitors apart, for all sites.
#[derive(Debug)]
pub struct Visitors {
    guests: guest::Key,
    whois: Whois,
    jwks: Jwks,
    /// When the log was last told of a member whose signed cookie has a name that can be no address.
    nameless: Throttles,
    cookies: cookies::Settings,
}

impl Visitors {
    /// Guests are known by `guests`; members by asking their site through `client`, or by the keys of the site.
    #[must_use]
    pub fn new(guests: guest::Key, bounds: Bounds, client: Client, metrics: Arc<Metrics>) -> Self {
        let Bounds { whois, jwks, cookies } = bounds;
        let whois = Whois::new(whois, client.clone(), metrics);
        let nameless = Throttles::default();
        Self { guests, whois, jwks: Jwks::new(jwks, client), nameless, cookies }
    }

    /// Whether a request has no more cookies than one may have.
    #[must_use]
    pub fn cookies_are_within_bounds(&self, headers: &HeaderMap) -> bool {
        cookies::are_within(headers, &self.cookies)
    }

    /// Who sent a request with these headers, from this address.
    ///
    /// # Errors
    /// [`Error::NotWelcome`] and [`Error::Unavailable`].
    pub async fn of(
        &self,
        site: &Arc<Site>,
        headers: &HeaderMap,
        address: IpAddr,
        freshness: Freshness,
    ) -> Result<Seen, Error> {
        let cookies = Cookies::of(headers);
        let member = match &site.session {
            Some(Session::Whois(settings)) => {
                // In a box, because whoever is held while the answer is waited for is as large as it.
                let asked = Box::pin(async {
                    let cookies = &cookies;
                    let question = whois::Question { site, settings, cookies, headers, address };
                    self.whois.ask(&question, freshness).await
                });
                asked.await?
            }
            Some(Session::Jwt(jwt)) => match cookies.first(&jwt.cookie) {
                Some(token) => {
                    let said = jwt::said(site, jwt, token, (&self.jwks, freshness)).await?;
                    said.and_then(|said| member(site, said, &self.nameless))
                }
                None => None,
            },
            None => None,
        };
        match (member, site.without_session) {
            (Some(member), _) => {
                Ok(Seen { visitor: Visitor::Member(member), set_cookie: None, proven: true })
            }
            (None, WithoutSession::Guest) => self.guest(site, &cookies),
            (None, WithoutSession::Refuse) => Err(Error::NotWelcome),
        }
    }

    /// The earliest that a site can have been asked for an answer that is this fresh to who asks `now`.
    #[must_use]
    pub fn asked_since(&self, freshness: Freshness, now: Instant) -> Instant {
        self.whois.asked_since(freshness, now)
    }

    /// Whether the request carries a cookie that says who its visitor is.
    #[must_use]
    pub fn uses_cookie(site: &Site, headers: &HeaderMap) -> bool {
        let cookies = Cookies::of(headers);
        cookies.first(guest::COOKIE).is_some()
            || site.cookies().iter().any(|name| cookies.first(name).is_some())
    }

    /// Drops what is known about the cookies of a request, because the site may have changed its mind about them.
    ///
    /// Who asks after this never gets an answer that the site was asked for before it.
    pub fn forget(&self, site: &Site, headers: &HeaderMap) {
        self.whois.forget(site, &Cookies::of(headers));
    }

    /// By what the browser of a request is known again.
    #[must_use]
    pub fn marks(&self, site: &Site, headers: &HeaderMap) -> Marks {
        let cookies = Cookies::of(headers);
        let named = cookies.named(site.cookies());
        Marks {
            cookies: named.map(|named| whois::hash_of_cookies(site, &named)),
            guest: self.known_guest(site, &cookies, SystemTime::now()).map(|guest| guest.id),
        }
    }

    /// Drops what is known about cookies with this hash, as [`forget`](Self::forget) does.
    pub fn forget_marked(&self, cookies: &[u8; 32]) {
        self.whois.forget_hash(cookies);
    }

    fn known_guest(&self, site: &Site, cookies: &Cookies, now: SystemTime) -> Option<Guest> {
        cookies.first(guest::COOKIE).and_then(|value| self.guests.read(site, value, now))
    }

    fn guest(&self, site: &Site, cookies: &Cookies) -> Result<Seen, Error> {
        let now = SystemTime::now();
        if let Some(guest) = self.known_guest(site, cookies, now) {
            return Ok(Seen { visitor: Visitor::Guest(guest), set_cookie: None, proven: true });
        }
        // Without randomness there is no guest; it comes back, or the machine is broken beyond us.
        let guest = Guest::new().ok_or(Error::Unavailable)?;
        let set_cookie = Some(self.guests.cookie(site, &guest, now));
        Ok(Seen { visitor: Visitor::Guest(guest), set_cookie, proven: false })
    }
}

/// Makes a member of what a site says, where the name can be an address.
///
/// Nobody, with a warning that names the rule, where it cannot: he is then a visitor without a session. Who loads a page
/// again and again does not fill the log: it is told as `nameless` has it.
fn member(site: &Site, said: Said, nameless: &Throttles) -> Option<Member> {
    let rule = match Localpart::of_username(&said.username, site.usernames) {
        Ok(localpart) if !site.reserved.contains(&localpart) => {
            let Said { nick, groups, session_id, .. } = said;
            return Some(Member { localpart, nick, groups, session_id });
        }
        Ok(_) => "reserved".to_owned(),
        Err(rule) => rule.to_string(),
    };
    let (site, username) = (&site.name, said.username);
    if let Some(untold) = nameless.tell(site) {
        warn!(site, username, %rule, untold, "this member gets no address");
    } else {
        debug!(site, username, %rule, "this member gets no address");
    }
    None
}

/// What a site says about a member.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Said {
    /// The name that the member has at the site.
    pub username: String,
    /// The name to be shown.
    #[serde(default)]
    pub nick: Option<String>,
    /// The groups of the site that the member is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The site's own name for the session.
    #[serde(default)]
    pub session_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use hyper::header;

    use super::*;
    use crate::outbound;

    fn visitors() -> Visitors {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            guest::Settings { key_file: folder.path().join("key"), ..Default::default() };
        let client = Client::new(&outbound::Settings::default());
        Visitors::new(
            guest::Key::load(&settings).unwrap(),
            Bounds::default(),
            client,
            Arc::default(),
        )
    }

    fn site(without_session: &str) -> Arc<Site> {
        let text = format!(
            "hosts = ['a.example']
             without_session = '{without_session}'
             [registered]
             domain = 'xmpp.example.org'
             upstream = '127.0.0.1:5222'
             secret = 'a secret we share'
             [guests]
             domain = 'guest.example.org'
             upstream = '127.0.0.1:5222'
             secret = 'a secret we share'
             [session.jwt]
             cookie = 'session'
             secret = 'a secret of 32 bytes, shared, ok'"
        );
        Arc::new(crate::site::tests::site(&text).unwrap())
    }

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    async fn of(visitors: &Visitors, site: &Arc<Site>, cookie: &str) -> Result<Seen, Error> {
        let address = IpAddr::from([192, 0, 2, 7]);
        visitors.of(site, &headers(cookie), address, Freshness::NewSession).await
    }

    #[tokio::test]
    async fn guest_is_new_once_and_proven_by_the_cookie_from_then_on() {
        let (visitors, site) = (visitors(), site("guest"));

        let first = of(&visitors, &site, "session=broken").await.unwrap();
        let set_cookie = first.set_cookie.unwrap();
        let cookie = set_cookie.to_str().unwrap().split(';').next().unwrap();
        let second = of(&visitors, &site, cookie).await.unwrap();
        let other = of(&visitors, &site, "").await.unwrap();

        assert!(!first.proven);
        assert!(second.proven);
        assert_eq!(second.set_cookie, None);
        assert_eq!(first.visitor, second.visitor);
        assert_ne!(first.visitor, other.visitor);
    }

    #[tokio::test]
    async fn visitor_without_a_session_is_refused_where_guests_are_not_welcome() {
        let refused = of(&visitors(), &site("refuse"), "session=broken").await;

        assert_eq!(refused.unwrap_err(), Error::NotWelcome);
    }

    #[test]
    fn only_cookies_that_say_who_a_visitor_is_are_used() {
        let site = site("guest");

        for (cookie, uses) in [
            ("session=1", true),
            ("theme=dark; __Host-vestibule-guest=x", true),
            ("theme=dark", false),
            ("", false),
        ] {
            assert_eq!(Visitors::uses_cookie(&site, &headers(cookie)), uses, "{cookie}");
        }
    }

    #[test]
    fn member_is_the_same_whatever_else_the_site_says() {
        let member = |name: &str, nick: Option<&str>| {
            let localpart = Localpart::parse(name).unwrap();
            let nick = nick.map(ToOwned::to_owned);
            Visitor::Member(Member { localpart, nick, groups: Vec::new(), session_id: None })
        };

        assert_eq!(member("bob", Some("Bob")), member("bob", None));
        assert_ne!(member("bob", None), member("charlie", None));
    }
}
