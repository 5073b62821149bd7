//! Browsers that are slow on purpose, over real sockets: a deadline is not put off by a byte now and then.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadHalf;
use tokio::io::WriteHalf;
use tokio::io::split;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::http::Endless;
use crate::support::http::HEADERS;
use crate::support::http::Held;
use crate::support::http::PING;
use crate::support::http::RST_STREAM;
use crate::support::http::SETTINGS;
use crate::support::http::connect;
use crate::support::http::connect_narrow;
use crate::support::http::counted;
use crate::support::http::door;
use crate::support::http::frame;
use crate::support::http::get;
use crate::support::http::next_frame;
use crate::support::http::next_of;
use crate::support::http::open;
use crate::support::http::preface;
use crate::support::http::reached;
use crate::support::http::until_closed;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::websocket::Socket;

#[tokio::test]
async fn handshake_that_trickles_is_over_at_its_deadline() {
    let proxy = door("", "handshake = '400ms'", None).await;
    // A record with a ClientHello of 508 bytes (RFC 8446 §4), which never is whole.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; PIECES]].concat();

    let (reads, trickle) = trickled(connect(&proxy, "").await, hello.chunks(1));
    until_closed(reads).await;

    assert!(!trickle.is_finished());
    reached(&proxy, "handshake_time", 1).await;
}

#[tokio::test]
async fn header_that_trickles_is_over_at_its_deadline() {
    let proxy = door("", "header = '400ms'", None).await;
    let header = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(PIECES));

    let browser = open(&proxy, "http/1.1").await;
    let (reads, trickle) = trickled(browser, header.as_bytes().chunks(1));
    until_closed(reads).await;

    assert!(!trickle.is_finished());
    reached(&proxy, "header_time", 1).await;
}

#[tokio::test]
async fn body_of_bosh_that_trickles_is_over_at_its_deadline() {
    let proxy = door("", "[bosh]\nbody_time = '400ms'", None).await;
    let head = "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\n\
        Content-Type: text/xml\r\nContent-Length: 1000\r\n\r\n";

    let mut browser = open(&proxy, "http/1.1").await;
    browser.write_all(head.as_bytes()).await.unwrap();
    let (mut reads, trickle) = trickled(browser, [b' '; PIECES].chunks(1));
    let answer = support::http::head(&mut reads).await;

    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(!trickle.is_finished());
    reached(&proxy, "body_time", 1).await;
}

#[tokio::test]
async fn answer_that_is_read_a_little_at_a_time_over_http_2_is_reset() {
    let proxy = door("", "stall = '1s'", Some(crumbs().await)).await;
    let mut browser = open(&proxy, "h2").await;

    // SETTINGS_INITIAL_WINDOW_SIZE of 0 (RFC 9113 §6.5.2), and then 16 bytes at a time: 320 a second, where each frame of
    // the answer has its turn well within `stall`.
    let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    browser.write_all(&[preface(), shut, get(1, &[])].concat()).await.unwrap();
    let opened = frame(WINDOW_UPDATE, 0, 1, &16_u32.to_be_bytes()).repeat(PIECES);
    let (mut reads, trickle) = trickled(browser, opened.chunks(13));
    let (stream, _) = next_of(&mut reads, RST_STREAM).await.unwrap();

    assert_eq!(stream, 1);
    assert!(!trickle.is_finished());
    reached(&proxy, "write_time", 1).await;
}

