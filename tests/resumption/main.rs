//! What becomes of a BOSH session whose connection to the server breaks, and of what its browser never got.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod broken;
mod liars;
mod returned;
mod vanished;

use std::time::Duration;

use tokio::time::timeout;

use crate::support::bosh::Answer;
use crate::support::bosh::Browser;
use crate::support::bosh::Session;
use crate::support::bosh::attribute;
use crate::support::forwarder::Forwarder;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::tickets;
use crate::support::xmpp::Client;

/// The edge before `prosody`, to which it comes through the forwarder; with these settings.
async fn through(prosody: &Prosody, settings: &str) -> (Proxy, Forwarder) {
    let forwarder = Forwarder::to(prosody.address()).await;
    let site = Proxy::site(prosody, GUESTS, "");
    let (direct, way) = (prosody.address().to_string(), forwarder.address().to_string());
    let proxy = Proxy::with(&format!("{settings}\n{}", site.replace(&direct, &way))).await;
    (proxy, forwarder)
}

async fn member(proxy: &Proxy, name: &str) -> Session {
    Browser::new(proxy, Some(session_cookie(name))).prebind().await
}

/// Bob with his page open, available.
async fn bob(proxy: &Proxy) -> Session {
    let mut bob = member(proxy, "bob").await;
    bob.exchange("<presence xmlns='jabber:client'/>", &["<presence"]).await;
    bob
}

/// A friend with a client of her own, straight at the server.
async fn carol(prosody: &Prosody) -> Client {
    let (mut carol, _) = tickets::sign_in(prosody, "xmpp.localhost", "carol").await;
    carol.send("<presence/>").await;
    carol.answered_ping().await;
    carol
}

fn message(to: &str, text: &str) -> String {
    format!(
        "<message xmlns='jabber:client' to='{to}' id='{text}' type='chat'><body>{text}</body></message>"
    )
}

fn is_terminate(answer: &Answer, condition: &str) -> bool {
    let told = |name| attribute(&answer.body, name).unwrap_or_default();
    answer.status == 200 && told("type") == "terminate" && told("condition") == condition
}

/// Asks for more until the session ends, and gives the last answer.
async fn last(session: &mut Session) -> Answer {
    let ended = async {
        loop {
            let answer = session.send("").await;
            if answer.body.contains("type='terminate'") {
                return answer;
            }
        }
    };
    timeout(PATIENCE, ended).await.unwrap()
}

/// Waits until the edge counts so many streams that went on or did not.
async fn counted(proxy: &Proxy, outcome: &str, times: usize) {
    says(proxy, &format!("upstream_resumes_total{{outcome=\"{outcome}\"}} {times}")).await;
}

/// Waits until the edge has reached a bound so often.
async fn is_reached(proxy: &Proxy, bound: &str, times: usize) {
    says(proxy, &format!("bounds_reached_total{{bound=\"{bound}\"}} {times}")).await;
}

/// Waits until the counters say this.
async fn says(proxy: &Proxy, counter: &str) {
    let line = format!("vestibule_{counter}\n");
    let waited = async {
        while !proxy.metrics().await.contains(&line) {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, waited).await.is_ok(), "no {line} in {}", proxy.metrics().await);
}

/// How often each of these is in a text, in the order of their first places.
fn texts(heard: &str, prefix: &str) -> Vec<usize> {
    let bodies = heard.split("<body>").skip(1).filter_map(|rest| rest.split('<').next());
    bodies.filter_map(|body| body.strip_prefix(prefix)?.parse().ok()).collect()
}

const PATIENCE: Duration = Duration::from_secs(60);
