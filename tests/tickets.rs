//! Prosody with our module: which tickets it believes, and why it refuses the others.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use tokio::process::Command;
use vestibule::secret::Secret;

use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::tickets::LIFETIME;
use crate::support::tickets::mint;
use crate::support::tickets::mint_with;
use crate::support::tickets::nonce;
use crate::support::tickets::refused;
use crate::support::tickets::show;
use crate::support::tickets::sign_in;
use crate::support::tickets::ticket;
use crate::support::xmpp::Client;
use crate::support::xmpp::SUCCESS;
use crate::support::xmpp::failure;
use crate::support::xmpp::plain;

#[tokio::test]
async fn bob_signs_in_by_ticket_and_talks_with_alice() {
    let prosody = Prosody::start().await;
    let (mut bob, bobs_jid) = sign_in(&prosody, MEMBERS, "bob").await;
    let (mut alice, alices_jid) = sign_in(&prosody, MEMBERS, "alice").await;

    bob.send(&format!("<message to='{alices_jid}'><body>hello, Alice</body></message>")).await;
    let heard = alice.read_until(&["</message>"]).await;
    alice.send(&format!("<message to='{bobs_jid}'><body>hello, Bob</body></message>")).await;
    let answered = bob.read_until(&["</message>"]).await;

    assert!(bobs_jid.starts_with("bob@xmpp.localhost/"), "{bobs_jid}");
    assert!(heard.contains(&bobs_jid) && heard.contains("hello, Alice"), "{heard}");
    assert!(answered.contains(&alices_jid) && answered.contains("hello, Bob"), "{answered}");
}

#[tokio::test]
async fn stream_header_and_ticket_may_come_in_one_write() {
    let prosody = Prosody::start().await;
    let mut client = Client::connect(prosody.address()).await;

    let answer = client
        .open_and_authenticate(MEMBERS, "PLAIN", &plain("", "bob", &ticket(MEMBERS, "bob")))
        .await;

    assert_eq!(answer, SUCCESS);
}

#[tokio::test]
async fn used_ticket_is_refused() {
    let prosody = Prosody::start().await;
    let ticket = ticket(MEMBERS, "bob");
    assert_eq!(show(&prosody, MEMBERS, "bob", &ticket).await, SUCCESS);

    refused(&prosody, MEMBERS, "bob", &ticket, "it was used before").await;
}

#[tokio::test]
async fn used_ticket_is_refused_after_a_reload_of_the_module() {
    let prosody = Prosody::start_with(RELOAD_ON_SIGNAL).await;
    let ticket = ticket(MEMBERS, "bob");
    assert_eq!(show(&prosody, MEMBERS, "bob", &ticket).await, SUCCESS);

    prosody.signal("USR1").await;
    prosody.logged(&["reloaded by signal"]).await;

    refused(&prosody, MEMBERS, "bob", &ticket, "it was used before").await;
    sign_in(&prosody, MEMBERS, "bob").await;
}

#[tokio::test]
async fn used_ticket_is_refused_after_a_reload_of_the_authentication_behind_the_module() {
    let prosody =
        Prosody::start_with(&RELOAD_ON_SIGNAL.replace("auth_vestibule", "auth_internal_hashed"))
            .await;
    let ticket = ticket(MEMBERS, "bob");
    assert_eq!(show(&prosody, MEMBERS, "bob", &ticket).await, SUCCESS);

    prosody.signal("USR1").await;
    prosody.logged(&["reloaded by signal"]).await;

    refused(&prosody, MEMBERS, "bob", &ticket, "it was used before").await;
    sign_in(&prosody, MEMBERS, "bob").await;
}

#[tokio::test]
async fn ticket_is_no_password_for_whoever_asks_the_server_about_passwords() {
    let prosody = Prosody::start_with(CHECK_ON_SIGNAL).await;
    prosody.add_account(MEMBERS, "bob", "bob's own password");
    let ticket = ticket(MEMBERS, "bob");

    for (password, verdict) in [(ticket.as_str(), "refused"), ("bob's own password", "believed")] {
        fs::write(prosody.folder().join("password"), password).unwrap();
        prosody.signal("USR1").await;
        prosody.logged(&[&format!("the password is {verdict}")]).await;
    }

    // Nor has it been used up.
    assert_eq!(show(&prosody, MEMBERS, "bob", &ticket).await, SUCCESS);
}

