//! The site's cookie changes, or ends, under a socket that is open.

use crate::alice;
use crate::enable;
use crate::message;
use crate::resume;
use crate::signed_in;
use crate::signed_in_as;
use crate::support::gateway::Proxy;
use crate::support::gateway::signed_cookie;
use crate::support::prosody::Prosody;
use crate::support::script::Answers;
use crate::support::script::Whois;
use crate::support::websocket::Socket;

#[tokio::test]
async fn member_whose_cookie_was_changed_comes_back_with_nothing_lost() {
    let (prosody, site, proxy) = asked_at_each_beat("").await;
    let mut bob = signed_in(&proxy, BEFORE).await;
    let jid = bob.bind().await;
    let id = enable(&mut bob).await;
    let (mut alice, _) = alice(&prosody).await;

    site.now(Answers::Says(bob_by_his_second_cookie));
    told_to_come_back(&mut bob).await;
    alice.send(&message(&jid, "while he was away")).await;
    alice.answered_ping().await;
    let mut back = signed_in(&proxy, AFTER).await;
    back.send(&resume(&id, 0)).await;

    back.receive_with("<resumed").await;
    back.receive_with("while he was away").await;
    back.send(&message(&jid, "the same")).await;
    back.receive_with("the same").await;
}

#[tokio::test]
async fn member_who_left_is_gone_for_everybody_when_he_does_not_come_back() {
    let (prosody, site, proxy) = asked_at_each_beat("grace = '100ms'\n").await;
    let (mut alice, friend) = alice(&prosody).await;
    let mut bob = signed_in(&proxy, BEFORE).await;
    bob.bind().await;
    let id = enable(&mut bob).await;
    bob.send(&format!("<presence xmlns='jabber:client' to='{friend}'/>")).await;
    alice.read_until(&["<presence"]).await;

    site.now(Answers::Says(bob_by_his_second_cookie));
    told_to_come_back(&mut bob).await;

    alice.read_until(&["type='unavailable'"]).await;
    let mut late = signed_in(&proxy, AFTER).await;
    late.send(&resume(&id, 0)).await;
    late.receive_with("<failed").await;
}

#[tokio::test]
async fn stream_that_waits_for_a_member_is_not_given_to_another_one() {
    let (_prosody, site, proxy) = asked_at_each_beat("").await;
    let mut bob = signed_in(&proxy, BEFORE).await;
    let jid = bob.bind().await;
    let id = enable(&mut bob).await;

    site.now(Answers::Says(bob_by_his_second_cookie));
    told_to_come_back(&mut bob).await;
    let mut carol = signed_in_as(&proxy, ("carol@xmpp.localhost", "PHPSESSID=carol")).await;
    carol.send(&resume(&id, 0)).await;
    carol.receive_with("<failed").await;
    carol.bind().await;
    carol.send(&message(&jid, "for bob alone")).await;
    carol
        .send("<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    carol.receive_with("id='p'").await;

    let mut back = signed_in(&proxy, AFTER).await;
    back.send(&resume(&id, 0)).await;
    back.receive_with("<resumed").await;
    back.receive_with("for bob alone").await;
}

#[tokio::test]
async fn member_of_a_site_that_is_silent_for_a_while_is_not_disturbed() {
    let (_prosody, site, proxy) = asked_at_each_beat("").await;
    let mut bob = signed_in(&proxy, BEFORE).await;
    let jid = bob.bind().await;
    let asked = site.asked();

    site.now(Answers::Raw("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"));
    let all = site.was_asked(asked + 3);
    tokio::pin!(all);
    // Whoever reads answers pings.
    tokio::select! {
        () = &mut all => {}
        other = bob.receive() => panic!("he is told {other}"),
    }

    bob.send(&message(&jid, "still here")).await;
    bob.receive_with("still here").await;
}

#[tokio::test]
async fn member_whose_token_was_signed_with_a_key_that_the_site_has_taken_back_has_to_show_another()
{
    let prosody = Prosody::start().await;
    let (upstream, secret) = (prosody.address(), prosody.folder().join("ticket.secret"));
    let signed_with = |key: &str| {
        format!(
            "[websocket]\nping = '50ms'\nrecheck = '50ms'\n\
             [[site]]\nhosts = ['localhost']\nwithout_session = 'refuse'\nreserved = ['admin']\n\
             [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{upstream}'\nsecret = {{ file = '{}' }}\n\
             [site.session.jwt]\ncookie = 'session'\nsecret = '{key}'\n",
            secret.display()
        )
    };
    let (old, new) =
        ("the old key of the site, 0123456789012345", "the new key of the site, 0123456789012345");
    let proxy = Proxy::with(&signed_with(old)).await;
    let mut bob = signed_in(&proxy, &signed_cookie("bob", old, 3600)).await;
    let jid = bob.bind().await;
    let id = enable(&mut bob).await;

    assert!(proxy.reload(&signed_with(new)).await);
    told_to_come_back(&mut bob).await;

    let mut back = signed_in(&proxy, &signed_cookie("bob", new, 3600)).await;
    back.send(&resume(&id, 0)).await;
    back.receive_with("<resumed").await;
    back.send(&message(&jid, "the same")).await;
    back.receive_with("the same").await;
}

/// A scripted site that is asked about everybody at each beat.
async fn asked_at_each_beat(more: &str) -> (Prosody, Whois, Proxy) {
    let prosody = Prosody::start().await;
    let whois = Whois::start(Answers::Says(everybody)).await;
    let (upstream, secret) = (prosody.address(), prosody.folder().join("ticket.secret"));
    let proxy = Proxy::with(&format!(
        "[websocket]\nping = '50ms'\nrecheck = '50ms'\n{more}[whois]\nkeep = '0s'\nfresh = '0s'\n\
         [[site]]\nhosts = ['localhost']\nwithout_session = 'refuse'\nreserved = ['admin']\n\
         [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{upstream}'\nsecret = {{ file = '{}' }}\n\
         [site.session.whois]\nurl = 'http://{}/'\nsecret = 'a secret of the tests'\ncookies = ['PHPSESSID']\n",
        secret.display(),
        whois.address(),
    ))
    .await;
    (prosody, whois, proxy)
}

/// Reads how the stream ends: by the error on which Converse.js connects again.
async fn told_to_come_back(socket: &mut Socket) {
    socket.receive_with("policy-violation").await;
    socket.receive_with("<close").await;
}

fn everybody(question: &str) -> &'static str {
    if question.contains("PHPSESSID=carol") {
        "{\"authenticated\": true, \"username\": \"carol\"}"
    } else {
        "{\"authenticated\": true, \"username\": \"bob\"}"
    }
}

fn bob_by_his_second_cookie(question: &str) -> &'static str {
    if question.contains(BEFORE) { "{\"authenticated\": false}" } else { everybody(question) }
}

const BEFORE: &str = "PHPSESSID=bob-before";
const AFTER: &str = "PHPSESSID=bob-after";
