//! One connection, from its first byte to its last request: bounded in time, TLS where it is spoken, HTTP by ALPN.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
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
use crate::endpoint::Body;
use crate::endpoint::text;
use crate::metrics::bound::Bound;
use crate::outbound;
use crate::server::accept::Socket;
use crate::server::bounds;
use crate::server::bounds::Bounds;
use crate::server::bounds::Settings;
use crate::server::forwarded::Neighbour;
use crate::server::proxied;
use crate::server::streams::Answer;
use crate::server::streams::Streams;
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Https1,
    Https2,
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
        let arrived = match timeout(handshake, arriving).await {
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
        match arrived.protocol {
            Protocol::Http1 | Protocol::Https1 => arrived.http1().await,
            // In a box, because it is twice as large, and a BOSH request over HTTP/1.1 is held here.
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
        Ok(Arrived { way, bounds, neighbour, browser, place, protocol })
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
    async fn http1(self) {
        let Self { way, bounds, neighbour, browser, place, protocol } = self;
        let (settings, metrics) = (bounds.settings(), bounds.metrics());
        let shutdown = way.shutdown().clone();
        let asked = Arc::new(AtomicBool::new(false));
        let (asks, https) = (asked.clone(), protocol == Protocol::Https1);
        let service = service_fn(move |mut request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(place.clone());
            let way = way.clone();
            async move { Ok::<_, Infallible>(way.answer(request, neighbour, https).await) }
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
        let Self { way, bounds, neighbour, browser, place: _place, .. } = self;
        let (settings, metrics) = (bounds.settings(), bounds.metrics());
        let streams = Streams::new(settings.stall, metrics.clone());
        let shutdown = way.shutdown().clone();
        let door = bounds.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (way, fits) = (way.clone(), fits(request.headers(), door.settings()));
            if !fits {
                door.metrics().reached(Bound::Header);
            }
            async move {
                let answer = if fits {
                    way.answer(request, neighbour, true).await
                } else {
                    header_too_large()
                };
                Ok::<_, Infallible>(answer.map(Answer::new))
            }
        });
        let builder = http2_within(settings, streams.clone());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(browser), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = streams.idle(settings.header, settings.idle) => {
                if !streams.have_begun() {
                    metrics.reached(Bound::HeaderTime);
                    return debug!("a browser said nothing");
                }
                None
            }
            () = shutdown.cancelled() => None,
        };
        let ended = if let Some(ended) = ended {
            ended
        } else {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                // It was told to leave and does not.
                () = streams.idle(LEAVING, LEAVING) => return,
            }
        };
        let Err(error) = ended else { return };
        let error = outbound::chain(&error);
        if error.contains(EXCESSIVE_LOAD) {
            metrics.reached(Bound::Streams);
        }
        debug!(error, "a connection ended early");
    }
}

/// HTTP/2 with its own bounds; those on floods of SETTINGS, PING and CONTINUATION are the library's.
fn http2_within(settings: &Settings, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    // What is more than twice the bound is not even decoded.
    let header_bytes = u32::try_from(bytes(settings)).unwrap_or(u32::MAX).saturating_mul(2);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams)
        .max_pending_accept_reset_streams(settings.resets)
        .max_local_error_reset_streams(settings.resets)
        .max_header_list_size(header_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(settings.ping)
        .keep_alive_timeout(settings.pong);
    builder
}

/// Whether a header is within its bounds; counted as HTTP/2 does (RFC 9113 §6.5.2).
fn fits(headers: &HeaderMap, settings: &Settings) -> bool {
    let of_one = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        name.as_str().len() + value.len() + OVERHEAD
    };
    headers.len() <= settings.header_fields.get()
        && headers.iter().map(of_one).sum::<usize>() <= bytes(settings)
}

fn header_too_large() -> Response<Body> {
    text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the header of the request is too large\n")
}

fn bytes(settings: &Settings) -> usize {
    usize::try_from(settings.header_bytes.as_u64()).unwrap_or(usize::MAX)
}

/// What is read ahead of one HTTP/1.1 connection at least, in bytes.
const HTTP1_BUFFER: usize = 64 * 1024;
/// What each field counts for beside its name and value.
const OVERHEAD: usize = 32;
/// What may be under way of one upload over HTTP/2, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all uploads of one connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What is kept of one answer over HTTP/2 before more of it is asked for, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a browser may stay that was told to leave and asks nothing.
const LEAVING: Duration = Duration::from_secs(5);
/// How the library says `ENHANCE_YOUR_CALM` (RFC 9113 §7), on resets and on every flood that it knows.
const EXCESSIVE_LOAD: &str = "excessive load";

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F>(_: impl Fn(Connection, A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn connection_that_is_held_over_http_1_is_a_task_of_less_than_two_kibibytes() {
        let bytes = size_of_future(Connection::serve);

        assert!(bytes < 2048, "{bytes} bytes");
    }
}
