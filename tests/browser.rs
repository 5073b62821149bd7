//! Converse.js 14, unmodified, in Chromium, on the demo site, before a real Prosody.

mod support;

use crate::support::gateway::Proxy;
use crate::support::http::counted;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::prosody::free_address;
use crate::support::site::Server;
use crate::support::site::Site;
use crate::support::story::told;

#[tokio::test]
async fn bob_and_alice_meet_in_the_lobby_by_websocket() {
    Site::start().await.visited_by("browser/meet.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_chat_working_by_websocket() {
    Site::start().await.visited_by("browser/reload.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_chat_working_where_answers_come_before_they_are_asked_for() {
    let site = Site::start_with("[websocket]\nearly = true\n").await;
    site.visited_by("browser/reload.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_name_of_a_guest_whom_the_server_would_forget() {
    let site = Site::with_anonymous_guests("").await;
    site.visited_by("browser/reload.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_chat_working_where_messages_are_compressed() {
    let site = Site::start_with("[websocket]\ndeflate = true\n").await;
    site.visited_by("browser/reload.mjs", &["websocket"]).await;
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
async fn chats_share_the_page_s_connection_also_when_it_is_loaded_anew() {
    Site::start().await.seen_by("browser/shared.mjs", &["websocket"]).await;
}

#[tokio::test]
async fn the_site_s_own_websocket_shares_it_as_well() {
    let prosody = Prosody::start().await;
    let (at, backend) = (free_address(), free_address());
    let more =
        format!("origins = ['https://localhost:{}']\nbackend = 'http://{backend}'", at.port());
    let proxy = Proxy::at(at, &Proxy::site(&prosody, GUESTS, &more)).await;
    let (url, port) = (format!("https://localhost:{}", at.port()), backend.port().to_string());
    let arguments = [&url, "websocket", "member", &port];

    let grant = async |wish: &str| {
        assert_eq!(wish, "one connection carries it all");
        counted(&proxy, "vestibule_connections", 1).await;
    };
    told(("browser/own_websocket.mjs", &arguments), &proxy.certificate(), grant).await;
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

#[tokio::test]
async fn two_who_talk_hear_each_word_once_whatever_is_loaded_anew_before_prosody() {
    let mut site = Site::before(Server::prosody().await, "", "").await;
    site.seen_by("browser/talk.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn two_who_talk_hear_each_word_once_whatever_is_loaded_anew_before_ejabberd() {
    let mut site = Site::before(Server::ejabberd().await, "", "").await;
    site.seen_by("browser/talk.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn five_tabs_and_a_copy_of_one_have_sessions_of_their_own_by_prebind_before_prosody() {
    let mut site = Site::before(Server::prosody().await, "", "").await;
    site.seen_by("browser/tabs.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn five_tabs_and_a_copy_of_one_have_sessions_of_their_own_by_prebind_before_ejabberd() {
    let mut site = Site::before(Server::ejabberd().await, "", "").await;
    site.seen_by("browser/tabs.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn five_tabs_and_a_copy_of_one_have_sessions_of_their_own_by_bosh_before_prosody() {
    let mut site = Site::before(Server::prosody().await, "", "").await;
    site.seen_by("browser/tabs.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn five_tabs_and_a_copy_of_one_have_sessions_of_their_own_by_bosh_before_ejabberd() {
    let mut site = Site::before(Server::ejabberd().await, "", "").await;
    site.seen_by("browser/tabs.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn who_talks_through_a_bad_network_and_a_restart_hears_each_word_once_before_prosody() {
    let mut site = Site::before(Server::prosody().await, "", "").await;
    site.seen_by("browser/trouble.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn who_talks_through_a_bad_network_hears_each_word_once_without_stream_management() {
    let unmanaged = "[stream_management]\nbosh = false\n";
    let mut site = Site::before(Server::prosody().await, unmanaged, "").await;
    site.seen_by("browser/trouble.mjs", &["bosh", "member", "unmanaged"]).await;
}

#[tokio::test]
async fn who_talks_through_a_bad_network_and_a_restart_hears_each_word_once_before_ejabberd() {
    let mut site = Site::before(Server::ejabberd().await, "", "").await;
    site.seen_by("browser/trouble.mjs", &["prebind"]).await;
}

#[tokio::test]
async fn tab_in_the_background_hears_each_word_once_before_prosody() {
    let mut site = Site::before(Server::prosody().await, "", "").await;
    site.seen_by("browser/background.mjs", &["bosh"]).await;
}

#[tokio::test]
async fn tab_in_the_background_hears_each_word_once_before_ejabberd() {
    let mut site = Site::before(Server::ejabberd().await, "", "").await;
    site.seen_by("browser/background.mjs", &["prebind"]).await;
}

/// Visitors whom the site does not know are not let in.
const REFUSE: &str = "without_session = 'refuse'";

/// A visitor has one session, and a tab that was closed is soon forgotten.
const ONE_PLACE: &str =
    "[sessions]\nper_visitor = 1\n[bosh]\ninactivity = '5s'\n[prebind]\nhold = '3s'\n";
