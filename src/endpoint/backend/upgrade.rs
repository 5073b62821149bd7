//! The site's own WebSockets: after the 101 of its web server the two connections are one.

use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::Version;
use hyper::header;
use hyper::header::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

/// A browser that wants to speak something else than HTTP with the site.
pub(super) struct Wanted {
    protocol: HeaderValue,
    browser: OnUpgrade,
}

impl Wanted {
    /// What the request asks for, if it does (RFC 9110 §7.8); HTTP/2 has no such thing.
    pub(super) fn by<B>(request: &mut Request<B>) -> Option<Self> {
        let is_listed = |field: &HeaderValue| {
            let field = field.to_str().unwrap_or_default();
            field.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
        };
        let asks = request.headers().get_all(header::CONNECTION).iter().any(is_listed);
        if !asks || request.version() != Version::HTTP_11 || request.method() != Method::GET {
            return None;
        }
        let protocol = request.headers().get(header::UPGRADE)?.clone();
        Some(Self { protocol, browser: hyper::upgrade::on(request) })
    }

    /// Asks the web server for the same.
    pub(super) fn dress(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
    }

    /// Joins both connections if the web server agreed; its answer is then the browser's, upgrade and all.
    ///
    /// The task ends with either side, or with the edge.
    pub(super) fn join<B>(
        self,
        response: &mut Response<B>,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Option<HeaderMap> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, response.headers().get(header::UPGRADE)?.clone());
        let server = hyper::upgrade::on(response);
        let browser = self.browser;
        tasks.spawn(async move {
            tokio::select! {
                () = carry(browser, server) => {}
                () = shutdown.cancelled() => {}
            }
        });
        Some(headers)
    }
}

async fn carry(browser: OnUpgrade, server: OnUpgrade) {
    let joined: hyper::Result<(Upgraded, Upgraded)> =
        async { Ok((browser.await?, server.await?)) }.await;
    match joined {
        Ok((browser, server)) => {
            let (mut browser, mut server) = (TokioIo::new(browser), TokioIo::new(server));
            // Either side may end as it likes; there is nobody left to tell.
            copy_bidirectional(&mut browser, &mut server).await.ok();
        }
        Err(error) => debug!(%error, "an upgrade to the site was not completed"),
    }
}
