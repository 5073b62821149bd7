//! The bounds at the door, over real sockets: each is reached, is what the browser is told, and is counted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::gateway::Proxy;
use crate::support::http::CONTINUATION;
use crate::support::http::DATA;
use crate::support::http::Endless;
use crate::support::http::GOAWAY;
use crate::support::http::HEADERS;
use crate::support::http::Held;
use crate::support::http::PING;
use crate::support::http::RST_STREAM;
use crate::support::http::connect;
use crate::support::http::counted;
use crate::support::http::door;
use crate::support::http::field;
use crate::support::http::frame;
use crate::support::http::get;
use crate::support::http::head;
use crate::support::http::next_frame;
use crate::support::http::next_of;
use crate::support::http::open;
use crate::support::http::preface;
use crate::support::http::reached;
use crate::support::http::shake_hands;
use crate::support::http::until_closed;

#[tokio::test]
async fn address_beyond_its_connections_is_closed_at_once_and_no_other_is() {
    let proxy = door(BEHIND_A_BALANCER, "connections_per_address = 2", None).await;

    let first = balanced(&proxy, ONE).await.unwrap();
    let _second = balanced(&proxy, ONE).await.unwrap();
    let third = balanced(&proxy, ONE).await;
    let other = balanced(&proxy, OTHER).await;

    assert!(third.is_err());
    assert!(other.is_ok());
    reached(&proxy, "connections_per_address", 1).await;
    drop(first);
    // It is gone when the proxy has seen it.
    while balanced(&proxy, ONE).await.is_err() {}
}

#[tokio::test]
async fn addresses_of_one_ipv6_network_are_one() {
    let proxy = door(BEHIND_A_BALANCER, "connections_per_address = 1", None).await;
    let header = |address: &str| format!("PROXY TCP6 {address} 2001:db8:f::1 4711 443\r\n");

    let _first = balanced(&proxy, &header("2001:db8:0:1::7")).await.unwrap();
    let neighbour = balanced(&proxy, &header("2001:db8:0:1:f::8")).await;
    let other = balanced(&proxy, &header("2001:db8:0:2::7")).await;

    assert!(neighbour.is_err());
    assert!(other.is_ok());
}

#[tokio::test]
async fn websocket_keeps_its_place_among_the_connections_of_its_address() {
    let proxy = door(BEHIND_A_BALANCER, "connections_per_address = 1", None).await;
    let upgrade = "GET /xmpp-websocket HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\n\
        Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    let mut socket = balanced(&proxy, ONE).await.unwrap();
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let answer = head(&mut socket).await;
    let second = balanced(&proxy, ONE).await;

    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(second.is_err());
}

#[tokio::test]
async fn address_beyond_its_handshakes_is_closed_at_once() {
    let proxy = door(BEHIND_A_BALANCER, "handshakes_per_address = 1", None).await;

    let mut silent = connect(&proxy, ONE).await;
    // A ClientHello that goes on has its place already.
    silent.write_all(&[0x16]).await.unwrap();
    let second = loop {
        // The proxy may meet the second one first.
        let second = balanced(&proxy, ONE).await;
        if second.is_err() {
            break second;
        }
    };

    assert!(second.is_err());
    assert!(balanced(&proxy, OTHER).await.is_ok());
}

#[tokio::test]
async fn who_is_silent_in_the_handshake_keeps_nobody_waiting() {
    let proxy = door("", "handshakes = 2\nhandshake = '1h'", None).await;

    let mut silent = Vec::new();
    for said in ["", "\u{16}", "\u{16}\u{3}\u{1}"].repeat(3) {
        silent.push(connect(&proxy, said).await);
    }
    // Who has heard our part of it, and says no more.
    for _ in 0..3 {
        let mut halfway = connect(&proxy, "").await;
        halfway.write_all(&client_hello(&proxy)).await.unwrap();
        halfway.read_u8().await.unwrap();
        silent.push(halfway);
    }

    open(&proxy, "http/1.1").await;
}

