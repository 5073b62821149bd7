//! Prosody with our module: what a member has of the server, with and without an account, and beside which authentication.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::SystemTime;

use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::scram;
use crate::support::tickets::mint;
use crate::support::tickets::nonce;
use crate::support::tickets::refused;
use crate::support::tickets::show;
use crate::support::tickets::sign_in;
use crate::support::tickets::ticket;
use crate::support::xmpp::Answer;
use crate::support::xmpp::Client;
use crate::support::xmpp::SUCCESS;
use crate::support::xmpp::failure;
use crate::support::xmpp::plain;

#[tokio::test]
async fn everything_that_a_member_keeps_on_the_server_works_with_and_without_an_account() {
    for (arrangement, has_account) in ARRANGEMENTS {
        let prosody = on_members(arrangement).await;
        let (mut bob, _) = sign_in(&prosody, MEMBERS, "bob").await;
        bob.send("<presence/>").await;

        for (stored, asked, content) in KEPT {
            let answer = ask(&mut bob, &format!("<iq type='set' id='asked'>{stored}</iq>")).await;
            assert!(answer.contains("type='result'"), "{arrangement}: {stored}: {answer}");
            let answer = ask(&mut bob, &format!("<iq type='get' id='asked'>{asked}</iq>")).await;
            assert!(answer.contains("type='result'"), "{arrangement}: {asked}: {answer}");
            assert!(answer.contains(content), "{arrangement}: {asked}: {answer}");
        }
        assert_eq!(prosody.has_account(MEMBERS, "bob"), has_account, "{arrangement}");
    }
}

#[tokio::test]
async fn profile_of_a_member_who_is_absent_is_shown_and_a_subscription_waits_for_the_next_sign_in()
{
    for (arrangement, _) in ARRANGEMENTS {
        let prosody = on_members(arrangement).await;
        let (mut bob, _) = sign_in(&prosody, MEMBERS, "bob").await;
        bob.send("<presence/>").await;
        for stored in [VCARD, NICK] {
            ask(&mut bob, &format!("<iq type='set' id='asked'>{stored}</iq>")).await;
        }
        bob.send("</stream:stream>").await;
        bob.read_until(&["</stream:stream>"]).await;

        let (mut alice, _) = sign_in(&prosody, MEMBERS, "alice").await;
        alice.send("<presence/><presence to='bob@xmpp.localhost' type='subscribe'/>").await;
        for (asked, content) in [(GET_VCARD, "Bob B."), (GET_NICK, "Bobby")] {
            let iq = format!("<iq type='get' id='asked' to='bob@xmpp.localhost'>{asked}</iq>");
            let answer = ask(&mut alice, &iq).await;
            assert!(answer.contains("type='result'"), "{arrangement}: {asked}: {answer}");
            assert!(answer.contains(content), "{arrangement}: {asked}: {answer}");
        }
        let (mut bob, _) = sign_in(&prosody, MEMBERS, "bob").await;
        bob.send("<presence/>").await;

        bob.read_until(&["type='subscribe'"]).await;
    }
}

#[tokio::test]
async fn member_for_whom_no_account_can_be_made_is_told_to_come_again() {
    let prosody = Prosody::start().await;
    // A file where the folder of accounts would be, which stops root too.
    let domain = prosody.folder().join("data/xmpp%2elocalhost");
    fs::create_dir_all(&domain).unwrap();
    fs::write(domain.join("accounts"), "").unwrap();

    let answer = show(&prosody, MEMBERS, "bob", &ticket(MEMBERS, "bob")).await;

    assert_eq!(answer, failure("temporary-auth-failure"));
    prosody.logged(&["error", "No account could be made for bob@xmpp.localhost"]).await;
    fs::remove_file(domain.join("accounts")).unwrap();
    fs::create_dir(domain.join("accounts")).unwrap();
    sign_in(&prosody, MEMBERS, "bob").await;
    assert!(prosody.has_account(MEMBERS, "bob"));
}

#[tokio::test]
async fn tickets_stand_beside_passwords_that_are_kept_in_plain() {
    let prosody = on_members("vestibule_fallback = 'internal_plain'").await;
    prosody.add_account(MEMBERS, "bob", "bob's own password");
    let account = prosody.folder().join("data/xmpp%2elocalhost/accounts/bob.dat");

    sign_in(&prosody, MEMBERS, "bob").await;
    let mut native = Client::connect(prosody.address()).await;
    native.open(MEMBERS).await;
    let right = scram::sign_in(&mut native, "bob", "bob's own password").await;
    let mut stranger = Client::connect(prosody.address()).await;
    stranger.open(MEMBERS).await;
    let wrong = scram::sign_in(&mut stranger, "bob", "a guess").await;

    assert!(matches!(right, Answer::Success(_)), "{right:?}");
    assert_eq!(wrong, failure("not-authorized"));
    // The other authentication would have hashed it.
    assert!(fs::read_to_string(account).unwrap().contains("bob's own password"));
    sign_in(&prosody, MEMBERS, "carol").await;
    assert!(prosody.has_account(MEMBERS, "carol"));
}

