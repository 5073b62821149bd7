//! The connection to the real Prosody breaks.

use crate::bob;
use crate::carol;
use crate::counted;
use crate::is_terminate;
use crate::last;
use crate::member;
use crate::message;
use crate::support::bosh::Browser;
use crate::support::forwarder::Way;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::Prosody;
use crate::texts;
use crate::through;

#[tokio::test]
async fn talk_over_a_connection_that_breaks_again_and_again_loses_and_doubles_nothing() {
    let prosody = Prosody::start().await;
    let (proxy, forwarder) = through(&prosody, "").await;
    let mut bob = bob(&proxy).await;
    let mut carol = carol(&prosody).await;
    let mut heard = String::new();
    for turn in 0..10 {
        for number in turn * 10..turn * 10 + 10 {
            carol.send(&message(&bob.jid, &format!("c{number}"))).await;
            heard += &bob.send(&message("carol@xmpp.localhost", &format!("b{number}"))).await.body;
        }
        // Those that are there break, and new ones go through.
        forwarder.now(Way::Open);
    }

    if !heard.contains(">c99<") {
        heard += &bob.receive(&[">c99<"]).await;
    }
    let by_carol = carol.read_until(&["<body>b99</body></message>"]).await;

    let all: Vec<usize> = (0..100).collect();
    assert_eq!(texts(&heard, "c"), all, "{heard}");
    assert_eq!(texts(&by_carol, "b"), all, "{by_carol}");
    let metrics = proxy.metrics().await;
    assert!(!metrics.contains("resumes_total{outcome=\"done\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn session_that_its_browser_began_goes_on_too_and_the_browser_sees_nothing_of_it() {
    let prosody = Prosody::start().await;
    let (proxy, forwarder) = through(&prosody, "").await;
    let mut bob = Browser::new(&proxy, Some(session_cookie("bob"))).sign_in().await;
    let mut carol = carol(&prosody).await;
    let mut heard = bob.exchange("<presence xmlns='jabber:client'/>", &["<presence"]).await;

    forwarder.now(Way::Open);
    carol.send(&message(&bob.jid, "c1")).await;

    heard += &bob.receive(&[">c1<"]).await;
    counted(&proxy, "done", 1).await;
    assert!(!heard.contains("urn:xmpp:sm"), "{heard}");
}

#[tokio::test]
async fn what_is_said_while_there_is_no_connection_arrives_when_there_is_one() {
    let prosody = Prosody::start().await;
    let (proxy, forwarder) = through(&prosody, "").await;
    let mut bob = bob(&proxy).await;
    let mut carol = carol(&prosody).await;
    forwarder.now(Way::Cut);

    let (to, held) = ("carol@xmpp.localhost", bob.clone());
    let said = tokio::spawn({
        let (browser, one) = (held.browser.clone(), held.body(held.rid, "", &message(to, "b1")));
        async move { browser.post(one).await }
    });
    // The answer to the first shows that it was taken.
    bob.rid += 1;
    let held = tokio::spawn({
        let (browser, two) = (bob.browser.clone(), bob.body(bob.rid, "", &message(to, "b2")));
        async move { browser.post(two).await }
    });
    bob.rid += 1;
    assert!(!said.await.unwrap().body.contains("terminate"));
    forwarder.now(Way::Open);

    let by_carol = carol.read_until(&["<body>b2</body></message>"]).await;
    assert_eq!(texts(&by_carol, "b"), [1, 2], "{by_carol}");
    carol.send(&message(&bob.jid, "c1")).await;
    assert!(held.await.unwrap().body.contains(">c1<"));
}

#[tokio::test]
async fn six_hundred_that_nobody_fetches_survive_a_broken_connection() {
    let prosody = Prosody::start().await;
    let (proxy, forwarder) = through(&prosody, "").await;
    let mut bob = bob(&proxy).await;
    let mut carol = carol(&prosody).await;
    for number in 0..600 {
        carol.send(&message(&bob.jid, &format!("c{number}"))).await;
    }
    carol.answered_ping().await;

    forwarder.now(Way::Open);
    counted(&proxy, "done", 1).await;

    let heard = bob.receive(&[">c599<"]).await;
    assert_eq!(texts(&heard, "c"), (0..600).collect::<Vec<_>>());
}

#[tokio::test]
async fn browser_of_a_server_that_was_restarted_is_told_to_come_back() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).await;

    prosody.restart().await;

    let answer = last(&mut bob).await;
    assert!(is_terminate(&answer, "system-shutdown"), "{answer:?}");
    counted(&proxy, "refused", 1).await;
}

#[tokio::test]
async fn browser_is_told_when_there_is_no_connection_in_time() {
    let prosody = Prosody::start().await;
    let (proxy, forwarder) = through(&prosody, "[stream_management]\nresume = '200ms'").await;
    let mut bob = bob(&proxy).await;

    forwarder.now(Way::Cut);

    let answer = last(&mut bob).await;
    assert!(is_terminate(&answer, "system-shutdown"), "{answer:?}");
    counted(&proxy, "late", 1).await;
}

#[tokio::test]
async fn visitor_whom_the_site_signs_out_meanwhile_is_told_at_once() {
    let prosody = Prosody::start().await;
    let (proxy, forwarder) = through(&prosody, "").await;
    let mut bob = bob(&proxy).await;
    forwarder.now(Way::Cut);

    let answer = proxy.revoke(r#"{"site": "localhost", "username": "bob"}"#).await;

    assert_eq!(answer, (200, r#"{"ended":1}"#.to_owned()));
    let answer = last(&mut bob).await;
    assert!(is_terminate(&answer, "item-not-found"), "{answer:?}");
}

#[tokio::test]
async fn stream_of_a_browser_that_leaves_while_there_is_no_connection_ends_all_the_same() {
    let prosody = Prosody::start().await;
    let (proxy, forwarder) = through(&prosody, "").await;
    let mut bob = member(&proxy, "bob").await;
    let mut carol = carol(&prosody).await;
    let room = "lobby@conference.localhost";
    let join = |nick| {
        format!(
            "<presence xmlns='jabber:client' to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
    };
    carol.send(&join("Carol")).await;
    carol.read_until(&["<subject"]).await;
    bob.exchange(&join("Bob"), &["<subject"]).await;

    forwarder.now(Way::Open);
    bob.terminate().await;

    let heard = carol.read_until(&["type='unavailable'"]).await;
    assert!(heard.contains("/Bob"), "{heard}");
}

#[tokio::test]
async fn without_stream_management_a_broken_connection_is_the_end() {
    let prosody = Prosody::start().await;
    let (proxy, forwarder) = through(&prosody, "[stream_management]\nbosh = false").await;
    let mut bob = bob(&proxy).await;

    forwarder.now(Way::Open);

    assert!(is_terminate(&last(&mut bob).await, "system-shutdown"));
}
