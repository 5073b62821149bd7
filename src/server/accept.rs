//! Accepting browsers: bounded in number and in time, TLS where it is spoken, then HTTP/1.1 or HTTP/2 by ALPN.

use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio::time::timeout;
use tracing::debug;
use tracing::warn;

use crate::browser::Browser;
use crate::browser::Place;
use crate::endpoint::Body;
use crate::server::forwarded::Neighbour;
use crate::server::listen::Plain;
use crate::server::router::Router;
use crate::tls;

/// `[http]` of proxy.toml: the bounds of connections, before anybody is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Connections of browsers at once, sessions over WebSocket included; more wait unaccepted.
    pub connections: NonZeroUsize,
    /// How long a TLS handshake may take.
    #[serde(with = "humantime_serde")]
    pub handshake: Duration,
    /// How long the header of a request may take, and how long a connection may idle before one.
    #[serde(with = "humantime_serde")]
    pub header: Duration,
    /// Header fields of one request over HTTP/1.1.
    pub header_fields: usize,
    /// Requests under way at once on one HTTP/2 connection.
    pub streams: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(20),
            header_fields: 100,
            streams: 100,
        }
    }
}

/// A place where browsers arrive, bound already.
pub enum Listener {
    /// HTTPS.
    Tls(TcpListener, Arc<ServerConfig>),
    /// Plain HTTP/1.1 on loopback.
    Tcp(TcpListener),
    /// Plain HTTP/1.1 on a Unix socket.
    Unix(UnixListener),
}

/// A listener that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}, of [listen] {key}")]
pub struct Error {
    key: &'static str,
    address: String,
    source: io::Error,
}

impl Listener {
    /// Awaits HTTPS on `address`.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn https(address: SocketAddr, config: Arc<ServerConfig>) -> Result<Self, Error> {
        let error = |source| Error { key: "https", address: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(error)?;
        Ok(Self::Tls(listener, config))
    }

    /// Awaits plain HTTP of a reverse proxy.
    ///
    /// # Errors
    /// When the address or the path is taken or not ours.
    pub async fn http(plain: &Plain) -> Result<Self, Error> {
        match plain {
            Plain::Loopback(address) => {
                let error = |source| Error { key: "http", address: address.to_string(), source };
                TcpListener::bind(address).await.map(Self::Tcp).map_err(error)
            }
            Plain::Unix(path) => {
                let error = |source| Error {
                    key: "http",
                    address: format!("unix:{}", path.display()),
                    source,
                };
                bind_unix(path).await.map(Self::Unix).map_err(error)
            }
        }
    }

    /// The address that browsers connect to, for people.
    #[must_use]
    pub fn address(&self) -> String {
        let tcp = |listener: &TcpListener| {
            listener.local_addr().map_or_else(|_| "?".to_owned(), |at| at.to_string())
        };
        match self {
            Self::Tls(listener, _) => format!("https://{}", tcp(listener)),
            Self::Tcp(listener) => format!("http://{}", tcp(listener)),
            Self::Unix(listener) => {
                let path =
                    listener.local_addr().ok().and_then(|at| at.as_pathname().map(PathBuf::from));
                format!("unix:{}", path.unwrap_or_default().display())
            }
        }
    }

