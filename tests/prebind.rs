//! `/prebind` on the real Prosody: a page finds its visitor signed in.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

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
