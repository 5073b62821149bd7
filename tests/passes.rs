//! A pass that the server refuses is never the visitor's refusal: clocks that differ, a server that restarted, a wrong secret.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::HashSet;

use crate::support::bosh::Browser;
use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::log::Log;
use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::websocket::Socket;

#[tokio::test]
async fn edge_clock_that_is_3_s_fast_signs_in_at_once() {
    let prosody = Prosody::start_with(&clock_of_the_edge(3)).await;
    let proxy = Proxy::before(&prosody).await;

    assert_signed_in_everywhere(&proxy).await;
}

#[tokio::test]
async fn edge_clock_that_is_10_s_fast_is_an_outage_to_the_visitor() {
    let prosody = Prosody::start_with(&clock_of_the_edge(10)).await;
    let proxy = Proxy::with(&format!("{SHORT}{}", Proxy::site(&prosody, GUESTS, ""))).await;

    assert_outage_everywhere(&proxy).await;

    prosody.logged(&["Refused a ticket for bob@xmpp.localhost", "s in the future"]).await;
}

#[tokio::test]
async fn edge_clock_that_is_3_s_slow_signs_in_once_it_has_caught_up_with_the_servers_start() {
    let prosody = Prosody::start_with(&clock_of_the_edge(-3)).await;
    let proxy = Proxy::before(&prosody).await;

    assert_signed_in_everywhere(&proxy).await;

    let reason = "it was issued before this server started";
    prosody.logged(&["Refused a ticket for", "@xmpp.localhost", reason]).await;
}

#[tokio::test]
async fn edge_clock_that_is_10_s_slow_signs_in_once_it_has_caught_up_with_the_servers_start() {
    let prosody = Prosody::start_with(&clock_of_the_edge(-10)).await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[upstream]\nhold = '50s'\n{sites}")).await;

    assert_signed_in_everywhere(&proxy).await;
}

#[tokio::test]
async fn edge_clock_that_is_slower_than_a_ticket_is_good_is_an_outage_to_the_visitor() {
    let prosody = Prosody::start_with(&clock_of_the_edge(-30)).await;
    let proxy = Proxy::with(&format!("{SHORT}{}", Proxy::site(&prosody, GUESTS, ""))).await;

    assert_outage_everywhere(&proxy).await;
}

#[tokio::test]
async fn visitor_is_signed_in_after_a_restart_that_made_the_server_forget_its_tickets() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    assert_signed_in_everywhere(&proxy).await;

    prosody.restart().await;

    assert_signed_in_everywhere(&proxy).await;
}

#[tokio::test]
async fn visitor_comes_in_by_himself_once_a_wrong_secret_is_put_right() {
    let prosody = Prosody::start_with(OTHER_SECRET).await;
    let proxy = Proxy::before(&prosody).await;
    let page = tokio::spawn({
        let mut page = Browser::new(&proxy, Some(session_cookie("bob")));
        async move { page.prebind().await }
    });
    let held = tokio::spawn({
        let (address, tls) = (proxy.address(), proxy.tls("http/1.1"));
        async move {
            let cookie = session_cookie("carol");
            let headers = [("origin", support::gateway::ORIGIN), ("cookie", &cookie)];
            Socket::dial(address, tls, "/xmpp-websocket", &headers).await
        }
    });
    for name in ["bob", "carol"] {
        prosody.logged(&[&format!("Refused a ticket for {name}@"), "not signed"]).await;
    }

    prosody.configure("").await;

    assert!(page.await.unwrap().jid.starts_with("bob@"));
    assert!(
        held.await.unwrap().unwrap().sign_in("carol@xmpp.localhost").await.starts_with("carol@")
    );
}

#[tokio::test]
async fn wrong_secret_is_an_outage_to_the_visitor_and_the_log_says_what_to_check() {
    let log = Log::capture();
    let prosody = Prosody::start_with(OTHER_SECRET).await;
    let proxy = Proxy::with(&format!("{SHORT}{}", Proxy::site(&prosody, GUESTS, ""))).await;

    assert_outage_everywhere(&proxy).await;

    let said = log.text();
    let warnings = said.lines().filter(|line| line.contains("refuses our pass")).count();
    assert!(warnings > 0, "{said}");
    let line = said.lines().find(|line| line.contains("refuses our pass")).unwrap();
    for words in ["WARN", "xmpp.localhost", "clocks", "secret", "not-authorized"] {
        assert!(line.contains(words), "{line}");
    }
    assert!(!said.contains("vt1."), "{said}");
}