#[tokio::test]
async fn answer_that_is_read_a_little_at_a_time_over_http_1_is_given_up() {
    let mut site = Endless::start().await;
    let proxy = door("http = ['127.0.0.1:0']", "stall = '1s'", Some(site.address)).await;
    let mut browser = connect_narrow(proxy.plain()).await;

    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let trickle = tokio::spawn(async move {
        for _ in 0..PIECES {
            browser.read_exact(&mut [0; 16]).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    });
    site.left.recv().await.unwrap();

    assert!(!trickle.is_finished());
    reached(&proxy, "write_time", 1).await;
}

#[tokio::test]
async fn websocket_that_is_never_read_is_ended_in_time_and_so_is_its_stream() {
    let server = Server::start(Script::Good).await;
    let proxy = Proxy::with(&format!(
        "[http]\nstall = '500ms'\n[[site]]\nhosts = ['localhost']\n\
         [site.guests]\ndomain = 'guest.localhost'\nupstream = '{}'\nsecret = 'a secret of the tests'\n",
        server.address()
    ))
    .await;
    let (narrow, tls) = (connect_narrow(proxy.address()).await, proxy.tls("http/1.1"));
    let origin = [("origin", ORIGIN)];
    let mut socket = Socket::over(narrow, tls, "/xmpp-websocket", &origin).await.unwrap();
    socket.sign_in("guest.localhost").await;

    // Each answer is as long as its question, and is never read.
    let id = "i".repeat(60_000);
    let ping = format!(
        "<iq xmlns='jabber:client' type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>"
    );
    while socket.is_taken(&ping).await {}

    server.has_seen(|seen| seen.gone == 1).await;
    reached(&proxy, "write_time", 1).await;
    counted(&proxy, "vestibule_sessions{kind=\"guest\",transport=\"websocket\"}", 0).await;
}

#[tokio::test]
async fn http_2_connection_whose_browser_answers_no_ping_is_closed_though_a_request_is_under_way() {
    let mut site = Held::start().await;
    let proxy = door("", "ping = '200ms'\npong = '200ms'", Some(site.address)).await;
    let mut dead = open(&proxy, "h2").await;
    dead.write_all(&[preface(), get(1, &[])].concat()).await.unwrap();
    site.asked.recv().await.unwrap();

    let (stream, _) = next_of(&mut dead, PING).await.unwrap();
    until_closed(dead).await;

    assert_eq!(stream, 0);
    counted(&proxy, "vestibule_connections", 0).await;
}

#[tokio::test]
async fn http_2_connection_whose_browser_answers_pings_waits_for_its_answer() {
    let mut site = Held::start().await;
    let proxy = door("", "ping = '200ms'\npong = '5s'", Some(site.address)).await;
    let mut browser = open(&proxy, "h2").await;
    browser.write_all(&[preface(), get(1, &[])].concat()).await.unwrap();
    site.asked.recv().await.unwrap();

    for _ in 0..4 {
        let (_, ping) = next_of(&mut browser, PING).await.unwrap();
        browser.write_all(&frame(PING, ACK, 0, &ping)).await.unwrap();
    }
    site.answer.notify_one();
    let (answered, _) = next_of(&mut browser, HEADERS).await.unwrap();

    assert_eq!(answered, 1);
}

#[tokio::test]
async fn stream_beyond_the_bound_is_refused_and_the_others_are_served() {
    let mut site = Held::start().await;
    let proxy = door("", "streams = 1", Some(site.address)).await;
    let mut browser = open(&proxy, "h2").await;

    browser.write_all(&[preface(), get(1, &[])].concat()).await.unwrap();
    site.asked.recv().await.unwrap();
    browser.write_all(&get(3, &[])).await.unwrap();
    let (refused, reason) = next_of(&mut browser, RST_STREAM).await.unwrap();
    site.answer.notify_one();
    let served = loop {
        match next_frame(&mut browser).await.unwrap() {
            (HEADERS, stream, _) => break stream,
            (kind, ..) => assert_ne!(kind, RST_STREAM),
        }
    };

    // REFUSED_STREAM (RFC 9113 §7), on which a browser asks again.
    assert_eq!((refused, reason, served), (3, 7_u32.to_be_bytes().to_vec(), 1));
}

/// Writes one of these every 50 ms, while the test reads.
fn trickled<'a, S>(
    stream: S,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (ReadHalf<S>, JoinHandle<WriteHalf<S>>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reads, mut writes) = split(stream);
    let pieces: Vec<Vec<u8>> = pieces.into_iter().map(<[u8]>::to_vec).collect();
    let trickle = tokio::spawn(async move {
        for piece in pieces {
            // Who is closed upon goes on all the same: whether it is finished shows how long the other side took.
            writes.write_all(&piece).await.ok();
            writes.flush().await.ok();
            sleep(Duration::from_millis(50)).await;
        }
        writes
    });
    (reads, trickle)
}

/// A web server whose answer is many chunks of 64 bytes.
async fn crumbs() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        let _ = support::http::head(&mut peer).await;
        let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let chunk = format!("40\r\n{}\r\n", "a".repeat(64));
        while peer.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    address
}

const WINDOW_UPDATE: u8 = 8;
/// The flag of a PING that answers one (RFC 9113 §6.7).
const ACK: u8 = 1;
/// Fifteen seconds of a trickle: many times the deadlines here.
const PIECES: usize = 300;
