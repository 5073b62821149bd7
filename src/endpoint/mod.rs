//! One file per URL, and what they share: the edge they stand on, and the ways to say no.

pub mod admission;
pub mod backend;
pub mod bosh;
pub mod coding;
pub mod host_meta;
pub mod internal;
pub mod prebind;
pub mod revoke;
pub mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::http::uri::Authority;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::Addresses;
use crate::endpoint::admission::NotAdmitted;
use crate::endpoint::backend::Backend;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::pass::ticket;
use crate::protocol::jid::Domain;
use crate::protocol::xml::check::Limits;
use crate::session;
use crate::session::registry;
use crate::session::roll::Roll;
use crate::site::Site;
use crate::site::Sites;
use crate::upstream::gate::Gate;
use crate::visitor::Visitors;

/// The body of an answer: whole or streamed.
pub type Body = crate::outbound::Body;

/// What every endpoint stands on.
#[derive(Debug)]
pub struct Edge {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The websites.
    pub sites: Live<Sites>,
    /// What tells their visitors apart.
    pub visitors: Arc<Visitors>,
    /// The way to the sites' own web servers.
    pub backend: Backend,
    /// The way to the XMPP servers.
    pub gate: Arc<Gate>,
    /// How tickets are made.
    pub tickets: ticket::Settings,
    /// Who is here.
    pub roll: Arc<Roll>,
    /// What the log says of browsers' addresses.
    pub addresses: Addresses,
    /// What an element of a browser may be made of.
    pub xml: Limits,
    /// The bounds of WebSocket sessions.
    pub websocket: Arc<session::websocket::Settings>,
    /// The BOSH sessions.
    pub bosh: session::bosh::Sessions,
    /// The bounds of `/prebind`.
    pub prebind: prebind::Settings,
    /// Every session and whatever else outlives its request; awaited at the end.
    pub tasks: TaskTracker,
    /// Cancelled when the edge goes down.
    pub shutdown: CancellationToken,
}

/// Marks a request for a site that is no more: what is under way goes on, and nothing new begins.
#[derive(Clone, Copy, Debug)]
pub struct Departed;

/// A request that is refused with a status; the browser is told no more than it may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: not what this URL is for, in these words.
    #[error("{0}")]
    BadRequest(&'static str),
    /// 403: a page of another site speaks.
    #[error("this origin may not use this address")]
    ForeignOrigin,
    /// 403: the visitor may not enter.
    #[error("sign in to the site first")]
    NotWelcome,
    /// 404: nothing is here.
    #[error("nothing is here")]
    NotFound,
    /// 405: not with this method; these are allowed.
    #[error("not with this method")]
    Method(&'static str),
    /// 413: more bytes than the bound.
    #[error("the request is too large")]
    TooLarge,
    /// 421: no site of ours has this host name.
    #[error("no site has this host name")]
    NoSite,
    /// 429: this visitor, or this address, has taken its share.
    #[error("too many, come back in a while")]
    TooMany,
    /// 431: more cookies than the bound (RFC 6585 §5).
    #[error("too many cookies, or too large: delete those of this site")]
    Cookies,
    /// 408: the request takes too long to arrive.
    #[error("the request took too long")]
    Late,
    /// 426: this URL speaks WebSocket.
    #[error("this address speaks WebSocket")]
    UpgradeRequired,
    /// 501: a tunnel for what is no WebSocket (RFC 9220 §3).
    #[error("nothing but WebSocket goes through a tunnel here")]
    NotImplemented,
    /// 502: the site's web server does not answer as one does.
    #[error("the site does not answer")]
    BadGateway,
    /// 503: come back in a moment.
    #[error("not just now")]
    Unavailable,
    /// 504: the site's web server does not answer in time.
    #[error("the site does not answer in time")]
    GatewayTimeout,
}

impl Refusal {
    /// The status (RFC 9110 §15).
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::ForeignOrigin | Self::NotWelcome => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoSite => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Cookies => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What it is counted as.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::ForeignOrigin => "foreign_origin",
            Self::NotWelcome => "not_welcome",
            Self::NotFound => "not_found",
            Self::Method(_) => "method",
            Self::TooLarge => "too_large",
            Self::NoSite => "no_site",
            Self::TooMany => "too_many",
            Self::Cookies => "cookies",
            Self::Late => "late",
            Self::UpgradeRequired => "upgrade_required",
            Self::NotImplemented => "not_implemented",
            Self::BadGateway => "bad_gateway",
            Self::Unavailable => "unavailable",
            Self::GatewayTimeout => "gateway_timeout",
        }
    }

    /// The whole answer; it bears the refusal itself in its extensions, for whoever counts.
    #[must_use]
    pub fn response(self) -> Response<Body> {
        self.answer().map(whole)
    }

    /// The same, with a body that is there at once.
    #[must_use]
    pub fn answer(self) -> Response<Bytes> {
        let mut response = words(self.status(), format!("{self}\n"));
        response.extensions_mut().insert(self);
        let headers = response.headers_mut();
        match self {
            Self::Method(allowed) => set(headers, header::ALLOW, HeaderValue::from_static(allowed)),
            Self::UpgradeRequired => {
                set(headers, header::UPGRADE, HeaderValue::from_static("websocket"));
            }
            Self::Unavailable => set(headers, header::RETRY_AFTER, HeaderValue::from_static("3")),
            // Another origin is told something else, and a cache between must know.
            Self::ForeignOrigin => set(headers, header::VARY, HeaderValue::from_static("Origin")),
            Self::BadRequest(_)
            | Self::NotWelcome
            | Self::NotFound
            | Self::TooLarge
            | Self::NoSite
            | Self::TooMany
            | Self::Cookies
            | Self::Late
            | Self::NotImplemented
            | Self::BadGateway
            | Self::GatewayTimeout => {}
        }
        response
    }
}

impl From<registry::Error> for Refusal {
    fn from(error: registry::Error) -> Self {
        match error {
            registry::Error::Full(_) | registry::Error::Random => Self::Unavailable,
        }
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(refused: NotAdmitted) -> Self {
        match refused {
            NotAdmitted::NotWelcome(_) => Self::NotWelcome,
            NotAdmitted::Full(_) => Self::TooMany,
            NotAdmitted::Unavailable => Self::Unavailable,
        }
    }
}

/// The host that a request is for, with its port: `:authority` or the URI's, else the one `Host` (RFC 9110 §7.2).
///
/// What names the site is also all that its web server is told: a `Host` beside an authority counts for nothing.
#[must_use]
pub fn host<B>(request: &Request<B>) -> Option<&str> {
    let authority = request.uri().authority().map(Authority::as_str);
    authority.or_else(|| {
        let mut fields = request.headers().get_all(header::HOST).iter();
        // Of two it would be ours to choose, and somebody else's to choose otherwise (RFC 9112 §3.2).
        let (field, None) = (fields.next()?, fields.next()) else { return None };
        field.to_str().ok()
    })
}

/// The domain that a stream claims to be of before the edge knows better.
fn own_domain(site: &Site) -> Result<Domain, Refusal> {
    let home = site.registered.as_ref().or(site.guests.as_ref());
    home.map(|home| home.domain.clone()).ok_or(Refusal::NotFound)
}

/// An answer in plain text that nobody keeps.
#[must_use]
pub fn text(status: StatusCode, text: &str) -> Response<Body> {
    words(status, text.to_owned()).map(whole)
}

fn words(status: StatusCode, text: String) -> Response<Bytes> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    set(
        response.headers_mut(),
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    set(response.headers_mut(), header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body that is there at once.
#[must_use]
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    headers.insert(name, value);
}
