//! Where the requests of a listener go: browsers to the endpoints of sites, monitoring to its own.

use std::sync::Arc;

use hyper::Request;
use hyper::Response;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::browser::incoming::Incoming;
use crate::endpoint::Body;
use crate::endpoint::internal::Internal;
use crate::metrics::Present;
use crate::server::forwarded::Neighbour;
use crate::server::forwarded::Trust;
use crate::server::router::Router;
use crate::server::router::Taken;

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
    ///
    /// While a session has it, which may be a minute, nothing of what came is kept.
    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
        neighbour: Neighbour,
        https: bool,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        // In a box of its own, which is gone before the session is waited for.
        let taking = Box::pin(self.clone().take_in(request, neighbour, https));
        async {
            match taking.await {
                Taken::Answered(response) => response,
                Taken::Held(held) => held.answer().await,
            }
        }
    }

    async fn take_in(self, request: Request<Incoming>, neighbour: Neighbour, https: bool) -> Taken {
        match self {
            Self::Sites(router) => router.take_in(request, neighbour, https).await,
            Self::Internal(internal, ..) => {
                let is_local = neighbour == Neighbour::UnixSocket;
                Taken::Answered(internal.answer(request, is_local).await)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn request_that_is_held_is_a_future_of_less_than_512_bytes() {
        let none: &'static Option<Way> = const { &None };
        let answer = |request| none.as_ref().unwrap().answer(request, Neighbour::UnixSocket, true);

        let bytes = size_of_future(answer);

        assert!(bytes < 512, "{bytes} bytes");
    }
}
