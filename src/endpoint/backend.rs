//! The rest of the site: every URL that is not ours goes to its own web server, streamed both ways.

mod upgrade;

use std::error::Error as StdError;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::Uri;
use hyper::Version;
use hyper::body;
use hyper::body::Frame;
use hyper::body::SizeHint;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::endpoint;
use crate::endpoint::Body;
use crate::endpoint::Refusal;
use crate::endpoint::backend::upgrade::Wanted;
use crate::outbound;
use crate::outbound::Client;
use crate::site::Site;
use crate::visitor::Visitors;
use crate::visitor::cookies;

/// The bounds of what goes to a site's own web server: `[backend]`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a request may take until its answer begins, an upload included.
    #[serde(with = "humantime_serde")]
    pub answer: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { answer: Duration::from_secs(300) }
    }
}

/// The way to the sites' own web servers.
#[derive(Debug, Clone)]
pub struct Backend {
    client: Client,
    visitors: Arc<Visitors>,
    settings: Settings,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Backend {
    /// Requests go out through `client`; what they may have changed about a visitor is dropped from `visitors`. The site's
    /// own WebSockets live on `tasks` until `shutdown`.
    #[must_use]
    pub fn new(
        (client, settings): (Client, Settings),
        visitors: Arc<Visitors>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self { client, visitors, settings, tasks, shutdown }
    }

    /// Brings a request to the site's own web server, and the answer back as soon as its head is there.
    ///
    /// `address` and `https` tell the server where the browser is; what the request says of that itself is dropped.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without a server, [`Refusal::BadGateway`] where it cannot be reached, and
    /// [`Refusal::GatewayTimeout`] where it is silent.
    pub async fn answer<B>(
        &self,
        site: &Arc<Site>,
        mut request: Request<B>,
        address: IpAddr,
        https: bool,
    ) -> Result<Response<Body>, Refusal>
    where
        B: body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let Some(backend) = &site.backend else { return Err(Refusal::NotFound) };
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
        let cookies = cookie_fields(request.headers());
        let doubt = |cookies| Doubt {
            visitors: Arc::clone(&self.visitors),
            site: Arc::clone(site),
            cookies,
        };
        // From here on, so that a browser that does not stay for the answer changes nothing about it.
        let changing = changes.then(|| doubt(cookies.clone()));
        let path = request.uri().path().to_owned();
        let wanted = Wanted::by(&mut request);
        let Some(mut request) = outgoing(request, backend, address, https) else {
            return Err(Refusal::BadRequest("the request names no page"));
        };
        if wanted.is_some() {
            Wanted::dress(request.headers_mut());
        }
        let mut response = self.send(request, site, &path).await?;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches {
            let wanted = wanted.ok_or(Refusal::BadGateway)?;
            wanted.join(&mut response, &self.tasks, self.shutdown.clone())?;
        }
        let (mut head, body) = response.into_parts();
        remove_hop_by_hop(&mut head.headers);
        if switches {
            Wanted::dress(&mut head.headers);
        }
        // What the browser speaks with us is not what we speak with the server.
        head.version = Version::default();
        let body = body.map_err(Into::into).boxed_unsync();
        let sets = cookies::are_set(&head.headers, site.cookies());
        let Some(doubt) = changing.or_else(|| sets.then(|| doubt(cookies))) else {
            return Ok(Response::from_parts(head, body));
        };
        doubt.forget();
        Ok(Response::from_parts(head, Doubtful { body, _doubt: doubt }.boxed_unsync()))
    }

    async fn send(
        &self,
        request: Request<Body>,
        site: &Site,
        path: &str,
    ) -> Result<Response<body::Incoming>, Refusal> {
        match tokio::time::timeout(self.settings.answer, self.client.send(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                let error = outbound::chain(&error);
                tracing::warn!(
                    site = site.name,
                    path,
                    error,
                    "the site's own web server cannot be reached"
                );
                Err(Refusal::BadGateway)
            }
            Err(_) => {
                tracing::warn!(site = site.name, path, "the site's own web server does not answer");
                Err(Refusal::GatewayTimeout)
            }
        }
    }
}

/// The request as the site's own web server gets it; nothing if it has no path or its host is no text.
fn outgoing<B>(
    request: Request<B>,
    backend: &Uri,
    address: IpAddr,
    https: bool,
) -> Option<Request<Body>>
where
    B: body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let host = HeaderValue::from_str(endpoint::host(&request)?).ok()?;
    let (mut head, body) = request.into_parts();
    head.uri = Uri::builder()
        .scheme(backend.scheme()?.clone())
        .authority(backend.authority()?.clone())
        .path_and_query(head.uri.path_and_query()?.clone())
        .build()
        .ok()?;
    head.version = Version::HTTP_11;
    // hyper waits for the browser's "continue" itself.
    head.headers.remove(header::EXPECT);
    remove_hop_by_hop(&mut head.headers);
    remove_hearsay(&mut head.headers);
    // hyper writes what holds for the body, but leaves a POST without one without a length; some servers then say 411.
    let length =
        body.size_hint().exact().filter(|_| head.headers.contains_key(header::CONTENT_LENGTH));
    head.headers.remove(header::CONTENT_LENGTH);
    if let Some(length) = length {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let proto = if https { "https" } else { "http" };
    head.headers.insert(X_FORWARDED_FOR, HeaderValue::from_str(&address.to_string()).ok()?);
    head.headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    head.headers.insert(X_FORWARDED_HOST, host.clone());
    head.headers.insert(header::HOST, host);
    Some(Request::from_parts(head, body.map_err(Into::into).boxed_unsync()))
}

/// Removes what is for one connection only (RFC 9110 §7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let listed = headers.get_all(header::CONNECTION).iter().filter_map(|field| field.to_str().ok());
    let listed: Vec<HeaderName> = listed
        .flat_map(|field| field.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes what a browser says about where it is and what it asks for: only we and the proxies before us know.
fn remove_hearsay(headers: &mut HeaderMap) {
    let is_hearsay = |name: &HeaderName| {
        // CGI has one name for all of these: HTTP_X_REAL_IP is X-Real-IP and X_Real_IP (RFC 3875 §4.1.18).
        let name = name.as_str().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        name.starts_with("x-forwarded-") || HEARSAY.contains(&name.as_str())
    };
    let hearsay: Vec<HeaderName> =
        headers.keys().filter(|name| is_hearsay(name)).cloned().collect();
    for name in hearsay {
        headers.remove(name);
    }
}

fn cookie_fields(headers: &HeaderMap) -> HeaderMap {
    let fields = headers.get_all(header::COOKIE).iter();
    fields.map(|field| (header::COOKIE, field.clone())).collect()
}

/// Which visitor the site may have changed its mind about: forgotten at the latest when this is dropped.
struct Doubt {
    visitors: Arc<Visitors>,
    site: Arc<Site>,
    cookies: HeaderMap,
}

impl Doubt {
    fn forget(&self) {
        self.visitors.forget(&self.site, &self.cookies);
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        self.forget();
    }
}

/// A body at whose end, or loss, is forgotten once more: PHP writes a session when its page is done.
struct Doubtful {
    body: Body,
    _doubt: Doubt,
}

impl body::Body for Doubtful {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    // With an upgrade to h2c alone, which never goes on (RFC 7540 §3.2.1).
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Beside `X-Forwarded-…`: addresses that some proxy writes, URLs that some framework believes, and `Proxy`, which CGI
/// turns into the `HTTP_PROXY` that programs send their own requests through.
const HEARSAY: [&str; 8] = [
    "forwarded",
    "proxy",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests;
