//! The way of a request: who it is for, where it comes from, and the endpoint of its path.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderValue;
use tracing::debug;

use crate::browser::incoming::Incoming;
use crate::endpoint::Body;
use crate::endpoint::Departed;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::bosh;
use crate::endpoint::bosh::Outcome;
use crate::endpoint::coding::Coding;
use crate::endpoint::host;
use crate::endpoint::host_meta;
use crate::endpoint::prebind;
use crate::endpoint::websocket;
use crate::endpoint::whole;
use crate::live::Live;
use crate::metrics::bound::Bound;
use crate::origin;
use crate::origin::Allowed;
use crate::protocol::http2::connection::Protocol;
use crate::server::forwarded::Neighbour;
use crate::server::forwarded::Source;
use crate::server::forwarded::Trust;
use crate::server::upload::Upload;
use crate::session::bosh::Reply;
use crate::site::Site;
use crate::visitor::Visitors;

/// Leads requests to their endpoints.
#[derive(Debug)]
pub struct Router {
    edge: Arc<Edge>,
    trust: Live<Trust>,
    stall: Duration,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Taken {
    Answered(Response<Body>),
    /// A session has it, which may take a minute.
    Held(Held),
}

/// A request that a session has, and nothing of what came with it but how its answer is dressed.
///
/// Dropping this tells the session that the browser no longer waits.
#[derive(Debug)]
pub(super) struct Held {
    router: Arc<Router>,
    reply: Reply,
    allowed: Allowed,
    coding: Coding,
}

/// Whether a request to BOSH is let in.
#[derive(Debug)]
pub(super) enum Entrance {
    Open(Entered),
    /// It is not, or it asks for nothing but leave; this is the answer.
    Shut(Response<Bytes>),
}

/// A request to BOSH that may speak for its page.
#[derive(Debug)]
pub(super) struct Entered {
    /// The site it is for.
    pub(super) site: Arc<Site>,
    /// Where its browser is.
    pub(super) address: IpAddr,
    /// How its answer is dressed.
    pub(super) allowed: Allowed,
}

impl Held {
    /// Waits for what the session says.
    pub(super) async fn answer(self) -> Response<Body> {
        let Self { router, reply, allowed, coding } = self;
        let response = bosh::said(&router.edge, reply.await).unwrap_or_else(Refusal::answer);
        router.note((&Method::POST, bosh::PATH), &response);
        let response = coding.encode(router.edge.bosh.settings(), response);
        dressed(response, &allowed).map(whole)
    }
}

impl Router {
    /// Leads to the endpoints of `edge`; believes those in `trust` about where a request comes from.
    ///
    /// A browser that sends nothing of a body to the site for `stall` is given up.
    #[must_use]
    pub fn new(edge: Arc<Edge>, trust: Trust, stall: Duration) -> Self {
        Self { edge, trust: Live::new(trust), stall }
    }

    /// Who is believed.
    #[must_use]
    pub fn trust(&self) -> &Live<Trust> {
        &self.trust
    }

