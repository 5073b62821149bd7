//! Who the browser is behind reverse proxies and load balancers: the PROXY protocol and `Forwarded`, before a real web server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

use crate::support::gateway::Proxy;
use crate::support::http::connect;
use crate::support::http::connect_from;
use crate::support::http::counted;
use crate::support::http::door;
use crate::support::http::shake_hands;
use crate::support::http::until_closed;

#[tokio::test]
async fn proxy_protocol_of_either_version_tells_who_the_browser_is() {
    let proxy = door(BALANCER, "", Some(mirror().await)).await;
    // §2.2 of the specification: version 2, PROXY, TCP over IPv6.
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24".to_vec();
    binary.extend("2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    binary.extend("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    binary.extend([0x12, 0x67, 0x01, 0xbb]);
    let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n".to_vec();
    let itself = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec();

    for (header, address) in [(line, "192.0.2.7"), (binary, "2001:db8::7"), (itself, "127.0.0.1")] {
        let mut tcp = connect(&proxy, "").await;
        tcp.write_all(&header).await.unwrap();

        let asked = asked_over_tls(&proxy, tcp, "X-Forwarded-For: 203.0.113.9\r\n").await;

        let told = format!("x-forwarded-for: {address}\r\n");
        // The balancer itself is a proxy that is believed.
        let told = if address == "127.0.0.1" { "x-forwarded-for: 203.0.113.9\r\n" } else { &told };
        assert!(asked.contains(told), "{asked}");
        assert!(asked.contains("x-forwarded-proto: https"), "{asked}");
    }
}

#[tokio::test]
async fn no_byte_behind_the_header_is_lost_though_it_comes_in_the_same_segment() {
    let proxy = door(BALANCER_IN_THE_CLEAR, "", Some(mirror().await)).await;

    let mut tcp = TcpStream::connect(proxy.plain()).await.unwrap();
    let both = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nGET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    tcp.write_all(both.as_bytes()).await.unwrap();
    let mut asked = String::new();
    tcp.read_to_string(&mut asked).await.unwrap();

    assert!(asked.starts_with("HTTP/1.1 200"), "{asked}");
    assert!(asked.contains("x-forwarded-for: 192.0.2.7\r\n"), "{asked}");
}

#[tokio::test]
async fn who_comes_over_a_unix_socket_is_believed() {
    let listen = "proxy_protocol = true\nhttp = ['unix:v.sock']";
    let proxy = door(listen, "", Some(mirror().await)).await;
    let folder = proxy.certificate().parent().unwrap().parent().unwrap().to_owned();

    let mut unix = UnixStream::connect(folder.join("v.sock")).await.unwrap();
    let both = "PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\nGET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    unix.write_all(both.as_bytes()).await.unwrap();
    let asked = String::from_utf8(until_closed(unix).await).unwrap();

    assert!(asked.contains("x-forwarded-for: 2001:db8::7\r\n"), "{asked}");
}

#[tokio::test]
async fn connection_without_the_header_is_closed() {
    let proxy = door(BALANCER, "", None).await;

    let tls_at_once = shake_hands(&proxy, connect(&proxy, "").await, "http/1.1").await;
    let http = until_closed(connect(&proxy, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await);

    assert!(tls_at_once.is_err());
    assert!(http.await.is_empty());
    counted(&proxy, "vestibule_refusals_total{reason=\"proxy_header\"}", 2).await;
}

#[tokio::test]
async fn header_that_never_ends_is_closed_in_time() {
    let proxy = door(BALANCER, "handshake = '200ms'", None).await;

    let told = until_closed(connect(&proxy, "PROXY TCP4 192.0.").await).await;

    assert!(told.is_empty());
}

#[tokio::test]
async fn stranger_who_speaks_the_proxy_protocol_is_closed() {
    let proxy = door(BALANCER, "", None).await;

    let mut stranger = connect_from("127.0.0.2", proxy.address()).await;
    stranger.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n").await.ok();

    assert!(shake_hands(&proxy, stranger, "http/1.1").await.is_err());
    counted(&proxy, "vestibule_refusals_total{reason=\"not_a_proxy\"}", 1).await;
}

#[tokio::test]
async fn forwarded_counts_where_proxies_write_it_and_the_other_field_does_not() {
    let listen = "trusted_proxies = ['127.0.0.1']\nforwarded = 'forwarded'";
    let proxy = door(listen, "", Some(mirror().await)).await;
    let forged = "X-Forwarded-For: 203.0.113.9\r\n\
        Forwarded: for=203.0.113.9, for=\"[2001:db8::7]:4711\";proto=https\r\n";

    let asked = asked_over_tls(&proxy, connect(&proxy, "").await, forged).await;

    assert!(asked.contains("x-forwarded-for: 2001:db8::7\r\n"), "{asked}");
    assert!(!asked.contains("203.0.113.9"), "{asked}");
}

#[tokio::test]
async fn forwarded_of_a_browser_is_passed_over_where_proxies_write_the_other() {
    let proxy = door("trusted_proxies = ['127.0.0.1']", "", Some(mirror().await)).await;
    let forged = "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 192.0.2.7\r\n";

    let asked = asked_over_tls(&proxy, connect(&proxy, "").await, forged).await;

    assert!(asked.contains("x-forwarded-for: 192.0.2.7\r\n"), "{asked}");
    assert!(!asked.contains("203.0.113.9"), "{asked}");
}

#[tokio::test]
async fn stranger_is_believed_in_nothing() {
    let proxy = door("trusted_proxies = ['127.0.0.1']", "", Some(mirror().await)).await;
    let forged =
        "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n";

    let stranger = connect_from("127.0.0.2", proxy.address()).await;
    let asked = asked_over_tls(&proxy, stranger, forged).await;

    assert!(asked.contains("x-forwarded-for: 127.0.0.2\r\n"), "{asked}");
    assert!(!asked.contains("203.0.113.9"), "{asked}");
}

/// What the site's web server is asked, when this is.
async fn asked_over_tls(proxy: &Proxy, tcp: TcpStream, fields: &str) -> String {
    let mut tls = shake_hands(proxy, tcp, "http/1.1").await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    tls.write_all(request.as_bytes()).await.unwrap();
    String::from_utf8(until_closed(tls).await).unwrap()
}

/// A web server whose answers are what it was asked.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = String::new();
                while !request.ends_with("\r\n\r\n") {
                    request.push(char::from(peer.read_u8().await.unwrap()));
                }
                let request = request.to_ascii_lowercase();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.len());
                peer.write_all(format!("{head}{request}").as_bytes()).await.unwrap();
            });
        }
    });
    address
}

const BALANCER: &str = "trusted_proxies = ['127.0.0.1']\nproxy_protocol = true";
const BALANCER_IN_THE_CLEAR: &str =
    "trusted_proxies = ['127.0.0.1']\nproxy_protocol = true\nhttp = ['127.0.0.1:0']";
