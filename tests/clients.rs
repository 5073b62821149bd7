//! Clients that are not Converse.js, in Node, with the cookie of a member of the demo site, before a real Prosody.

mod support;

use crate::support::site::Site;

#[tokio::test]
async fn stanza_signs_in_by_websocket_with_its_own_external() {
    let site = Site::start().await;
    let cookie = site.signed_in("bob").await;
    site.visited_by("node/stanza-websocket.mjs", &[&cookie]).await;
}

#[tokio::test]
async fn stanza_signs_in_by_bosh_with_its_own_external() {
    let site = Site::start().await;
    let cookie = site.signed_in("bob").await;
    site.visited_by("node/stanza-bosh.mjs", &[&cookie]).await;
}

#[tokio::test]
async fn strophe_signs_in_by_websocket_with_its_own_external() {
    let site = Site::start().await;
    let cookie = site.signed_in("bob").await;
    site.visited_by("node/strophe-websocket.mjs", &[&cookie]).await;
}

#[tokio::test]
async fn the_demo_site_keeps_what_it_says_of_its_sessions() {
    Site::start().await.visited_by("node/demo-site.mjs", &[]).await;
}
