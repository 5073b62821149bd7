//! WebSockets over HTTP/2 (RFC 8441): each a stream of a connection that carries so many of them.

use std::future::poll_fn;
use std::sync::Arc;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use bytes::Bytes;
use h2::Ping;
use h2::RecvStream;
use h2::SendStream;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::Method;
use http::Request;
use http::StatusCode;
use http::header;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::target::Target;

/// The connections of a crowd.
#[derive(Debug)]
pub struct Lines {
    /// WebSockets on each.
    each: usize,
    /// The one that was made last, and how many are on it.
    last: Mutex<(Option<Arc<Line>>, usize)>,
}

/// One connection; it ends with the last who holds it.
#[derive(Debug)]
struct Line {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

/// One stream of it.
pub struct Tunnel {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
    _line: Arc<Line>,
}

impl Lines {
    /// None yet; each is to carry so many WebSockets.
    #[must_use]
    pub fn of(each: usize) -> Self {
        Self { each, last: Mutex::new((None, 0)) }
    }

    async fn line(&self, target: &Target) -> Result<Arc<Line>> {
        let mut last = self.last.lock().await;
        let (line, count) = &mut *last;
        if let Some(line) = line.as_ref().filter(|_| *count < self.each) {
            *count += 1;
            return Ok(Arc::clone(line));
        }
        let made = Arc::new(Line::open(target).await?);
        *count = 1;
        // One that carries all it is to carry is let go with them.
        *line = (self.each > 1).then(|| Arc::clone(&made));
        Ok(made)
    }
}

impl Line {
    /// Opens one, and waits until the gateway has said that it takes WebSockets.
    async fn open(target: &Target) -> Result<Self> {
        let stream = target.by_http2().connect().await?;
        let (requests, mut connection) = h2::client::handshake(stream).await?;
        let mut pings = connection.ping_pong().context("nobody has asked for it before")?;
        let driver = tokio::spawn(async { drop(connection.await) });
        // What it says of itself comes before its answer.
        pings.ping(Ping::opaque()).await?;
        if !requests.is_extended_connect_protocol_enabled() {
            bail!("the gateway takes no WebSocket over HTTP/2");
        }
        Ok(Self { requests, driver })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Tunnel {
    /// Opens one, with this `Cookie` header.
    pub async fn open(target: &Target, cookie: Option<&str>) -> Result<Self> {
        let line = target.lines.line(target).await?;
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("{}/xmpp-websocket", target.origin))
            .extension(Protocol::from_static("websocket"))
            .header(header::ORIGIN, &target.origin)
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_PROTOCOL, "xmpp");
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let requests = line.requests.clone();
        let mut ready = requests.ready().await.context("the connection is gone")?;
        let (response, sending) = ready.send_request(request.body(())?, false)?;
        let response = response.await?;
        if response.status() != StatusCode::OK {
            bail!("the CONNECT was answered {}", response.status());
        }
        Ok(Self { sending, receiving: response.into_body(), _line: line })
    }

    /// Writes all of it, as soon as there is room.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.sending.send_data(Bytes::copy_from_slice(bytes), false)?)
    }

    /// Reads once; how much that was.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> Result<usize> {
        let Some(read) = poll_fn(|cx| self.receiving.poll_data(cx)).await else { return Ok(0) };
        let read = read?;
        self.receiving.flow_control().release_capacity(read.len())?;
        into.extend_from_slice(&read);
        Ok(read.len())
    }
}
