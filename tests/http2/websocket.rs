//! A chat over the page's own connection (RFC 8441), before a real Prosody.

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::support::forwarder::Forwarder;
use crate::support::forwarder::Way;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::http::counted;
use crate::support::http::reached;
use crate::support::http2::Line;
use crate::support::http2::Tunnel;
use crate::support::http2::XMPP;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::websocket::Socket;

const BOB: &str = "bob@xmpp.localhost";

#[tokio::test]
async fn members_talk_beside_each_other_and_beside_pages_on_one_connection() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let line = Line::open(&proxy).await;
    let mut bob = line.socket(Some(&format!("lang=en; {}", session_cookie("bob")))).await;
    let mut alice = line.socket(Some(&session_cookie("alice"))).await;
    let jid = bob.sign_in(BOB).await;
    alice.sign_in("alice@xmpp.localhost").await;

    let talking = async {
        for number in 0..300 {
            alice.send(&message(&jid, &format!("message {number}."))).await;
        }
    };
    let hearing = async {
        for number in 0..300 {
            let heard = bob.receive_with("<body>").await;
            assert!(heard.contains(&format!("message {number}.")), "{number}: {heard}");
        }
    };
    let pages = join_all((0..20).map(|_| line.page("/.well-known/host-meta")));
    let ((), (), pages) = tokio::join!(talking, hearing, pages);

    assert_eq!(bob.headers["sec-websocket-protocol"], "xmpp");
    for absent in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
        assert!(!bob.headers.contains_key(absent), "{absent}");
    }
    assert!(pages.iter().all(|(status, _)| status.is_success()));
    counted(&proxy, "vestibule_connections", 1).await;
    let members = "vestibule_sessions{kind=\"member\",transport=\"websocket_http2\"}";
    counted(&proxy, members, 2).await;
}

#[tokio::test]
async fn one_who_does_not_read_keeps_neither_pages_nor_the_other_from_going_on() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let line = Line::open(&proxy).await;
    let mut deaf = line.socket(Some(&session_cookie("bob"))).await;
    let to_the_deaf = deaf.sign_in(BOB).await;
    let mut alice = line.socket(Some(&session_cookie("alice"))).await;
    let jid = alice.sign_in("alice@xmpp.localhost").await;

    // Far more than a window, and what lies between.
    let long = "x".repeat(20_000);
    for number in 0..40 {
        alice.send(&message(&to_the_deaf, &format!("{number}-{long}"))).await;
        alice.send(&message(&jid, &format!("own {number}."))).await;
        alice.receive_with(&format!("own {number}.")).await;
    }
    let page = line.page("/.well-known/host-meta").await;

    assert!(page.0.is_success());
    for number in 0..40 {
        let heard = deaf.receive_with("<body>").await;
        assert!(heard.contains(&format!("<body>{number}-x")), "{number}");
    }
}

#[tokio::test]
async fn end_of_the_stream_reset_and_lost_network_all_leave_a_conversation_to_come_back_to() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let line = Line::open(&proxy).await;
    let mut bob = line.socket(Some(&session_cookie("bob"))).await;
    let jid = bob.sign_in(BOB).await;
    let id = enable(&mut bob).await;

    // The end of the stream without a word, and a reset.
    bob.into_inner().shutdown().await.unwrap();
    let bob = resumed(&line, &id).await;
    bob.vanish();
    let mut bob = resumed(&line, &id).await;
    bob.send(&message(&jid, "still me")).await;
    bob.receive_with("still me").await;
    line.vanish();
    let line = Line::open(&proxy).await;
    let mut bob = resumed(&line, &id).await;

    bob.send(&message(&jid, "me again")).await;
    bob.receive_with("me again").await;
}

#[tokio::test]
async fn both_tabs_of_a_duplicated_one_are_on_one_connection_and_neither_disturbs_the_other() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let line = Line::open(&proxy).await;
    let mut first = line.socket(Some(&session_cookie("bob"))).await;
    let jid = first.sign_in(BOB).await;
    let id = enable(&mut first).await;

    let mut copy = at_the_door(&line).await;
    copy.send(&resume(&id)).await;
    let answer = tokio::select! {
        biased;
        answer = copy.receive() => answer,
        other = first.receive() => panic!("the first is told {other}"),
    };

    assert!(answer.contains("<failed") && answer.contains("item-not-found"), "{answer}");
    let of_the_copy = copy.bind().await;
    assert_ne!(of_the_copy, jid);
    first.send(&message(&of_the_copy, "hello, copy")).await;
    copy.receive_with("hello, copy").await;
}

