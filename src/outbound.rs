//! Our HTTP client: for whois, and for the rest of the site.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;
use rustls::ClientConfig;
use rustls::RootCertStore;
use serde::Deserialize;

use crate::descriptors::Shortage;

/// The bounds of our own requests: `[outbound]`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a connection may take to be made.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// How long a connection is kept for the next request; less than what the site's server keeps it
    /// (Node and Apache: 5 s), lest a request meets its end.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// How many idle connections are kept to each server.
    pub idle_connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), idle: Duration::from_secs(4), idle_connections: 32 }
    }
}

/// The body of a request that goes out: whole or streamed.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn StdError + Send + Sync>>;

/// A client for HTTP/1.1 with and without TLS, which keeps connections; cheap to clone.
///
/// It follows no redirect and keeps no cookie.
#[derive(Debug, Clone)]
pub struct Client {
    pool: legacy::Client<HttpsConnector<HttpConnector>, Body>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be asked, or did not answer.
    #[error("no answer")]
    Request(#[source] legacy::Error),
    /// The answer broke off.
    #[error("the answer broke off")]
    Body(#[source] Box<dyn StdError + Send + Sync>),
    /// The answer is longer than anybody wants to keep.
    #[error("an answer of more than {0} bytes")]
    TooLong(usize),
}

impl Error {
    /// Whether the server closed the connection before its answer began, as with one that it kept long enough.
    #[must_use]
    pub fn is_hangup(&self) -> bool {
        let hung_up = |error: &hyper::Error| {
            error.is_incomplete_message() || error.is_canceled() || error.is_closed()
        };
        let reset = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        };
        let Self::Request(error) = self else { return false };
        !error.is_connect()
            && causes(error).any(|cause| {
                cause.downcast_ref().is_some_and(hung_up) || cause.downcast_ref().is_some_and(reset)
            })
    }

    /// Whether it is the request's own body that did not come to its end.
    #[must_use]
    pub fn is_of_the_body(&self) -> bool {
        let Self::Request(error) = self else { return false };
        causes(error).any(|cause| cause.downcast_ref().is_some_and(hyper::Error::is_user))
    }
}

impl Client {
    /// A client that believes the certificates that this machine believes.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(settings.connect));
        let https = match HttpsConnectorBuilder::new().with_native_roots() {
            Ok(builder) => builder,
            Err(error) => {
                // A machine without any (a bare container) still reaches its CMS over plain HTTP.
                tracing::warn!(%error, "no certificates of this machine: https servers will not be believed");
                let roots = RootCertStore::empty();
                let config =
                    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
                HttpsConnectorBuilder::new().with_tls_config(config)
            }
        };
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle)
            .pool_max_idle_per_host(settings.idle_connections)
            .http1_max_buf_size(BUFFER)
            .build(https.https_or_http().enable_http1().wrap_connector(http));
        Self { pool }
    }

    /// Sends a request and returns the answer as soon as its head is there.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Error> {
        self.pool.request(request).await.map_err(Error::Request)
    }

    /// Sends a request and returns the whole answer, of at most `limit` bytes; the caller bounds the time.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn ask(
        &self,
        request: Request<Body>,
        limit: usize,
    ) -> Result<Response<Bytes>, Error> {
        let (head, body) = self.send(request).await?.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Error::TooLong(limit) } else { Error::Body(error) }
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// A body that is there as a whole.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An error with its causes, for the log; and with what to do about it, where there are too few files.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let chain = causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    match Shortage::behind(error) {
        Some(shortage) => format!("{chain}: {shortage}"),
        None => chain,
    }
}

fn causes(error: &dyn StdError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// What is read ahead of one connection, and so the most that the header of an answer may have, in bytes.
const BUFFER: usize = 64 * 1024;
