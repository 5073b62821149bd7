//! What fits together as a site, and how it is found.

use super::*;
use crate::file;

/// A site as `proxy.toml` has it, for the tests of every layer above.
pub(crate) fn site(text: &str) -> Result<Site, Vec<Fault>> {
    Site::new(toml::from_str(text).unwrap(), &file::read)
}

const GUESTS: &str = "
    hosts = ['www.example.org', 'example.org']
    [guests]
    domain = 'guest.example.org'
    upstream = '127.0.0.1:5222'
    secret = 'a secret we share'";

fn sites(texts: &[&str]) -> Result<Sites, Vec<(usize, Fault)>> {
    Sites::new(texts.iter().map(|text| toml::from_str(text).unwrap()).collect(), &file::read)
}

#[test]
fn origins_default_to_https_and_each_host() {
    let site = site(GUESTS).unwrap();

    let origins: Vec<String> = site.origins.iter().map(ToString::to_string).collect();
    assert_eq!(origins, ["https://www.example.org", "https://example.org"]);
}

#[test]
fn routes_to_the_sites_own_domains_and_those_it_names_ask_for_what_there_is() {
    let site = site(&format!("routes = ['xmpp:chat.example.org:5222']\n{GUESTS}")).unwrap();

    for route in
        ["xmpp:guest.example.org:5222", "xmpp:Guest.Example.ORG", "xmpp:chat.example.org:5222"]
    {
        assert!(site.is_served_by(route), "{route}");
    }
    for route in [
        "",
        "xmpp:",
        "guest.example.org",
        "xmpp:127.0.0.1:5222",
        "xmpp:chat.example.org:1",
        "smtp:guest.example.org:25",
    ] {
        assert!(!site.is_served_by(route), "{route}");
    }
}

#[test]
fn guests_are_welcome_where_they_have_a_domain() {
    assert_eq!(site(GUESTS).unwrap().without_session, WithoutSession::Guest);
}

#[test]
fn site_is_found_by_its_host_whatever_case_and_port() {
    let sites = sites(&[GUESTS]).unwrap();

    for host in ["www.example.org", "WWW.Example.ORG:8443", "example.org."] {
        assert_eq!(sites.by_host(host).unwrap().name, "www.example.org", "{host}");
    }
    for host in ["evil.example.org", "", ":443", "www.example.org.evil.org"] {
        assert!(sites.by_host(host).is_none(), "{host}");
    }
}

#[test]
fn nothing_but_a_port_may_follow_a_host() {
    let sites = sites(&[GUESTS]).unwrap();

    for behind in
        ["", ":", ":x", ":+1", ":443/", ":x@evil.example", ":443@evil.example", ":123456", ":1:2"]
    {
        let found = sites.by_host(&format!("www.example.org{behind}"));
        assert_eq!(found.is_some(), behind.is_empty(), "{behind}");
        assert!(
            sites.by_xmpp_domain(&format!("guest.example.org{behind}")).is_some()
                == behind.is_empty()
        );
    }
}

#[test]
fn site_is_found_by_its_xmpp_domain() {
    let sites = sites(&[GUESTS]).unwrap();

    assert!(sites.by_xmpp_domain("guest.example.org:443").is_some());
    assert!(sites.by_xmpp_domain("www.example.org").is_none());
}

#[test]
fn host_of_two_sites_is_refused() {
    let faults = sites(&[GUESTS, GUESTS]).unwrap_err();

    let taken = |host: &str| (1, ("hosts", Error::HostTaken(host.to_owned())));
    assert_eq!(faults, [taken("www.example.org"), taken("example.org")]);
}

#[test]
fn address_is_the_allowed_origin_of_an_own_host() {
    let text = GUESTS.replacen(
        "[guests]",
        "origins = ['https://pages.example.net', 'https://example.org:8443']\n[guests]",
        1,
    );
    let site = site(&text).unwrap();

    assert_eq!(site.address("example.org:8443").to_string(), "https://example.org:8443");
    // An origin whose pages may speak is not a place where we are reached.
    assert_eq!(site.address("pages.example.net").to_string(), "https://example.org:8443");
    assert_eq!(site.address("guest.example.org").to_string(), "https://example.org:8443");
}

