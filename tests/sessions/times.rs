//! How long something may take, and what is counted of a session.

use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::bob;
use crate::bob_by_websocket;
use crate::counted;
use crate::ping;
use crate::proxy;
use crate::reached;
use crate::support::gateway::session_cookie;
use crate::support::prosody::Prosody;
use crate::support::websocket::Socket;

#[tokio::test]
async fn request_that_trickles_is_told_that_it_is_late() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\nbody_time = '100ms'").await;
    let tcp = TcpStream::connect(proxy.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = TlsConnector::from(proxy.tls("http/1.1")).connect(name, tcp).await.unwrap();

    let half = "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n<body ";
    tls.write_all(half.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tls.read_exact(&mut answer).await.unwrap();

    assert_eq!(&answer, b"HTTP/1.1 408");
    counted(&proxy, &reached("body_time", 1)).await;
}

#[tokio::test]
async fn browser_has_only_so_long_to_sign_in() {
    let prosody = Prosody::start().await;
    let short = "[bosh]\nlogin = '100ms'\n[websocket]\nlogin = '100ms'";
    let proxy = proxy(&prosody, short).await;

    let _silent = bob(&proxy).begin(1).await;
    let _socket = Socket::open(&proxy, Some(&session_cookie("bob"))).await;

    counted(&proxy, &reached("login", 2)).await;
}

#[tokio::test]
async fn session_waits_only_so_long_for_its_page() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\nattach = '100ms'").await;

    let _unclaimed = bob(&proxy).prebind().await;

    counted(&proxy, &reached("attach", 1)).await;
}

#[tokio::test]
async fn sessions_are_counted_with_what_they_carry() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "").await;
    let member = |transport: &str| format!("{{kind=\"member\",transport=\"{transport}\"}}");
    let mut session = bob(&proxy).prebind().await;
    let mut socket = bob_by_websocket(&proxy).await;
    for transport in ["bosh", "websocket"] {
        counted(&proxy, &format!("vestibule_sessions{} 1\n", member(transport))).await;
    }

    session.exchange(&(ping("1") + &ping("2")), &["id='1'", "id='2'"]).await;
    session.terminate().await;
    socket.send(&ping("3")).await;
    socket.receive_with("id='3'").await;
    socket.send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>").await;

    for transport in ["bosh", "websocket"] {
        counted(&proxy, &format!("vestibule_sessions{} 0\n", member(transport))).await;
        counted(&proxy, &format!("vestibule_sessions_total{} 1\n", member(transport))).await;
    }
    // Two pings and the farewell; bind and ping.
    for (direction, transport, stanzas) in
        [("up", "bosh", 3), ("down", "bosh", 2), ("up", "websocket", 2), ("down", "websocket", 2)]
    {
        let labels = format!("{{direction=\"{direction}\",transport=\"{transport}\"}}");
        counted(&proxy, &format!("vestibule_stanzas_total{labels} {stanzas}\n")).await;
    }
}