#[tokio::test]
async fn used_ticket_is_remembered_until_it_has_expired() {
    module_is_as_it_should_be("virtual_time.lua").await;
}

#[tokio::test]
async fn stream_without_tls_is_not_taken_for_secure_after_an_error_in_a_handler() {
    module_is_as_it_should_be("failing_handler.lua").await;
}

/// Runs a script of `tests/lua`, which plays Prosody for the module.
async fn module_is_as_it_should_be(script: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut lua = Command::new("lua5.4");
    lua.arg(root.join("tests/lua").join(script)).arg(root.join("prosody/mod_auth_vestibule.lua"));

    let ended = lua.output().await.unwrap();

    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.stdout, b"as it should be\n");
}

#[tokio::test]
async fn ticket_from_before_a_restart_is_refused() {
    let mut prosody = Prosody::start().await;
    let ticket = ticket(MEMBERS, "bob");

    prosody.restart().await;

    refused(&prosody, MEMBERS, "bob", &ticket, "it was issued before this server started").await;
    sign_in(&prosody, MEMBERS, "bob").await;
}

#[tokio::test]
async fn expired_ticket_is_refused() {
    let prosody = Prosody::start().await;
    let long_ago = SystemTime::now() - LIFETIME - Duration::from_secs(6);

    let ticket = mint().mint("bob", MEMBERS, long_ago, nonce());

    refused(&prosody, MEMBERS, "bob", &ticket, "it expired 6.").await;
}

#[tokio::test]
async fn ticket_from_the_future_is_refused_beyond_the_skew_of_clocks() {
    let prosody = Prosody::start().await;
    let ahead = |seconds| SystemTime::now() + Duration::from_secs(seconds);

    let near = mint().mint("bob", MEMBERS, ahead(4), nonce());
    let far = mint().mint("bob", MEMBERS, ahead(60), nonce());

    assert_eq!(show(&prosody, MEMBERS, "bob", &near).await, SUCCESS);
    refused(&prosody, MEMBERS, "bob", &far, "s in the future").await;
}

#[tokio::test]
async fn ticket_that_is_good_for_too_long_is_refused() {
    let prosody = Prosody::start().await;

    let ticket = mint_with(&Prosody::secret(), Duration::from_secs(61));
    let ticket = ticket.mint("bob", MEMBERS, SystemTime::now(), nonce());

    refused(
        &prosody,
        MEMBERS,
        "bob",
        &ticket,
        "it is good for 61 s, longer than vestibule_max_lifetime",
    )
    .await;
}

#[tokio::test]
async fn ticket_of_another_user_is_refused() {
    let prosody = Prosody::start().await;

    refused(&prosody, MEMBERS, "alice", &ticket(MEMBERS, "bob"), NOT_SIGNED).await;
}

#[tokio::test]
async fn ticket_of_another_host_is_refused() {
    let prosody = Prosody::start().await;

    refused(&prosody, MEMBERS, "bob", &ticket(GUESTS, "bob"), NOT_SIGNED).await;
}

#[tokio::test]
async fn badly_signed_ticket_is_refused() {
    let prosody = Prosody::start().await;

    let ticket = mint_with(&Secret::new("another secret, as long"), LIFETIME);
    let ticket = ticket.mint("bob", MEMBERS, SystemTime::now(), nonce());

    refused(&prosody, MEMBERS, "bob", &ticket, NOT_SIGNED).await;
}

#[tokio::test]
async fn every_truncated_ticket_is_refused() {
    let prosody = Prosody::start().await;
    let whole = ticket(MEMBERS, "bob");

    for length in "vt1.".len()..whole.len() {
        let answer = show(&prosody, MEMBERS, "bob", whole.get(..length).unwrap()).await;
        assert_eq!(answer, failure("not-authorized"), "{length}");
    }

    // None of them has used the ticket up.
    assert_eq!(show(&prosody, MEMBERS, "bob", &whole).await, SUCCESS);
}

