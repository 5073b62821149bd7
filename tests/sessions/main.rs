//! Whose a session is, how it is ended from outside, and how many there may be: both transports before the real Prosody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bounds;
mod counted;
mod outage;
mod ownership;
mod revocation;
mod times;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use tokio::time::timeout;

use crate::support::bosh::Answer;
use crate::support::bosh::Browser;
use crate::support::bosh::attribute;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::websocket::Socket;

/// The proxy of the other tests, with other settings, behind a reverse proxy that says where browsers are.
async fn proxy(prosody: &Prosody, settings: &str) -> Proxy {
    let site = Proxy::site(prosody, GUESTS, "");
    Proxy::with(&format!("trusted_proxies = ['127.0.0.1']\n{settings}\n{site}")).await
}

fn bob(proxy: &Proxy) -> Browser {
    Browser::new(proxy, Some(session_cookie("bob")))
}

/// Bob by WebSocket, signed in.
async fn bob_by_websocket(proxy: &Proxy) -> Socket {
    let mut socket = Socket::open(proxy, Some(&session_cookie("bob"))).await;
    socket.sign_in("bob@xmpp.localhost").await;
    socket
}

fn is_terminate(answer: &Answer, condition: &str) -> bool {
    let told = |name| attribute(&answer.body, name).unwrap_or_default();
    answer.status == 200 && told("type") == "terminate" && told("condition") == condition
}

fn goes_on(answer: &Answer) -> bool {
    answer.status == 200 && !answer.body.contains("terminate")
}

/// The stream ends with this error, and `<close/>` behind it.
async fn assert_stream_error(socket: &mut Socket, condition: &str) {
    let error = socket.receive_with("stream:error").await;
    assert!(error.contains(condition), "{error}");
    assert!(socket.receive().await.starts_with("<close "));
}

/// Waits until the counters say this: a session is counted a moment after its browser knows that it is over.
async fn counted(proxy: &Proxy, counter: &str) {
    let all = async { while !proxy.metrics().await.contains(counter) {} };
    let in_time = timeout(PATIENCE, all).await;
    assert!(in_time.is_ok(), "no {counter} in\n{}", proxy.metrics().await);
}

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

fn reached(bound: &str, times: u32) -> String {
    format!("vestibule_bounds_reached_total{{bound=\"{bound}\"}} {times}\n")
}

/// A ping that upstream answers at once.
fn ping(id: &str) -> String {
    format!(
        "<iq xmlns='jabber:client' type='get' id='{id}' to='xmpp.localhost'><ping xmlns='urn:xmpp:ping'/></iq>"
    )
}

/// A message to all of Bob.
fn message_to_bob(length: usize) -> String {
    format!(
        "<message xmlns='jabber:client' to='bob@xmpp.localhost' type='chat'><body>{}</body></message>",
        "x".repeat(length)
    )
}
