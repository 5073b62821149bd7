//! A raw HTTP client, which sends what no well-behaved one would, and web servers to try a browser's patience.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::gateway::Proxy;

/// Connects from `source`, an address of this machine.
pub(crate) async fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source: IpAddr = source.parse().expect("an address");
    socket.bind(SocketAddr::new(source, 0)).expect("an address of this machine");
    socket.connect(to).await.expect("the proxy listens")
}

/// Connects with a receive buffer of a few kilobytes, as small as there is: what is not read soon stands in the proxy.
pub(crate) async fn connect_narrow(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1).expect("any size");
    socket.connect(to).await.expect("the proxy listens")
}

/// Connects, and says `first` in the clear.
pub(crate) async fn connect(proxy: &Proxy, first: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
    // Closed at once, it may not take it.
    tcp.write_all(first.as_bytes()).await.ok();
    tcp
}

/// Shakes hands over `tcp`; an error where the proxy closes.
pub(crate) async fn shake_hands(
    proxy: &Proxy,
    tcp: TcpStream,
    alpn: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(proxy.tls(alpn)).connect(name, tcp);
    timeout(PATIENCE, connecting).await.expect("it does not hang")
}

/// A TLS connection.
pub(crate) async fn open(proxy: &Proxy, alpn: &str) -> TlsStream<TcpStream> {
    let tcp = connect(proxy, "").await;
    shake_hands(proxy, tcp, alpn).await.expect("TLS")
}

/// The head of the next answer.
pub(crate) async fn head(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, from.read_u8()).await.expect("an answer in time");
        head.push(byte.unwrap_or_else(|error| panic!("{error} behind {head:?}")));
    }
    String::from_utf8(head).expect("ASCII")
}

/// Everything up to the end of the connection, however it ends.
pub(crate) async fn until_closed(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = async {
        let mut some = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut some).await {
            all.extend_from_slice(&some[..length]);
        }
    };
    timeout(PATIENCE, reading).await.expect("it is closed in time");
    all
}

/// Asks the internal listener; the whole answer.
pub(crate) async fn ask_internal(proxy: &Proxy, request: &str) -> String {
    let mut tcp = TcpStream::connect(proxy.internal()).await.expect("it listens");
    let host = if request.contains("\r\nHost: ") { "" } else { "\r\nHost: localhost" };
    let request = format!("{request}{host}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.expect("it reads");
    String::from_utf8(until_closed(tcp).await).expect("text")
}

/// Waits until the counter of `/metrics` that begins with `name` shows `count`.
pub(crate) async fn counted(proxy: &Proxy, name: &str, count: u64) {
    let asking = async {
        loop {
            let text = ask_internal(proxy, "GET /metrics HTTP/1.1").await;
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            if line == Some(&count.to_string()) {
                return;
            }
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{name} is not {count}"));
}

/// The same for a bound that was reached.
pub(crate) async fn reached(proxy: &Proxy, bound: &str, count: u64) {
    counted(proxy, &format!("vestibule_bounds_reached_total{{bound=\"{bound}\"}}"), count).await;
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface of a client, with empty settings (RFC 9113 §3.4).
pub(crate) fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
}

/// `GET /` of localhost, with more of a header block.
pub(crate) fn get(stream: u32, more: &[u8]) -> Vec<u8> {
    // :method GET, :scheme https and :path / of the static table, :authority in the clear (RFC 7541 appendix A, §6.2.2).
    let block = [&[0x82, 0x87, 0x84, 0x01, 9][..], b"localhost", more].concat();
    frame(HEADERS, 0x05, stream, &block)
}

/// A header field in the clear (RFC 7541 §6.2.2); the value of up to 16 KiB.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0x00, u8::try_from(name.len()).expect("a short name")];
    bytes.extend_from_slice(name.as_bytes());
    // A prefix of seven bits (RFC 7541 §5.1).
    if value.len() < 127 {
        bytes.push(u8::try_from(value.len()).expect("below 127"));
    } else {
        let rest = value.len() - 127;
        assert!(rest < 1 << 14);
        bytes.extend([127, u8::try_from(rest & 0x7f | 0x80).expect("a byte")]);
        bytes.push(u8::try_from(rest >> 7).expect("a byte"));
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// The next frame: kind, stream and payload; none at the end of the connection.
pub(crate) async fn next_frame(from: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u32, Vec<u8>)> {
    let reading = async {
        let mut header = [0; 9];
        from.read_exact(&mut header).await.ok()?;
        let [a, b, c, kind, _, stream @ ..] = header;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).expect("32 bits")];
        from.read_exact(&mut payload).await.ok()?;
        Some((kind, u32::from_be_bytes(stream), payload))
    };
    timeout(PATIENCE, reading).await.expect("a frame or the end in time")
}

/// The next frame of one kind.
pub(crate) async fn next_of(
    from: &mut (impl AsyncRead + Unpin),
    wanted: u8,
) -> Option<(u32, Vec<u8>)> {
    loop {
        let (kind, stream, payload) = next_frame(from).await?;
        if kind == wanted {
            return Some((stream, payload));
        }
    }
}

/// A site whose door is under test: with these lines of `[listen]` and `[http]`, and before this web server.
pub(crate) async fn door(listen: &str, http: &str, backend: Option<SocketAddr>) -> Proxy {
    let backend = backend.map(|at| format!("backend = 'http://{at}'")).unwrap_or_default();
    Proxy::with(&format!(
        "{listen}\n[internal]\nlisten = '127.0.0.1:0'\n[http]\n{http}\n[upstream]\nhold = '10ms'\n\
         [[site]]\nhosts = ['localhost']\n{backend}\n\
         [site.guests]\ndomain = 'guest.localhost'\nupstream = '127.0.0.1:1'\nsecret = 'a secret of the tests'\n"
    ))
    .await
}

/// A web server whose answer never ends.
#[derive(Debug)]
pub(crate) struct Endless {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// A connection to it is over.
    pub(crate) left: mpsc::Receiver<()>,
}

impl Endless {
    /// Starts it.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it goes on");
        let address = listener.local_addr().expect("it goes on");
        let (leaves, left) = mpsc::channel(8);
        tokio::spawn(async move {
            loop {
                let (mut peer, _) = listener.accept().await.expect("it goes on");
                let leaves = leaves.clone();
                tokio::spawn(async move {
                    let request = until_blank_line(&mut peer).await;
                    if request.starts_with("POST") {
                        let _ = peer.read_to_end(&mut Vec::new()).await;
                    } else {
                        let _ = peer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                        while peer.write_all(&[b'a'; 4096]).await.is_ok() {}
                    }
                    let _ = leaves.send(()).await;
                });
            }
        });
        Self { address, left }
    }
}

/// A web server that answers when it is told to.
#[derive(Debug)]
pub(crate) struct Held {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// A request is there.
    pub(crate) asked: mpsc::Receiver<()>,
    /// Tells it to.
    pub(crate) answer: Arc<Notify>,
}

impl Held {
    /// Starts it.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it goes on");
        let address = listener.local_addr().expect("it goes on");
        let (asks, asked) = mpsc::channel(8);
        let answer = Arc::new(Notify::new());
        let told = answer.clone();
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.expect("it goes on");
            until_blank_line(&mut peer).await;
            asks.send(()).await.expect("it goes on");
            told.notified().await;
            peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await
                .expect("it goes on");
        });
        Self { address, asked, answer }
    }
}

async fn until_blank_line(peer: &mut TcpStream) -> String {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        request.push(char::from(peer.read_u8().await.expect("it goes on")));
    }
    request
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(90);
