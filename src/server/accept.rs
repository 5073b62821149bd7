//! Accepting browsers, bounded in number: each gets a task of its own.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::time::sleep;
use tokio::time::timeout;
use tracing::debug;
use tracing::warn;

use crate::outbound;
use crate::server::bounds::Bounds;
use crate::server::connection::Connection;
use crate::server::forwarded::Neighbour;
use crate::server::listen::Address;
use crate::server::listen::Plain;
use crate::server::listen::Port;
use crate::server::threads::Threads;
use crate::server::way::Way;
use crate::throttle::Throttle;

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
#[error("cannot listen on {address}, of {key}")]
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
    pub fn https(
        address: SocketAddr,
        config: Arc<ServerConfig>,
        port: Port,
    ) -> Result<Self, Error> {
        bind_https((address, port), config, "[listen] https")
    }

    /// Awaits plain HTTP of a reverse proxy.
    ///
    /// # Errors
    /// When the address or the path is taken or not ours.
    pub async fn http(plain: &Plain, port: Port) -> Result<Self, Error> {
        bind_plain(plain, port, "[listen] http").await
    }

    /// Awaits monitoring, which asks one process and no other. Where `tls` is none, and there should be some, nobody is awaited.
    ///
    /// # Errors
    /// When the address or the path is taken or not ours.
    pub async fn internal(
        address: &Address,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Option<Self>, Error> {
        let key = "[internal] listen";
        match (address, tls) {
            (Address::Plain(plain), _) => bind_plain(plain, Port::Own, key).await.map(Some),
            (Address::Https(address), Some(tls)) => {
                bind_https((*address, Port::Own), tls, key).map(Some)
            }
            (Address::Https(_), None) => Ok(None),
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

    /// What those who arrive here are to shake hands with.
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        match self {
            Self::Tls(_, config) => Some(config.clone()),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}

/// A connection that nobody has said a word on.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same, on its way to another thread.
pub(super) enum Detached {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    pub(super) fn detach(self) -> io::Result<Detached> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Detached::Tcp),
            Self::Unix(socket) => socket.into_std().map(Detached::Unix),
        }
    }
}

impl Detached {
    pub(super) fn attach(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(socket) => TcpStream::from_std(socket).map(Socket::Tcp),
            Self::Unix(socket) => UnixStream::from_std(socket).map(Socket::Unix),
        }
    }
}

fn bind_https(
    (address, port): (SocketAddr, Port),
    config: Arc<ServerConfig>,
    key: &'static str,
) -> Result<Listener, Error> {
    let error = |source| Error { key, address: address.to_string(), source };
    let listener = bind_tcp(address, port).map_err(error)?;
    Ok(Listener::Tls(listener, config))
}

async fn bind_plain(plain: &Plain, port: Port, key: &'static str) -> Result<Listener, Error> {
    match plain {
        Plain::Loopback(address) => {
            let error = |source| Error { key, address: address.to_string(), source };
            bind_tcp(*address, port).map(Listener::Tcp).map_err(error)
        }
        Plain::Unix(path) => {
            let error = |source| Error { key, address: format!("unix:{}", path.display()), source };
            bind_unix(path).await.map(Listener::Unix).map_err(error)
        }
    }
}

/// A port of our own stays so: the kernel lets in nobody who would share it, whatever he says.
fn bind_tcp(address: SocketAddr, port: Port) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // What is left of connections of before does not keep us from coming back.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(port == Port::Shared)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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
pub async fn accept(listener: Listener, way: Way, bounds: Arc<Bounds>, threads: Threads) {
    let (tasks, shutdown) = (way.tasks().clone(), way.shutdown().clone());
    let accepting = async {
        let mut trouble = Trouble::default();
        // There is always a place at some time.
        while let Some(permit) = bounds.room().await {
            match listener.accept().await {
                Ok((socket, neighbour)) => {
                    trouble.pause = FIRST_PAUSE;
                    let connection = Connection::new(way.clone(), bounds.clone(), neighbour);
                    let (tls, tracker) = (listener.tls(), tasks.clone());
                    let serve =
                        move |socket| tracker.track_future(connection.serve((socket, tls), permit));
                    if let Err(error) = threads.serve(socket, serve) {
                        trouble.met(&error).await;
                    }
                }
                // Out of file descriptors, or the browser left in the queue: the listener lives on.
                Err(error) => trouble.met(&error).await,
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown.cancelled() => {}
    }
}

/// How it goes with a listener that cannot accept.
struct Trouble {
    pause: Duration,
    told: Throttle,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { pause: FIRST_PAUSE, told: Throttle::default() }
    }
}

impl Trouble {
    /// Tells of it now and then, and waits before the next attempt.
    async fn met(&mut self, error: &io::Error) {
        let error = outbound::chain(error);
        if let Some(untold) = self.told.tell() {
            warn!(error, untold, "a browser could not be accepted");
        } else {
            debug!(error, "a browser could not be accepted");
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())
    }
}

/// Ends when every browser is served for the last time; `grace` is how long that may take.
pub async fn drained(way: &Way, grace: Duration) {
    let tasks = way.tasks();
    tasks.close();
    if timeout(grace, tasks.wait()).await.is_err() {
        warn!(left = tasks.len(), "not everybody left in time");
    }
}

/// Connections that wait for us to accept them; the kernel keeps no more than its net.core.somaxconn.
const BACKLOG: u32 = 4096;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
