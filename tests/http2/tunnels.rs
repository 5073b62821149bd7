//! Tunnels (RFC 8441): what may not have one, and the site's own WebSockets, which its web server knows over HTTP/1.1 alone.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::SinkExt;
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::Request;
use tokio_tungstenite::tungstenite::handshake::server::Response;

use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::http::DATA;
use crate::support::http::HEADERS;
use crate::support::http::field;
use crate::support::http::frame;
use crate::support::http::next_of;
use crate::support::http::open;
use crate::support::http::preface;
use crate::support::http2::Line;
use crate::support::http2::XMPP;
use crate::support::websocket::Socket;

#[tokio::test]
async fn what_an_upgrade_would_be_refused_for_a_tunnel_is() {
    let proxy = before("127.0.0.1:1".parse().unwrap()).await;
    let line = Line::open(&proxy).await;
    let foreign = [&XMPP[..], &[("origin", "https://evil.example")]].concat();
    let null = [&XMPP[..], &[("origin", "null")]].concat();
    let own = [&XMPP[..], &[("origin", ORIGIN)]].concat();

    for (path, headers, expected) in [
        ("/xmpp-websocket", &foreign[..], 403),
        ("/xmpp-websocket/", &null, 403),
        ("/xmpp-websocket", &own[1..], 400),
        ("/xmpp-websocket", &own[..1], 400),
        ("/http-bind", &own, 405),
        ("/prebind", &own, 405),
        ("/.well-known/host-meta", &own, 405),
        ("/echo", &own, 502),
    ] {
        let refused = line.tunnel(path, headers).await.map(drop);
        assert_eq!(refused, Err(expected), "{path} {headers:?}");
    }
    for path in ["/xmpp-websocket", "/echo", "/http-bind"] {
        assert_eq!(line.connect(("connect-udp", path), &own).await.map(drop), Err(501), "{path}");
    }
    assert!(line.page("/.well-known/host-meta").await.0.is_success());
}

#[tokio::test]
async fn the_sites_own_websocket_goes_to_its_own_web_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = before(listener.local_addr().unwrap()).await;
    let site = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut asked = None;
        #[expect(clippy::result_large_err, reason = "tungstenite wants it so")]
        let answer = |request: &Request, mut response: Response| {
            asked = Some(request.clone());
            let headers = response.headers_mut();
            headers.insert("sec-websocket-protocol", "chess".parse().unwrap());
            headers.insert("set-cookie", "seen=1".parse().unwrap());
            Ok(response)
        };
        let mut echo = accept_hdr_async(tcp, answer).await.unwrap();
        while let Some(Ok(message)) = echo.next().await {
            if message.is_text() {
                echo.send(message).await.unwrap();
            }
        }
        asked.unwrap()
    });
    let line = Line::open(&proxy).await;

    let asking = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chess, go"),
        ("origin", ORIGIN),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ];
    let (tunnel, headers) = line.tunnel("/live?game=7", &asking).await.unwrap();
    let mut socket = Socket::behind(tunnel, headers).await;
    for length in [5, 100_000, 1_000_000] {
        let text = "x".repeat(length);
        socket.send(&text).await;
        assert!(socket.receive().await == text, "{length}");
    }
    let (status, _) = line.page("/.well-known/host-meta").await;
    socket.close().await;

    let asked = site.await.unwrap();
    let said = |name: &str| asked.headers()[name].to_str().unwrap().to_owned();
    assert!(status.is_success());
    assert_eq!(socket.headers["sec-websocket-protocol"], "chess");
    assert_eq!(socket.headers["set-cookie"], "seen=1");
    assert!(!socket.headers.contains_key("sec-websocket-accept"));
    assert_eq!(
        (asked.method().as_str(), asked.uri().to_string()),
        ("GET", "/live?game=7".to_owned())
    );
    assert_eq!((said("cookie"), said("origin")), ("a=1; b=2".to_owned(), ORIGIN.to_owned()));
    assert_eq!(
        (said("host"), said("x-forwarded-proto")),
        ("localhost".to_owned(), "https".to_owned())
    );
    assert_eq!(said("sec-websocket-protocol"), "chess, go");
}

#[tokio::test]
async fn web_server_that_wants_no_websocket_is_heard_and_one_that_lies_is_not() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let switches =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n";
    for (answer, expected) in [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(), 404),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".to_owned(), 302),
        (ok.to_owned(), 502),
        (format!("{switches}\r\n"), 502),
        (format!("{switches}sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), 502),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = before(listener.local_addr().unwrap()).await;
        let line = Line::open(&proxy).await;
        let asking = [("sec-websocket-version", "13"), ("origin", ORIGIN)];

        let (refused, _site) =
            tokio::join!(line.tunnel("/live", &asking), says(&listener, &answer));

        assert_eq!(refused.map(drop), Err(expected), "{answer}");
    }
}

