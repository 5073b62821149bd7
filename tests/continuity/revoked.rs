//! A member whom the site signs out everywhere.

use std::time::Instant;

use crate::signed_in;
use crate::support::bosh::Browser;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;

/// How long it takes is printed, for docs/continuity.md.
#[tokio::test]
async fn five_hundred_sessions_of_both_transports_end_at_a_word() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[sessions]\nper_visitor = 1000\n{site}")).await;
    let cookie = session_cookie("bob");
    let (mut sockets, mut sessions) = (Vec::new(), Vec::new());
    for _ in 0..250 {
        let mut socket = signed_in(&proxy, &cookie).await;
        socket.bind().await;
        sockets.push(socket);
        sessions.push(Browser::new(&proxy, Some(cookie.clone())).prebind().await);
    }

    let begun = Instant::now();
    let (status, ended) = proxy.revoke(r#"{"site": "localhost", "username": "bob"}"#).await;
    assert_eq!((status, ended.as_str()), (200, r#"{"ended":500}"#));
    for socket in &mut sockets {
        socket.receive_with("policy-violation").await;
    }
    let told = begun.elapsed();
    for session in &mut sessions {
        let answer = session.send("").await;
        assert!(answer.body.contains("item-not-found"), "{answer:?}");
    }

    println!("500 sessions ended; their sockets were told within {told:?}");
}
