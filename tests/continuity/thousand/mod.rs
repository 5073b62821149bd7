//! A thousand numbered messages there and back, while the connection breaks again and again: each is heard once, and in order.

mod talker;

use crate::support::edge::Edge;
use crate::support::gateway::JWT_SECRET;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::site::Server;
use crate::thousand::talker::Talker;

#[tokio::test]
async fn member_hears_a_thousand_messages_once_while_his_network_breaks_before_prosody() {
    a_thousand(Server::prosody().await, Who::Member, Trouble::NetworkBreaks).await;
}

#[tokio::test]
async fn member_hears_a_thousand_messages_once_while_his_network_breaks_before_ejabberd() {
    a_thousand(Server::ejabberd().await, Who::Member, Trouble::NetworkBreaks).await;
}

#[tokio::test]
async fn member_hears_a_thousand_messages_once_while_the_edge_is_killed_before_prosody() {
    a_thousand(Server::prosody().await, Who::Member, Trouble::EdgeIsKilled).await;
}

#[tokio::test]
async fn member_hears_a_thousand_messages_once_while_the_edge_is_killed_before_ejabberd() {
    a_thousand(Server::ejabberd().await, Who::Member, Trouble::EdgeIsKilled).await;
}

#[tokio::test]
async fn guest_with_a_pass_hears_a_thousand_messages_once_while_his_network_breaks_before_prosody()
{
    a_thousand(Server::prosody().await, Who::GuestWithPass, Trouble::NetworkBreaks).await;
}

#[tokio::test]
async fn guest_with_a_pass_hears_a_thousand_messages_once_while_his_network_breaks_before_ejabberd()
{
    a_thousand(Server::ejabberd().await, Who::GuestWithPass, Trouble::NetworkBreaks).await;
}

#[tokio::test]
async fn guest_with_a_pass_hears_a_thousand_messages_once_while_the_edge_is_killed_before_prosody()
{
    a_thousand(Server::prosody().await, Who::GuestWithPass, Trouble::EdgeIsKilled).await;
}

#[tokio::test]
async fn guest_with_a_pass_hears_a_thousand_messages_once_while_the_edge_is_killed_before_ejabberd()
{
    a_thousand(Server::ejabberd().await, Who::GuestWithPass, Trouble::EdgeIsKilled).await;
}

#[tokio::test]
async fn guest_whom_prosody_would_forget_hears_a_thousand_messages_once_while_his_network_breaks() {
    a_thousand(Server::prosody().await, Who::AnonymousGuest, Trouble::NetworkBreaks).await;
}

#[tokio::test]
async fn guest_whom_ejabberd_would_forget_hears_a_thousand_messages_once_while_his_network_breaks()
{
    a_thousand(Server::ejabberd().await, Who::AnonymousGuest, Trouble::NetworkBreaks).await;
}

/// Who talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Member,
    /// For whom the server takes the edge's word, by a ticket or a token.
    GuestWithPass,
    /// Who has a new name with each login.
    AnonymousGuest,
}

/// What happens twenty times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    NetworkBreaks,
    /// By SIGKILL, and it is started again.
    EdgeIsKilled,
}

/// Says and hears all, and prints the row of docs/continuity.md.
#[expect(clippy::print_stdout, reason = "the row is for whoever asks to see it")]
async fn a_thousand(server: Server, who: Who, trouble: Trouble) {
    let settings = format!("[websocket]\nduplicate = '100ms'\n{}", site(&server, who));
    let mut edge = Box::pin(Edge::start(&settings)).await;
    let mut talker = Box::pin(Talker::arrive(&edge, who)).await;

    Box::pin(talker.talk(&mut edge, trouble)).await;

    talker.expect_each_once();
    let who = match who {
        Who::Member => "member",
        Who::GuestWithPass => "guest with a pass",
        Who::AnonymousGuest => "guest by ANONYMOUS",
    };
    let server = if matches!(server, Server::Prosody(_)) { "Prosody" } else { "ejabberd" };
    let trouble = if trouble == Trouble::EdgeIsKilled { "`kill -9`" } else { "the network breaks" };
    let unusable = talker.unusable();
    println!(
        "row: | {who} | to the letter | {server} | {trouble} | {MESSAGES} | 0 | 0 | {unusable} | yes | yes |"
    );
}

/// The site before this server, with guests of this kind.
fn site(server: &Server, who: Who) -> String {
    let (upstream, pass) = (server.address(), server.pass());
    let anonymous = "pass = 'anonymous'".to_owned();
    let (guests, pass_of_guests) =
        if who == Who::AnonymousGuest { (ANONYMOUS, &anonymous) } else { (GUESTS, &pass) };
    format!(
        "[[site]]\nhosts = ['localhost']\nrooms = 'conference.localhost'\n\
         [site.registered]\ndomain = '{MEMBERS}'\nupstream = '{upstream}'\n{pass}\n\
         [site.guests]\ndomain = '{guests}'\nupstream = '{upstream}'\n{pass_of_guests}\n\
         [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n"
    )
}

const MESSAGES: u32 = 1000;
const TROUBLES: u32 = 20;
