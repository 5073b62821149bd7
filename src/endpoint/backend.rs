//! The rest of the site: every URL that is not ours goes to its own web server, streamed both ways.

mod outgoing;
mod pace;
mod page;
mod upgrade;

use std::error::Error as StdError;
use std::net::IpAddr;
use std::pin::Pin;
use std::pin::pin;
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
use hyper::Version;
use hyper::body;
use hyper::body::Frame;
use hyper::body::SizeHint;
use hyper::header;
use serde::Deserialize;
use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use tracing::warn;

use crate::endpoint::Body;
use crate::endpoint::Refusal;
use crate::endpoint::backend::outgoing::outgoing;
use crate::endpoint::backend::outgoing::remove_hop_by_hop;
use crate::endpoint::backend::outgoing::repetition;
use crate::endpoint::backend::pace::Paced;
use crate::endpoint::backend::pace::Upload;
use crate::endpoint::backend::upgrade::Switched;
use crate::endpoint::backend::upgrade::Wanted;
use crate::outbound;
use crate::outbound::Client;
use crate::site::Site;
use crate::throttle::Throttles;
use crate::visitor::Visitors;
use crate::visitor::cookies;

/// The bounds of what goes to a site's own web server: `[backend]`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a web server may take for its answer to begin, from the last that it has read of the request.
    #[serde(with = "humantime_serde")]
    pub answer: Duration,
    /// How long a web server may pause in an answer, and both sides of the site's own WebSockets may be silent. Longer
    /// than events are apart that a page waits for: browsers ask again for a stream of events, but not for a download.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { answer: Duration::from_secs(300), idle: Duration::from_secs(3600) }
    }
}

/// The way to the sites' own web servers.
#[derive(Debug, Clone)]
pub struct Backend {
    client: Client,
    visitors: Arc<Visitors>,
    settings: Settings,
    troubles: Arc<Troubles>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// When the log was last told of a site's web server: every page that is asked for while it is down fails.
#[derive(Debug, Default)]
struct Troubles {
    unreachable: Throttles,
    silent: Throttles,
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
        Self { client, visitors, settings, troubles: Arc::default(), tasks, shutdown }
    }

