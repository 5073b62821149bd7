//! A browser's WebSocket that is not ours: tungstenite over tokio-rustls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::SinkExt;
use futures_util::StreamExt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderMap;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;

/// One connection, in TLS if nothing else is said.
#[derive(Debug)]
pub(crate) struct Socket<S = TlsStream<TcpStream>> {
    stream: WebSocketStream<S>,
    /// The headers of the 101.
    pub(crate) headers: HeaderMap,
}

impl Socket {
    /// Opens one from the site's own page, with this cookie, if any.
    pub(crate) async fn open(proxy: &Proxy, cookie: Option<&str>) -> Self {
        let mut headers = vec![("origin", ORIGIN)];
        headers.extend(cookie.map(|cookie| ("cookie", cookie)));
        Self::try_open(proxy, &headers).await.unwrap_or_else(|status| panic!("status {status}"))
    }

    /// Opens one with these headers; the status, if it is not 101.
    pub(crate) async fn try_open(proxy: &Proxy, headers: &[(&str, &str)]) -> Result<Self, u16> {
        Self::try_open_at(proxy, "/xmpp-websocket", headers).await
    }

    /// The same at another path.
    pub(crate) async fn try_open_at(
        proxy: &Proxy,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, u16> {
        Self::dial(proxy.address(), proxy.tls("http/1.1"), path, headers).await
    }

    /// The same at this address, trusting as this says.
    pub(crate) async fn dial(
        address: SocketAddr,
        tls: Arc<ClientConfig>,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, u16> {
        let tcp = TcpStream::connect(address).await.expect("the proxy listens");
        Self::over(tcp, tls, path, headers).await
    }

    /// The same over this connection.
    pub(crate) async fn over(
        tcp: TcpStream,
        tls: Arc<ClientConfig>,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, u16> {
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = TlsConnector::from(tls).connect(name, tcp).await.expect("TLS");
        Self::upgrade(tls, path, headers).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// One that is open already.
    pub(crate) async fn behind(connection: S, headers: HeaderMap) -> Self {
        Self {
            stream: WebSocketStream::from_raw_socket(connection, Role::Client, None).await,
            headers,
        }
    }

    /// Opens one over a connection that is made.
    pub(crate) async fn upgrade(
        connection: S,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, u16> {
        let mut request = format!("wss://localhost{path}").into_client_request().expect("a URL");
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("xmpp"));
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header");
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        match client_async(request, connection).await {
            Ok((stream, response)) => Ok(Self { stream, headers: response.headers().clone() }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("the proxy reads");
    }

    /// Sends one message; whether there is still somebody to take it. Nothing is read meanwhile.
    pub(crate) async fn is_taken(&mut self, text: &str) -> bool {
        let sent = timeout(PATIENCE, self.stream.send(Message::text(text))).await;
        sent.expect("it is taken or refused in time").is_ok()
    }

    /// Sends a frame of any kind.
    pub(crate) async fn send_frame(&mut self, message: Message) {
        self.stream.send(message).await.expect("the proxy reads");
    }

    /// The next message of text; pings are answered on the way.
    pub(crate) async fn receive(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("no text, but {other:?}"),
        }
    }

    /// The next message that holds these words; others on the way are passed over.
    pub(crate) async fn receive_with(&mut self, words: &str) -> String {
        loop {
            let text = self.receive().await;
            if text.contains(words) {
                return text;
            }
        }
    }

    /// The next frame but pings and pongs; none when the connection is over.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => return Some(message),
                    // tungstenite calls a connection that ends behind the close frame an error.
                    Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => {
                        return None;
                    }
                    Some(Err(error)) => panic!("{error}"),
                }
            }
        };
        timeout(PATIENCE, next).await.expect("something comes in time")
    }

    /// The next frame of any kind.
    pub(crate) async fn next_of_any_kind(&mut self) -> Message {
        let next = timeout(PATIENCE, self.stream.next()).await;
        next.expect("something comes in time").expect("it is open").expect("a frame")
    }

    /// Closes, and waits until the other end has done so too.
    pub(crate) async fn close(&mut self) {
        self.stream.close(None).await.expect("it is open");
        while self.next().await.is_some() {}
    }

    /// What carries it.
    pub(crate) fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    /// Opens the stream to a domain; `<open/>` and the features that come back.
    pub(crate) async fn open_stream(&mut self, to: &str) -> (String, String) {
        self.send(&format!(
            "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{to}' version='1.0'/>"
        ))
        .await;
        (self.receive().await, self.receive().await)
    }

    /// Signs in with EXTERNAL as this, restarts, and binds; the JID.
    pub(crate) async fn sign_in(&mut self, authzid: &str) -> String {
        let domain = authzid.rsplit('@').next().unwrap_or_default();
        self.open_stream(domain).await;
        let answer = self.auth("EXTERNAL", authzid).await;
        assert!(answer.contains("<success"), "{answer}");
        self.open_stream(domain).await;
        self.bind().await
    }

    /// Sends `<auth/>`; what is said to it.
    pub(crate) async fn auth(&mut self, mechanism: &str, authzid: &str) -> String {
        let authzid = BASE64_STANDARD.encode(authzid);
        self.send(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{authzid}</auth>"
        ))
        .await;
        self.receive().await
    }

    /// Binds; the JID.
    pub(crate) async fn bind(&mut self) -> String {
        self.send("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
        let bound = self.receive_with("<jid>").await;
        let (_, jid) = bound.split_once("<jid>").expect("a JID");
        jid.split("</jid>").next().expect("its end").to_owned()
    }

    /// Goes without a word.
    pub(crate) fn vanish(self) {
        drop(self.stream);
    }
}

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(90);