#[tokio::test]
async fn close_is_answered_with_close_and_ends_the_stream_and_not_the_connection() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let line = Line::open(&proxy).await;
    let mut bob = line.socket(Some(&session_cookie("bob"))).await;
    bob.sign_in(BOB).await;

    bob.send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>").await;
    let answer = bob.receive().await;
    let last = bob.next().await;

    assert!(answer.contains("<close"), "{answer}");
    assert!(last.is_none_or(|frame| frame.is_close()));
    assert!(bob.next().await.is_none());
    assert!(line.page("/.well-known/host-meta").await.0.is_success());
}

#[tokio::test]
async fn member_whom_the_site_signs_out_is_told_so() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let line = Line::open(&proxy).await;
    let mut bob = line.socket(Some(&session_cookie("bob"))).await;
    bob.sign_in(BOB).await;

    let (status, _) = proxy.revoke(r#"{"site": "localhost", "username": "bob"}"#).await;
    let told = bob.receive_with("<stream:error").await;

    assert_eq!(status, 200);
    assert!(told.contains("policy-violation"), "{told}");
}

#[tokio::test]
async fn visitor_who_may_not_enter_is_told_so_in_sasl() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "without_session = 'refuse'");
    let proxy = Proxy::with(&site).await;
    let line = Line::open(&proxy).await;
    let mut stranger = line.socket(None).await;

    stranger.open_stream("xmpp.localhost").await;
    let answer = stranger.auth("EXTERNAL", "").await;

    assert!(answer.contains("<not-authorized"), "{answer}");
}

#[tokio::test]
async fn server_that_is_down_is_an_outage_told_behind_the_200() {
    let mut prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[upstream]\nhold = '500ms'\n{site}")).await;
    let line = Line::open(&proxy).await;
    prosody.stop().await;

    let mut bob = line.socket(Some(&session_cookie("bob"))).await;
    bob.send(
        "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='xmpp.localhost' version='1.0'/>",
    )
    .await;
    let told = bob.receive_with("<stream:error").await;

    assert!(told.contains("system-shutdown"), "{told}");
}

#[tokio::test]
async fn edge_that_goes_down_says_so_to_each_and_ends_the_connection() {
    let prosody = Prosody::start().await;
    let mut proxy = Proxy::before(&prosody).await;
    let line = Line::open(&proxy).await;
    let mut bob = line.socket(Some(&session_cookie("bob"))).await;
    bob.sign_in(BOB).await;
    let mut guest = line.socket(None).await;
    guest.sign_in("xmpp.localhost").await;

    proxy.begin_stop();
    let (to_bob, to_guest) =
        tokio::join!(bob.receive_with("<stream:error"), guest.receive_with("<stream:error"));
    while bob.next().await.is_some() {}
    while guest.next().await.is_some() {}
    drop((bob, guest));

    assert!(to_bob.contains("system-shutdown"), "{to_bob}");
    assert!(to_guest.contains("system-shutdown"), "{to_guest}");
    line.ends().await;
    proxy.stop().await;
}

#[tokio::test]
async fn browser_that_answers_no_ping_is_taken_for_gone_and_its_place_is_free() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let more = "[http]\nstreams = 3\nwebsockets = 1\n[websocket]\nping = '100ms'\n";
    let proxy = Proxy::with(&format!("{more}{site}")).await;
    let line = Line::open(&proxy).await;

    // Nobody reads, so nobody answers.
    let mut silent = line.socket(None).await;
    silent.sign_in("xmpp.localhost").await;

    counted(&proxy, "vestibule_sessions{kind=\"guest\",transport=\"websocket_http2\"}", 0).await;
    line.socket(None).await;
    drop(silent);
}

