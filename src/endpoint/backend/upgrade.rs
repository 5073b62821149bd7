//! The site's own WebSockets: after the 101 of its web server the two connections are one.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use bytes::BytesMut;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::Version;
use hyper::header;
use hyper::header::HeaderValue;
use hyper::http::response::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadHalf;
use tokio::io::WriteHalf;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::browser::Browser;
use crate::browser::Place;
use crate::browser::tunnel::Opening;
use crate::endpoint::Refusal;
use crate::protocol::websocket::acceptance::acceptance;

/// A browser that wants to speak WebSocket with the site.
///
/// Nothing else: over an `h2c` of the site's server a browser would send requests that we never see.
pub(super) struct Wanted {
    browser: Line,
    /// The connection's place among those that are allowed, held to the end.
    place: Option<Place>,
}

/// How it asks.
enum Line {
    /// By an upgrade of HTTP/1.1.
    Upgrade(OnUpgrade),
    /// By a CONNECT of HTTP/2, which has no key: this is ours.
    Tunnel(Box<Browser>, String),
}

/// What the browser gets behind the web server's 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switched {
    Upgrade,
    Tunnel,
}

impl Switched {
    /// Makes the web server's answer the one to what the browser has asked.
    pub(super) fn dress(self, head: &mut Parts) {
        match self {
            Self::Upgrade => Wanted::dress(&mut head.headers),
            Self::Tunnel => {
                head.status = StatusCode::OK;
                // It is about a key that the browser has not (RFC 8441 §5).
                head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            }
        }
    }
}

impl Wanted {
    /// What the request asks for, if it does: by an upgrade (RFC 9110 §7.8), or by CONNECT (RFC 8441 §5), which becomes one.
    pub(super) fn by<B>(request: &mut Request<B>) -> Option<Self> {
        if request.method() == Method::CONNECT {
            return Self::by_connect(request);
        }
        let is_listed = |field: &HeaderValue| {
            let field = field.to_str().unwrap_or_default();
            field.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
        };
        let asks = request.headers().get_all(header::CONNECTION).iter().any(is_listed);
        if !asks || request.version() != Version::HTTP_11 || request.method() != Method::GET {
            return None;
        }
        if !is_websocket(request.headers()) {
            return None;
        }
        let place = request.extensions_mut().remove::<Place>();
        Some(Self { browser: Line::Upgrade(hyper::upgrade::on(request)), place })
    }

    fn by_connect<B>(request: &mut Request<B>) -> Option<Self> {
        let place = request.extensions_mut().remove::<Place>();
        let browser = request.extensions_mut().remove::<Opening>().and_then(Opening::take)?;
        let mut nonce = [0; 16];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let key = BASE64_STANDARD.encode(nonce);
        let value = HeaderValue::from_str(&key).ok()?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, value);
        *request.method_mut() = Method::GET;
        Some(Self { browser: Line::Tunnel(browser, key), place })
    }

    /// Whether an answer that switches to nothing can be the one to what the browser has asked.
    ///
    /// # Errors
    /// [`Refusal::BadGateway`] for one that is a success, which to a CONNECT would be the tunnel.
    pub(super) fn declined(&self, status: StatusCode) -> Result<(), Refusal> {
        match self.browser {
            Line::Tunnel(..) if status.is_success() => Err(Refusal::BadGateway),
            Line::Tunnel(..) | Line::Upgrade(_) => Ok(()),
        }
    }

    /// Asks the web server for the same.
    pub(super) fn dress(headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }

    /// Joins both connections after the web server's 101.
    ///
    /// The task ends with either side, when both are silent for `idle`, with the edge, or when the connections are not
    /// free in time.
    ///
    /// # Errors
    /// [`Refusal::BadGateway`] where the server switches to something else, or to what our key has not asked for.
    pub(super) fn join<B>(
        self,
        response: &mut Response<B>,
        tasks: &TaskTracker,
        idle: Duration,
        shutdown: CancellationToken,
    ) -> Result<Switched, Refusal> {
        if !is_websocket(response.headers()) {
            return Err(Refusal::BadGateway);
        }
        let switched = match &self.browser {
            Line::Upgrade(_) => Switched::Upgrade,
            Line::Tunnel(_, key) => {
                let said = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
                let expected = acceptance(key.as_bytes());
                if said.is_none_or(|said| said.as_bytes() != expected.as_bytes()) {
                    return Err(Refusal::BadGateway);
                }
                Switched::Tunnel
            }
        };
        let server = hyper::upgrade::on(response);
        let Self { browser, place } = self;
        tasks.spawn(async move {
            tokio::select! {
                () = carry(browser, server, idle) => {}
                () = shutdown.cancelled() => {}
            }
            drop(place);
        });
        Ok(switched)
    }
}

