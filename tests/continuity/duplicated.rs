//! A duplicated tab has the id of the first one's stream, and so has a browser that changed its network.

use crate::anonymous::log_in;
use crate::enable;
use crate::message;
use crate::resume;
use crate::signed_in;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::Prosody;
use crate::support::websocket::Socket;

#[tokio::test]
async fn duplicated_tab_begins_its_own_stream_and_the_first_is_not_disturbed() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let cookie = session_cookie("bob");
    let mut first = signed_in(&proxy, &cookie).await;
    let jid = first.bind().await;
    let id = enable(&mut first).await;
    for text in ["one", "two", "three"] {
        first.send(&message(&jid, text)).await;
        first.receive_with(text).await;
    }

    let mut copy = signed_in(&proxy, &cookie).await;
    copy.send(&resume(&id, 0)).await;
    // Whoever reads answers pings.
    let answer = tokio::select! {
        biased;
        answer = copy.receive() => answer,
        other = first.receive() => panic!("the first is told {other}"),
    };

    assert!(answer.contains("<failed") && answer.contains("item-not-found"), "{answer}");
    assert!(answer.contains("h=\"3\""), "all that both have kept was taken: {answer}");
    let of_the_copy = copy.bind().await;
    assert_ne!(of_the_copy, jid);
    first.send(&message(&of_the_copy, "hello, copy")).await;
    copy.receive_with("hello, copy").await;
}

#[tokio::test]
async fn browser_that_changed_its_network_takes_its_stream_along() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, ANONYMOUS, "");
    let proxy = Proxy::with(&format!("[websocket]\nduplicate = '200ms'\n{site}")).await;
    let cookie = session_cookie("bob");
    let mut before = signed_in(&proxy, &cookie).await;
    let jid = before.bind().await;
    let id = enable(&mut before).await;

    // Nobody reads the old socket, so nobody answers there.
    let mut after = signed_in(&proxy, &cookie).await;
    after.send(&resume(&id, 0)).await;

    let answer = after.receive().await;
    assert!(answer.contains("<resumed"), "{answer}");
    after.send(&message(&jid, "still me")).await;
    after.receive_with("still me").await;
    assert!(before.next().await.is_none_or(|frame| frame.is_close()), "the old socket is closed");
}

#[tokio::test]
async fn stream_that_was_resumed_is_not_taken_by_a_duplicated_tab_either() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let cookie = session_cookie("bob");
    let mut before = signed_in(&proxy, &cookie).await;
    let jid = before.bind().await;
    let id = enable(&mut before).await;
    before.send(&message(&jid, "one")).await;
    before.receive_with("one").await;
    before.vanish();
    let mut first = signed_in(&proxy, &cookie).await;
    first.send(&resume(&id, 1)).await;
    assert!(first.receive().await.contains("<resumed"));
    first.send(&message(&jid, "two")).await;
    first.receive_with("two").await;

    let mut copy = signed_in(&proxy, &cookie).await;
    copy.send(&resume(&id, 1)).await;
    let answer = tokio::select! {
        biased;
        answer = copy.receive() => answer,
        other = first.receive() => panic!("the first is told {other}"),
    };

    assert!(answer.contains("<failed") && answer.contains("h=\"2\""), "{answer}");
}

#[tokio::test]
async fn stream_that_was_taken_along_is_not_taken_from_the_browser_that_has_it_now() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, ANONYMOUS, "");
    let proxy = Proxy::with(&format!("[websocket]\nduplicate = '1s'\n{site}")).await;
    let cookie = session_cookie("bob");
    // It is never read again, so its last words are not over.
    let mut first = signed_in(&proxy, &cookie).await;
    first.bind().await;
    let id = enable(&mut first).await;
    let mut second = signed_in(&proxy, &cookie).await;
    second.send(&resume(&id, 0)).await;
    second.receive_with("<resumed").await;

    let mut copy = signed_in(&proxy, &cookie).await;
    copy.send(&resume(&id, 0)).await;
    let answer = loop {
        tokio::select! {
            biased;
            answer = copy.receive() => break answer,
            // Whoever reads answers pings.
            other = second.receive() => assert!(other.starts_with("<r "), "the second is told {other}"),
        }
    };

    assert!(answer.contains("<failed") && answer.contains("item-not-found"), "{answer}");
}

#[tokio::test]
async fn guest_whose_network_changes_twice_takes_along_the_stream_that_the_edge_keeps() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, ANONYMOUS, "");
    let proxy = Proxy::with(&format!("[websocket]\nduplicate = '100ms'\n{site}")).await;
    let mut first = Socket::open(&proxy, None).await;
    let cookie = first.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let cookie = cookie.to_owned();
    // Nobody reads any of the old sockets.
    log_in(&mut first).await;
    first.bind().await;
    let id = enable(&mut first).await;

    let mut sockets = vec![first];
    for _ in 0..2 {
        let mut next = Socket::open(&proxy, Some(&cookie)).await;
        log_in(&mut next).await;
        next.send(&resume(&id, 0)).await;
        let answer = next.receive().await;
        assert!(answer.contains("<resumed"), "{answer}");
        sockets.push(next);
    }
}
