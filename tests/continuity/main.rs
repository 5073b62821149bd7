//! A conversation by WebSocket that lives on: over page loads, networks and tabs, before a real Prosody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod anonymous;
mod clients;
mod duplicated;
mod early;
mod page_load;
mod rechecked;
mod revoked;
mod thousand;

use crate::support::gateway::Proxy;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::tickets::ticket;
use crate::support::websocket::Socket;
use crate::support::xmpp::Client;
use crate::support::xmpp::SUCCESS;
use crate::support::xmpp::plain;

/// Turns stream management on; the id to come back with.
async fn enable(socket: &mut Socket) -> String {
    socket.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let enabled = socket.receive_with("<enabled").await;
    // Each server has its own quotes.
    let enabled = enabled.replace('"', "'");
    enabled.split("id='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
}

/// Bob on a new socket, before he has said which stream is his.
async fn signed_in(proxy: &Proxy, cookie: &str) -> Socket {
    signed_in_as(proxy, ("bob@xmpp.localhost", cookie)).await
}

/// The same for anybody, by his cookie.
async fn signed_in_as(proxy: &Proxy, (jid, cookie): (&str, &str)) -> Socket {
    let mut socket = Socket::open(proxy, Some(cookie)).await;
    socket.open_stream("xmpp.localhost").await;
    socket.auth("EXTERNAL", jid).await;
    socket.open_stream("xmpp.localhost").await;
    socket
}

fn resume(id: &str, h: u32) -> String {
    format!("<resume xmlns='urn:xmpp:sm:3' h='{h}' previd='{id}'/>")
}

fn message(to: &str, text: &str) -> String {
    format!(
        "<message xmlns='jabber:client' to='{to}' id='{text}' type='chat'><body>{text}</body></message>"
    )
}

/// Whether the figures are for docs/continuity.md: scripts/continuity.
fn is_whole() -> bool {
    std::env::var("CONTINUITY").is_ok_and(|how| how == "whole")
}

/// Alice at the server itself.
async fn alice(prosody: &Prosody) -> (Client, String) {
    let mut alice = Client::connect(prosody.address()).await;
    let ticket = ticket(MEMBERS, "alice");
    let answer = alice.open_and_authenticate(MEMBERS, "PLAIN", &plain("", "alice", &ticket)).await;
    assert_eq!(answer, SUCCESS);
    let jid = alice.bind().await;
    (alice, jid)
}
