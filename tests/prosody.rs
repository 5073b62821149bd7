//! Prosody with our module: accounts, guests, native clients beside it, and the room where all of them meet.

mod support;

use std::fs;

use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::prosody::ROOMS;
use crate::support::scram;
use crate::support::tickets::show;
use crate::support::tickets::sign_in;
use crate::support::tickets::ticket;
use crate::support::xmpp::Answer;
use crate::support::xmpp::Client;
use crate::support::xmpp::SUCCESS;
use crate::support::xmpp::failure;
use crate::support::xmpp::plain;

#[tokio::test]
async fn account_is_made_at_the_first_sign_in_and_keeps_messages() {
    let prosody = Prosody::start().await;
    let (bob, _) = sign_in(&prosody, MEMBERS, "bob").await;
    prosody.logged(&["auth_vestibule", "info", "Made an account for bob@xmpp.localhost"]).await;
    assert!(prosody.has_account(MEMBERS, "bob"));
    leave(bob).await;

    let (mut alice, _) = sign_in(&prosody, MEMBERS, "alice").await;
    alice.send(&to("bob@xmpp.localhost", "for later")).await;
    alice.answered_ping().await;
    let (mut bob, _) = sign_in(&prosody, MEMBERS, "bob").await;
    bob.send("<presence/>").await;
    let message = bob.read_until(&["</message>"]).await;

    assert!(message.contains("for later") && message.contains("urn:xmpp:delay"), "{message}");
}

#[tokio::test]
async fn without_accounts_a_message_to_somebody_absent_comes_back() {
    let prosody =
        Prosody::start_with(&format!("{ON_MEMBERS} vestibule_create_accounts = false")).await;
    let (bob, _) = sign_in(&prosody, MEMBERS, "bob").await;
    leave(bob).await;

    let (mut alice, _) = sign_in(&prosody, MEMBERS, "alice").await;
    alice.send(&to("bob@xmpp.localhost", "for later")).await;
    let answer = alice.read_until(&["</message>"]).await;

    assert!(answer.contains("service-unavailable"), "{answer}");
    assert!(!prosody.has_account(MEMBERS, "bob"));
}

#[tokio::test]
async fn message_to_a_name_that_never_was_comes_back() {
    let prosody = Prosody::start().await;
    let (mut alice, _) = sign_in(&prosody, MEMBERS, "alice").await;

    for nobody in ["nobody@xmpp.localhost", "guest-0123@guest.localhost"] {
        alice.send(&to(nobody, "hello?")).await;
        let answer = alice.read_until(&["</message>"]).await;
        assert!(answer.contains("service-unavailable"), "{answer}");
    }
}

#[tokio::test]
async fn ticket_signs_in_to_an_account_that_has_a_password() {
    let prosody = Prosody::start().await;
    prosody.add_account(MEMBERS, "bob", "bob's own password");

    sign_in(&prosody, MEMBERS, "bob").await;

    assert!(matches!(
        sign_in_by_scram(&prosody, "bob", "bob's own password").await,
        Answer::Success(_)
    ));
}

#[tokio::test]
async fn native_client_signs_in_by_scram_beside_the_tickets() {
    let prosody = Prosody::start().await;
    prosody.add_account(MEMBERS, "bob", "bob's own password");

    let right = sign_in_by_scram(&prosody, "bob", "bob's own password").await;
    let wrong = sign_in_by_scram(&prosody, "bob", "a guess").await;

    assert!(matches!(right, Answer::Success(_)), "{right:?}");
    assert_eq!(wrong, failure("not-authorized"));
}

#[tokio::test]
async fn native_client_signs_in_by_plain_where_the_server_allows_it() {
    let prosody = Prosody::start_with("allow_unencrypted_plain_auth = true").await;
    prosody.add_account(MEMBERS, "bob", "bob's own password");

    assert_eq!(show(&prosody, MEMBERS, "bob", "bob's own password").await, SUCCESS);
    assert_eq!(show(&prosody, MEMBERS, "bob", "a guess").await, failure("not-authorized"));
    assert_eq!(show(&prosody, MEMBERS, "bob", &ticket(MEMBERS, "bob")).await, SUCCESS);
}