#[tokio::test]
async fn handshakes_beyond_the_bound_wait_for_their_turn_and_are_counted() {
    let proxy = door("", "handshakes = 1", None).await;
    let hello = client_hello(&proxy);
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(connect(&proxy, "").await);
    }
    counted(&proxy, "vestibule_connections", 3).await;

    // All in one wave: nothing else goes on meanwhile.
    for browser in &crowd {
        assert_eq!(browser.try_write(&hello).unwrap(), hello.len());
    }
    for browser in &mut crowd {
        browser.read_u8().await.unwrap();
    }

    reached(&proxy, "handshakes", 2).await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_counted() {
    let proxy = door("", "connections = 1", None).await;

    let first = open(&proxy, "http/1.1").await;
    reached(&proxy, "connections", 1).await;
    counted(&proxy, "vestibule_connections", 1).await;
    drop(first);

    counted(&proxy, "vestibule_connections", 0).await;
}

#[tokio::test]
async fn who_is_silent_in_the_handshake_is_gone_in_time() {
    let proxy = door("", "handshake = '200ms'", None).await;

    let silent = until_closed(connect(&proxy, "").await).await;
    let begun = until_closed(connect(&proxy, "\u{16}\u{3}\u{1}").await).await;

    assert!(silent.is_empty() && begun.is_empty());
    reached(&proxy, "handshake_time", 2).await;
}

#[tokio::test]
async fn who_is_silent_before_or_within_a_header_is_gone_in_time() {
    let proxy = door("", "header = '200ms'", None).await;

    until_closed(open(&proxy, "http/1.1").await).await;
    reached(&proxy, "header_time", 1).await;
    let mut within = open(&proxy, "http/1.1").await;
    within.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
    until_closed(within).await;
    reached(&proxy, "header_time", 2).await;
    until_closed(open(&proxy, "h2").await).await;
    reached(&proxy, "header_time", 3).await;
    let mut preface_alone = open(&proxy, "h2").await;
    preface_alone.write_all(&preface()).await.unwrap();
    until_closed(preface_alone).await;
    reached(&proxy, "header_time", 4).await;
}

#[tokio::test]
async fn connection_that_has_served_and_idles_is_closed_in_time_which_is_no_bound() {
    let proxy = door("", "header = '200ms'", None).await;

    let mut used = open(&proxy, "http/1.1").await;
    used.write_all(HOST_META.as_bytes()).await.unwrap();
    let answer = head(&mut used).await;
    until_closed(used).await;
    until_closed(open(&proxy, "http/1.1").await).await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    reached(&proxy, "header_time", 1).await;
}

#[tokio::test]
async fn header_of_too_many_fields_or_bytes_is_431_over_http_1() {
    let proxy = door("", "header_fields = 10\nheader_bytes = '4 KiB'", None).await;
    let many = "X-Field: 1\r\n".repeat(11);
    let large = format!("X-Field: {}\r\n", "a".repeat(5000));

    for fields in [many, large] {
        let mut browser = open(&proxy, "http/1.1").await;
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        browser.write_all(request.as_bytes()).await.unwrap();
        let answer = head(&mut browser).await;

        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        until_closed(browser).await;
    }
    reached(&proxy, "header", 2).await;
}

