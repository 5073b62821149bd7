//! What must agree between the sites, and between a site and the listeners.

use humantime_serde::re::humantime::format_duration;
use hyper::Uri;

use crate::config::Settings;
use crate::config::agreement::Findings;
use crate::protocol::jid::Domain;
use crate::secret::Secret;
use crate::site::key::Jwks;
use crate::site::settings::Checked;
use crate::site::settings::Session;
use crate::site::settings::Settings as Site;
use crate::site::settings::XmppDomain;

pub(super) fn contradictions(settings: &Settings, found: &mut Findings) {
    for (place, site) in settings.sites.iter().enumerate() {
        ends_elsewhere(settings, place, site, found);
        has_rooms_of_its_own(place, site, found);
        for (earlier, other) in pairs_with(settings, place) {
            for (table, domain, others) in [
                ("registered", &site.registered, &other.guests),
                ("guests", &site.guests, &other.registered),
            ] {
                let shared =
                    domain.as_ref().is_some_and(|home| is_at(others.as_ref(), &home.domain.0));
                found.add(shared, format!("site[{place}].{table}.domain"), || {
                    format!(
                        "members and guests need domains of their own; the site {} has the others there",
                        name(earlier, other)
                    )
                });
            }
        }
    }
}

pub(super) fn doubts(settings: &Settings, found: &mut Findings) {
    for (place, site) in settings.sites.iter().enumerate() {
        let most = settings.bosh.wait;
        found.add(site.wait.is_some_and(|wait| wait > most), format!("site[{place}].wait"), || {
            format!(
                "more than `wait` of [bosh], {}, which is never exceeded",
                format_duration(most)
            )
        });
        goes_through_us(settings, place, site, found);
        has_secrets_of_its_own(place, site, found);
        is_meant_by_its_keys(place, site, found);
        for (earlier, other) in pairs_with(settings, place) {
            shares_a_server(place, site, (earlier, other), found);
            shares_members(place, site, (earlier, other), found);
        }
        for (elsewhere, other) in settings.sites.iter().enumerate().filter(|(at, _)| *at != place) {
            let at_home = |host: &str| homes(other).any(|(_, home)| home.domain.0.as_str() == host);
            for Checked(host) in site.hosts.iter().filter(|host| at_home(&host.0.0)) {
                found.add(true, format!("site[{place}].hosts"), || {
                    format!(
                        "{} is an XMPP domain of the site {}, whose clients will be told of this one",
                        host.0,
                        name(elsewhere, other)
                    )
                });
            }
        }
    }
}

/// What is behind the site must not be Vestibule itself: each request would come back for ever.
fn ends_elsewhere(settings: &Settings, place: usize, site: &Site, found: &mut Findings) {
    for (key, url) in urls(site) {
        let own = address(url).is_some_and(|(host, port)| settings.listens_at(host, port));
        found.add(own, format!("site[{place}].{key}"), || {
            format!("{url} is where Vestibule itself listens")
        });
    }
    for (table, home) in homes(site) {
        let upstream = &home.upstream.0.0;
        let own = upstream.rsplit_once(':').is_some_and(|(host, port)| {
            port.parse().is_ok_and(|port| settings.listens_at(host, port))
        });
        found.add(own, format!("site[{place}].{table}.upstream"), || {
            format!("{upstream} is where Vestibule itself listens")
        });
    }
}

/// A name may lead elsewhere from this machine than from a browser.
fn goes_through_us(settings: &Settings, place: usize, site: &Site, found: &mut Findings) {
    for (key, url) in urls(site) {
        let own = address(url).is_some_and(|(host, port)| settings.serves(host, port));
        found.add(own, format!("site[{place}].{key}"), || {
            format!("{url} is a site of Vestibule's own: unless the name leads elsewhere from here, a request goes round in circles")
        });
    }
}

fn has_rooms_of_its_own(place: usize, site: &Site, found: &mut Findings) {
    let Some(Checked(rooms)) = &site.rooms else { return };
    let shared = homes(site).any(|(_, home)| home.domain.0 == *rooms);
    found.add(shared, format!("site[{place}].rooms"), || {
        "rooms need a domain of their own, not that of the members or the guests".to_owned()
    });
}

/// Who has the secret of the site could make tickets, if it were the server's too.
fn has_secrets_of_its_own(place: usize, site: &Site, found: &mut Findings) {
    for (key, secret) in session_secrets(&site.session) {
        let ticket =
            |home: &XmppDomain| home.secret.as_ref().is_some_and(|ticket| is_same(ticket, secret));
        for (table, _) in homes(site).filter(|(_, home)| ticket(home)) {
            found.add(true, format!("site[{place}].session.{key}.secret"), || {
                format!("the same as that of [site.{table}]: who can read the site's could sign in as anybody")
            });
        }
    }
}

