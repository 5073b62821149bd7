//! Guests who sign in by ANONYMOUS: the server has a new name for them each time, so the edge keeps their streams.

use std::time::Duration;

use tokio::time::timeout;

use crate::alice;
use crate::enable;
use crate::message;
use crate::resume;
use crate::support::gateway::Proxy;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::Prosody;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::websocket::Socket;

#[tokio::test]
async fn guest_who_comes_back_has_his_name_his_room_and_what_was_said_meanwhile() {
    let (prosody, proxy) = before("").await;
    let (mut alice, _) = alice(&prosody).await;
    let Guest { mut socket, cookie, jid } = Guest::arrive(&proxy).await;
    let id = enable(&mut socket).await;
    socket.send(JOIN).await;
    let of_the_room = stanzas_until(&mut socket, "<subject").await;
    socket.send(&message(&jid, "before")).await;
    let got = of_the_room + stanzas_until(&mut socket, "before").await;
    socket.vanish();

    alice.send(&message(&jid, "meanwhile")).await;
    alice.answered_ping().await;
    let mut socket = Guest::at_the_door(&proxy, &cookie).await;
    socket.send(&resume(&id, got)).await;

    let resumed = socket.receive().await;
    assert!(resumed.contains("<resumed") && resumed.contains("h=\"2\""), "{resumed}");
    let missed = socket.receive().await;
    assert!(missed.contains("meanwhile"), "only what was not acknowledged comes: {missed}");
    socket.send("<message xmlns='jabber:client' to='lobby@conference.localhost' type='groupchat'><body>still in</body></message>").await;
    let said = socket.receive_with("still in").await;
    assert!(said.contains("lobby@conference.localhost/anonymous"), "{said}");
    alice.send(&message(&jid, "afterwards")).await;
    socket.receive_with("afterwards").await;
    counted(&proxy, "vestibule_sign_ins_total{outcome=\"done\"} 1\n").await;
}

#[tokio::test]
async fn guest_who_comes_back_over_another_network_takes_his_stream_along() {
    let (_prosody, proxy) = before("duplicate = '100ms'\n").await;
    let Guest { mut socket, cookie, jid } = Guest::arrive(&proxy).await;
    let id = enable(&mut socket).await;
    socket.send(&message(&jid, "one")).await;
    socket.receive_with("one").await;

    // Nobody reads the old socket, so nobody answers there.
    let mut other = Guest::at_the_door(&proxy, &cookie).await;
    other.send(&resume(&id, 0)).await;

    let resumed = other.receive().await;
    assert!(resumed.contains("<resumed") && resumed.contains("h=\"1\""), "{resumed}");
    other.receive_with("one").await;
    other.send(&message(&jid, "two")).await;
    other.receive_with("two").await;
}

#[tokio::test]
async fn duplicated_tab_of_a_guest_has_a_stream_of_its_own_and_the_first_is_not_disturbed() {
    let (_prosody, proxy) = before("").await;
    let Guest { socket: mut first, cookie, jid } = Guest::arrive(&proxy).await;
    let id = enable(&mut first).await;
    first.send(&message(&jid, "one")).await;
    first.receive_with("one").await;

    let mut copy = Guest::at_the_door(&proxy, &cookie).await;
    copy.send(&resume(&id, 0)).await;
    let answer = loop {
        tokio::select! {
            answer = copy.receive() => break answer,
            // Whoever reads answers pings.
            other = first.receive() => assert!(other.contains("<r "), "the first is told {other}"),
        }
    };

    assert!(answer.contains("<failed") && answer.contains("h=\"1\""), "{answer}");
    let of_the_copy = copy.bind().await;
    assert_ne!(of_the_copy, jid);
    first.send(&message(&of_the_copy, "hello, copy")).await;
    copy.receive_with("hello, copy").await;
}

#[tokio::test]
async fn stream_of_a_guest_is_for_nobody_with_another_cookie() {
    let (_prosody, proxy) = before("").await;
    let Guest { mut socket, cookie, jid } = Guest::arrive(&proxy).await;
    let id = enable(&mut socket).await;
    socket.vanish();

    let mut stranger = Socket::open(&proxy, None).await;
    log_in(&mut stranger).await;
    stranger.send(&resume(&id, 0)).await;

    let answer = stranger.receive().await;
    assert!(answer.contains("<failed") && !answer.contains("h="), "{answer}");
    assert_ne!(stranger.bind().await, jid);
    let mut socket = Guest::at_the_door(&proxy, &cookie).await;
    socket.send(&resume(&id, 0)).await;
    socket.receive_with("<resumed").await;
}