    /// What the endpoints stand on.
    #[must_use]
    pub fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// Takes in a request that `neighbour` has brought, over TLS or not: up to its answer, or until a session has it.
    pub(super) async fn take_in(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        neighbour: Neighbour,
        https: bool,
    ) -> Taken {
        join_cookies(request.headers_mut());
        let source = self.trust.now().source(neighbour, https, request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let taken = match self.site(&mut request) {
            Ok(site) => self.endpoint(&site, request, source).await,
            Err(refusal) => Err(refusal),
        };
        let response = match taken {
            Ok(Taken::Held(held)) => return Taken::Held(held),
            Ok(Taken::Answered(response)) => response,
            Err(refusal) => refusal.response(),
        };
        self.note((&method, &path), &response);
        Taken::Answered(if method == Method::HEAD { without_body(response) } else { response })
    }

    /// Lets a request to BOSH in, of whose body nothing has been read.
    pub(super) fn enter(
        &self,
        request: &mut Request<()>,
        neighbour: Neighbour,
        https: bool,
    ) -> Entrance {
        join_cookies(request.headers_mut());
        let Source { address, .. } = self.trust.now().source(neighbour, https, request.headers());
        let entered = self.site(request).and_then(|site| {
            let (allowed, is_within) = self.allowed(&site, request.headers(), address)?;
            Ok((Entered { site, address, allowed }, is_within))
        });
        let (entered, is_within) = match entered {
            Ok(entered) => entered,
            Err(refusal) => return Entrance::Shut(refusal.answer()),
        };
        if request.method() == Method::OPTIONS {
            return Entrance::Shut(preflight(&entered.allowed));
        }
        match self.within(is_within) {
            Ok(()) => Entrance::Open(entered),
            Err(refusal) => Entrance::Shut(dressed(refusal.answer(), &entered.allowed)),
        }
    }

    /// Counts a response that is a refusal.
    pub(super) fn note<B>(&self, (method, path): (&Method, &str), response: &Response<B>) {
        if let Some(refusal) = response.extensions().get::<Refusal>() {
            debug!(%method, path, %refusal, "request refused");
            self.edge.metrics.refused(refusal.reason());
        }
    }

    async fn endpoint(
        self: &Arc<Self>,
        site: &Arc<Site>,
        request: Request<Incoming>,
        Source { address, https }: Source,
    ) -> Result<Taken, Refusal> {
        let protocol = request.extensions().get::<Protocol>();
        if protocol.is_some_and(|Protocol(name)| !name.as_bytes().eq_ignore_ascii_case(WEBSOCKET)) {
            return Err(Refusal::NotImplemented);
        }
        match one_slash_less(request.uri().path()) {
            websocket::PATH | bosh::PATH | prebind::PATH => {
                self.for_a_page(site, request, address).await
            }
            host_meta::XML | host_meta::JSON => {
                Ok(Taken::Answered(host_meta::answer(site, &request)))
            }
            _ => {
                let metrics = self.edge.metrics.clone();
                let request = request.map(|body| Upload::new(body, self.stall, metrics));
                let answered = Box::pin(self.edge.backend.answer(site, request, address, https));
                answered.await.map(Taken::Answered)
            }
        }
    }

    /// Leads to the endpoints that act for a visitor: never for a page that may not speak for him, and every answer to a
    /// page that may is dressed, whatever it says.
    async fn for_a_page(
        self: &Arc<Self>,
        site: &Arc<Site>,
        request: Request<Incoming>,
        address: IpAddr,
    ) -> Result<Taken, Refusal> {
        let edge = &self.edge;
        let (allowed, is_within) = self.allowed(site, request.headers(), address)?;
        if request.method() == Method::OPTIONS {
            return Ok(Taken::Answered(preflight(&allowed).map(whole)));
        }
        // In boxes, because they differ much in size.
        let answered = match (self.within(is_within), one_slash_less(request.uri().path())) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), websocket::PATH) => {
                Box::pin(websocket::upgrade(edge, site, request, address)).await
            }
            (Ok(()), bosh::PATH) => {
                let coding = Coding::allowed(edge.bosh.settings(), request.headers());
                match Box::pin(bosh::take_in(edge, site, request, address)).await {
                    Ok(Outcome::Held(reply, _)) => {
                        let (router, allowed) = (self.clone(), allowed.alone());
                        return Ok(Taken::Held(Held { router, reply, allowed, coding }));
                    }
                    Ok(Outcome::Answered(response)) => {
                        Ok(coding.encode(edge.bosh.settings(), response).map(whole))
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            (Ok(()), prebind::PATH) => {
                Box::pin(prebind::answer(edge, site, request, address)).await
            }
            (Ok(()), _) => Err(Refusal::NotFound),
        };
        Ok(Taken::Answered(dressed(answered.unwrap_or_else(Refusal::response), &allowed)))
    }

    /// Whether a request may speak for its page; and whether its cookies are within their bounds.
    fn allowed(
        &self,
        site: &Site,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<(Allowed, bool), Refusal> {
        let edge = &self.edge;
        let is_within = edge.visitors.cookies_are_within_bounds(headers);
        // What is not looked through may hold any cookie.
        let uses_cookie = !is_within || Visitors::uses_cookie(site, headers);
        let allowed = origin::check(headers, site, uses_cookie).map_err(|refused| {
            let address = edge.addresses.logged(address);
            debug!(site = site.name, %address, %refused, "request refused");
            Refusal::ForeignOrigin
        })?;
        Ok((allowed, is_within))
    }

    /// Refuses a request with more cookies than one may have.
    fn within(&self, is_within: bool) -> Result<(), Refusal> {
        if is_within {
            return Ok(());
        }
        self.edge.metrics.reached(Bound::Cookies);
        Err(Refusal::Cookies)
    }

    /// The site that the request is for, by `:authority` or `Host` (RFC 9110 §7.2).
    fn site<B>(&self, request: &mut Request<B>) -> Result<Arc<Site>, Refusal> {
        let host = host(request).ok_or(Refusal::NoSite)?;
        let sites = self.edge.sites.now();
        // XMPP clients look for host-meta under the domain of an address.
        let by_xmpp_domain = || match request.uri().path() {
            host_meta::XML | host_meta::JSON => sites.by_xmpp_domain(host),
            _ => None,
        };
        if let Some(site) = sites.by_host(host).or_else(by_xmpp_domain) {
            return Ok(Arc::clone(site));
        }
        // A WebSocket is there for good; a session over BOSH knocks again and again.
        match (sites.departed(host), one_slash_less(request.uri().path())) {
            (Some(site), bosh::PATH) => {
                request.extensions_mut().insert(Departed);
                Ok(Arc::clone(site))
            }
            (Some(_) | None, _) => Err(Refusal::NoSite),
        }
    }
}

/// Dresses an answer for the page that asked.
pub(super) fn dressed<B>(mut response: Response<B>, allowed: &Allowed) -> Response<B> {
    allowed.dress(response.headers_mut());
    response
}

/// The answer to a browser that asks whether a page may ask.
fn preflight(allowed: &Allowed) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    allowed.dress_preflight(response.headers_mut());
    response
}

/// Tiki and many a page write `/http-bind/`; what is the site's keeps its slash.
fn one_slash_less(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some(own @ (websocket::PATH | bosh::PATH | prebind::PATH)) => own,
        Some(_) | None => path,
    }
}

/// An answer to HEAD has the length of a body and none (RFC 9110 §9.3.2); hyper sees to it over HTTP/1.1 alone.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|&length| length > 0) {
        head.headers.entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    Response::from_parts(head, whole(Bytes::new()))
}

/// HTTP/2 may send each cookie in a field of its own (RFC 9113 §8.2.3); whoever reads them next knows one field.
fn join_cookies(headers: &mut HeaderMap) {
    let mut fields = headers.get_all(header::COOKIE).iter();
    if fields.next().is_some() && fields.next().is_some() {
        let all: Vec<&[u8]> =
            headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(mut joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            joined.set_sensitive(true);
            headers.insert(header::COOKIE, joined);
        }
    }
}

/// What goes through a tunnel (RFC 8441 §5).
const WEBSOCKET: &[u8] = b"websocket";
