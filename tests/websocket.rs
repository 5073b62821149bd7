//! A visitor by WebSocket, before a real Prosody: RFC 7395 as a browser sees it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use futures_util::SinkExt;
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::Request;
use tokio_tungstenite::tungstenite::handshake::server::Response;

use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::gateway::signed_cookie;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::Prosody;
use crate::support::tickets;
use crate::support::websocket::Socket;

const ROOM: &str = "lobby@conference.localhost";

#[tokio::test]
async fn bob_is_signed_in_under_his_own_jid_by_the_sites_cookie() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    let mut bob = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    let (open, features) = bob.open_stream("xmpp.localhost").await;
    let success = bob.auth("EXTERNAL", "bob@xmpp.localhost").await;
    let (_, established) = bob.open_stream("xmpp.localhost").await;
    let jid = bob.bind().await;

    assert_eq!(bob.headers["sec-websocket-protocol"], "xmpp");
    assert!(open.starts_with("<open ") && open.contains("from=\"xmpp.localhost\""), "{open}");
    assert!(
        features.contains("EXTERNAL")
            && !features.contains("PLAIN")
            && !features.contains("ANONYMOUS"),
        "{features}"
    );
    assert!(success.contains("<success"), "{success}");
    assert!(
        established.contains("xmpp-bind") && established.contains("urn:xmpp:sm:3"),
        "{established}"
    );
    assert!(
        !established.contains("xmpp-session") && !established.contains("starttls"),
        "{established}"
    );
    assert!(jid.starts_with("bob@xmpp.localhost/"), "{jid}");
}

#[tokio::test]
async fn bob_and_a_guest_talk_in_a_room() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    bob.sign_in("bob@xmpp.localhost").await;
    let mut alice = Socket::open(&proxy, None).await;
    let jid = alice.sign_in("xmpp.localhost").await;

    join(&mut bob, "Bob").await;
    join(&mut alice, "Alice").await;
    say(&mut alice, "is anybody here?").await;
    let question = bob.receive_with("is anybody here?").await;
    say(&mut bob, "I am").await;
    let answer = alice.receive_with("I am").await;

    assert!(jid.starts_with("guest-") && jid.contains("@guest.localhost/"), "{jid}");
    assert!(question.contains("lobby@conference.localhost/Alice"), "{question}");
    assert!(answer.contains("lobby@conference.localhost/Bob"), "{answer}");
    assert!(
        answer.contains("xmlns=\"jabber:client\"") || answer.contains("xmlns='jabber:client'"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_guest_has_the_same_jid_again_by_the_guest_cookie() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut first = Socket::open(&proxy, None).await;
    let set_cookie = first.headers["set-cookie"].to_str().unwrap().to_owned();
    let cookie = set_cookie.split(';').next().unwrap().to_owned();
    let jid = first.sign_in("xmpp.localhost").await;

    let mut second = Socket::open(&proxy, Some(&cookie)).await;
    let again = second.sign_in("xmpp.localhost").await;

    for attribute in ["__Host-", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(set_cookie.contains(attribute), "{set_cookie}");
    }
    assert_eq!(jid.split('/').next(), again.split('/').next());
    assert!(!second.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn a_guest_without_ticket_is_anonymous_and_sees_no_stream_management() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::with(&Proxy::site(&prosody, ANONYMOUS, "")).await;

    let mut guest = Socket::open(&proxy, None).await;
    let (_, features) = guest.open_stream("xmpp.localhost").await;
    guest.auth("ANONYMOUS", "").await;
    let (_, established) = guest.open_stream("xmpp.localhost").await;
    let jid = guest.bind().await;

    assert!(features.contains("EXTERNAL") && features.contains("ANONYMOUS"), "{features}");
    assert!(!established.contains("urn:xmpp:sm:3"), "{established}");
    assert!(jid.contains("@anon.localhost/"), "{jid}");
}

#[tokio::test]
async fn the_domain_that_the_browser_names_decides_nothing() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    let mut bob = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    let (open, _) = bob.open_stream("guest.localhost").await;
    bob.auth("EXTERNAL", "").await;
    bob.open_stream("conference.localhost").await;
    let jid = bob.bind().await;

    assert!(open.contains("from=\"xmpp.localhost\""), "{open}");
    assert!(jid.starts_with("bob@xmpp.localhost/"), "{jid}");
}

#[tokio::test]
async fn a_page_that_does_not_know_its_visitor_sees_no_stream_management() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    let mut bob = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    bob.open_stream("xmpp.localhost").await;
    bob.auth("EXTERNAL", "xmpp.localhost").await;
    let (_, established) = bob.open_stream("xmpp.localhost").await;

    assert!(established.contains("xmpp-bind"), "{established}");
    assert!(!established.contains("urn:xmpp:sm:3"), "{established}");
}

