//! Converse.js 14, unmodified, in Chromium, on the demo site, before a real Prosody.

mod support;

use crate::support::site::Site;

#[tokio::test]
async fn bob_and_alice_meet_in_the_lobby_by_websocket() {
    Site::start().await.visited_by("browser/meet.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_chat_working_by_websocket() {
    Site::start().await.visited_by("browser/reload.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_chat_working_on_a_page_that_names_only_the_domain() {
    Site::start().await.visited_by("browser/reload.mjs", &["websocket", "domain"]).await;
}

#[tokio::test]
async fn after_logout_a_reload_is_a_guest_and_after_login_it_is_bob_by_websocket() {
    Site::start().await.visited_by("browser/logout.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn bob_and_alice_meet_in_the_lobby_by_prebind() {
    Site::start().await.visited_by("browser/meet.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn bob_and_alice_meet_in_the_lobby_by_bosh() {
    Site::start().await.visited_by("browser/meet.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_chat_working_by_prebind() {
    Site::start().await.visited_by("browser/reload.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_chat_working_by_bosh() {
    Site::start().await.visited_by("browser/reload.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn after_logout_a_reload_is_a_guest_and_after_login_it_is_bob_by_prebind() {
    Site::start().await.visited_by("browser/logout.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn after_logout_a_reload_is_a_guest_and_after_login_it_is_bob_by_bosh() {
    Site::start().await.visited_by("browser/logout.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn whatever_fails_the_visitors_are_back_by_themselves_by_websocket() {
    Site::start().await.seen_by("browser/outages.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn whatever_fails_the_visitors_are_back_by_themselves_by_bosh() {
    Site::start().await.seen_by("browser/outages.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn whatever_fails_the_visitors_are_back_by_themselves_by_prebind() {
    Site::start().await.seen_by("browser/outages.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn signed_out_by_the_site_a_visitor_goes_on_as_the_site_says_by_websocket() {
    Site::start().await.seen_by("browser/revoked.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn page_of_another_origin_gets_nothing_by_websocket() {
    Site::start().await.seen_by("browser/strangers.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn signed_out_by_the_site_a_visitor_goes_on_as_the_site_says_by_prebind() {
    Site::start().await.seen_by("browser/revoked.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn signed_out_by_the_site_a_visitor_goes_on_as_the_site_says_by_bosh() {
    Site::start().await.seen_by("browser/revoked.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn page_of_another_origin_gets_nothing_by_prebind() {
    Site::start().await.seen_by("browser/strangers.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn page_of_another_origin_gets_nothing_by_bosh() {
    Site::start().await.seen_by("browser/strangers.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn where_there_is_no_place_a_visitor_is_let_in_when_there_is_one_by_websocket() {
    let mut site = Site::start_with(ONE_PLACE).await;
    site.seen_by("browser/crowded.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn where_there_is_no_place_a_visitor_is_let_in_when_there_is_one_by_bosh() {
    let mut site = Site::start_with(ONE_PLACE).await;
    site.seen_by("browser/crowded.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn where_there_is_no_place_a_visitor_is_let_in_when_there_is_one_by_prebind() {
    let mut site = Site::start_with(ONE_PLACE).await;
    site.seen_by("browser/crowded.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn page_that_was_held_in_vain_is_let_in_when_the_server_is_back_by_prebind() {
    let mut site = Site::start_with("[prebind]\nhold = '1s'\n[upstream]\nhold = '1s'\n").await;
    site.seen_by("browser/patience.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn where_guests_are_refused_a_visitor_sees_it_and_a_member_is_let_in_by_websocket() {
    Site::start_as("", REFUSE).await.visited_by("browser/refused.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn where_guests_are_refused_a_visitor_sees_it_and_a_member_is_let_in_by_bosh() {
    Site::start_as("", REFUSE).await.visited_by("browser/refused.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn where_guests_are_refused_a_visitor_sees_it_and_a_member_is_let_in_by_prebind() {
    Site::start_as("", REFUSE).await.visited_by("browser/refused.mjs", &["prebind"]).await;
}

/// Visitors whom the site does not know are not let in.
const REFUSE: &str = "without_session = 'refuse'";

/// A visitor has one session, and a tab that was closed is soon forgotten.
const ONE_PLACE: &str =
    "[sessions]\nper_visitor = 1\n[bosh]\ninactivity = '5s'\n[prebind]\nhold = '3s'\n";
