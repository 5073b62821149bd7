//! A browser's connection with HTTP/2 that is not ours: hyper's, with pages and WebSockets on it side by side.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::Method;
use hyper::Request;
use hyper::StatusCode;
use hyper::client::conn::http2;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::websocket::Socket;

/// A stream of the connection that carries a WebSocket.
pub(crate) type Tunnel = TokioIo<Upgraded>;

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    sender: SendRequest<Empty<Bytes>>,
    serving: JoinHandle<()>,
}

impl Line {
    /// Connects, and has heard what the proxy says of itself.
    pub(crate) async fn open(proxy: &Proxy) -> Self {
        Self::at(proxy.address(), proxy.tls("h2")).await
    }

    /// The same at this address, trusting as this says.
    pub(crate) async fn at(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        let tcp = TcpStream::connect(address).await.expect("the proxy listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = TlsConnector::from(tls).connect(name, tcp).await.expect("TLS");
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.expect("HTTP/2");
        let serving = tokio::spawn(async move {
            connection.await.ok();
        });
        let line = Self { sender, serving };
        line.page("/.well-known/host-meta").await;
        line
    }

    /// Asks for a page; its status and text.
    pub(crate) async fn page(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(format!("https://localhost{path}")).body(Empty::new());
        let mut sender = self.sender.clone();
        let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Opens a WebSocket from the site's own page, with this cookie, if any.
    pub(crate) async fn socket(&self, cookie: Option<&str>) -> Socket<Tunnel> {
        let mut headers = vec![("origin", ORIGIN)];
        // A browser sends each in a field of its own.
        let cookies = cookie.iter().flat_map(|cookie| cookie.split("; "));
        headers.extend(cookies.map(|cookie| ("cookie", cookie)));
        self.try_socket(&headers).await.unwrap_or_else(|status| panic!("status {status}"))
    }

    /// Opens one with these headers; the status, if it is not 200.
    pub(crate) async fn try_socket(&self, headers: &[(&str, &str)]) -> Result<Socket<Tunnel>, u16> {
        let (tunnel, answer) = self.tunnel("/xmpp-websocket", &[&XMPP, headers].concat()).await?;
        Ok(Socket::behind(tunnel, answer).await)
    }

    /// Asks for a tunnel for WebSocket with these headers alone; the status, if it is not 200.
    pub(crate) async fn tunnel(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Tunnel, hyper::HeaderMap), u16> {
        self.connect(("websocket", path), headers).await
    }

    /// The same for any protocol.
    pub(crate) async fn connect(
        &self,
        (protocol, path): (&'static str, &str),
        headers: &[(&str, &str)],
    ) -> Result<(Tunnel, hyper::HeaderMap), u16> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("https://localhost{path}"))
            .extension(Protocol::from_static(protocol));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).expect("a request");
        let answer = self.sender.clone().send_request(request).await.expect("an answer");
        if answer.status() != StatusCode::OK {
            return Err(answer.status().as_u16());
        }
        let headers = answer.headers().clone();
        let upgraded = hyper::upgrade::on(answer).await.expect("a tunnel");
        Ok((TokioIo::new(upgraded), headers))
    }

    /// The network goes, and nobody says so to the other end.
    pub(crate) fn vanish(&self) {
        self.serving.abort();
    }

    /// Waits until the proxy has ended the connection.
    pub(crate) async fn ends(self) {
        drop(self.sender);
        self.serving.await.expect("it ends in order");
    }
}

/// What every WebSocket for XMPP says of itself.
pub(crate) const XMPP: [(&str, &str); 2] =
    [("sec-websocket-protocol", "xmpp"), ("sec-websocket-version", "13")];
