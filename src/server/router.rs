//! The way of a request: who it is for, where it comes from, and the endpoint of its path.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use tracing::debug;

use crate::endpoint::{Body, Edge, Refusal, bosh, host_meta, prebind, websocket};
use crate::server::forwarded::{Neighbour, Proxy, Source, source};
use crate::site::settings::Checked;

/// Leads requests to their endpoints.
#[derive(Debug)]
pub struct Router {
    edge: Arc<Edge>,
    trusted_proxies: Vec<Checked<Proxy>>,
}

impl Router {
    /// Leads to the endpoints of `edge`; believes `trusted_proxies` about where a request comes from.
    #[must_use]
    pub fn new(edge: Arc<Edge>, trusted_proxies: Vec<Checked<Proxy>>) -> Self {
        Self { edge, trusted_proxies }
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
        let source = source(neighbour, https, request.headers(), &self.trusted_proxies);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answered = match host(&request) {
            Some(host) => self.endpoint(&host, request, source).await,
            None => Err(Refusal::NoSite),
        };
        answered.unwrap_or_else(|refusal| {
            debug!(%method, path, %refusal, "request refused");
            refusal.response()
        })
    }

    async fn endpoint(
        &self,
        host: &str,
        request: Request<Incoming>,
        from: Source,
    ) -> Result<Response<Body>, Refusal> {
        let sites = &self.edge.sites;
        match request.uri().path() {
            host_meta::XML => {
                return host_meta::site(sites, host)
                    .map(|site| host_meta::xml(site, host))
                    .ok_or(Refusal::NoSite);
            }
            host_meta::JSON => {
                return host_meta::site(sites, host)
                    .map(|site| host_meta::json(site, host))
                    .ok_or(Refusal::NoSite);
            }
            _ => {}
        }
        let site = sites.by_host(host).ok_or(Refusal::NoSite)?;
        match request.uri().path() {
            websocket::PATH => websocket::upgrade(&self.edge, site, request, from.address).await,
            bosh::PATH => bosh::answer(&self.edge, site, request, from.address).await,
            prebind::PATH => prebind::answer(&self.edge, site, request, from.address).await,
            _ => Ok(self.edge.backend.answer(site, request, from.address, from.https).await),
        }
    }
}

/// What the request calls us: `:authority`, or `Host` (RFC 9110 §7.2).
fn host(request: &Request<Incoming>) -> Option<String> {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    authority.or_else(|| {
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned)
    })
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
