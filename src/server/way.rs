//! Where the requests of a listener go: browsers to the endpoints of sites, monitoring to its own.

use std::sync::Arc;

use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::endpoint::Body;
use crate::endpoint::internal::Internal;
use crate::metrics::Present;
use crate::server::forwarded::Neighbour;
use crate::server::forwarded::Trust;
use crate::server::router::Router;

/// What answers the requests of a listener.
#[derive(Clone, Debug)]
pub enum Way {
    /// The sites.
    Sites(Arc<Router>),
    /// The internal endpoints, for as long as the second and third say.
    Internal(Arc<Internal>, TaskTracker, CancellationToken),
}

impl Way {
    /// Where the connections live.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        match self {
            Self::Sites(router) => &router.edge().tasks,
            Self::Internal(_, tasks, _) => tasks,
        }
    }

    /// Cancelled when nobody is to be accepted any more, and those who are here are to leave.
    #[must_use]
    pub fn shutdown(&self) -> &CancellationToken {
        match self {
            Self::Sites(router) => &router.edge().shutdown,
            Self::Internal(_, _, shutdown) => shutdown,
        }
    }

    /// Who is believed about where browsers are.
    pub(super) fn trust(&self) -> Option<Arc<Trust>> {
        match self {
            Self::Sites(router) => Some(router.trust().now()),
            Self::Internal(..) => None,
        }
    }

    /// One more connection of a browser, if such come here.
    pub(super) fn counted(&self) -> Option<Present> {
        match self {
            Self::Sites(router) => Some(router.edge().metrics.connection()),
            Self::Internal(..) => None,
        }
    }

    /// Answers a request that `neighbour` has brought, over TLS or not.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        neighbour: Neighbour,
        https: bool,
    ) -> Response<Body> {
        match self {
            Self::Sites(router) => router.route(request, neighbour, https).await,
            Self::Internal(internal, ..) => {
                internal.answer(request, neighbour == Neighbour::UnixSocket).await
            }
        }
    }
}
