//! A request written by hand: what no HTTP client would send.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;

/// Asks as Bob does, for another host; the status.
pub(crate) async fn status_for_host(proxy: &Proxy, host: &str, path: &str) -> u16 {
    let body = if path == "/http-bind" { super::OPENING } else { "" };
    status_of_body_for_host(proxy, (host, path), body).await
}

/// The same with this body.
pub(crate) async fn status_of_body_for_host(
    proxy: &Proxy,
    (host, path): (&str, &str),
    body: &str,
) -> u16 {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {ORIGIN}\r\nCookie: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        session_cookie("bob"),
        body.len()
    );
    let tcp = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = TlsConnector::from(proxy.tls("http/1.1")).connect(name, tcp).await.expect("TLS");
    tls.write_all(request.as_bytes()).await.expect("the proxy reads");
    let mut answer = String::new();
    let read = timeout(Duration::from_secs(30), tls.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("text");
    answer.split(' ').nth(1).expect("a status").parse().expect("a number")
}