#[tokio::test]
async fn bob_cannot_sign_in_as_somebody_else() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    bob.open_stream("xmpp.localhost").await;

    let refused = bob.auth("EXTERNAL", "alice@xmpp.localhost").await;
    let then = bob.auth("EXTERNAL", "bob@xmpp.localhost").await;

    assert!(refused.contains("invalid-authzid"), "{refused}");
    assert!(then.contains("<success"), "{then}");
}

#[tokio::test]
async fn nobody_becomes_the_servers_administrator_by_his_name() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    let mut admin = Socket::open(&proxy, Some(&session_cookie("admin"))).await;
    let jid = admin.sign_in("xmpp.localhost").await;

    assert!(jid.contains("@guest.localhost/"), "{jid}");
}

#[tokio::test]
async fn a_cookie_that_expired_or_is_badly_signed_makes_a_guest() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    for cookie in [
        signed_cookie("bob", "another secret than the site's", 3600),
        signed_cookie("bob", support::gateway::JWT_SECRET, -3600),
    ] {
        let mut visitor = Socket::open(&proxy, Some(&cookie)).await;
        let jid = visitor.sign_in("xmpp.localhost").await;
        assert!(jid.contains("@guest.localhost/"), "{jid}");
    }
}

#[tokio::test]
async fn the_subprotocol_must_be_xmpp_and_the_host_a_sites() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    let other =
        Socket::try_open(&proxy, &[("origin", ORIGIN), ("sec-websocket-protocol", "chat")]).await;
    let nowhere = Socket::try_open(&proxy, &[("origin", ORIGIN), ("host", "other.test")]).await;

    assert_eq!(other.unwrap_err(), 400);
    assert_eq!(nowhere.unwrap_err(), 421);
}

#[tokio::test]
async fn the_sites_own_websocket_goes_to_its_own_web_server() {
    let prosody = Prosody::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = format!("backend = 'http://{}'", listener.local_addr().unwrap());
    let proxy = Proxy::with(&Proxy::site(&prosody, ANONYMOUS, &backend)).await;
    tokio::spawn(async move {
        let (connection, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "tungstenite's own")]
        let keep_protocol = |_: &Request, mut response: Response| {
            response.headers_mut().insert("sec-websocket-protocol", "xmpp".parse().unwrap());
            Ok(response)
        };
        let mut server = accept_hdr_async(connection, keep_protocol).await.unwrap();
        let question = server.next().await.unwrap().unwrap();
        server.send(Message::text(format!("the site heard: {question}"))).await.unwrap();
        server.close(None).await.unwrap();
    });

    let mut page = Socket::try_open_at(&proxy, "/live", &[("origin", ORIGIN)]).await.unwrap();
    page.send("news?").await;

    assert_eq!(page.receive().await, "the site heard: news?");
    assert!(matches!(page.next().await, Some(Message::Close(_))));
}

#[tokio::test]
async fn the_sender_that_a_browser_claims_is_removed() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    let jid = bob.sign_in("bob@xmpp.localhost").await;

    bob.send(&format!("<message xmlns='jabber:client' from='alice@xmpp.localhost/x' to='{jid}'><body>me</body></message>")).await;
    let message = bob.receive_with("<body>me</body>").await;

    assert!(message.contains(&jid) && !message.contains("alice"), "{message}");
}

#[tokio::test]
async fn close_is_answered_with_close_and_ends_the_session_for_good() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let cookie = session_cookie("bob");
    let mut bob = Socket::open(&proxy, Some(&cookie)).await;
    bob.sign_in("bob@xmpp.localhost").await;
    let id = enable(&mut bob).await;

    bob.send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>").await;

    // Strophe knows a clean close by exactly this.
    assert_eq!(bob.receive().await, "<close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\" />");
    assert!(
        matches!(bob.next().await, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1000)
    );
    assert!(bob.next().await.is_none());
    let answer = resume(&proxy, &cookie, &id).await.1;
    assert!(answer.contains("<failed") && answer.contains("item-not-found"), "{answer}");
}

#[tokio::test]
async fn forbidden_xml_ends_this_stream_and_no_other() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    bob.sign_in("bob@xmpp.localhost").await;
    let mut alice = Socket::open(&proxy, None).await;
    alice.sign_in("xmpp.localhost").await;

    bob.send("<message xmlns='jabber:client'><!-- hidden --></message>").await;
    let error = bob.receive_with("stream:error").await;

    assert!(error.contains("restricted-xml"), "{error}");
    assert!(bob.receive().await.starts_with("<close "));
    join(&mut alice, "Alice").await;
}

#[tokio::test]
async fn a_reload_resumes_the_stream_by_stream_management() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let cookie = session_cookie("bob");
    let mut before = Socket::open(&proxy, Some(&cookie)).await;
    let jid = before.sign_in("bob@xmpp.localhost").await;
    let id = enable(&mut before).await;
    before.vanish();

    let (mut after, resumed) = resume(&proxy, &cookie, &id).await;
    after
        .send(&format!("<message xmlns='jabber:client' to='{jid}'><body>still me</body></message>"))
        .await;

    assert!(resumed.contains("<resumed"), "{resumed}");
    assert!(after.receive_with("still me").await.contains(&jid));
}

