//! Browsers that are slow on purpose, over real sockets: a deadline is not put off by a byte now and then.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadHalf;
use tokio::io::WriteHalf;
use tokio::io::split;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::http::HEADERS;
use crate::support::http::Held;
use crate::support::http::RST_STREAM;
use crate::support::http::SETTINGS;
use crate::support::http::connect;
use crate::support::http::door;
use crate::support::http::frame;
use crate::support::http::get;
use crate::support::http::next_frame;
use crate::support::http::next_of;
use crate::support::http::open;
use crate::support::http::preface;
use crate::support::http::reached;
use crate::support::http::until_closed;

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
/// Fifteen seconds of a trickle: many times the deadlines here.
const PIECES: usize = 300;
