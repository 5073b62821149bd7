//! The browser is gone: what it never got.

use crate::bob;
use crate::carol;
use crate::member;
use crate::message;
use crate::support::bosh::Browser;
use crate::support::bosh::Session;
use crate::support::gateway::Proxy;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::Prosody;
use crate::support::xmpp::Client;
use crate::texts;
use crate::through;

const SOON: &str = "[bosh]\ninactivity = '300ms'";

/// Bob's page is open and in a room with Carol, who learns from that when his session is over.
async fn in_a_room(bob: &mut Session, carol: &mut Client) {
    let join = |nick| {
        format!(
            "<presence xmlns='jabber:client' to='lobby@conference.localhost/{nick}'>\
             <x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
    };
    carol.send(&join("Carol")).await;
    carol.read_until(&["<subject"]).await;
    bob.exchange(&join("Bob"), &["<subject"]).await;
    // He says that he will be away for a moment, twice: all of that has arrived.
    for _ in 0..2 {
        let away = bob.body(bob.rid, "pause='1'", "");
        bob.rid += 1;
        bob.browser.post(away).await;
    }
}

#[tokio::test]
async fn messages_to_a_browser_that_vanished_are_there_when_it_signs_in_again() {
    let prosody = Prosody::start().await;
    let (proxy, _forwarder) = through(&prosody, SOON).await;
    let mut carol = carol(&prosody).await;
    let mut before = bob(&proxy).await;
    in_a_room(&mut before, &mut carol).await;

    for number in 0..20 {
        carol.send(&message(&before.jid, &format!("c{number}"))).await;
    }
    carol.read_until(&["type='unavailable'"]).await;
    carol.answered_ping().await;

    let mut now = member(&proxy, "bob").await;
    let mut heard = now.exchange("<presence xmlns='jabber:client'/>", &["<presence"]).await;
    carol.send(&message(&now.jid, "c20")).await;
    heard += &now.receive(&[">c20<"]).await;
    assert_eq!(texts(&heard, "c"), (0..=20).collect::<Vec<_>>(), "{heard}");
}

#[tokio::test]
async fn without_the_servers_help_they_come_back_to_their_sender() {
    let prosody = Prosody::start().await;
    let settings = format!("{SOON}\n[stream_management]\nbosh = false");
    let (proxy, _forwarder) = through(&prosody, &settings).await;
    let mut carol = carol(&prosody).await;
    let mut bob = bob(&proxy).await;
    carol.send(&message(&bob.jid, "c0")).await;
    bob.receive(&[">c0<"]).await;
    in_a_room(&mut bob, &mut carol).await;

    carol.send(&message(&bob.jid, "c1")).await;
    let question = "<ping xmlns='urn:xmpp:ping'/>";
    carol.send(&format!("<iq type='get' to='{}' id='c2'>{question}</iq>", bob.jid)).await;
    carol.send(&message(&bob.jid, "c3")).await;
    let returned = carol.read_until(&["type='unavailable'"]).await;

    let errors: Vec<&str> =
        ["c0", "c1", "c2", "c3"].into_iter().filter(|id| is_error(&returned, id)).collect();
    assert_eq!(errors, ["c1", "c2", "c3"], "{returned}");
    assert_eq!(returned.matches("<recipient-unavailable").count(), 2, "{returned}");
    assert_eq!(returned.matches("<service-unavailable").count(), 1, "{returned}");
}

#[tokio::test]
async fn anonymous_guest_who_vanished_never_asked_for_what_nobody_can_resume() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, ANONYMOUS, "");
    let proxy = Proxy::with(&format!("{SOON}\n{site}")).await;
    let mut carol = carol(&prosody).await;
    let mut guest = Browser::new(&proxy, None).prebind().await;
    in_a_room(&mut guest, &mut carol).await;

    carol.send(&message(&guest.jid, "c1")).await;
    let returned = carol.read_until(&["type='unavailable'"]).await;

    assert!(is_error(&returned, "c1") && returned.contains("<recipient-unavailable"), "{returned}");
}

/// Whether a stanza of this id came back as an error.
fn is_error(returned: &str, id: &str) -> bool {
    let tags = returned.split('<').filter(|tag| tag.contains(&format!("id='{id}'")));
    tags.filter(|tag| tag.contains("type='error'")).count() == 1
}