#[tokio::test]
async fn stream_that_showed_a_bad_ticket_may_show_a_good_one() {
    let prosody = Prosody::start().await;
    let mut client = Client::connect(prosody.address()).await;
    client.open(MEMBERS).await;

    let bad = client.authenticate("PLAIN", &plain("", "bob", "vt1.bad")).await;
    let good = client.authenticate("PLAIN", &plain("", "bob", &ticket(MEMBERS, "bob"))).await;

    assert_eq!(bad, failure("not-authorized"));
    assert_eq!(good, SUCCESS);
}

#[tokio::test]
async fn ticket_is_for_the_prepared_name() {
    let prosody = Prosody::start().await;

    assert_eq!(show(&prosody, MEMBERS, "Bob", &ticket(MEMBERS, "bob")).await, SUCCESS);
    refused(&prosody, MEMBERS, "Bob", &ticket(MEMBERS, "Bob"), NOT_SIGNED).await;
}

#[tokio::test]
async fn only_the_own_address_may_be_asked_for() {
    let prosody = Prosody::start().await;
    let show_for = async |authzid: &str| {
        let mut client = Client::connect(prosody.address()).await;
        client.open(MEMBERS).await;
        client.authenticate("PLAIN", &plain(authzid, "bob", &ticket(MEMBERS, "bob"))).await
    };

    assert_eq!(show_for("bob@xmpp.localhost").await, SUCCESS);
    for foreign in [
        "alice@xmpp.localhost",
        "bob@guest.localhost",
        "bob",
        "xmpp.localhost",
        "bob@xmpp.localhost/web",
    ] {
        assert_eq!(show_for(foreign).await, failure("invalid-authzid"), "{foreign}");
    }
}

#[tokio::test]
async fn ticket_from_a_foreign_address_is_refused() {
    let prosody =
        Prosody::start_with(&format!("{ON_MEMBERS} vestibule_addresses = {{ '192.0.2.0/24' }}"))
            .await;

    let reason = "it came from 127.0.0.1, which is not among vestibule_addresses";
    refused(&prosody, MEMBERS, "bob", &ticket(MEMBERS, "bob"), reason).await;
}

#[tokio::test]
async fn ticket_is_taken_from_the_edges_address_and_from_no_other_of_the_same_machine() {
    let prosody =
        Prosody::start_with(&format!("{ON_MEMBERS} vestibule_addresses = {{ '127.0.0.2' }}")).await;
    let ticket = ticket(MEMBERS, "bob");
    let message = plain("", "bob", &ticket);

    let mut other = Client::connect_from("127.0.0.3", prosody.address()).await;
    other.open(MEMBERS).await;
    let from_elsewhere = other.authenticate("PLAIN", &message).await;
    let mut edge = Client::connect_from("127.0.0.2", prosody.address()).await;
    edge.open(MEMBERS).await;

    assert_eq!(from_elsewhere, failure("not-authorized"));
    prosody.logged(&["it came from 127.0.0.3, which is not among vestibule_addresses"]).await;
    // What was refused for its address has not been used up.
    assert_eq!(edge.authenticate("PLAIN", &message).await, SUCCESS);
}

#[tokio::test]
async fn ticket_of_another_shape_is_refused() {
    let prosody = Prosody::start().await;
    let good = ticket(MEMBERS, "bob");
    let parts: Vec<&str> = good.split('.').collect();
    let [version, issued, expires, nonce, mac] = parts.as_slice() else { panic!("{good}") };

    for bad in [
        format!("{version}.{issued}.{expires}.{nonce}.{mac}.{mac}"),
        format!("{version}.{issued}.{expires}.{mac}"),
        format!("{version}.{issued}.{expires}.{nonce}.{}", &mac[1..]),
        format!("{version}.{issued}.{expires}.{nonce}.{mac}="),
        format!("{version}.{issued}.{expires}.{nonce}{}.{mac}", "n".repeat(64)),
        format!("{version}.{issued}.{expires}.{}.{mac}", &nonce[..15]),
        format!("{version}.0x{issued}.{expires}.{nonce}.{mac}"),
        format!("{version}.{issued}.{expires}0.{nonce}.{mac}"),
        format!("{version}.-{issued}.{expires}.{nonce}.{mac}"),
        format!("{version}.{}.{expires}.{nonce}.{mac}", "9".repeat(400)),
        format!("{version}....{mac}"),
    ] {
        assert_eq!(show(&prosody, MEMBERS, "bob", &bad).await, failure("not-authorized"), "{bad}");
    }

    assert_eq!(show(&prosody, MEMBERS, "bob", &good).await, SUCCESS);
}

