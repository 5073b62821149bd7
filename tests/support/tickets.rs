//! Tickets as Vestibule mints them, and what Prosody says to them.

use std::time::Duration;
use std::time::SystemTime;

use aws_lc_rs::rand;
use vestibule::pass::ticket::Mint;
use vestibule::secret::Secret;

use crate::support::prosody::Prosody;
use crate::support::xmpp::Answer;
use crate::support::xmpp::Client;
use crate::support::xmpp::SUCCESS;
use crate::support::xmpp::failure;
use crate::support::xmpp::plain;

/// A good ticket.
pub(crate) fn ticket(domain: &str, username: &str) -> String {
    mint().mint(username, domain, SystemTime::now(), nonce())
}

/// Makes good tickets.
pub(crate) fn mint() -> Mint {
    mint_with(&Prosody::secret(), LIFETIME)
}

/// Makes tickets that may not be good.
pub(crate) fn mint_with(secret: &Secret, lifetime: Duration) -> Mint {
    Mint::new(secret, lifetime)
}

/// Sixteen random bytes.
pub(crate) fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).expect("the system has random bytes");
    nonce
}

/// Signs in with a good ticket and binds; gives the full JID too.
pub(crate) async fn sign_in(prosody: &Prosody, domain: &str, username: &str) -> (Client, String) {
    let mut client = Client::connect(prosody.address()).await;
    client.open(domain).await;
    let answer =
        client.authenticate("PLAIN", &plain("", username, &ticket(domain, username))).await;
    assert_eq!(answer, SUCCESS);
    let jid = client.bind().await;
    (client, jid)
}

/// Shows a ticket on a connection of its own.
pub(crate) async fn show(prosody: &Prosody, domain: &str, username: &str, ticket: &str) -> Answer {
    let mut client = Client::connect(prosody.address()).await;
    client.open(domain).await;
    client.authenticate("PLAIN", &plain("", username, ticket)).await
}

/// Shows a ticket that is refused: without a reason to the client, with this one in the log.
pub(crate) async fn refused(
    prosody: &Prosody,
    domain: &str,
    username: &str,
    ticket: &str,
    reason: &str,
) {
    let answer = show(prosody, domain, username, ticket).await;
    assert_eq!(answer, failure("not-authorized"));
    let name = format!("{}@{domain}", username.to_lowercase());
    prosody.logged(&["auth_vestibule", "info", "Refused a ticket for", &name, reason]).await;
}

/// How long a good ticket is good.
pub(crate) const LIFETIME: Duration = Duration::from_secs(10);
