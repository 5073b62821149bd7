//! Prosody with our module: who is let in with a ticket, and who is not.

mod support;

use std::time::Duration;
use std::time::SystemTime;

use aws_lc_rs::rand;
use vestibule::pass::ticket::Mint;
use vestibule::secret::Secret;

use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::scram;
use crate::support::xmpp::Answer;
use crate::support::xmpp::Client;
use crate::support::xmpp::plain;

#[tokio::test]
async fn bob_signs_in_by_ticket_and_talks() {
    let prosody = Prosody::start().await;

    let (mut bob, jid) = sign_in(&prosody, MEMBERS, "bob").await;
    bob.send(&format!("<message to='{jid}' id='m1'><body>hello, me</body></message>")).await;
    let message = bob.read_until(&["</message>"]).await;

    assert!(jid.starts_with("bob@xmpp.localhost/"), "{jid}");
    assert!(message.contains("<body>hello, me</body>"), "{message}");
}

/// Signs in with a fresh ticket and binds; gives the full JID too.
async fn sign_in(prosody: &Prosody, domain: &str, username: &str) -> (Client, String) {
    let answer = show(prosody, domain, username, &ticket(domain, username)).await;
    let (mut client, answer) = answer;
    assert_eq!(answer, SUCCESS);
    let jid = client.bind().await;
    (client, jid)
}

/// Shows a ticket on a new connection.
async fn show(prosody: &Prosody, domain: &str, username: &str, ticket: &str) -> (Client, Answer) {
    let mut client = Client::connect(prosody.address()).await;
    client.open(domain).await;
    let answer = client.authenticate("PLAIN", &plain("", username, ticket)).await;
    (client, answer)
}

fn ticket(domain: &str, username: &str) -> String {
    mint().mint(username, domain, SystemTime::now(), nonce())
}

fn mint() -> Mint {
    Mint::new(&Prosody::secret(), Duration::from_secs(10))
}

fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).unwrap();
    nonce
}

const SUCCESS: Answer = Answer::Success(Vec::new());