#[test]
fn address_is_the_origin_with_the_port_where_a_host_has_several() {
    let origins = "origins = ['https://example.org', 'https://example.org:8443']\n[guests]";
    let site = site(&GUESTS.replacen("[guests]", origins, 1)).unwrap();

    for (authority, origin) in [
        ("example.org:8443", "https://example.org:8443"),
        ("example.org", "https://example.org"),
        ("EXAMPLE.org.:443", "https://example.org"),
        // A reverse proxy's own.
        ("example.org:8080", "https://example.org"),
    ] {
        assert_eq!(site.address(authority).to_string(), origin, "{authority}");
    }
}

#[test]
fn every_fault_of_a_site_is_told_at_once() {
    let faults = site(
        "hosts = ['a.example']
         [registered]
         domain = 'x.example'
         upstream = 'localhost:5222'
         pass = 'anonymous'
         [guests]
         domain = 'x.example'
         upstream = 'localhost:5222'",
    )
    .unwrap_err();

    let expected = [
        ("registered", Error::NoSession),
        ("registered.pass", Error::AnonymousMember),
        ("guests", Error::NoSecret("ticket")),
        ("guests.domain", Error::SharedDomain),
    ];
    assert_eq!(faults, expected);
}

#[test]
fn site_that_is_no_more_is_found_among_the_departed_until_it_is_back() {
    let hosts = |hosts: &[&str]| {
        let texts: Vec<String> = hosts
            .iter()
            .map(|host| GUESTS.replace("www.example.org', 'example.org", host))
            .collect();
        sites(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    };
    let second = hosts(&["a.test", "b.test"]).followed_by(hosts(&["b.test"]), |_| true);
    let third = second.followed_by(hosts(&["b.test", "c.test"]), |_| true);
    let fourth = third.followed_by(hosts(&["a.test"]), |_| true);

    assert!(second.by_host("a.test").is_none());
    assert!(second.departed("A.test:443").is_some());
    assert!(third.departed("a.test").is_some());
    assert!(third.departed("b.test").is_none(), "it is there");
    assert!(fourth.departed("a.test").is_none(), "it is back");
    assert!(fourth.departed("b.test").is_some());
}

#[test]
fn site_keeps_its_identity_over_a_reload_and_shares_it_with_nobody() {
    let of = |all: &[&str]| {
        let texts: Vec<String> = all
            .iter()
            .map(|hosts| GUESTS.replace("'www.example.org', 'example.org'", hosts))
            .collect();
        sites(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    };
    let id = |sites: &Sites, host: &str| sites.by_host(host).unwrap().id.clone();
    let first = of(&["'a.test', 'b.test'", "'c.test'"]);

    let turned = first.followed_by(of(&["'c.test'", "'b.test', 'a.test'"]), |_| true);
    assert_eq!([id(&turned, "a.test"), id(&turned, "c.test")], ["a.test", "c.test"]);
    let less = turned.followed_by(of(&["'b.test'", "'c.test'"]), |_| true);
    assert_eq!(id(&less, "b.test"), "a.test");
    assert_eq!(less.departed("a.test").unwrap().id, "a.test");
    let split = less.followed_by(of(&["'a.test'", "'b.test'", "'c.test'"]), |_| true);
    assert_eq!([id(&split, "a.test"), id(&split, "b.test")], ["a.test#2", "a.test"]);

    let gone = split.followed_by(of(&["'c.test'"]), |_| true);
    assert_eq!(gone.ever_at("b.test").count(), 1);
    let later = gone.followed_by(of(&["'c.test'"]), |_| false);
    assert_eq!(later.ever_at("b.test").count(), 0, "nobody is there any more");
}