#[tokio::test]
async fn administrator_is_refused_unless_it_is_allowed() {
    let of_rooms = "Component 'conference.localhost' admins = { 'moderator@xmpp.localhost' }";
    let strict = Prosody::start_with(of_rooms).await;
    let lenient = Prosody::start_with(&format!("{ON_MEMBERS} vestibule_allow_admins = true")).await;

    for admin in ["admin", "moderator"] {
        refused(&strict, MEMBERS, admin, &ticket(MEMBERS, admin), "this is an administrator").await;
    }
    assert_eq!(show(&lenient, MEMBERS, "admin", &ticket(MEMBERS, "admin")).await, SUCCESS);
}

#[tokio::test]
async fn key_is_changed_without_a_restart() {
    let prosody = Prosody::start().await;
    let next = "the next secret of this server";
    let next_ticket =
        || mint_with(&Secret::new(next), LIFETIME).mint("bob", MEMBERS, SystemTime::now(), nonce());
    fs::write(prosody.folder().join("next.secret"), next).unwrap();
    refused(&prosody, MEMBERS, "bob", &next_ticket(), NOT_SIGNED).await;

    prosody
        .configure(&format!(
            "{ON_MEMBERS} vestibule_secret_file = {{ 'ticket.secret', 'next.secret' }}"
        ))
        .await;
    assert_eq!(show(&prosody, MEMBERS, "bob", &ticket(MEMBERS, "bob")).await, SUCCESS);
    assert_eq!(show(&prosody, MEMBERS, "bob", &next_ticket()).await, SUCCESS);

    prosody.configure(&format!("{ON_MEMBERS} vestibule_secret_file = 'next.secret'")).await;
    assert_eq!(show(&prosody, MEMBERS, "bob", &next_ticket()).await, SUCCESS);
    assert_eq!(
        show(&prosody, MEMBERS, "bob", &ticket(MEMBERS, "bob")).await,
        failure("not-authorized")
    );
}

#[tokio::test]
async fn secret_may_stand_in_the_configuration() {
    let written = "a secret in the configuration";
    let prosody =
        Prosody::start_with(&format!("{ON_MEMBERS} vestibule_secret = {written:?}")).await;

    let ticket =
        mint_with(&Secret::new(written), LIFETIME).mint("bob", MEMBERS, SystemTime::now(), nonce());

    assert_eq!(show(&prosody, MEMBERS, "bob", &ticket).await, SUCCESS);
}

#[tokio::test]
async fn missing_secret_file_leaves_the_secret_as_it_was_on_reload() {
    let prosody = Prosody::start().await;
    fs::remove_file(prosody.folder().join("ticket.secret")).unwrap();

    prosody.reload().await;
    prosody
        .logged(&[
            "xmpp.localhost:auth_vestibule",
            "The secrets stay as they were",
            "ticket.secret",
        ])
        .await;

    assert_eq!(show(&prosody, MEMBERS, "bob", &ticket(MEMBERS, "bob")).await, SUCCESS);
}

const NOT_SIGNED: &str = "it is not signed with our secret for this user and host";

const ON_MEMBERS: &str = "VirtualHost 'xmpp.localhost'";

/// A module within the configuration: it asks about the password in a file when Prosody gets SIGUSR1.
const CHECK_ON_SIGNAL: &str = "
    prosody.events.add_handler('signal/SIGUSR1', function ()
        local file = assert(io.open(prosody.paths.config .. '/password'))
        local password = file:read('*a')
        file:close()
        local believed = require 'core.usermanager'.test_password('bob', 'xmpp.localhost', password)
        prosody.log('info', 'the password is %s', believed and 'believed' or 'refused')
    end)";

/// A module within the configuration: it reloads ours when Prosody gets SIGUSR1.
const RELOAD_ON_SIGNAL: &str = "
    prosody.events.add_handler('signal/SIGUSR1', function ()
        local modulemanager = require 'core.modulemanager'
        assert(modulemanager.reload('xmpp.localhost', 'auth_vestibule'))
        prosody.log('info', 'reloaded by signal')
    end)";
