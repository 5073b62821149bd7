//! What a browser that does not read, and its pings, do to the relay.

use std::future::poll_fn;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;

use super::*;
use crate::browser::Line;
use crate::browser::Patience;
use crate::protocol::stream_management::server::Server;
use crate::session::relay::managed::Here;

/// Two ends of a connection on which the kernel keeps little.
pub(super) async fn pair() -> (TcpStream, TcpStream) {
    let (one, other) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
    for socket in [&one, &other] {
        socket.set_recv_buffer_size(4096).unwrap();
        socket.set_send_buffer_size(4096).unwrap();
    }
    other.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = other.listen(1).unwrap();
    let (one, other) = tokio::join!(one.connect(listener.local_addr().unwrap()), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

/// A relay whose browser does not read, while its server writes without end, and reads what comes; the last counts what was
/// taken of the flood.
async fn flooded() -> (TcpStream, OwnedReadHalf, JoinHandle<()>, Arc<AtomicUsize>) {
    let (browser, ours) = pair().await;
    let (server, upstream) = pair().await;
    let mut splitter = Splitter::new(1_000_000);
    let mut header = b"<stream:stream>".as_slice();
    assert!(matches!(splitter.next(&mut header), Ok(Some(Piece::Header(_)))));
    let ahead = Ahead::default();
    let patience = Arc::new(Patience::new(Duration::from_secs(3600), Arc::default()));
    let browser_side = (Browser::new(Line::Tcp(ours), patience), Reader::new(1_000_000));
    let upstream = (Socket::Tcp(upstream), splitter);
    let mut relay = Relay::new(browser_side, upstream, Limits::default(), ahead);
    tokio::spawn(async move { poll_fn(|cx| relay.poll_carry(cx)).await });
    let (reads, mut writes) = server.into_split();
    // Small ones, because each grows most when it is framed.
    let stanzas = "<a/>".repeat(4096);
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let flood = tokio::spawn(async move {
        while let Ok(length) = writes.write(stanzas.as_bytes()).await {
            counted.fetch_add(length, Ordering::Relaxed);
        }
    });
    (browser, reads, flood, taken)
}

/// A browser's text frame, with a mask of zeros.
fn frame_of(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// The browser says something so often that by then nothing fits on the way to it, and is heard each time.
async fn heard_again_and_again(browser: &mut TcpStream, server: &mut OwnedReadHalf) {
    for _ in 0..500 {
        browser.write_all(&frame_of("<iq id='1'/>")).await.unwrap();
        let mut heard = [0; 12];
        let reading = timeout(Duration::from_secs(30), server.read_exact(&mut heard)).await;
        reading.expect("the browser is heard").unwrap();
        assert_eq!(&heard, b"<iq id='1'/>");
    }
}

#[tokio::test]
async fn a_browser_that_does_not_read_is_heard_all_the_same() {
    let (mut browser, mut server, _flood, taken) = flooded().await;

    heard_again_and_again(&mut browser, &mut server).await;
    let before = taken.load(Ordering::Relaxed);
    heard_again_and_again(&mut browser, &mut server).await;

    assert_eq!(taken.load(Ordering::Relaxed), before, "the server is read no further");
}

#[tokio::test]
async fn only_the_last_of_many_pings_waits_for_its_answer() {
    let (mut browser, mut server, flood, _) = flooded().await;
    heard_again_and_again(&mut browser, &mut server).await;

    for beat in 0..=99_u8 {
        browser.write_all(&[0x89, 0x81, 0, 0, 0, 0, beat]).await.unwrap();
    }
    // What is behind the pings has come, so they have too.
    heard_again_and_again(&mut browser, &mut server).await;
    flood.abort();
    drop((server, flood.await));
    let mut seen = Vec::new();
    browser.read_to_end(&mut seen).await.ok();

    let pongs = seen.windows(3).filter(|bytes| bytes.starts_with(&[0x8A, 0x01]));
    assert_eq!(pongs.collect::<Vec<_>>(), [[0x8A, 0x01, 99]]);
}

/// A relay of a stream that is managed so, whose server does not read; with the browser's end and the server's.
async fn managed_so(
    managed: Managed,
    reader: Reader,
    read: Vec<u8>,
) -> (Relay, TcpStream, TcpStream) {
    let (browser, ours) = pair().await;
    let (server, upstream) = pair().await;
    let patience = Arc::new(Patience::new(Duration::from_secs(3600), Arc::default()));
    let ahead = Ahead { managed, browser: read, ..Ahead::default() };
    let ours = (Browser::new(Line::Tcp(ours), patience), reader);
    let upstream = (Socket::Tcp(upstream), Splitter::new(1_000_000));
    (Relay::new(ours, upstream, Limits::default(), ahead), browser, server)
}

#[tokio::test]
async fn a_browser_that_asks_how_much_has_arrived_without_end_and_reads_nothing_fills_no_buffer() {
    let keep = managed::Keep { time: Duration::from_secs(75), bytes: 1000 };
    let here = Here { server: Server::new(1000), id: Some("its id".into()), keep };
    let managed = Managed::Here(Box::new(here));
    let (mut relay, mut browser, _server) =
        managed_so(managed, Reader::new(1000), Vec::new()).await;
    let asked = [
        "<r xmlns='urn:xmpp:sm:3'/>",
        "<enable xmlns='urn:xmpp:sm:3'/>",
        "<a xmlns='urn:xmpp:sm:3' h='0'/>",
    ];
    let asking = async {
        for _ in 0..5_000 {
            for text in asked {
                browser.write_all(&frame_of(text)).await.unwrap();
            }
        }
    };

    tokio::select! {
        biased;
        end = poll_fn(|cx| relay.poll_carry(cx)) => panic!("{end:?}"),
        () = asking => {}
    }

    assert!(relay.to_browser.len() < 1000, "{} bytes", relay.to_browser.len());
}

#[tokio::test]
async fn compressed_messages_that_came_at_once_are_taken_as_the_server_takes_them() {
    const LARGE: usize = 200_000;
    let body = "x".repeat(LARGE);
    let message = format!("<message xmlns='jabber:client'><body>{body}</body></message>");
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    deflate.write_all(message.as_bytes()).unwrap();
    let payload = deflate.finish().unwrap();
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let frame = [&[0xC1, 0xFE], length.as_slice(), &[0; 4], &payload].concat();
    let reader = Reader::new(LARGE + 1000).deflating(true);
    let (mut relay, _browser, server) = managed_so(Managed::No, reader, frame.repeat(50)).await;

    let carried = poll_fn(|cx| Poll::Ready(relay.poll_carry(cx))).await;
    assert!(carried.is_pending(), "{carried:?}");
    assert!(relay.to_upstream.len() < 2 * LARGE, "{} bytes", relay.to_upstream.len());

    let mut reading = BufReader::new(server);
    let mut seen = vec![0; 50 * (LARGE + 50)];
    tokio::select! {
        biased;
        end = poll_fn(|cx| relay.poll_carry(cx)) => panic!("{end:?}"),
        read = reading.read_exact(&mut seen) => assert!(read.is_ok(), "all of them arrive"),
    }
}
