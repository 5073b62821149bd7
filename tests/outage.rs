//! What a browser is told while the server or the site cannot answer: scripted ones, because real ones do not hang on demand.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::bosh::Browser;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::websocket::Socket;

/// Holds are short, so that the tests are.
const HOLDS: &str = "[upstream]\nhold = '300ms'\n[prebind]\nhold = '300ms'\n";

#[tokio::test]
async fn a_scripted_server_that_accepts_and_is_silent_is_503_to_prebind_and_bosh() {
    let proxy = before_upstream(Script::Silent).await;

    assert_unavailable_by_http(&proxy, Some(session_cookie("bob"))).await;
    assert_unavailable_by_http(&proxy, None).await;
}

#[tokio::test]
async fn a_scripted_server_that_accepts_and_is_silent_is_system_shutdown_behind_the_101() {
    let proxy = before_upstream(Script::Silent).await;

    assert_shutdown_by_websocket(&proxy, Some(&session_cookie("bob"))).await;
    assert_shutdown_by_websocket(&proxy, None).await;
}

#[tokio::test]
async fn a_scripted_server_that_breaks_off_or_lies_is_an_outage_too() {
    for script in [
        Script::Says(""),
        Script::Says("HTTP/1.1 400 Bad Request\r\n\r\n"),
        Script::Says(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
        ),
        Script::Says(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:features/><failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure></stream:stream>",
        ),
        Script::Says(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:features/><!-- --><success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        ),
    ] {
        let proxy = before_upstream(script).await;

        assert_unavailable_by_http(&proxy, Some(session_cookie("bob"))).await;
        assert_shutdown_by_websocket(&proxy, Some(&session_cookie("bob"))).await;
    }
}

#[tokio::test]
async fn a_scripted_site_that_cannot_say_who_it_is_is_an_outage_and_nobody_becomes_a_guest() {
    for script in [
        Script::Silent,
        Script::Says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        Script::Says(""),
    ] {
        let site = listen(script).await;
        let server = listen(Script::Silent).await;
        let proxy = Proxy::with(&format!(
            "{HOLDS}[whois]\ntimeout = '100ms'\n[[site]]\nhosts = ['localhost']\n\
             [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{server}'\nsecret = 'a secret of the tests'\n\
             [site.guests]\ndomain = 'guest.localhost'\nupstream = '{server}'\nsecret = 'a secret of the tests'\n\
             [site.session.whois]\nurl = 'http://{site}/'\nsecret = 'a secret of the tests'\ncookies = ['PHPSESSID']\n"
        ))
        .await;

        assert_unavailable_by_http(&proxy, Some("PHPSESSID=x".to_owned())).await;
        assert_shutdown_by_websocket(&proxy, Some("PHPSESSID=x")).await;
    }
}

/// What a scripted peer does once it has read something.
#[derive(Clone, Copy)]
enum Script {
    /// Nothing, for ever.
    Silent,
    /// Says this, and closes.
    Says(&'static str),
}

async fn listen(script: Script) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut peer, _)) = listener.accept().await {
            match script {
                Script::Silent => silent.push(peer),
                Script::Says(words) => {
                    let _ = peer.read(&mut [0; 4096]).await;
                    let _ = peer.write_all(words.as_bytes()).await;
                }
            }
        }
    });
    address
}

async fn before_upstream(script: Script) -> Proxy {
    let server = listen(script).await;
    Proxy::with(&format!(
        "{HOLDS}[[site]]\nhosts = ['localhost']\n\
         [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{server}'\nsecret = 'a secret of the tests'\n\
         [site.guests]\ndomain = 'guest.localhost'\nupstream = '{server}'\nsecret = 'a secret of the tests'\n\
         [site.session.jwt]\ncookie = 'session'\nsecret = '{}'\n",
        support::gateway::JWT_SECRET
    ))
    .await
}

async fn assert_unavailable_by_http(proxy: &Proxy, cookie: Option<String>) {
    let browser = Browser::new(proxy, cookie);
    let prebind = browser.ask("POST", "/prebind").await;
    assert_eq!(prebind.status, 503, "{prebind:?}");

    let body = "<body rid='1' to='xmpp.localhost' ver='1.6' wait='60' hold='1' xmlns='http://jabber.org/protocol/httpbind'/>";
    let bosh = browser.post(body.to_owned()).await;
    assert_eq!(bosh.status, 503, "{bosh:?}");
    assert_eq!(bosh.headers["access-control-allow-origin"], "https://localhost");
}

async fn assert_shutdown_by_websocket(proxy: &Proxy, cookie: Option<&str>) {
    let mut socket = Socket::open(proxy, cookie).await;
    let (open, error) = socket.open_stream("xmpp.localhost").await;
    assert!(open.starts_with("<open "), "{open}");
    assert!(error.contains("stream:error") && error.contains("system-shutdown"), "{error}");
    assert!(socket.receive().await.starts_with("<close "));
}