#[tokio::test]
async fn network_that_stands_still_for_a_while_costs_nobody_his_chat() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[http]\nping = '200ms'\npong = '200ms'\n{site}")).await;
    let network = Forwarder::to(proxy.address()).await;
    let with_a_chat = Line::at(network.address(), proxy.tls("h2")).await;
    let mut bob = with_a_chat.socket(Some(&session_cookie("bob"))).await;
    let jid = bob.sign_in(BOB).await;
    let without = Line::at(network.address(), proxy.tls("h2")).await;
    counted(&proxy, "vestibule_connections", 2).await;

    // Until the one that has no chat, and is pinged, is taken for dead.
    network.now(Way::Still);
    counted(&proxy, "vestibule_connections", 1).await;
    network.now(Way::Open);
    bob.send(&message(&jid, "still here")).await;

    bob.receive_with("still here").await;
    drop(without);
}

#[tokio::test]
async fn visitor_has_no_more_sessions_than_over_any_transport() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[sessions]\nper_visitor = 1\n{site}")).await;
    let line = Line::open(&proxy).await;
    let cookie = session_cookie("bob");
    let _first = line.socket(Some(&cookie)).await;

    let second = line.try_socket(&[("cookie", &cookie), ("origin", ORIGIN)]).await.err();

    assert_eq!(second, Some(429));
    reached(&proxy, "sessions_per_visitor", 1).await;
}

#[tokio::test]
async fn websockets_beyond_the_bound_of_a_connection_are_refused_and_pages_are_not() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    // Where it is left to us, there is room for one page as well.
    for bound in ["websockets = 2", ""] {
        let proxy = Proxy::with(&format!("[http]\nstreams = 3\n{bound}\n{site}")).await;
        let line = Line::open(&proxy).await;
        let (first, _second) = (line.socket(None).await, line.socket(None).await);

        let third = line.try_socket(&[]).await.err();
        let page = line.page("/.well-known/host-meta").await.0;
        let elsewhere = Line::open(&proxy).await.try_socket(&[]).await.map(drop);
        first.vanish();

        assert_eq!((third, elsewhere), (Some(429), Ok(())), "{bound}");
        assert!(page.is_success());
        reached(&proxy, "websockets", 1).await;
        while line.try_socket(&[]).await.is_err() {}
    }
}

#[tokio::test]
async fn websocket_takes_the_place_of_a_connection() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    // One is for whoever knocks next.
    let proxy = Proxy::with(&format!("[http]\nconnections = 3\n{site}")).await;
    let line = Line::open(&proxy).await;
    let first = line.socket(None).await;

    let second = line.try_socket(&[]).await.err();
    first.vanish();

    assert_eq!(second, Some(503));
    while line.try_socket(&[]).await.is_err() {}
}

#[tokio::test]
async fn where_no_websocket_goes_over_http_2_none_is_offered() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[http]\nwebsockets = 0\n{site}")).await;
    let line = Line::open(&proxy).await;

    let asked = tokio::spawn(async move { line.tunnel("/xmpp-websocket", &XMPP).await.map(drop) });

    // A client that keeps to the RFC does not even ask.
    assert!(asked.await.is_err());
}

#[tokio::test]
async fn ping_of_a_browser_is_answered() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let line = Line::open(&proxy).await;
    let mut bob = line.socket(None).await;

    bob.send_frame(Message::Ping("are you there?".into())).await;
    let answer = bob.next_of_any_kind().await;

    assert_eq!(answer, Message::Pong("are you there?".into()));
}

/// Bob on a new socket, before he has said which stream is his.
async fn at_the_door(line: &Line) -> Socket<Tunnel> {
    let mut socket = line.socket(Some(&session_cookie("bob"))).await;
    socket.open_stream("xmpp.localhost").await;
    socket.auth("EXTERNAL", BOB).await;
    socket.open_stream("xmpp.localhost").await;
    socket
}

async fn enable(socket: &mut Socket<Tunnel>) -> String {
    socket.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let enabled = socket.receive_with("<enabled").await.replace('"', "'");
    enabled.split("id='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
}

fn resume(id: &str) -> String {
    format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>")
}

async fn resumed(line: &Line, id: &str) -> Socket<Tunnel> {
    let mut socket = at_the_door(line).await;
    socket.send(&resume(id)).await;
    let answer = socket.receive().await;
    assert!(answer.contains("<resumed"), "{answer}");
    socket
}

fn message(to: &str, text: &str) -> String {
    format!("<message xmlns='jabber:client' to='{to}' type='chat'><body>{text}</body></message>")
}