    /// Brings a request to the site's own web server, and the answer back as soon as its head is there.
    ///
    /// `address` and `https` tell the server where the browser is; what the request says of that itself is dropped. A
    /// person gets a page where there is no answer.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without a server, [`Refusal::BadRequest`] where the request is none or its upload does not
    /// go on; for programs [`Refusal::BadGateway`] where the server cannot be reached, and [`Refusal::GatewayTimeout`]
    /// where it is silent.
    pub async fn answer<B>(
        &self,
        site: &Arc<Site>,
        request: Request<B>,
        address: IpAddr,
        https: bool,
    ) -> Result<Response<Body>, Refusal>
    where
        B: body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let for_people = page::is_wanted(request.headers());
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        match self.bring(site, request, address, https).await {
            Err(refusal @ (Refusal::BadGateway | Refusal::GatewayTimeout)) if for_people => {
                Ok(page::page(refusal))
            }
            answered => answered,
        }
    }

    async fn bring(
        &self,
        site: &Arc<Site>,
        mut request: Request<Body>,
        address: IpAddr,
        https: bool,
    ) -> Result<Response<Body>, Refusal> {
        let Some(backend) = &site.backend else { return Err(Refusal::NotFound) };
        let wanted = Wanted::by(&mut request);
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
        let Some(mut request) = outgoing(request, backend, address, https) else {
            return Err(Refusal::BadRequest("the request names no page"));
        };
        if wanted.is_some() {
            Wanted::dress(request.headers_mut());
        }
        let mut response = self.send(request).await.map_err(|error| {
            report(&self.troubles, (&site.name, &path), &error);
            error.refusal()
        })?;
        let switched = self.switched(wanted, &mut response)?;
        let (mut head, body) = response.into_parts();
        remove_hop_by_hop(&mut head.headers);
        if let Some(switched) = switched {
            switched.dress(&mut head);
        }
        // What the browser speaks with us is not what we speak with the server.
        head.version = Version::default();
        let body = body.map_err(Into::into).boxed_unsync();
        let body = Paced::new(body, self.settings.idle).boxed_unsync();
        let sets = cookies::are_set(&head.headers, site.cookies());
        let Some(doubt) = changing.or_else(|| sets.then(|| doubt(cookies))) else {
            return Ok(Response::from_parts(head, body));
        };
        doubt.forget();
        Ok(Response::from_parts(head, Doubtful { body, _doubt: doubt }.boxed_unsync()))
    }

    /// Joins the browser and the server, where both want that.
    fn switched(
        &self,
        wanted: Option<Wanted>,
        response: &mut Response<body::Incoming>,
    ) -> Result<Option<Switched>, Refusal> {
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let wanted = wanted.ok_or(Refusal::BadGateway)?;
            let shutdown = self.shutdown.clone();
            return wanted.join(response, &self.tasks, self.settings.idle, shutdown).map(Some);
        }
        wanted.map_or(Ok(()), |wanted| wanted.declined(status))?;
        Ok(None)
    }

    /// Sends a request; once more where the connection was one that the server no longer wanted.
    async fn send(&self, request: Request<Body>) -> Result<Response<body::Incoming>, Error> {
        let repetition = repetition(&request);
        match (self.send_once(request).await, repetition) {
            (Err(Error::Request(error)), Some(request)) if error.is_hangup() => {
                self.send_once(request).await
            }
            (answered, _) => answered,
        }
    }

    async fn send_once(&self, request: Request<Body>) -> Result<Response<body::Incoming>, Error> {
        let (head, body) = request.into_parts();
        let (upload, turn) = Upload::new(body);
        let mut sending = pin!(self.client.send(Request::from_parts(head, upload.boxed_unsync())));
        loop {
            // While the browser uploads it is not the server that is waited for.
            let due = turn.since().unwrap_or_else(Instant::now) + self.settings.answer;
            match timeout_at(due, sending.as_mut()).await {
                Ok(answered) => return answered.map_err(Error::Request),
                Err(_) if turn.since().is_some_and(|since| since + self.settings.answer <= due) => {
                    return Err(Error::Silent);
                }
                Err(_) => {}
            }
        }
    }
}

/// Why a web server has not answered.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Request(outbound::Error),
    #[error("silence")]
    Silent,
}

impl Error {
    /// What the browser is told; the log is told more.
    fn refusal(&self) -> Refusal {
        match self {
            Self::Request(outbound) if outbound.is_of_the_body() => {
                Refusal::BadRequest("the upload did not come to its end")
            }
            Self::Request(_) => Refusal::BadGateway,
            Self::Silent => Refusal::GatewayTimeout,
        }
    }
}

/// Tells the log, but not of each of a thousand pages that one outage keeps back, nor all that a stranger can write into a
/// path; what may be behind its `?` is nobody's business.
fn report(troubles: &Troubles, (site, path): (&str, &str), error: &Error) {
    let chain = outbound::chain(error);
    let path: String = path.chars().take(LONGEST_PATH).collect();
    let (throttles, message) = match error {
        Error::Request(outbound) if outbound.is_of_the_body() => {
            return debug!(site, path, error = chain, "an upload did not come to its end");
        }
        Error::Request(_) => (&troubles.unreachable, "the site's own web server cannot be reached"),
        Error::Silent => (&troubles.silent, "the site's own web server does not answer"),
    };
    if let Some(untold) = throttles.tell(site) {
        warn!(site, path, error = chain, untold, "{message}");
    } else {
        debug!(site, path, error = chain, "{message}");
    }
}

/// What the log has of a path, in characters.
const LONGEST_PATH: usize = 100;

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

#[cfg(test)]
mod tests;