#[tokio::test]
async fn password_without_tls_is_refused_where_a_ticket_is_not() {
    let prosody = Prosody::start().await;
    prosody.add_account(MEMBERS, "bob", "bob's own password");

    let password = show(&prosody, MEMBERS, "bob", "bob's own password").await;

    assert_eq!(password, failure("encryption-required"));
    assert_eq!(show(&prosody, MEMBERS, "bob", &ticket(MEMBERS, "bob")).await, SUCCESS);
}

#[tokio::test]
async fn server_that_requires_tls_offers_loopback_tickets_alone_without() {
    let prosody = Prosody::start_with(&format!("{ON_MEMBERS} c2s_require_encryption = true")).await;
    prosody.add_account(MEMBERS, "bob", "bob's own password");
    let mut client = Client::connect(prosody.address()).await;

    let features = client.open(MEMBERS).await;
    let by_scram = client.authenticate("SCRAM-SHA-1", b"n,,n=bob,r=nonce").await;
    let by_ticket = client.authenticate("PLAIN", &plain("", "bob", &ticket(MEMBERS, "bob"))).await;

    assert_eq!(features.matches("<mechanism>").count(), 1, "{features}");
    assert!(features.contains("<mechanism>PLAIN</mechanism>"), "{features}");
    assert_eq!(by_scram, failure("encryption-required"));
    assert_eq!(by_ticket, SUCCESS);
}

#[tokio::test]
async fn ticket_without_tls_is_refused_from_elsewhere() {
    let elsewhere = "vestibule_unencrypted_addresses = { '192.0.2.1' }";
    let prosody = Prosody::start_with(&format!("{ON_MEMBERS} {elsewhere}")).await;
    let mut client = Client::connect(prosody.address()).await;

    let features = client.open(MEMBERS).await;
    let by_ticket = client.authenticate("PLAIN", &plain("", "bob", &ticket(MEMBERS, "bob"))).await;

    assert!(!features.contains("PLAIN"), "{features}");
    assert_eq!(by_ticket, failure("encryption-required"));
}

#[tokio::test]
async fn guest_with_a_ticket_has_a_name_that_stays_and_leaves_nothing_on_disk() {
    let prosody = Prosody::start().await;
    let name = "guest-0123456789abcdef0123";

    let (mut guest, first) = sign_in(&prosody, GUESTS, name).await;
    guest.send(ROSTER_AND_VCARD).await;
    guest.read_until(&["id='vcard'", "id=\"vcard\""]).await;
    guest.answered_ping().await;
    leave(guest).await;
    let (_, second) = sign_in(&prosody, GUESTS, name).await;

    let bare = |jid: &str| jid.split('/').next().map(str::to_owned);
    assert_eq!(bare(&first), Some(format!("{name}@guest.localhost")));
    assert_eq!(bare(&first), bare(&second));
    assert!(!prosody.keeps_anything_of(GUESTS));
    // The test can tell: members do leave something.
    sign_in(&prosody, MEMBERS, "bob").await;
    assert!(prosody.keeps_anything_of(MEMBERS));
}

#[tokio::test]
async fn guest_host_takes_no_password() {
    let prosody = Prosody::start_with("allow_unencrypted_plain_auth = true").await;
    let mut client = Client::connect(prosody.address()).await;

    let features = client.open(GUESTS).await;
    let answer =
        client.authenticate("PLAIN", &plain("", "guest-0123456789abcdef0123", "password")).await;

    assert_eq!(features.matches("<mechanism>").count(), 1, "{features}");
    assert_eq!(answer, failure("not-authorized"));
}

