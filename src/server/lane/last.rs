//! The last request of a connection: what it has shown, another one shows for a moment that differs from it in its body alone.

use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;

use crate::endpoint::bosh::Shown;
use crate::endpoint::coding::Coding;
use crate::origin::Allowed;
use crate::protocol::bosh::event::Connection;
use crate::server::forwarded::Trust;
use crate::server::lane::head::Most;
use crate::server::lane::head::Plain;
use crate::server::lane::head::said::Said;
use crate::server::router::Router;
use crate::session::bosh::Reply;
use crate::site::Sites;

/// A request that was let in.
#[derive(Debug)]
pub(super) struct Last {
    said: Said,
    shown: Shown,
    dress: Dress,
    by: By,
    until: Instant,
}

/// Another request that differs from it in its body alone.
pub(super) struct Again {
    /// Its session has it.
    pub(super) reply: Reply,
    /// How long it is, in bytes.
    pub(super) length: usize,
    /// Whether the connection ends with its answer.
    pub(super) is_last: bool,
}

/// How an answer is dressed.
#[derive(Clone, Debug)]
pub(super) struct Dress {
    pub(super) allowed: Allowed,
    pub(super) coding: Coding,
}

/// What a request is let in by.
#[derive(Debug)]
pub(super) struct By {
    sites: Weak<Sites>,
    trust: Weak<Trust>,
}

impl By {
    /// What holds now; to be taken before a request is looked at.
    pub(super) fn now(router: &Router) -> Self {
        let (sites, trust) = (router.edge().sites.now(), router.trust().now());
        Self { sites: Arc::downgrade(&sites), trust: Arc::downgrade(&trust) }
    }

    /// Whether it still holds.
    fn holds(&self, router: &Router) -> bool {
        self.sites.as_ptr() == Arc::as_ptr(&router.edge().sites.now())
            && self.trust.as_ptr() == Arc::as_ptr(&router.trust().now())
    }
}

impl Last {
    /// A request whose head said this; none where another like it is to be looked at again.
    pub(super) fn of(said: Option<Said>, shown: Shown, dress: &Dress, by: By) -> Option<Self> {
        let (said, dress, until) = (said?, dress.clone(), Instant::now() + AGAIN);
        shown.may_be_repeated().then_some(Self { said, shown, dress, by, until })
    }

    /// How its answer was dressed.
    pub(super) fn dress(&self) -> &Dress {
        &self.dress
    }

    /// Hands the request that `bytes` begin with to the session, where its head says the same and its body is whole; none
    /// where it is to be looked at.
    pub(super) fn again(
        &self,
        router: &Router,
        (bytes, most): (&[u8], Most),
        over: Option<Connection>,
    ) -> Option<Again> {
        let Plain { head, body, is_last, .. } = self.said.again(bytes, most)?;
        let length = head.checked_add(body)?;
        let body = bytes.get(head..length)?;
        if Instant::now() >= self.until || !self.by.holds(router) {
            return None;
        }
        let reply = self.shown.again(router.edge(), body, over)?;
        Some(Again { reply, length, is_last })
    }
}

/// How long that may be.
const AGAIN: Duration = Duration::from_secs(5);
