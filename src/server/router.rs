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
use hyper::body::Incoming;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderValue;
use tracing::debug;

use crate::endpoint::Body;
use crate::endpoint::Departed;
use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::endpoint::bosh;
use crate::endpoint::host;
use crate::endpoint::host_meta;
use crate::endpoint::prebind;
use crate::endpoint::websocket;
use crate::endpoint::whole;
use crate::live::Live;
use crate::metrics::bound::Bound;
use crate::origin;
use crate::origin::Allowed;
use crate::server::forwarded::Neighbour;
use crate::server::forwarded::Source;
use crate::server::forwarded::Trust;
use crate::server::upload::Upload;
use crate::site::Site;
use crate::visitor::Visitors;

/// Leads requests to their endpoints.
#[derive(Debug)]
pub struct Router {
    edge: Arc<Edge>,
    trust: Live<Trust>,
    stall: Duration,
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

    /// Answers a request that `neighbour` has brought, over TLS or not.
    pub async fn route(
        &self,
        mut request: Request<Incoming>,
        neighbour: Neighbour,
        https: bool,
    ) -> Response<Body> {
        join_cookies(request.headers_mut());
        let source = self.trust.now().source(neighbour, https, request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answered = match self.site(&mut request) {
            Ok(site) => self.endpoint(&site, request, source).await,
            Err(refusal) => Err(refusal),
        };
        let response = answered.unwrap_or_else(Refusal::response);
        if let Some(refusal) = response.extensions().get::<Refusal>() {
            debug!(%method, path, %refusal, "request refused");
            self.edge.metrics.refused(refusal.reason());
        }
        if method == Method::HEAD { without_body(response) } else { response }
    }

    async fn endpoint(
        &self,
        site: &Arc<Site>,
        request: Request<Incoming>,
        Source { address, https }: Source,
    ) -> Result<Response<Body>, Refusal> {
        match one_slash_less(request.uri().path()) {
            websocket::PATH | bosh::PATH | prebind::PATH => {
                self.for_a_page(site, request, address).await
            }
            host_meta::XML | host_meta::JSON => Ok(host_meta::answer(site, &request)),
            _ => {
                let metrics = self.edge.metrics.clone();
                let request = request.map(|body| Upload::new(body, self.stall, metrics));
                self.edge.backend.answer(site, request, address, https).await
            }
        }
    }

    /// Leads to the endpoints that act for a visitor: never for a page that may not speak for him, and every answer to a
    /// page that may is dressed, whatever it says.
    async fn for_a_page(
        &self,
        site: &Arc<Site>,
        request: Request<Incoming>,
        address: IpAddr,
    ) -> Result<Response<Body>, Refusal> {
        let (edge, headers) = (&self.edge, request.headers());
        let is_within = edge.visitors.cookies_are_within_bounds(headers);
        // What is not looked through may hold any cookie.
        let uses_cookie = !is_within || Visitors::uses_cookie(site, headers);
        let allowed = origin::check(headers, site, uses_cookie).map_err(|refused| {
            let address = edge.addresses.logged(address);
            debug!(site = site.name, %address, %refused, "request refused");
            Refusal::ForeignOrigin
        })?;
        if request.method() == Method::OPTIONS {
            return Ok(preflight(&allowed));
        }
        let answered = if is_within {
            match one_slash_less(request.uri().path()) {
                websocket::PATH => websocket::upgrade(edge, site, request, address).await,
                bosh::PATH => bosh::answer(edge, site, request, address).await,
                prebind::PATH => prebind::answer(edge, site, request, address).await,
                _ => Err(Refusal::NotFound),
            }
        } else {
            edge.metrics.reached(Bound::Cookies);
            Err(Refusal::Cookies)
        };
        let mut response = answered.unwrap_or_else(Refusal::response);
        allowed.dress(response.headers_mut());
        Ok(response)
    }

    /// The site that the request is for, by `:authority` or `Host` (RFC 9110 §7.2).
    fn site(&self, request: &mut Request<Incoming>) -> Result<Arc<Site>, Refusal> {
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

/// The answer to a browser that asks whether a page may ask.
fn preflight(allowed: &Allowed) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
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