    /// The port, where there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tls(listener, _) | Self::Tcp(listener) => {
                listener.local_addr().ok().map(|at| at.port())
            }
            Self::Unix(_) => None,
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Neighbour)> {
        match self {
            Self::Tls(listener, _) | Self::Tcp(listener) => {
                let (socket, address) = listener.accept().await?;
                socket.set_nodelay(true)?;
                Ok((Socket::Tcp(socket), Neighbour::Address(address.ip())))
            }
            Self::Unix(listener) => {
                Ok((Socket::Unix(listener.accept().await?.0), Neighbour::UnixSocket))
            }
        }
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Takes a socket that a dead process left behind, but not one that is listened on.
///
/// Whoever can connect is believed about where browsers are, so it is for our user and group alone.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && UnixStream::connect(path).await.is_err() =>
        {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Accepts browsers on one listener until the edge goes down; each gets a task of its own.
///
/// At the bound on connections nobody is accepted until somebody leaves.
pub async fn accept(
    listener: Listener,
    router: Arc<Router>,
    settings: Arc<Settings>,
    room: Arc<Semaphore>,
) {
    let (tasks, shutdown) = (router.edge().tasks.clone(), router.edge().shutdown.clone());
    let accepting = async {
        let mut pause = FIRST_PAUSE;
        loop {
            // The semaphore is never closed.
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, neighbour)) => {
                    pause = FIRST_PAUSE;
                    let config = if let Listener::Tls(_, config) = &listener {
                        Some(config.clone())
                    } else {
                        None
                    };
                    let (router, settings) = (router.clone(), settings.clone());
                    let connection =
                        Connection { router, settings, neighbour, place: Place::new(permit) };
                    tasks.spawn(connection.serve(socket, config));
                }
                // Out of file descriptors, or the browser left in the queue: the listener lives on.
                Err(error) => {
                    warn!(%error, "a browser could not be accepted");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown.cancelled() => {}
    }
}

struct Connection {
    router: Arc<Router>,
    settings: Arc<Settings>,
    neighbour: Neighbour,
    place: Place,
}

impl Connection {
    /// From the first byte to the last request, or to the upgrade that takes the connection over.
    async fn serve(self, socket: Socket, config: Option<Arc<ServerConfig>>) {
        let (browser, https) = match (socket, config) {
            (Socket::Tcp(socket), Some(config)) => {
                match timeout(self.settings.handshake, tls::accept::accept(socket, config)).await {
                    Ok(Ok(stream)) => (Browser::Tls(stream), true),
                    Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
                    Err(_) => return debug!("TLS handshake took too long"),
                }
            }
            (Socket::Tcp(socket), None) => (Browser::Tcp(socket), false),
            (Socket::Unix(socket), _) => (Browser::Unix(socket), false),
        };
        let speaks_http2 = matches!(&browser, Browser::Tls(stream) if stream.alpn() == Some(b"h2"));
        let ended =
            if speaks_http2 { self.http2(browser).await } else { self.http1(browser, https).await };
        if let Err(error) = ended {
            debug!(%error, "a connection ended early");
        }
    }

    async fn http1(self, browser: Browser, https: bool) -> hyper::Result<()> {
        let Self { router, settings, neighbour, place } = self;
        let shutdown = router.edge().shutdown.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(place.clone());
            answer(router.clone(), neighbour, https, request)
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header)
            .max_headers(settings.header_fields)
            .max_buf_size(HTTP1_BUFFER);
        let mut connection =
            builder.serve_connection(TokioIo::new(browser), service).with_upgrades();
        let mut connection = std::pin::Pin::new(&mut connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    async fn http2(self, browser: Browser) -> hyper::Result<()> {
        let Self { router, settings, neighbour, place: _place } = self;
        let shutdown = router.edge().shutdown.clone();
        let service = service_fn(move |request| answer(router.clone(), neighbour, true, request));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.streams)
            .max_header_list_size(HTTP2_HEADERS)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING);
        let mut connection =
            std::pin::pin!(builder.serve_connection(TokioIo::new(browser), service));
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())
    }
}

async fn answer(
    router: Arc<Router>,
    neighbour: Neighbour,
    https: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    Ok(router.route(request, neighbour, https).await)
}

/// Ends when every browser is served for the last time; `grace` is how long that may take.
pub async fn drained(router: &Router, grace: Duration) {
    let tasks = &router.edge().tasks;
    tasks.close();
    if timeout(grace, tasks.wait()).await.is_err() {
        warn!(left = tasks.len(), "not everybody left in time");
    }
}

/// Two file descriptors each, below the 20,000 that a process commonly may have.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(8999);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What is read ahead of one HTTP/1.1 connection, and so the most that its header may have, in bytes.
const HTTP1_BUFFER: usize = 64 * 1024;
/// All header fields of one HTTP/2 request, in bytes.
const HTTP2_HEADERS: u32 = 32 * 1024;
/// A dead HTTP/2 connection is noticed after twice this.
const HTTP2_PING: Duration = Duration::from_secs(30);