#[tokio::test]
async fn header_of_too_many_fields_or_bytes_is_431_over_http_2() {
    let proxy = door("", "header_fields = 10\nheader_bytes = '4 KiB'", None).await;
    let many = field("x-field", "1").repeat(11);
    let large = field("x-field", &"a".repeat(5000));
    let larger = field("x-field", &"a".repeat(9000));

    for fields in [many, large, larger] {
        let mut browser = open(&proxy, "h2").await;
        browser.write_all(&[preface(), get(1, &fields)].concat()).await.unwrap();
        let (_, answer) = next_of(&mut browser, HEADERS).await.unwrap();

        // :status by its name's place in the static table, and "431" (RFC 7541 appendix A, §6.2.2).
        assert!(answer.starts_with(b"\x08\x03431"), "{answer:x?}");
    }
    reached(&proxy, "header", 3).await;
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let proxy = door("", "resets = 5", None).await;
    let mut browser = open(&proxy, "h2").await;

    // CVE-2023-44487, in one write.
    let mut attack = preface();
    for stream in (1..200).step_by(2) {
        attack.extend(get(stream, &[]));
        attack.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    browser.write_all(&attack).await.unwrap();
    let (_, goaway) = next_of(&mut browser, GOAWAY).await.unwrap();

    // ENHANCE_YOUR_CALM (RFC 9113 §7).
    assert_eq!(goaway[4..8], 11_u32.to_be_bytes());
    until_closed(browser).await;
    reached(&proxy, "streams", 1).await;
}

#[tokio::test]
async fn header_that_goes_on_for_ever_ends_the_connection() {
    let proxy = door("", "", None).await;
    let mut browser = open(&proxy, "h2").await;

    // CVE-2024-27316: HEADERS without END_HEADERS, and no end of CONTINUATION.
    let block = [&[0x82, 0x87, 0x84, 0x01, 9][..], b"localhost"].concat();
    let begun = [preface(), frame(HEADERS, 0x01, 1, &block)].concat();
    browser.write_all(&begun).await.unwrap();
    let more = frame(CONTINUATION, 0, 1, &field("x-field", &"a".repeat(1000)));
    while browser.write_all(&more).await.is_ok() {}

    reached(&proxy, "streams", 1).await;
}

#[tokio::test]
async fn browser_that_does_nothing_but_ping_is_gone() {
    let proxy = door("", "", None).await;
    let mut browser = open(&proxy, "h2").await;

    // CVE-2019-9512.
    browser.write_all(&preface()).await.unwrap();
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(100);
    while browser.write_all(&pings).await.is_ok() {}

    reached(&proxy, "streams", 1).await;
}

#[tokio::test]
async fn browser_that_makes_room_for_an_answer_and_reads_nothing_is_gone_in_time() {
    let mut site = Endless::start().await;
    let proxy = door("", "stall = '300ms'", Some(site.address)).await;
    let mut browser = open(&proxy, "h2").await;

    let room = (u32::MAX >> 2).to_be_bytes();
    let opened = [0, 1].map(|stream| frame(WINDOW_UPDATE, 0, stream, &room)).concat();
    browser.write_all(&[preface(), get(1, &[]), opened].concat()).await.unwrap();
    site.left.recv().await.unwrap();

    reached(&proxy, "write_time", 1).await;
}

#[tokio::test]
async fn idle_http_2_connection_is_closed_and_one_with_a_request_under_way_is_not() {
    let mut site = Held::start().await;
    let proxy = door("", "idle = '200ms'", Some(site.address)).await;
    let mut waiting = open(&proxy, "h2").await;
    waiting.write_all(&[preface(), get(1, &[])].concat()).await.unwrap();
    site.asked.recv().await.unwrap();

    // It begins to idle later, so it has idled no longer than the other when it is closed.
    let mut idle = open(&proxy, "h2").await;
    idle.write_all(&[preface(), get_host_meta(1)].concat()).await.unwrap();
    let served = next_of(&mut idle, HEADERS).await.unwrap();
    let goaway = next_of(&mut idle, GOAWAY).await;
    until_closed(idle).await;
    site.answer.notify_one();
    let answered = next_of(&mut waiting, HEADERS).await.unwrap();

    assert_eq!((served.0, answered.0), (1, 1));
    assert!(goaway.is_some());
    assert_eq!(answered.1[0], 0x88, "200 of the static table (RFC 7541 appendix A)");
}

#[tokio::test]
async fn browser_that_reads_no_answer_is_gone_in_time() {
    let mut site = Endless::start().await;
    let proxy = door("", "stall = '300ms'", Some(site.address)).await;

    let mut browser = open(&proxy, "http/1.1").await;
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    site.left.recv().await.unwrap();

    reached(&proxy, "write_time", 1).await;
    drop(browser);
}

#[tokio::test]
async fn answer_that_is_not_read_over_http_2_is_reset_and_the_connection_lives() {
    let mut site = Endless::start().await;
    let proxy = door("", "stall = '300ms'", Some(site.address)).await;
    let mut browser = open(&proxy, "h2").await;

    browser.write_all(&[preface(), get(1, &[])].concat()).await.unwrap();
    // The window of 64 KiB is never opened further (RFC 9113 §6.9.2).
    let mut received = 0;
    let reset = loop {
        match next_frame(&mut browser).await.unwrap() {
            (DATA, 1, payload) => received += payload.len(),
            (RST_STREAM, stream, _) => break stream,
            _ => {}
        }
    };
    site.left.recv().await.unwrap();
    browser.write_all(&get_host_meta(3)).await.unwrap();
    let next = next_of(&mut browser, HEADERS).await.unwrap();

    assert_eq!((received, reset, next.0), (65_535, 1, 3));
    reached(&proxy, "write_time", 1).await;
}

#[tokio::test]
async fn upload_that_stops_is_given_up_in_time() {
    for alpn in ["http/1.1", "h2"] {
        let mut site = Endless::start().await;
        let proxy = door("", "stall = '300ms'", Some(site.address)).await;
        let mut browser = open(&proxy, alpn).await;
        let request = if alpn == "h2" {
            // As GET, but with POST of the static table, and the stream stays open.
            let block = [&[0x83, 0x87, 0x84, 0x01, 9][..], b"localhost"].concat();
            [preface(), frame(HEADERS, 0x04, 1, &block), frame(DATA, 0, 1, b"some")].concat()
        } else {
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nsome".to_vec()
        };

        browser.write_all(&request).await.unwrap();
        site.left.recv().await.unwrap();

        reached(&proxy, "body_time", 1).await;
    }
}

#[tokio::test]
async fn bosh_beyond_what_may_be_arriving_is_told_to_come_back() {
    let proxy = door("", "[bosh]\nbodies = '16 KiB'", None).await;
    let post = |body: &str| {
        let begin = "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\n";
        format!("{begin}Content-Length: 4\r\nConnection: close\r\n\r\n{body}")
    };
    // Who has promised a body and sent none holds nothing.
    let mut promising = open(&proxy, "http/1.1").await;
    promising.write_all(post("").as_bytes()).await.unwrap();

    let mut slow = open(&proxy, "http/1.1").await;
    slow.write_all(post("som").as_bytes()).await.unwrap();
    let refused = loop {
        // The proxy may meet this one first.
        let answer = posted(&proxy, &post("some")).await;
        if answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
    };
    reached(&proxy, "body", 1).await;
    drop(slow);

    assert!(refused.contains("retry-after: 3"), "{refused}");
    // It is gone when the proxy has seen it.
    while !posted(&proxy, &post("some")).await.starts_with("HTTP/1.1 200") {}
}

/// Shakes hands behind a PROXY header.
async fn balanced(
    proxy: &Proxy,
    header: &str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = connect(proxy, header).await;
    shake_hands(proxy, tcp, "http/1.1").await
}

/// The head of the answer to this request.
async fn posted(proxy: &Proxy, request: &str) -> String {
    let mut browser = open(proxy, "http/1.1").await;
    browser.write_all(request.as_bytes()).await.unwrap();
    head(&mut browser).await
}

/// How a handshake begins.
fn client_hello(proxy: &Proxy) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut tls = rustls::ClientConnection::new(proxy.tls("http/1.1"), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

/// `GET` of host-meta over HTTP/2.
fn get_host_meta(stream: u32) -> Vec<u8> {
    let path = b"/.well-known/host-meta.json";
    let length = u8::try_from(path.len()).unwrap();
    let block = [&[0x82, 0x87, 0x04, length][..], path, &[0x01, 9], b"localhost"].concat();
    frame(HEADERS, 0x05, stream, &block)
}

/// Who the browser is, is said by the PROXY protocol.
const BEHIND_A_BALANCER: &str = "trusted_proxies = ['127.0.0.1']\nproxy_protocol = true";
const WINDOW_UPDATE: u8 = 8;
const ONE: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
const OTHER: &str = "PROXY TCP4 192.0.2.8 192.0.2.1 4711 443\r\n";

const HOST_META: &str = "GET /.well-known/host-meta.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
