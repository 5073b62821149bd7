//! The row "a bound is reached".

use super::assert_closed;
use super::assert_error;
use super::assert_shutdown_behind_the_101;
use super::bob;
use crate::before;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::websocket::Socket;

#[tokio::test]
async fn bound_on_the_sessions_of_a_visitor_is_429_before_the_101_and_none_when_one_has_left() {
    let prosody = Prosody::start().await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[sessions]\nper_visitor = 1\n{sites}")).await;
    let cookie = session_cookie("bob");
    let headers = [("origin", ORIGIN), ("cookie", cookie.as_str())];
    let mut first = bob(&proxy).await;
    first.sign_in("bob@xmpp.localhost").await;

    let second = Socket::try_open(&proxy, &headers).await;
    first.send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>").await;
    assert_closed(&mut first).await;

    assert_eq!(second.unwrap_err(), 429);
    // The place is free a moment after the connection is.
    while let Err(status) = Socket::try_open(&proxy, &headers).await {
        assert_eq!(status, 429);
    }
}

#[tokio::test]
async fn bound_on_the_bytes_of_a_stanza_is_policy_violation() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).await;
    bob.sign_in("bob@xmpp.localhost").await;

    let text = "x".repeat(300_000);
    bob.send(&format!("<message xmlns='jabber:client'><body>{text}</body></message>")).await;

    assert_error(&bob.receive().await, "policy-violation", "too large");
    assert_closed(&mut bob).await;
}

#[tokio::test]
async fn bound_on_browsers_that_wait_for_a_scripted_server_is_system_shutdown_at_once() {
    let server = Server::start(Script::Until(Moment::Accepted, Trouble::Hangs)).await;
    let proxy =
        before(&server, "[upstream]\nwaiting = 1\nsign_ins = 1\nsign_in = '60s'\nhold = '60s'\n")
            .await;
    let cookie = session_cookie("bob");
    let first = Socket::open(&proxy, Some(&cookie)).await;
    server.has_seen(|seen| seen.connections == 1).await;

    assert_shutdown_behind_the_101(&proxy, Some(&cookie), "crowded").await;

    drop(first);
    server.has_seen(|seen| seen.gone == 1).await;
}