/// Who publishes keys seldom signs for one alone.
fn is_meant_by_its_keys(place: usize, site: &Site, found: &mut Findings) {
    let anybody_s = site
        .session
        .jwt
        .as_ref()
        .is_some_and(|jwt| published(&site.session).is_some() && jwt.audience.is_empty());
    found.add(anybody_s, format!("site[{place}].session.jwt.jwks"), || {
        "no audience: what its keys have signed for anybody else would be believed here, too"
            .to_owned()
    });
}

fn shares_a_server(
    place: usize,
    site: &Site,
    (earlier, other): (usize, &Site),
    found: &mut Findings,
) {
    for (table, home) in homes(site) {
        let same = |(_, others): &(_, &XmppDomain)| others.domain.0 == home.domain.0;
        let Some((_, others)) = homes(other).find(same) else { continue };
        found.add(
            home.upstream != others.upstream,
            format!("site[{place}].{table}.upstream"),
            || {
                format!(
                    "the site {} has {} at {}",
                    name(earlier, other),
                    home.domain.0,
                    others.upstream.0.0
                )
            },
        );
        let differ = match (&home.secret, &others.secret) {
            (Some(one), Some(another)) => !is_same(one, another),
            (Some(_), None) | (None, Some(_) | None) => false,
        };
        found.add(differ, format!("site[{place}].{table}.secret"), || {
            let name = name(earlier, other);
            format!(
                "the site {name} has another for {}: its server must believe both",
                home.domain.0
            )
        });
    }
}

/// Two sites that know their members in different ways may each have a bob.
fn shares_members(
    place: usize,
    site: &Site,
    (earlier, other): (usize, &Site),
    found: &mut Findings,
) {
    let shared = site
        .registered
        .as_ref()
        .is_some_and(|home| is_at(other.registered.as_ref(), &home.domain.0));
    found.add(shared && !knows_as(&site.session, &other.session), format!("site[{place}].registered.domain"), || {
        format!("the members of the site {} are there too: a name of one is the same name of the other", name(earlier, other))
    });
}

fn knows_as(one: &Session, other: &Session) -> bool {
    match (&one.whois, &other.whois) {
        (Some(one), Some(other)) => return one.url == other.url,
        (Some(_), None) | (None, Some(_)) => return false,
        (None, None) => {}
    }
    if let (Some(one), Some(other)) = (published(one), published(other)) {
        return one == other;
    }
    let (one, other) = (session_secrets(one).next(), session_secrets(other).next());
    one.zip(other).is_some_and(|((_, one), (_, other))| is_same(one, other))
}

fn is_same(one: &Secret, other: &Secret) -> bool {
    one.matches(other.expose())
}

fn is_at(home: Option<&XmppDomain>, domain: &Domain) -> bool {
    home.is_some_and(|home| home.domain.0 == *domain)
}

fn homes(site: &Site) -> impl Iterator<Item = (&'static str, &XmppDomain)> {
    let registered = site.registered.iter().map(|home| ("registered", home));
    registered.chain(site.guests.iter().map(|home| ("guests", home)))
}

fn session_secrets(session: &Session) -> impl Iterator<Item = (&'static str, &Secret)> {
    let whois = session.whois.iter().map(|whois| ("whois", &whois.secret));
    let jwt = session.jwt.iter().filter_map(|jwt| jwt.secret.as_ref());
    whois.chain(jwt.map(|secret| ("jwt", secret)))
}

/// Where the keys of a site are, if they are published.
fn published(session: &Session) -> Option<&Uri> {
    match session.jwt.as_ref()?.jwks.as_ref()? {
        Checked(Jwks::At(url)) => Some(url),
        Checked(Jwks::Here(_)) => None,
    }
}

fn urls(site: &Site) -> impl Iterator<Item = (&'static str, &Uri)> {
    let backend = site.backend.iter().map(|backend| ("backend", &backend.0.0));
    let whois = site.session.whois.iter().map(|whois| ("session.whois.url", &whois.url));
    let jwks = published(&site.session).map(|url| ("session.jwt.jwks", url));
    backend.chain(whois).chain(jwks)
}

fn address(url: &Uri) -> Option<(&str, u16)> {
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    Some((url.host()?, port))
}

/// The sites before this one, so that each two are looked at once.
fn pairs_with(settings: &Settings, place: usize) -> impl Iterator<Item = (usize, &Site)> {
    settings.sites.iter().enumerate().take(place)
}

fn name(place: usize, site: &Site) -> String {
    site.hosts.first().map_or_else(|| (place + 1).to_string(), |Checked(host)| host.0.clone())
}