impl Line {
    /// The browser, once HTTP is out of the way, and what was read of it by then.
    async fn free(self) -> hyper::Result<Option<(Browser, Bytes)>> {
        match self {
            Self::Upgrade(browser) => Ok(Browser::taken_from_http(browser.await?)),
            Self::Tunnel(browser, _) => Ok(Some((*browser, Bytes::new()))),
        }
    }
}

/// Whether the one protocol that is named is WebSocket (RFC 6455 §4.1).
fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let first = protocols.next();
    protocols.next().is_none()
        && first.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

async fn carry(browser: Line, server: OnUpgrade, idle: Duration) {
    let both = async { hyper::Result::Ok((browser.free().await?, server.await?)) };
    match tokio::time::timeout(COMPLETION, both).await {
        Ok(Ok((Some(browser), server))) => relay(browser, TokioIo::new(server), idle).await,
        Ok(Ok((None, _))) => {}
        Ok(Err(error)) => debug!(%error, "an upgrade to the site was not completed"),
        Err(_) => debug!("an upgrade to the site was not completed in time"),
    }
}

/// Carries bytes both ways to the end of both, or of either by an error, or until both are silent for `idle`. What has been
/// read of the browser already goes first.
pub(super) async fn relay<B, S>((browser, read_ahead): (B, Bytes), server: S, idle: Duration)
where
    B: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (from_browser, to_browser) = tokio::io::split(browser);
    let (from_server, to_server) = tokio::io::split(server);
    let heard = Mutex::new(Instant::now());
    let there = one_way((from_browser, read_ahead), to_server, &heard);
    let back = one_way((from_server, Bytes::new()), to_browser, &heard);
    tokio::select! {
        // Either side may end as it likes; there is nobody left to tell.
        _ = async { tokio::try_join!(there, back) } => {}
        () = silence(&heard, idle) => debug!("a WebSocket of the site was silent for too long"),
    }
}

async fn one_way<F: AsyncRead, T: AsyncWrite>(
    (mut from, read_ahead): (ReadHalf<F>, Bytes),
    mut to: WriteHalf<T>,
    heard: &Mutex<Instant>,
) -> io::Result<()> {
    let mut buffer = BytesMut::from(read_ahead);
    to.write_all_buf(&mut buffer).await?;
    to.flush().await?;
    loop {
        buffer.reserve(BUFFER);
        if from.read_buf(&mut buffer).await? == 0 {
            return to.shutdown().await;
        }
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        to.write_all_buf(&mut buffer).await?;
        to.flush().await?;
    }
}

/// Ends when nothing was heard for so long.
async fn silence(heard: &Mutex<Instant>, idle: Duration) {
    loop {
        let due = *heard.lock().unwrap_or_else(PoisonError::into_inner) + idle;
        if due <= Instant::now() {
            return;
        }
        sleep_until(due).await;
    }
}

/// How long both connections may take to be free of HTTP: the browser's has the 101 to read.
const COMPLETION: Duration = Duration::from_secs(10);
/// What is read at once, in bytes.
const BUFFER: usize = 8 * 1024;