#[tokio::test]
async fn counts_of_a_browser_that_never_enabled_stream_management_do_no_harm() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    let jid = bob.sign_in("bob@xmpp.localhost").await;

    // Converse 14 says so after a reload, and Prosody would end the stream for it.
    bob.send("<a xmlns='urn:xmpp:sm:3' h='7'/>").await;
    bob.send("<r xmlns='urn:xmpp:sm:3'/>").await;
    bob.send(&format!(
        "<message xmlns='jabber:client' to='{jid}'><body>all is well</body></message>"
    ))
    .await;

    assert!(bob.receive().await.contains("all is well"));
}

#[tokio::test]
async fn a_laptop_that_slept_beside_600_messages_binds_anew_on_the_socket_it_came_back_with() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let cookie = session_cookie("bob");
    let mut before = Socket::open(&proxy, Some(&cookie)).await;
    let jid = before.sign_in("bob@xmpp.localhost").await;
    let id = enable(&mut before).await;
    before.send("<presence xmlns='jabber:client'/>").await;
    let (mut carol, _) = tickets::sign_in(&prosody, "xmpp.localhost", "carol").await;
    for number in 0..600 {
        carol
            .send(&format!("<message to='{jid}' type='chat'><body>m{number}</body></message>"))
            .await;
    }
    carol.answered_ping().await;
    // He hears all of it and acknowledges nothing: Prosody has forgotten the first hundred.
    before.receive_with(">m599<").await;
    before.vanish();

    let (mut after, answer) = resume(&proxy, &cookie, &id).await;

    assert!(answer.contains("<failed") && answer.contains("item-not-found"), "{answer}");
    assert!(after.bind().await.starts_with("bob@xmpp.localhost/"));
}

#[tokio::test]
async fn a_browser_that_says_nothing_after_the_101_is_told_so_on_an_open_stream() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, ANONYMOUS, "");
    let proxy = Proxy::with(&format!("[websocket]\nlogin = '100ms'\n{site}")).await;

    let mut silent = Socket::open(&proxy, None).await;

    assert!(silent.receive().await.starts_with("<open "));
    assert!(silent.receive().await.contains("connection-timeout"));
    assert!(silent.receive().await.starts_with("<close "));
}

#[tokio::test]
async fn a_browser_that_answers_no_ping_is_taken_for_gone() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, ANONYMOUS, "");
    let proxy = Proxy::with(&format!("[websocket]\nping = '100ms'\n{site}")).await;
    let mut bob = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    bob.sign_in("bob@xmpp.localhost").await;

    // Nobody reads this socket, so nobody answers.
    prosody.logged(&["Client disconnected"]).await;
}

#[tokio::test]
async fn at_the_bound_on_connections_a_browser_waits_until_another_leaves() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, ANONYMOUS, "");
    let proxy = Proxy::with(&format!("[http]\nconnections = 2\n{site}")).await;
    let cookie = session_cookie("bob");
    let mut first = Socket::open(&proxy, Some(&cookie)).await;
    let mut second = Socket::open(&proxy, Some(&cookie)).await;

    first.sign_in("bob@xmpp.localhost").await;
    second.sign_in("bob@xmpp.localhost").await;
    let mut third = Box::pin(Socket::open(&proxy, Some(&cookie)));
    // Many times what a third would need to come in, if there were a place.
    let conversation = async {
        for number in 0..300 {
            first.send(&format!("<iq xmlns='jabber:client' type='get' id='{number}' to='xmpp.localhost'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
            first.receive_with(&format!("id='{number}'")).await;
        }
    };
    tokio::select! {
        biased;
        _ = &mut third => panic!("there is no place for a third"),
        () = conversation => {}
    }
    first.vanish();

    assert!(third.await.sign_in("bob@xmpp.localhost").await.starts_with("bob@"));
}

async fn join(socket: &mut Socket, nick: &str) {
    socket
        .send(&format!(
            "<presence xmlns='jabber:client' to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
    socket.receive_with("<subject").await;
}

async fn say(socket: &mut Socket, text: &str) {
    socket
        .send(&format!("<message xmlns='jabber:client' to='{ROOM}' type='groupchat'><body>{text}</body></message>"))
        .await;
}

/// Turns stream management on; the id to come back with.
async fn enable(socket: &mut Socket) -> String {
    socket.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let enabled = socket.receive_with("<enabled").await;
    enabled.split("id='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
}

/// Comes back with the id; what the server says to it.
async fn resume(proxy: &Proxy, cookie: &str, id: &str) -> (Socket, String) {
    let mut socket = Socket::open(proxy, Some(cookie)).await;
    socket.open_stream("xmpp.localhost").await;
    socket.auth("EXTERNAL", "bob@xmpp.localhost").await;
    socket.open_stream("xmpp.localhost").await;
    socket.send(&format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>")).await;
    let answer = socket.receive().await;
    (socket, answer)
}
