//! `[websocket] early`: what the browser is going to ask for is there before it has asked.

use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::websocket::Socket;

#[tokio::test]
async fn each_open_is_answered_once_and_before_it_has_come() {
    let (_prosody, proxy) = before("").await;
    let mut socket = Socket::open(&proxy, Some(&session_cookie("bob"))).await;

    assert!(socket.receive().await.starts_with("<open "));
    assert!(socket.receive().await.contains("EXTERNAL"));
    socket.send(OPEN).await;
    assert!(socket.auth("EXTERNAL", "bob@xmpp.localhost").await.contains("<success"));
    assert!(socket.receive().await.starts_with("<open "));
    assert!(socket.receive().await.contains("urn:ietf:params:xml:ns:xmpp-bind"));
    socket.send(OPEN).await;

    let jid = socket.bind().await;
    assert!(jid.starts_with("bob@xmpp.localhost/"), "{jid}");
    socket.send(&crate::message(&jid, "myself")).await;
    let next = socket.receive().await;
    assert!(next.contains("myself"), "nothing stands between: {next}");
}

#[tokio::test]
async fn browser_that_opens_no_stream_gets_no_further() {
    let (_prosody, proxy) = before("").await;
    let mut socket = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    socket.receive_with("EXTERNAL").await;

    let answer = socket.auth("EXTERNAL", "bob@xmpp.localhost").await;

    assert!(answer.contains("stream:error") && answer.contains("bad-format"), "{answer}");
}

#[tokio::test]
async fn visitor_who_may_not_enter_is_told_so_all_the_same() {
    let (_prosody, proxy) = before("without_session = 'refuse'\n").await;
    let mut socket = Socket::open(&proxy, None).await;
    socket.receive_with("EXTERNAL").await;
    socket.send(OPEN).await;

    let answer = socket.auth("EXTERNAL", "bob@xmpp.localhost").await;

    assert!(answer.contains("not-authorized"), "{answer}");
}

async fn before(more: &str) -> (Prosody, Proxy) {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, more);
    let proxy = Proxy::with(&format!("[websocket]\nearly = true\n{site}")).await;
    (prosody, proxy)
}

const OPEN: &str =
    "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='xmpp.localhost' version='1.0'/>";
