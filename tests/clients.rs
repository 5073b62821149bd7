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
async fn xmpp_js_resumes_its_stream_by_websocket_with_an_external_that_it_is_given() {
    let site = Site::start().await;
    let cookie = site.signed_in("bob").await;
    site.visited_by("node/xmpp-client.mjs", &[&cookie]).await;
}

#[tokio::test]
async fn strophe_and_the_edge_compress_what_they_say_where_the_administrator_wants_it() {
    let site = Site::start_with("[websocket]\ndeflate = true\n").await;
    let cookie = site.signed_in("bob").await;
    site.visited_by("node/strophe-websocket.mjs", &[&cookie, "compressed"]).await;
}

#[tokio::test]
async fn strophe_takes_what_is_there_before_it_has_asked() {
    let site = Site::start_with("[websocket]\nearly = true\n").await;
    let cookie = site.signed_in("bob").await;
    site.visited_by("node/strophe-websocket.mjs", &[&cookie]).await;
}

#[tokio::test]
async fn the_demo_site_keeps_what_it_says_of_its_sessions() {
    Site::start().await.visited_by("node/demo-site.mjs", &[]).await;
}