#[tokio::test]
async fn web_server_that_ends_the_connection_ends_the_stream_and_so_does_the_browser() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = before(listener.local_addr().unwrap()).await;
    let line = Line::open(&proxy).await;
    let asking = [("sec-websocket-version", "13"), ("origin", ORIGIN)];
    let site = async {
        let (tcp, _) = listener.accept().await.unwrap();
        accept_async(tcp).await.unwrap().into_inner()
    };
    let (tunnel, mut site) = tokio::join!(line.tunnel("/live", &asking), site);
    let (mut tunnel, _) = tunnel.unwrap();

    site.write_all(b"bye").await.unwrap();
    site.shutdown().await.unwrap();
    let mut heard = Vec::new();
    tunnel.read_to_end(&mut heard).await.unwrap();
    tunnel.write_all(b"and bye").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut answered = Vec::new();
    site.read_to_end(&mut answered).await.unwrap();

    assert_eq!((&*heard, &*answered), (&b"bye"[..], &b"and bye"[..]));
}

#[tokio::test]
async fn what_comes_with_the_connect_is_heard_and_a_tunnel_that_ends_at_once_is_none() {
    let proxy = before("127.0.0.1:1".parse().unwrap()).await;
    let own = [&XMPP[..], &[("origin", ORIGIN)]].concat();
    // What a client says that waits for nothing: a ping in a frame of its own, masked with zeros.
    let ping = frame(DATA, 0, 3, &[0x89, 0x81, 0, 0, 0, 0, b'!']);
    let asked = [preface(), connect(1, 0x05, &own), connect(3, 0x04, &own), ping].concat();
    let mut browser = open(&proxy, "h2").await;

    browser.write_all(&asked).await.unwrap();
    let refused = next_of(&mut browser, HEADERS).await.unwrap();
    let opened = next_of(&mut browser, HEADERS).await.unwrap();
    let answer = loop {
        let (stream, said) = next_of(&mut browser, DATA).await.unwrap();
        if stream == 3 {
            break said;
        }
    };

    // :status 400 and 200 of the static table (RFC 7541 appendix A).
    assert_eq!((refused.0, refused.1[0]), (1, 0x8c));
    assert_eq!((opened.0, opened.1[0]), (3, 0x88));
    assert_eq!(answer, [0x8a, 1, b'!']);
}

#[tokio::test]
async fn web_server_that_does_not_read_stops_its_browser_and_nobody_else() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let proxy = before(listener.local_addr().unwrap()).await;
    let line = Line::open(&proxy).await;
    let asking = [("sec-websocket-version", "13"), ("origin", ORIGIN)];
    let mut sites = Vec::new();
    let mut tunnels = Vec::new();
    for _ in 0..2 {
        let site = async { accept_async(listener.accept().await.unwrap().0).await.unwrap() };
        let (tunnel, site) = tokio::join!(line.tunnel("/live", &asking), site);
        tunnels.push(tunnel.unwrap().0);
        sites.push(site.into_inner());
    }

    // Until nothing more goes for a while: a window, and what both kernels take.
    let mut written = 0;
    let chunk = vec![b'x'; 16 * 1024];
    while let Ok(length) = timeout(STILL, tunnels[0].write(&chunk)).await {
        written += length.unwrap();
        assert!(written < 8 * 1024 * 1024, "somebody keeps it all");
    }
    tunnels[1].write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    sites[1].read_exact(&mut heard).await.unwrap();
    let (status, _) = line.page("/.well-known/host-meta").await;
    let mut all = vec![0; written];
    sites[0].read_exact(&mut all).await.unwrap();

    assert_eq!(&heard, b"hello");
    assert!(status.is_success() && all.iter().all(|byte| *byte == b'x'));
}

/// A CONNECT for WebSocket to `/xmpp-websocket`.
fn connect(stream: u32, flags: u8, headers: &[(&str, &str)]) -> Vec<u8> {
    let line = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/xmpp-websocket"),
    ];
    let fields = line.iter().chain(headers).flat_map(|(name, value)| field(name, value));
    frame(HEADERS, flags, stream, &fields.collect::<Vec<_>>())
}

/// Nothing has gone for so long: it goes no further.
const STILL: Duration = Duration::from_millis(500);

/// Reads a request to its end and says this, on a connection that stays open.
async fn says(listener: &TcpListener, answer: &str) -> TcpStream {
    let (mut tcp, _) = listener.accept().await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(tcp.read_u8().await.unwrap());
    }
    tcp.write_all(answer.as_bytes()).await.unwrap();
    tcp
}

/// The proxy before a web server, and an XMPP server that is not there.
async fn before(backend: SocketAddr) -> Proxy {
    Proxy::with(&format!(
        "[upstream]\nhold = '100ms'\n[[site]]\nhosts = ['localhost']\nbackend = 'http://{backend}'\n[site.guests]\n\
         domain = 'guest.localhost'\nupstream = '127.0.0.1:1'\nsecret = 'a secret of the tests'\n"
    ))
    .await
}