#[tokio::test]
async fn guest_who_binds_instead_has_another_name() {
    let (_prosody, proxy) = before("").await;
    let Guest { mut socket, cookie, jid } = Guest::arrive(&proxy).await;
    enable(&mut socket).await;
    socket.vanish();

    let mut socket = Guest::at_the_door(&proxy, &cookie).await;
    let other = socket.bind().await;

    assert_ne!(other, jid);
    socket.send(&message(&other, "myself")).await;
    socket.receive_with("myself").await;
}

#[tokio::test]
async fn guest_whom_a_scripted_server_lets_in_no_more_is_told_of_an_outage() {
    let server = Server::start(Script::Good).await;
    let proxy = Proxy::with(&format!(
        "[upstream]\nhold = '100ms'\n[[site]]\nhosts = ['localhost']\n\
         [site.guests]\ndomain = '{ANONYMOUS}'\nupstream = '{}'\npass = 'anonymous'\n",
        server.address()
    ))
    .await;
    let Guest { mut socket, cookie, .. } = Guest::arrive(&proxy).await;
    enable(&mut socket).await;
    socket.vanish();

    server.now(Script::Until(Moment::Accepted, Trouble::BreaksOff));
    let mut socket = Guest::at_the_door(&proxy, &cookie).await;
    assert_eq!(server.seen().signed_in, 1, "he may come back to the stream that he has");
    socket.send("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;

    let error = socket.receive().await;
    assert!(error.contains("stream:error") && error.contains("system-shutdown"), "{error}");
}

#[tokio::test]
async fn what_was_said_to_a_guest_who_does_not_come_back_goes_back_to_who_said_it() {
    let (prosody, proxy) = before("keep = '1s'\n").await;
    let (mut alice, friend) = alice(&prosody).await;
    let Guest { mut socket, cookie, jid } = Guest::arrive(&proxy).await;
    let id = enable(&mut socket).await;
    socket.send(&format!("<presence xmlns='jabber:client' to='{friend}'/>")).await;
    alice.read_until(&["<presence"]).await;

    socket.vanish();
    alice.send(&message(&jid, "too late")).await;

    let returned = alice.read_until(&["</message>"]).await;
    assert!(returned.contains("recipient-unavailable"), "{returned}");
    assert!(returned.contains("id='too late'"), "{returned}");
    alice.read_until(&["type='unavailable'"]).await;
    let mut late = Guest::at_the_door(&proxy, &cookie).await;
    late.send(&resume(&id, 0)).await;
    late.receive_with("<failed").await;
}

#[tokio::test]
async fn no_more_is_kept_for_a_guest_than_fits() {
    let (prosody, proxy) = before("kept = '1 KiB'\n").await;
    let (mut alice, _) = alice(&prosody).await;
    let Guest { mut socket, jid, .. } = Guest::arrive(&proxy).await;
    enable(&mut socket).await;
    socket.vanish();

    alice.send(&message(&jid, "small")).await;
    alice.send(&message(&jid, &"x".repeat(1024))).await;

    let returned = alice.read_until(&["</message>"]).await;
    assert!(returned.contains("id='small'"), "{returned}");
    alice.read_until(&["recipient-unavailable"]).await;
    counted(&proxy, "vestibule_bounds_reached_total{bound=\"kept\"} 1\n").await;
}

#[tokio::test]
async fn guest_who_is_signed_out_while_his_stream_waits_is_gone() {
    let (prosody, proxy) = before("").await;
    let (mut alice, friend) = alice(&prosody).await;
    let Guest { mut socket, cookie, .. } = Guest::arrive(&proxy).await;
    enable(&mut socket).await;
    socket.send(&format!("<presence xmlns='jabber:client' to='{friend}'/>")).await;
    alice.read_until(&["<presence"]).await;
    socket.vanish();

    // The same browser comes back as a member.
    let member = format!("{cookie}; {}", crate::support::gateway::session_cookie("bob"));
    let _bob = crate::signed_in(&proxy, &member).await;

    alice.read_until(&["type='unavailable'"]).await;
}

#[tokio::test]
async fn what_a_guest_never_acknowledged_goes_back_to_its_sender_when_his_session_ends_at_once() {
    let (prosody, proxy) = before("").await;
    let (mut alice, _) = alice(&prosody).await;
    let Guest { mut socket, jid, .. } = Guest::arrive(&proxy).await;
    enable(&mut socket).await;
    alice.send(&message(&jid, "never acknowledged")).await;
    socket.receive_with("never acknowledged").await;

    socket.send("no element at all").await;
    socket.receive_with("stream:error").await;

    let returned = alice.read_until(&["recipient-unavailable"]).await;
    assert!(returned.contains("id='never acknowledged'"), "{returned}");
}

#[tokio::test]
async fn guest_whose_count_has_fallen_back_gets_another_stream_on_the_same_socket() {
    let (_prosody, proxy) = before("").await;
    let Guest { mut socket, cookie, jid } = Guest::arrive(&proxy).await;
    let id = enable(&mut socket).await;
    socket.send(&message(&jid, "one")).await;
    socket.receive_with("one").await;
    socket.send("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    socket.send(&message(&jid, "two")).await;
    socket.receive_with("two").await;
    socket.vanish();

    let mut socket = Guest::at_the_door(&proxy, &cookie).await;
    socket.send(&resume(&id, 0)).await;

    socket.receive_with("<failed").await;
    socket.bind().await;
}

#[tokio::test]
async fn guest_who_says_that_more_has_arrived_than_was_sent_is_told_so() {
    let (_prosody, proxy) = before("").await;
    let Guest { mut socket, .. } = Guest::arrive(&proxy).await;
    enable(&mut socket).await;

    socket.send("<a xmlns='urn:xmpp:sm:3' h='7'/>").await;

    let error = socket.receive_with("stream:error").await;
    assert!(error.contains("handled-count-too-high") && error.contains("h=\"7\""), "{error}");
}

/// A guest whose browser knows a name of its own, as one that has been here before does.
struct Guest {
    socket: Socket,
    cookie: String,
    jid: String,
}

impl Guest {
    async fn arrive(proxy: &Proxy) -> Self {
        let mut socket = Socket::open(proxy, None).await;
        let cookie = socket.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
        let cookie = cookie.to_owned();
        log_in(&mut socket).await;
        let jid = socket.bind().await;
        Self { socket, cookie, jid }
    }

    /// The same guest on another socket, before he has said which stream is his.
    async fn at_the_door(proxy: &Proxy, cookie: &str) -> Socket {
        let mut socket = Socket::open(proxy, Some(cookie)).await;
        log_in(&mut socket).await;
        socket
    }
}

pub(crate) async fn log_in(socket: &mut Socket) {
    socket.open_stream(ANONYMOUS).await;
    socket.auth("EXTERNAL", &format!("somebody@{ANONYMOUS}")).await;
    let (_, features) = socket.open_stream(ANONYMOUS).await;
    assert!(features.contains("urn:xmpp:sm:3"), "{features}");
}

async fn before(websocket: &str) -> (Prosody, Proxy) {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, ANONYMOUS, "");
    let proxy = Proxy::with(&format!("[websocket]\n{websocket}{site}")).await;
    (prosody, proxy)
}

/// How many stanzas come up to the one that holds these words.
async fn stanzas_until(socket: &mut Socket, words: &str) -> u32 {
    let mut count = 0;
    loop {
        let text = socket.receive().await;
        count +=
            u32::from(["<message", "<presence", "<iq"].iter().any(|tag| text.starts_with(tag)));
        if text.contains(words) {
            return count;
        }
    }
}

async fn counted(proxy: &Proxy, counter: &str) {
    let all = async { while !proxy.metrics().await.contains(counter) {} };
    let in_time = timeout(PATIENCE, all).await;
    assert!(in_time.is_ok(), "no {counter} in\n{}", proxy.metrics().await);
}

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);
const JOIN: &str = "<presence xmlns='jabber:client' to='lobby@conference.localhost/anonymous'>\
    <x xmlns='http://jabber.org/protocol/muc'/></presence>";
