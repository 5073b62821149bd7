//! One connection, from its first byte to its last request: bounded in time, TLS where it is spoken, HTTP by ALPN.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use hyper::Request;
use hyper::body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::debug;

use crate::browser::Browser;
use crate::browser::Line;
use crate::browser::Patience;
use crate::browser::Place;
use crate::browser::incoming::Incoming;
use crate::metrics::bound::Bound;
use crate::outbound;
use crate::protocol::bosh::event;
use crate::server::accept::Socket;
use crate::server::bounds;
use crate::server::bounds::Bounds;
use crate::server::bounds::Settings;
use crate::server::forwarded::Neighbour;
use crate::server::http2::Http2;
use crate::server::lane::End;
use crate::server::lane::Lane;
use crate::server::proxied;
use crate::server::way::Way;
use crate::tls::accept::Handshake;
use crate::tls::accept::Progress;
use crate::tls::stream::Stream;

/// A connection that is accepted, and nothing more.
#[derive(Debug)]
pub(super) struct Connection {
    way: Way,
    bounds: Arc<Bounds>,
    neighbour: Neighbour,
}

/// Why a connection is closed before HTTP begins.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("who connected is no proxy that is believed, and the PROXY protocol is asked for")]
    NotAProxy,
    #[error(transparent)]
    Header(#[from] proxied::Error),
    #[error(transparent)]
    Crowded(#[from] bounds::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
}

/// A connection on which HTTP begins.
struct Arrived {
    way: Way,
    bounds: Arc<Bounds>,
    neighbour: Neighbour,
    browser: Browser,
    place: Place,
    protocol: Protocol,
    /// The browser's own, not a proxy's, behind which there may be several.
    own: Option<event::Connection>,
    /// Whether it has asked for anything.
    has_asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Https1,
    Https2,
}

impl Protocol {
    fn numbered(self, number: u64) -> event::Connection {
        match self {
            Self::Http1 | Self::Https1 => event::Connection::single(number),
            Self::Https2 => event::Connection::shared(number),
        }
    }
}

impl Connection {
    /// Who connected is `neighbour`.
    pub(super) fn new(way: Way, bounds: Arc<Bounds>, neighbour: Neighbour) -> Self {
        Self { way, bounds, neighbour }
    }

    /// From the first byte to the last request, or to the upgrade that takes the connection over.
    pub(super) async fn serve(
        self,
        accepted: (Socket, Option<Arc<ServerConfig>>),
        permit: OwnedSemaphorePermit,
    ) {
        let metrics = self.bounds.metrics().clone();
        let _panics = metrics.watch();
        let handshake = self.bounds.settings().handshake;
        // In a box, because it is larger than what follows and soon gone.
        let arriving = Box::pin(self.arrive(accepted, permit));
        let mut arrived = match timeout(handshake, arriving).await {
            Ok(Ok(arrived)) => arrived,
            Ok(Err(error)) => {
                let error = outbound::chain(&error);
                return debug!(error, "a connection was closed at the door");
            }
            Err(_) => {
                metrics.reached(Bound::HandshakeTime);
                return debug!("a TLS handshake took too long");
            }
        };
        // What comes behind the lane is in a box, because it is far larger, and a BOSH request is held in the lane.
        match arrived.protocol {
            Protocol::Http1 | Protocol::Https1 => {
                if arrived.lane().await == End::Leaves {
                    Box::pin(arrived.http1()).await;
                }
            }
            Protocol::Https2 => Box::pin(arrived.http2()).await,
        }
    }

    /// PROXY header, place and TLS handshake. Not cancel safe; the caller bounds the time.
    async fn arrive(
        self,
        (mut socket, config): (Socket, Option<Arc<ServerConfig>>),
        permit: OwnedSemaphorePermit,
    ) -> Result<Arrived, Error> {
        let Self { way, bounds, mut neighbour } = self;
        if let Some(trust) = way.trust().filter(|trust| trust.proxy_protocol) {
            if !trust.believes(neighbour) {
                bounds.metrics().refused("not_a_proxy");
                return Err(Error::NotAProxy);
            }
            let said = match &mut socket {
                Socket::Tcp(socket) => proxied::read(socket).await,
                Socket::Unix(socket) => proxied::read(socket).await,
            };
            let said = said.inspect_err(|_| bounds.metrics().refused("proxy_header"))?;
            neighbour = said.map_or(neighbour, Neighbour::Address);
        }
        let bounded = bounded_address(&way, neighbour);
        let share = bounds.share(bounded)?;
        let place = Place::new(permit, share, way.counted());
        let (line, protocol) = match (socket, config) {
            (Socket::Tcp(socket), Some(config)) => {
                let stream = shake_hands(&bounds, bounded, (socket, config)).await?;
                let speaks_http2 = stream.alpn() == Some(b"h2");
                let protocol = if speaks_http2 { Protocol::Https2 } else { Protocol::Https1 };
                (Line::Tls(stream), protocol)
            }
            (Socket::Tcp(socket), None) => (Line::Tcp(socket), Protocol::Http1),
            (Socket::Unix(socket), _) => (Line::Unix(socket), Protocol::Http1),
        };
        let patience = Patience::new(bounds.settings().stall, bounds.metrics().clone());
        let browser = Browser::new(line, Arc::new(patience));
        let own = bounded.map(|_| protocol.numbered(bounds.number()));
        Ok(Arrived { way, bounds, neighbour, browser, place, protocol, own, has_asked: false })
    }
}

/// Shakes hands with a browser of `address`. It has a place once it has said something, and a turn while it is worked on:
/// those who are silent, or go silent, keep nobody waiting.
async fn shake_hands(
    bounds: &Bounds,
    address: Option<IpAddr>,
    (socket, config): (TcpStream, Arc<ServerConfig>),
) -> Result<Stream<TcpStream>, Error> {
    let mut handshake = Handshake::new(socket, config).map_err(Error::Tls)?;
    handshake.heard().await.map_err(Error::Tls)?;
    let _place = bounds.handshake(address)?;
    loop {
        let turn = bounds.turn().await;
        let progress = handshake.go_on().map_err(Error::Tls)?;
        drop(turn);
        handshake = match progress {
            Progress::Done(stream) => return Ok(stream),
            Progress::Waits(handshake) => handshake,
        };
        handshake.heard().await.map_err(Error::Tls)?;
    }
}

/// The address whose connections are bounded: none of a proxy that is believed, behind which is everybody.
fn bounded_address(way: &Way, neighbour: Neighbour) -> Option<IpAddr> {
    match neighbour {
        Neighbour::Address(_) if way.trust().is_some_and(|trust| trust.believes(neighbour)) => None,
        Neighbour::Address(address) => Some(address),
        Neighbour::UnixSocket => None,
    }
}

impl Arrived {
    /// Serves BOSH as long as nothing else is asked.
    async fn lane(&mut self) -> End {
        let Way::Sites(router) = &self.way else { return End::Leaves };
        let from = (self.neighbour, self.protocol == Protocol::Https1);
        let mut lane = Lane::new(&mut self.browser, from, (router, &self.bounds), self.own);
        let end = lane.serve().await;
        self.has_asked = lane.has_asked();
        end
    }

    async fn http1(self) {
        let Self { way, bounds, neighbour, browser, place, protocol, own, has_asked } = self;
        let (settings, metrics) = (bounds.settings(), bounds.metrics());
        let shutdown = way.shutdown().clone();
        let asked = Arc::new(AtomicBool::new(has_asked));
        let (asks, https) = (asked.clone(), protocol == Protocol::Https1);
        let service = service_fn(move |mut request: Request<body::Incoming>| {
            asks.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(place.clone());
            if let Some(own) = own {
                request.extensions_mut().insert(own);
            }
            let answering = way.answer(request.map(Incoming::Http1), neighbour, https);
            async { Ok::<_, Infallible>(answering.await) }
        });
        let header_bytes = bytes(settings);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header)
            .max_headers(settings.header_fields.get())
            .max_header_size(header_bytes)
            .max_buf_size(header_bytes.max(HTTP1_BUFFER));
        let mut connection =
            pin!(builder.serve_connection(TokioIo::new(browser), service).with_upgrades());
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                Pin::as_mut(&mut connection).graceful_shutdown();
                connection.await
            }
        };
        let Err(error) = ended else { return };
        if error.is_parse_too_large() {
            metrics.reached(Bound::Header);
        }
        // Between two requests it is how every connection ends that is no longer needed.
        if error.is_timeout() && !asked.load(Ordering::Relaxed) {
            metrics.reached(Bound::HeaderTime);
        }
        debug!(error = outbound::chain(&error), "a connection ended early");
    }

    async fn http2(self) {
        let Self { way, bounds, neighbour, browser, place: _place, own, .. } = self;
        let bounded = bounded_address(&way, neighbour);
        Http2::new(browser, way, bounds, (neighbour, bounded, own)).serve().await;
    }
}

fn bytes(settings: &Settings) -> usize {
    usize::try_from(settings.header_bytes.as_u64()).unwrap_or(usize::MAX)
}

/// What is read ahead of one HTTP/1.1 connection at least, in bytes.
const HTTP1_BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F>(_: impl Fn(Connection, A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn connection_over_http_2_takes_less_than_2304_bytes_beside_its_requests() {
        fn size_of_future<F>(_: impl Fn(Arrived) -> F) -> usize {
            size_of::<F>()
        }

        // In a box of its own, beside the task.
        let bytes = size_of_future(Arrived::http2);

        assert!(bytes < 2304, "{bytes} bytes");
    }

    #[test]
    fn connection_that_is_held_over_http_1_is_a_task_of_less_than_two_kibibytes() {
        let bytes = size_of_future(Connection::serve);

        assert!(bytes < 2048, "{bytes} bytes");
    }
}
