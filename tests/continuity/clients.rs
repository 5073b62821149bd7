//! strophe.js and @xmpp/client in Node and Converse.js in Chromium, who talk with somebody at the server itself while there is trouble.

use crate::is_whole;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::GUESTS;
use crate::support::site::Server;
use crate::support::stage::Stage;

#[tokio::test]
async fn member_by_strophe_loses_and_doubles_nothing_whatever_happens() {
    whatever_happens(&STROPHE, "member", (Before::Prosody, IN_NODE)).await;
}

#[tokio::test]
async fn guest_with_a_pass_by_strophe_loses_and_doubles_nothing_whatever_happens() {
    whatever_happens(&STROPHE, "guest", (Before::Ejabberd, IN_NODE)).await;
}

#[tokio::test]
async fn guest_by_anonymous_by_strophe_loses_and_doubles_nothing_while_the_edge_lives() {
    whatever_happens(&STROPHE, "anonymous", (Before::Prosody, IN_NODE)).await;
}

#[tokio::test]
async fn member_by_xmpp_js_loses_and_doubles_nothing_whatever_happens() {
    whatever_happens(&XMPP_JS, "member", (Before::Ejabberd, IN_NODE)).await;
}

#[tokio::test]
async fn guest_with_a_pass_by_xmpp_js_loses_and_doubles_nothing_whatever_happens() {
    whatever_happens(&XMPP_JS, "guest", (Before::Prosody, IN_NODE)).await;
}

#[tokio::test]
async fn guest_by_anonymous_by_xmpp_js_loses_and_doubles_nothing_while_the_edge_lives() {
    whatever_happens(&XMPP_JS, "anonymous", (Before::Ejabberd, IN_NODE)).await;
}

#[tokio::test]
async fn member_by_converse_loses_and_doubles_nothing_whatever_happens() {
    whatever_happens(&CONVERSE, "member", (Before::Prosody, IN_CHROMIUM)).await;
}

#[tokio::test]
async fn guest_with_a_pass_by_converse_loses_and_doubles_nothing_over_page_loads() {
    whatever_happens(&CONVERSE, "guest", (Before::Ejabberd, &["reload"])).await;
}

#[tokio::test]
async fn guest_by_anonymous_by_converse_loses_and_doubles_nothing_while_the_edge_lives() {
    whatever_happens(&CONVERSE, "anonymous", (Before::Prosody, &["breaks", "killed"])).await;
}

/// What somebody talks with.
struct Client {
    script: &'static str,
    /// How many messages go each way, every day: a browser is slower.
    messages: &'static str,
    troubles: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Prosody,
    Ejabberd,
}

/// Every day before one server; for docs/continuity.md before both, and more of it.
async fn whatever_happens(client: &Client, who: &str, (before, troubles): (Before, &[&str])) {
    if !is_whole() {
        for trouble in troubles {
            Box::pin(talk(client, who, before, trouble)).await;
        }
        return;
    }
    for trouble in client.troubles {
        for before in [Before::Prosody, Before::Ejabberd] {
            Box::pin(talk(client, who, before, trouble)).await;
        }
    }
}

async fn talk(client: &Client, who: &str, before: Before, trouble: &str) {
    let (server, name) = match before {
        Before::Prosody => (Server::prosody().await, "Prosody"),
        Before::Ejabberd => (Server::ejabberd().await, "ejabberd"),
    };
    let settings = if is_whole() { "" } else { "[websocket]\nduplicate = '100ms'\n" };
    let guests = if who == "anonymous" { ANONYMOUS } else { GUESTS };
    let mut stage = Box::pin(Stage::before(server, guests, settings)).await;
    let arguments = [who, name, trouble, client.messages];
    show_rows(&Box::pin(stage.seen_by(client.script, &arguments)).await);
}

/// Shows the rows of the table to whoever asks to see them.
#[expect(clippy::print_stdout, reason = "they are for whoever asks to see them")]
fn show_rows(story: &[String]) {
    for row in story.iter().filter(|line| line.starts_with("row: ")) {
        println!("{row}");
    }
}

const STROPHE: Client =
    Client { script: "node/thousand-strophe.mjs", messages: "200", troubles: IN_NODE };
const XMPP_JS: Client =
    Client { script: "node/thousand-xmpp-client.mjs", messages: "200", troubles: IN_NODE };
const CONVERSE: Client =
    Client { script: "browser/thousand.mjs", messages: "50", troubles: IN_CHROMIUM };
/// What happens, again and again.
const IN_NODE: &[&str] = &["reload", "breaks", "changes", "killed"];
const IN_CHROMIUM: &[&str] = &["reload", "breaks", "killed"];