#[tokio::test]
async fn refused_pass_is_shown_to_the_scripted_server_afresh_and_not_in_a_hurry() {
    let server = Server::start(REFUSES).await;
    let hold = "[upstream]\nhold = '1500ms'\n[prebind]\nhold = '1500ms'\n";
    let proxy = Proxy::with(&format!("{hold}{}", before(&server))).await;

    let answer = Browser::new(&proxy, Some(session_cookie("bob"))).ask("GET", "/prebind").await;

    assert_eq!(answer.status, 503, "{answer:?}");
    let shown = server.auths();
    let different: HashSet<_> = shown.iter().collect();
    assert_eq!(shown.len(), different.len(), "a ticket was shown twice");
    // At 0, 50, 150, 350 and 750 ms: pauses double.
    assert!((2..=6).contains(&shown.len()), "{} attempts", shown.len());
    let counted = format!("vestibule_passes_refused_total {}\n", shown.len());
    let metrics = proxy.metrics().await;
    assert!(metrics.contains(&counted), "{counted}{metrics}");
}

#[tokio::test]
async fn second_ticket_is_enough_where_the_scripted_server_takes_it() {
    let server = Server::start(REFUSES).await;
    let proxy = Proxy::with(&before(&server)).await;
    let page = tokio::spawn({
        let mut page = Browser::new(&proxy, Some(session_cookie("bob")));
        async move { page.prebind().await }
    });

    server.has_seen(|seen| seen.connections == 1).await;
    server.now(Script::Good);

    assert!(page.await.unwrap().jid.starts_with("bob@"));
    assert_eq!(server.seen().connections, 2);
}

/// Lua that lets our module see a server's clock from which the edge's differs by so many seconds; Prosody's own modules and
/// timers keep the true one.
fn clock_of_the_edge(seconds: i64) -> String {
    format!(
        "local time = require 'util.time'
         local now = time.now
         time.now = function ()
             local caller = debug.getinfo(2, 'S')
             local is_ours = caller and caller.source:find('mod_auth_vestibule', 1, true)
             return is_ours and now() - ({seconds}) or now()
         end\n"
    )
}

/// A site before a scripted server, with guests and members.
fn before(server: &Server) -> String {
    let pass = format!("upstream = '{}'\nsecret = 'a secret of the tests'\n", server.address());
    format!(
        "[[site]]\nhosts = ['localhost']\n[site.registered]\ndomain = '{MEMBERS}'\n{pass}\
         [site.guests]\ndomain = '{GUESTS}'\n{pass}\
         [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n"
    )
}

/// By every way in, in parallel, because a clock that must catch up takes its time.
async fn assert_signed_in_everywhere(proxy: &Proxy) {
    let page =
        Box::pin(async { Browser::new(proxy, Some(session_cookie("bob"))).prebind().await.jid });
    let bosh =
        Box::pin(async { Browser::new(proxy, Some(session_cookie("carol"))).sign_in().await.jid });
    let websocket = Box::pin(async {
        let mut socket = Socket::open(proxy, Some(&session_cookie("dave"))).await;
        socket.sign_in("dave@xmpp.localhost").await
    });
    let guest = Box::pin(async { Socket::open(proxy, None).await.sign_in("xmpp.localhost").await });
    let (page, bosh, websocket, guest) = tokio::join!(page, bosh, websocket, guest);
    assert!(page.starts_with("bob@xmpp.localhost/"), "{page}");
    assert!(bosh.starts_with("carol@xmpp.localhost/"), "{bosh}");
    assert!(websocket.starts_with("dave@xmpp.localhost/"), "{websocket}");
    assert!(guest.contains("@guest.localhost/"), "{guest}");
}

/// 503 and `system-shutdown`, on which browsers come back; never SASL's `<failure/>`, on which they do not.
async fn assert_outage_everywhere(proxy: &Proxy) {
    let bob = Browser::new(proxy, Some(session_cookie("bob")));
    let page = bob.ask("GET", "/prebind").await;
    assert_eq!(page.status, 503, "{page:?}");
    let (_, begun) = bob.clone().begin(1).await;
    assert_eq!(begun.status, 503, "{begun:?}");
    let mut socket = Socket::open(proxy, Some(&session_cookie("bob"))).await;
    let (open, error) = socket.open_stream("xmpp.localhost").await;
    assert!(open.starts_with("<open "), "{open}");
    assert!(error.contains("stream:error") && error.contains("system-shutdown"), "{error}");
    assert!(socket.receive().await.starts_with("<close "));
}

const REFUSES: Script = Script::Until(
    Moment::Success,
    Trouble::Says("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"),
);

/// The members' server believes in other tickets than the edge's.
const OTHER_SECRET: &str = "VirtualHost 'xmpp.localhost'
    vestibule_secret_file = {}
    vestibule_secret = \"another secret than the edge's\"";

const SHORT: &str = "[upstream]\nhold = '300ms'\n[prebind]\nhold = '300ms'\n";
