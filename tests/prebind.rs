//! `/prebind` on the real Prosody: a page finds its visitor signed in.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::bosh::Browser;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;

fn bob(proxy: &Proxy) -> Browser {
    Browser::new(proxy, Some(session_cookie("bob")))
}

fn bare(jid: &str) -> &str {
    jid.split('/').next().unwrap()
}

#[tokio::test]
async fn member_is_signed_in_and_bound_before_the_page_asks() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    let mut session = bob(&proxy).prebind().await;

    assert!(session.jid.starts_with("bob@xmpp.localhost/"), "{}", session.jid);
    assert!(session.rid < 1 << 53);
    let roster =
        "<iq xmlns='jabber:client' type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>";
    let answer = session.send(roster).await;
    assert!(
        answer.body.contains("id='roster'") && answer.body.contains("jabber:iq:roster"),
        "{answer:?}"
    );
    assert!(answer.body.contains(&session.jid), "{answer:?}");
}

#[tokio::test]
async fn answer_is_json_that_nobody_keeps() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    for method in ["GET", "POST"] {
        let answer = bob(&proxy).ask(method, "/prebind").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
    }
    assert_eq!(bob(&proxy).ask("DELETE", "/prebind").await.status, 405);
}

#[tokio::test]
async fn each_page_gets_a_resource_of_its_own() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    let (first, second) = (bob(&proxy).prebind().await, bob(&proxy).prebind().await);

    assert_eq!(bare(&first.jid), bare(&second.jid));
    assert_ne!(first.jid, second.jid);
    assert_ne!(first.sid, second.sid);
}

#[tokio::test]
async fn guest_keeps_the_address_as_long_as_the_cookie() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut page = Browser::new(&proxy, None);

    let first = page.prebind().await;
    let cookie = page.cookie.clone().unwrap();
    let again = page.prebind().await;
    let other = Browser::new(&proxy, None).prebind().await;

    assert!(cookie.starts_with("__Host-vestibule-guest="), "{cookie}");
    assert!(bare(&first.jid).ends_with("@guest.localhost"), "{}", first.jid);
    assert_eq!(bare(&first.jid), bare(&again.jid));
    assert_ne!(bare(&first.jid), bare(&other.jid));
}

#[tokio::test]
async fn client_that_keeps_no_cookies_goes_on_by_the_sid_alone() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = Browser::new(&proxy, None).prebind().await;
    session.browser.cookie = None;

    let answer = session.send("<presence xmlns='jabber:client'/>").await;

    assert!(answer.status == 200 && !answer.body.contains("terminate"), "{answer:?}");
}

#[tokio::test]
async fn visitor_without_a_session_is_refused_where_guests_are_not_welcome() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::with(&Proxy::site(&prosody, GUESTS, "without_session = 'refuse'")).await;

    assert_eq!(Browser::new(&proxy, None).ask("GET", "/prebind").await.status, 403);
    assert_eq!(bob(&proxy).ask("GET", "/prebind").await.status, 200);
}

#[tokio::test]
async fn guests_of_one_address_do_not_take_all_places() {
    let prosody = Prosody::start().await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let trusting = "trusted_proxies = ['127.0.0.1']\n[guests]\nper_address = 1\n";
    let proxy = Proxy::with(&format!("{trusting}{sites}")).await;
    let alice = Browser::new(&proxy, None).forwarded_for("192.0.2.7");
    let first = alice.clone().prebind().await;

    let second = alice.ask("GET", "/prebind").await;
    let with_cookie = first.browser.ask("GET", "/prebind").await;
    let (_, begun) = alice.clone().begin(1).await;

    for refused in [second, with_cookie, begun] {
        assert_eq!(refused.status, 429, "{refused:?}");
        assert!(refused.headers.contains_key("access-control-allow-origin"), "{refused:?}");
    }
    alice.clone().forwarded_for("192.0.2.8").prebind().await;
    bob(&proxy).forwarded_for("192.0.2.7").prebind().await;
}

#[tokio::test]
async fn foreign_page_gets_nothing() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    for origin in [Some("https://evil.example"), Some("null"), None] {
        let answer = bob(&proxy).with_origin(origin).ask("GET", "/prebind").await;
        assert_eq!(answer.status, 403, "{origin:?}: {answer:?}");
        assert!(!answer.body.contains("sid"), "{answer:?}");
    }
}

#[tokio::test]
async fn page_is_held_while_the_server_restarts() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    prosody.stop().await;

    let page = tokio::spawn({
        let mut page = bob(&proxy);
        async move { page.prebind().await }
    });
    prosody.restart().await;

    let session = page.await.unwrap();
    assert!(session.jid.starts_with("bob@xmpp.localhost/"), "{}", session.jid);
}

#[tokio::test]
async fn page_is_told_to_come_back_when_the_server_stays_down() {
    let mut prosody = Prosody::start().await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[prebind]\nhold = '300ms'\n{sites}")).await;
    prosody.stop().await;

    let answer = bob(&proxy).ask("GET", "/prebind").await;

    assert_eq!(answer.status, 503, "{answer:?}");
}

#[tokio::test]
async fn held_page_is_told_to_come_back_when_the_proxy_goes_down() {
    let mut prosody = Prosody::start().await;
    let mut proxy = Proxy::before(&prosody).await;
    prosody.stop().await;
    // Where the server was, nobody answers: once we are asked there, the page is held.
    let silent = TcpListener::bind(prosody.address()).await.unwrap();
    let page = tokio::spawn({
        let page = bob(&proxy);
        async move { page.ask("GET", "/prebind").await }
    });
    let _asked = silent.accept().await.unwrap();

    proxy.begin_stop();

    let answer = timeout(BEFORE_THE_GRACE_IS_OVER, page).await.unwrap().unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(timeout(BEFORE_THE_GRACE_IS_OVER, proxy.stop()).await.is_ok());
}

#[tokio::test]
async fn session_that_no_page_picks_up_is_given_up() {
    let prosody = Prosody::start().await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[bosh]\nattach = '100ms'\n{sites}")).await;
    let session = bob(&proxy).prebind().await;

    // Prosody says when the stream is gone; the session goes with it.
    let signed_in = prosody.logged(&["Authenticated as bob@xmpp.localhost"]).await;
    let stream = signed_in.split_whitespace().find(|word| word.starts_with("c2s")).unwrap();
    prosody.logged(&[stream, "Client disconnected"]).await;
    let answer = session.browser.post(session.body(session.rid, "", "")).await;

    assert!(answer.body.contains("item-not-found"), "{answer:?}");
}

/// The proxy would leave whoever has not ended after 10 s.
const BEFORE_THE_GRACE_IS_OVER: Duration = Duration::from_secs(8);