#[tokio::test]
async fn member_and_both_kinds_of_guests_meet_in_a_room() {
    let prosody = Prosody::start().await;
    let (mut bob, _) = sign_in(&prosody, MEMBERS, "bob").await;
    let (mut guest, _) = sign_in(&prosody, GUESTS, "guest-0123456789abcdef0123").await;
    let mut nameless = Client::connect(prosody.address()).await;
    nameless.open(ANONYMOUS).await;
    assert_eq!(nameless.authenticate("ANONYMOUS", b"").await, SUCCESS);
    nameless.bind().await;

    for (client, nick) in [(&mut bob, "bob"), (&mut guest, "guest"), (&mut nameless, "nameless")] {
        client
            .send(&format!("<presence to='lobby@{ROOMS}/{nick}'><x xmlns='{MUC}'/></presence>"))
            .await;
        // The subject ends what a room says to who enters (XEP-0045 §7.2.15).
        client.read_until(&["<subject/>", "</subject>"]).await;
    }
    bob.send(&format!(
        "<message type='groupchat' to='lobby@{ROOMS}'><body>hello, all</body></message>"
    ))
    .await;

    for client in [&mut guest, &mut nameless] {
        let message = client.read_until(&["hello, all"]).await;
        assert!(message.contains(&format!("lobby@{ROOMS}/bob")), "{message}");
    }
}

#[tokio::test]
async fn configuration_of_the_documentation_works() {
    let documentation =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/prosody.md")).unwrap();
    let blocks =
        documentation.split("```lua\n").skip(1).filter_map(|rest| rest.split("```").next());
    let configuration: String = blocks.collect();
    // Unlike the demo's server, that of a reader reaches other servers.
    let reachable = "modules_disabled = {} s2s_ports = {}\n";

    let prosody = Prosody::start_with(&(reachable.to_owned() + &configuration)).await;
    let (mut guest, _) = sign_in(&prosody, "guest.example.org", "guest-0123456789abcdef0123").await;
    let (_, bob) = sign_in(&prosody, "xmpp.example.org", "bob").await;

    assert!(bob.starts_with("bob@xmpp.example.org/"), "{bob}");
    guest.send(&to("somebody@remote.example", "hello?")).await;
    let answer = guest.read_until(&["</message>"]).await;
    assert!(answer.contains("Communication with remote domains is not enabled"), "{answer}");
    guest.send(&to(&bob, "hello, Bob")).await;
    guest
        .send(&format!(
            "<presence to='room@conference.example.org/guest'><x xmlns='{MUC}'/></presence>"
        ))
        .await;
    guest.read_until(&["<subject/>", "</subject>"]).await;
    assert!(!prosody.keeps_anything_of("guest.example.org"));
    assert!(prosody.has_account("xmpp.example.org", "bob"));
}

async fn sign_in_by_scram(prosody: &Prosody, username: &str, password: &str) -> Answer {
    let mut client = Client::connect(prosody.address()).await;
    client.open(MEMBERS).await;
    scram::sign_in(&mut client, username, password).await
}

/// Ends the stream, and waits until the server has ended it too.
async fn leave(mut client: Client) {
    client.send("</stream:stream>").await;
    client.read_until(&["</stream:stream>"]).await;
}

fn to(jid: &str, text: &str) -> String {
    format!("<message to='{jid}' type='chat'><body>{text}</body></message>")
}

const ON_MEMBERS: &str = "VirtualHost 'xmpp.localhost'";

const MUC: &str = "http://jabber.org/protocol/muc";

const ROSTER_AND_VCARD: &str = "
    <iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>
    <iq type='set' id='item'><query xmlns='jabber:iq:roster'><item jid='bob@xmpp.localhost'/></query></iq>
    <presence/>
    <iq type='set' id='vcard'><vCard xmlns='vcard-temp'><FN>A guest</FN></vCard></iq>";
