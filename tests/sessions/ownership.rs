//! What a later request of a BOSH session has to show.

use crate::bob;
use crate::goes_on;
use crate::is_terminate;
use crate::ping;
use crate::support::bosh::Browser;
use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::gateway::signed_cookie;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::websocket::Socket;

#[tokio::test]
async fn member_goes_on_with_whatever_cookie_says_the_same_name() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    let rotated = signed_cookie("bob", JWT_SECRET, 1800);
    assert_ne!(session.browser.cookie.as_ref(), Some(&rotated));
    session.browser.cookie = Some(rotated);

    let answer = session.send(&ping("mine")).await;

    assert!(answer.body.contains("mine"), "{answer:?}");
}

#[tokio::test]
async fn signed_cookie_that_has_just_ended_begins_no_session_and_ends_none() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let exact = site.replace("[site.session.jwt]\n", "[site.session.jwt]\nleeway = '0s'\n");
    let proxy = Proxy::with(&exact).await;
    let page = Browser::new(&proxy, Some(signed_cookie("bob", JWT_SECRET, 3)));
    let mut session = page.clone().prebind().await;
    assert!(session.jid.starts_with("bob@"), "{}", session.jid);

    // Until its second has come, each is another one of Bob's.
    loop {
        let mut later = page.clone().prebind().await;
        later.terminate().await;
        if later.jid.starts_with("guest-") {
            break;
        }
    }

    assert!(goes_on(&session.send(&ping("mine")).await));
}

#[tokio::test]
async fn guest_whose_cookie_came_back_needs_it_from_then_on() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = Browser::new(&proxy, None).prebind().await;
    let guest = session.browser.cookie.clone();
    assert!(goes_on(&session.send(&ping("1")).await));

    session.browser.cookie = None;
    let bare = session.browser.post(session.body(session.rid, "", "")).await;
    session.browser.cookie = guest;

    assert!(is_terminate(&bare, "item-not-found"), "{bare:?}");
    assert!(goes_on(&session.send(&ping("2")).await));
}

#[tokio::test]
async fn browser_that_keeps_no_cookies_goes_on_by_the_sid_and_takes_none_later() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = Browser::new(&proxy, None).prebind().await;
    let minted = session.browser.cookie.take();
    assert!(goes_on(&session.send(&ping("1")).await));

    for cookie in [minted, Some(session_cookie("bob"))] {
        let with_cookie = session.browser.clone().with_cookie(cookie);
        let answer = with_cookie.post(session.body(session.rid, "", "")).await;
        assert!(is_terminate(&answer, "item-not-found"), "{answer:?}");
    }

    assert!(goes_on(&session.send(&ping("2")).await));
}

#[tokio::test]
async fn session_without_cookies_is_its_page_s_alone() {
    let prosody = Prosody::start().await;
    let origins = "origins = ['https://localhost', 'https://other.example']";
    let proxy = Proxy::with(&Proxy::site(&prosody, GUESTS, origins)).await;
    let mut session = Browser::new(&proxy, None).prebind().await;
    session.browser.cookie = None;

    for origin in [Some("https://other.example"), None] {
        let other = session.browser.clone().with_origin(origin);
        let answer = other.post(session.body(session.rid, "", "")).await;
        assert!(is_terminate(&answer, "item-not-found"), "{origin:?}: {answer:?}");
    }

    assert!(goes_on(&session.send(&ping("mine")).await));
}

#[tokio::test]
async fn page_whose_first_request_shows_no_origin_is_known_by_it_later() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut page = Browser::new(&proxy, None);
    let first = page.get_from_own_page("/prebind").await;
    let mut session = page.prebound(&first);
    session.browser.cookie = None;

    let answer = session.send(&ping("mine")).await;

    assert!(goes_on(&answer), "{answer:?}");
}

#[tokio::test]
async fn two_first_requests_at_once_lock_nobody_out() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let (mut one, mut other) = (Browser::new(&proxy, None), Browser::new(&proxy, None));
    let (mut first, mut second) = tokio::join!(one.prebind(), other.prebind());
    assert_ne!(first.browser.cookie, second.browser.cookie);
    let replaced = first.browser.cookie.take();
    // Both tabs are of one browser, which has kept the later cookie.
    first.browser.cookie.clone_from(&second.browser.cookie);

    assert!(goes_on(&first.send(&ping("1")).await));
    assert!(goes_on(&second.send(&ping("1")).await));

    let with_replaced = first.browser.clone().with_cookie(replaced);
    let answer = with_replaced.post(first.body(first.rid, "", "")).await;
    assert!(is_terminate(&answer, "item-not-found"), "{answer:?}");
    assert!(goes_on(&first.send(&ping("2")).await));
}

#[tokio::test]
async fn guest_who_becomes_a_member_is_no_guest_any_more_on_either_transport() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut guest = Browser::new(&proxy, None);
    let mut session = guest.prebind().await;
    let cookie = guest.cookie.clone().unwrap();
    let mut socket = Socket::open(&proxy, Some(&cookie)).await;
    socket.sign_in("guest.localhost").await;
    session.browser.cookie = Some(format!("{cookie}; {}", session_cookie("bob")));

    let answer = session.send("").await;

    assert!(is_terminate(&answer, "item-not-found"), "{answer:?}");
    crate::assert_stream_error(&mut socket, "policy-violation").await;
    session.browser.cookie = Some(cookie);
    let answer = session.send("").await;
    assert!(is_terminate(&answer, "item-not-found"), "it has ended: {answer:?}");
    assert!(session.browser.prebind().await.jid.starts_with("guest-"));
}
