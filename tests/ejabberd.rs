//! The whole proxy before a real ejabberd, which is told by PROXY protocol where each visitor is.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

use crate::support::authority::Authority;
use crate::support::bosh::Browser;
use crate::support::ejabberd::Ejabberd;
use crate::support::ejabberd::GUESTS;
use crate::support::ejabberd::PORT;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::websocket::Socket;

/// Before `ejabberd`, which is told the visitor's address and has to speak TLS.
async fn before(ejabberd: &Ejabberd, authority: &Authority) -> Proxy {
    Proxy::with(&format!(
        "trusted_proxies = ['127.0.0.1']\n[[site]]\nhosts = ['localhost']\n\
         [site.guests]\ndomain = '{GUESTS}'\nupstream = '{}'\nsecurity = 'starttls'\nauthority = '{}'\n\
         proxy_protocol = true\npass = 'anonymous'\n",
        ejabberd.address(),
        authority.file().display(),
    ))
    .await
}

#[tokio::test]
async fn server_sees_the_visitors_address_and_not_the_edges() {
    let authority = Authority::new();
    let ejabberd = Ejabberd::start(&authority).await;
    let proxy = before(&ejabberd, &authority).await;
    let headers = [("origin", ORIGIN), ("x-forwarded-for", "192.0.2.7")];

    let mut socket = Socket::try_open(&proxy, &headers).await.expect("a WebSocket");
    let jid = socket.sign_in(GUESTS).await;
    let session = Browser::new(&proxy, None).forwarded_for("2001:db8::8").prebind().await;

    for (jid, address) in [(jid, "192.0.2.7"), (session.jid, "2001:db8::8")] {
        let bare = jid.split('/').next().unwrap_or_default();
        let line = ejabberd.logged(&["Accepted c2s ANONYMOUS", bare]).await;
        assert!(line.contains(address) && !line.contains("127.0.0.1"), "{line}");
    }
}

#[tokio::test]
async fn guests_of_ejabberd_hear_each_other_over_either_transport() {
    let authority = Authority::new();
    let ejabberd = Ejabberd::start(&authority).await;
    let proxy = before(&ejabberd, &authority).await;
    let mut socket = Socket::open(&proxy, None).await;
    let by_websocket = socket.sign_in(GUESTS).await;
    let mut session = Browser::new(&proxy, None).prebind().await;
    let message = |to: &str, text: &str| {
        format!(
            "<message xmlns='jabber:client' to='{to}' type='chat'><body>{text}</body></message>"
        )
    };

    let jid = session.jid.clone();
    // What is sent over BOSH is answered when there is something to say.
    let sent = message(&by_websocket, "to WebSocket");
    let answered = session.send(&sent);
    let (answer, heard) = tokio::join!(answered, async {
        let heard = socket.receive_with("to WebSocket").await;
        socket.send(&message(&jid, "to BOSH")).await;
        heard
    });

    assert!(heard.contains(&jid), "{heard}");
    assert!(answer.body.contains("to BOSH"), "{answer:?}");
}

// RFC 6120 §8.1.5: a stanza without a language is in its stream's, which is the session's (XEP-0124 §7.1).
#[tokio::test]
async fn what_a_browser_writes_in_its_language_is_known_to_be_in_it() {
    let authority = Authority::new();
    let ejabberd = Ejabberd::start(&authority).await;
    let proxy = before(&ejabberd, &authority).await;
    let mut socket = Socket::open(&proxy, None).await;
    let reader = socket.sign_in(GUESTS).await;
    let (session, _) = Browser::new(&proxy, None).open("ver='1.11' xml:lang='de-AT'").await;
    let mut writer = session.sign_in_wishing("").await;

    let message = format!("<message xmlns='jabber:client' to='{reader}'><body>Grüß Gott</body>");
    let said = format!("{message}</message><presence xmlns='jabber:client'/>");
    let (heard, _) = tokio::join!(socket.receive_with("Gott"), writer.send(&said));

    assert!(heard.contains("xml:lang='de-AT'"), "{heard}");
}

#[tokio::test]
async fn configuration_of_the_documentation_works() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ejabberd.md"));
    let page = page.expect("it is shipped");
    let block = |language: &str| {
        let (_, rest) = page.split_once(&format!("```{language}\n")).expect("such a block");
        rest.split("```").next().expect("its end")
    };
    let authority = Authority::new();
    let ejabberd = Ejabberd::configured(&authority, "guest.example.org", block("yaml")).await;
    let port = ejabberd.address().port().to_string();
    let proxy = Proxy::with(&format!(
        "trusted_proxies = ['127.0.0.1']\n[[site]]\nhosts = ['localhost']\n{}",
        block("toml").replace(PORT, &port),
    ))
    .await;
    let headers = [("origin", ORIGIN), ("x-forwarded-for", "192.0.2.7")];

    let mut socket = Socket::try_open(&proxy, &headers).await.expect("a WebSocket");
    let jid = socket.sign_in("guest.example.org").await;

    let (bare, _) = jid.split_once('/').expect("a full JID");
    assert!(bare.ends_with("@guest.example.org"), "{jid}");
    let line = ejabberd.logged(&["Accepted c2s ANONYMOUS", bare]).await;
    assert!(line.contains("192.0.2.7"), "{line}");
}

#[tokio::test]
async fn guest_is_signed_in_through_the_servers_unix_socket() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("c2s.sock").display().to_string();
    let ejabberd =
        Ejabberd::configured(&authority, GUESTS, &ON_A_SOCKET.replace(SOCKET, &path)).await;
    let proxy = Proxy::with(&format!(
        "[[site]]\nhosts = ['localhost']\n\
         [site.guests]\ndomain = '{GUESTS}'\nupstream = 'unix:{path}'\npass = 'anonymous'\n"
    ))
    .await;

    let mut socket = Socket::open(&proxy, None).await;
    let jid = socket.sign_in(GUESTS).await;
    let to_himself =
        format!("<message xmlns='jabber:client' to='{jid}'><body>by socket</body></message>");
    socket.send(&to_himself).await;

    assert!(socket.receive_with("by socket").await.contains("<body>"));
    drop(ejabberd);
}

const SOCKET: &str = "/run/c2s.sock";
const ON_A_SOCKET: &str = "
hosts: [anon.localhost]
auth_method: [anonymous]
anonymous_protocol: sasl_anon
modules: {}
listen:
  - port: 'unix:/run/c2s.sock'
    module: ejabberd_c2s
";
