//! A browser that writes its bytes by hand: whatever a library would never send.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::gateway::Proxy;

/// A connection with TLS.
#[derive(Debug)]
pub(crate) struct Wire {
    /// What is read and written.
    pub(crate) stream: TlsStream<TcpStream>,
}

impl Wire {
    /// Connects, to speak `alpn`.
    pub(crate) async fn open(proxy: &Proxy, alpn: &str) -> Self {
        let tcp = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(proxy.tls(alpn)).connect(name, tcp).await.expect("TLS");
        Self { stream }
    }

    /// Writes it all, as far as the other side lets it.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let written = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        // A side that has refused what came before may close under it.
        drop(written.expect("it is read"));
        drop(self.stream.flush().await);
    }

    /// Reads until what was read ends with this; what was read.
    pub(crate) async fn read_to(&mut self, end: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(end) {
            let byte = timeout(PATIENCE, self.stream.read_u8()).await.expect("it comes in time");
            read.push(char::from(byte.unwrap_or_else(|error| panic!("{error} behind {read:?}"))));
        }
        read
    }

    /// The body of the next answer over HTTP/1.1, which says how long it is.
    pub(crate) async fn read_answer(&mut self) -> String {
        let head = self.read_to("\r\n\r\n").await;
        let (_, length) = head.split_once("content-length: ").expect("a length");
        let length = length.lines().next().and_then(|length| length.parse().ok());
        let mut body = vec![0; length.expect("a number")];
        self.stream.read_exact(&mut body).await.expect("a whole answer");
        String::from_utf8(body).expect("text")
    }

    /// Reads until the other side closes or breaks off; what was read.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        let reading = async { while let Ok(1..) = self.stream.read_buf(&mut read).await {} };
        timeout(PATIENCE, reading).await.expect("it ends in time");
        read
    }

    /// How the first stream goes: the kinds of its frames, up to the one that ends it, or that ends all of them.
    pub(crate) async fn outcome(&mut self) -> Vec<u8> {
        let mut kinds = Vec::new();
        loop {
            let mut head = [0; 9];
            if timeout(PATIENCE, self.stream.read_exact(&mut head))
                .await
                .expect("it comes in time")
                .is_err()
            {
                return kinds;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.expect("a whole frame");
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if stream == 1 {
                kinds.push(head[3]);
            }
            if head[3] == GOAWAY || stream == 1 && (head[3] == RESET || head[4] & END_STREAM != 0) {
                return kinds;
            }
        }
    }
}

/// All that a browser of HTTP/2 says: one header block and, behind it, this body.
pub(crate) fn http_2(fields: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal that is never indexed, with a new name (RFC 7541 §6.2.3); lengths of 127 and more go on (§5.1).
        block.push(0x10);
        for text in [name, value] {
            let length = text.len();
            match length.checked_sub(127) {
                None => block.push(u8::try_from(length).expect("a short one")),
                Some(more) => block.extend([127, u8::try_from(more).expect("a short one")]),
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, (SETTINGS, 0), 0, &[]);
    let ends = if body.is_none() { END_STREAM } else { 0 };
    frame(&mut bytes, (HEADERS, END_HEADERS | ends), 1, &block);
    if let Some(body) = body {
        frame(&mut bytes, (DATA, END_STREAM), 1, body.as_bytes());
    }
    bytes
}

fn frame(bytes: &mut Vec<u8>, (kind, flags): (u8, u8), stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(payload.len()).expect("a short one").to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

const DATA: u8 = 0;
/// The frame that an answer begins with.
pub(crate) const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(90);