#[tokio::test]
async fn password_that_is_too_long_is_malformed_and_does_no_harm() {
    let prosody = Prosody::start_with("allow_unencrypted_plain_auth = true").await;
    prosody.add_account(MEMBERS, "bob", "bob's own password");
    let mut client = Client::connect(prosody.address()).await;
    client.open(MEMBERS).await;

    let too_long = client.authenticate("PLAIN", &plain("", "bob", &"p".repeat(1024))).await;
    let ticket = client.authenticate("PLAIN", &plain("", "bob", &ticket(MEMBERS, "bob"))).await;

    assert_eq!(too_long, failure("malformed-request"));
    assert_eq!(ticket, SUCCESS);
}

#[tokio::test]
async fn skew_of_clocks_is_as_configured() {
    let ahead = |seconds| {
        mint().mint("bob", MEMBERS, SystemTime::now() + Duration::from_secs(seconds), nonce())
    };
    let patient = on_members("vestibule_clock_skew = 30").await;
    let strict = on_members("vestibule_clock_skew = 1").await;

    assert_eq!(show(&patient, MEMBERS, "bob", &ahead(20)).await, SUCCESS);
    refused(&patient, MEMBERS, "bob", &ahead(60), "s in the future").await;
    assert_eq!(show(&strict, MEMBERS, "bob", &ahead(0)).await, SUCCESS);
    refused(&strict, MEMBERS, "bob", &ahead(10), "s in the future").await;
}

#[tokio::test]
async fn ticket_is_taken_by_ipv6_from_the_same_machine() {
    let prosody = Prosody::start_with("interfaces = { '127.0.0.1', '::1' }").await;
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, prosody.address().port()));
    let mut client = Client::connect(address).await;

    client.open(MEMBERS).await;
    let answer = client.authenticate("PLAIN", &plain("", "bob", &ticket(MEMBERS, "bob"))).await;

    assert_eq!(answer, SUCCESS);
}

/// A Prosody with this option for members.
async fn on_members(option: &str) -> Prosody {
    Prosody::start_with(&format!("VirtualHost 'xmpp.localhost' {option}")).await
}

/// The answer to an iq whose id is `asked`.
async fn ask(client: &mut Client, iq: &str) -> String {
    client.send(iq).await;
    client.send("<iq type='get' id='behind'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    let said = client.read_until(&["id='behind'"]).await;
    client.read_until(&[">"]).await;
    let answer = said.split("<iq ").find(|stanza| stanza.contains("id='asked'"));
    answer.unwrap_or_default().to_owned()
}

/// Whether a member has an account by them.
const ARRANGEMENTS: [(&str, bool); 3] = [
    ("vestibule_create_accounts = false", false),
    ("vestibule_create_accounts = true", true),
    ("vestibule_fallback = 'none'", false),
];

/// What is stored, how it is asked for, and what the answer has of it.
const KEPT: [(&str, &str, &str); 5] = [
    (
        "<query xmlns='jabber:iq:roster'><item jid='carol@xmpp.localhost' name='Carol'/></query>",
        "<query xmlns='jabber:iq:roster'/>",
        "carol@xmpp.localhost",
    ),
    (VCARD, GET_VCARD, "Bob B."),
    (NICK, GET_NICK, "Bobby"),
    (
        "<query xmlns='jabber:iq:private'><notes xmlns='urn:example:notes'>remember</notes></query>",
        "<query xmlns='jabber:iq:private'><notes xmlns='urn:example:notes'/></query>",
        "remember",
    ),
    (
        "<block xmlns='urn:xmpp:blocking'><item jid='mallory@xmpp.localhost'/></block>",
        "<blocklist xmlns='urn:xmpp:blocking'/>",
        "mallory@xmpp.localhost",
    ),
];

const VCARD: &str = "<vCard xmlns='vcard-temp'><FN>Bob B.</FN></vCard>";
const GET_VCARD: &str = "<vCard xmlns='vcard-temp'/>";
const NICK: &str = "<pubsub xmlns='http://jabber.org/protocol/pubsub'>\
    <publish node='http://jabber.org/protocol/nick'>\
    <item id='current'><nick xmlns='http://jabber.org/protocol/nick'>Bobby</nick></item></publish>\
    <publish-options><x xmlns='jabber:x:data' type='submit'>\
    <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
    <field var='pubsub#access_model'><value>open</value></field></x></publish-options></pubsub>";
const GET_NICK: &str = "<pubsub xmlns='http://jabber.org/protocol/pubsub'>\
    <items node='http://jabber.org/protocol/nick'/></pubsub>";
