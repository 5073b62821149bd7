//! The table "What a browser is told" of the design, cell by cell: one module per column, its tests in the order of the rows.
//!
//! Servers and sites that must misbehave on demand are scripted, and the names of the tests say so; the others are real.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod bosh_first;
mod bosh_later;
mod prebind;
mod raw;
mod websocket;

use std::net::SocketAddr;

use crate::support::bosh::Answer;
use crate::support::bosh::Browser;
use crate::support::bosh::attribute;
use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::script::Answers;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::script::Whois;

/// A member with a page of the site open.
fn bob(proxy: &Proxy) -> Browser {
    Browser::new(proxy, Some(session_cookie("bob")))
}

/// A proxy before a scripted server, for a site whose members have a signed cookie and whose guests have tickets.
async fn before(server: &Server, settings: &str) -> Proxy {
    let session = format!("[site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n");
    Proxy::with(&format!("{settings}{}{session}", homes(server.address()))).await
}

/// The same for a site that is asked, at a scripted address, who its visitors are.
async fn before_both(server: &Server, whois: &Whois, settings: &str) -> Proxy {
    let session = format!(
        "[site.session.whois]\nurl = 'http://{}/'\nsecret = 'a secret of the tests'\ncookies = ['PHPSESSID']\n",
        whois.address()
    );
    Proxy::with(&format!("{settings}{}{session}", homes(server.address()))).await
}

fn homes(server: SocketAddr) -> String {
    let pass = format!("upstream = '{server}'\nsecret = 'a secret of the tests'\n");
    format!(
        "[[site]]\nhosts = ['localhost']\n[site.registered]\ndomain = 'xmpp.localhost'\n{pass}\
         [site.guests]\ndomain = 'guest.localhost'\n{pass}"
    )
}

/// What a scripted server does instead of its part, on the way to the features behind SASL (and to the bind, with `bound`).
fn outages(bound: bool) -> Vec<Script> {
    let moments = [
        Moment::Accepted,
        Moment::Header,
        Moment::Features,
        Moment::Success,
        Moment::SecondHeader,
        Moment::SecondFeatures,
        Moment::Bound,
    ];
    let reached = moments.into_iter().filter(|moment| bound || *moment != Moment::Bound);
    let at_each = |moment| {
        [Trouble::Hangs, Trouble::BreaksOff, Trouble::Floods, Trouble::Says(GARBAGE)]
            .map(|trouble| Script::Until(moment, trouble))
    };
    reached.flat_map(at_each).chain(LIES).collect()
}

/// What no server says to a stanza, a header or `<auth/>`.
const GARBAGE: &str = "HTTP/1.1 400 Bad Request\r\n\r\n\0\u{1}<<>&";

/// Well-formed, and no way to be signed in.
const LIES: [Script; 9] = [
    says(
        Moment::Header,
        "<stream:stream xmlns='jabber:client' xmlns:stream='urn:example:other' version='1.0'><stream:features/>",
    ),
    says(Moment::Header, "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"),
    says(
        Moment::Features,
        "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    ),
    says(
        Moment::Features,
        "<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    ),
    says(
        Moment::Success,
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
    ),
    says(
        Moment::Success,
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><account-disabled/></failure>",
    ),
    says(Moment::Success, "<success xmlns='urn:example:other'/>"),
    says(Moment::Success, "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>bm8=</challenge>"),
    says(
        Moment::SecondFeatures,
        "<stream:error><remote-connection-failed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    ),
];

const fn says(moment: Moment, words: &'static str) -> Script {
    Script::Until(moment, Trouble::Says(words))
}

/// What a site does that cannot say who its visitors are.
const CLUELESS: [Answers; 10] = [
    Answers::Hangs,
    Answers::Floods,
    Answers::Raw(""),
    Answers::Raw("\0nonsense"),
    Answers::Raw("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
    Answers::Raw("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"),
    Answers::Raw("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    Answers::Raw("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"authenticated\": tr"),
    Answers::Json("<html>Maintenance</html>"),
    Answers::Json("{\"authenticated\": true, \"username\": [\"bob\"]}"),
];

/// A visitor's cookie at a site that is asked.
const ASKED_FOR: &str = "PHPSESSID=of-the-tests";

const BOB: Answers = Answers::Json("{\"authenticated\": true, \"username\": \"bob\"}");

/// A page of the site may read the answer, and of no other.
fn assert_dressed(answer: &Answer) {
    let all = |name: &str| -> Vec<_> { answer.headers.get_all(name).iter().collect() };
    assert_eq!(all("access-control-allow-origin"), [ORIGIN], "{answer:?}");
    assert_eq!(all("access-control-allow-credentials"), ["true"], "{answer:?}");
    assert_eq!(all("vary"), ["Origin"], "{answer:?}");
}

/// No page may read the answer.
fn assert_bare(answer: &Answer) {
    let cors = |name: &str| name.starts_with("access-control-");
    assert!(!answer.headers.keys().any(|name| cors(name.as_str())), "{answer:?}");
}

/// Whether a body ends its session with this condition.
fn is_terminate(answer: &Answer, condition: &str) -> bool {
    let told = |name| attribute(&answer.body, name).unwrap_or_default();
    answer.status == 200 && told("type") == "terminate" && told("condition") == condition
}

/// What an origin may look like that is not the site's.
const FOREIGN: [&str; 5] = [
    "https://evil.test",
    "null",
    "https://localhost.evil.test",
    "http://localhost",
    "https://localhost:1",
];

/// Outages are over before a browser is told of them, or outlast this.
const SHORT: &str = "[upstream]\nhold = '250ms'\nsign_in = '100ms'\n[prebind]\nhold = '250ms'\n[whois]\ntimeout = '50ms'\n";

/// Attempts fail fast, and the browser is held for longer than the test.
const HELD: &str = "[upstream]\nhold = '30s'\nsign_in = '100ms'\n[prebind]\nhold = '30s'\n[whois]\ntimeout = '50ms'\n";

/// The opening of a BOSH session.
const OPENING: &str = "<body rid='1' to='xmpp.localhost' ver='1.6' wait='60' hold='1' xmlns='http://jabber.org/protocol/httpbind'/>";

/// How a server ends a stream that it should have kept.
const FAILURES: [Trouble; 9] = [
    Trouble::BreaksOff,
    Trouble::Floods,
    Trouble::Says("</stream:stream>"),
    Trouble::Says("<!-- -->"),
    Trouble::Says(
        "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    ),
    Trouble::Says(
        "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    ),
    Trouble::Says(
        "<stream:error><host-gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    ),
    Trouble::Says(
        "<stream:error><remote-connection-failed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    ),
    Trouble::Says(
        "<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    ),
];
