//! Everything put together: a configuration becomes listeners that serve until they are told to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use tracing::warn;

use crate::config::Config;
use crate::endpoint::Edge;
use crate::endpoint::backend::Backend;
use crate::metrics::Metrics;
use crate::outbound;
use crate::server::accept;
use crate::server::accept::Listener;
use crate::server::accept::accept;
use crate::server::accept::drained;
use crate::server::router::Router;
use crate::session::bosh::Sessions;
use crate::site::settings::Checked;
use crate::tls;
use crate::upstream::login::Gate;
use crate::visitor::Bounds;
use crate::visitor::Visitors;
use crate::visitor::guest;

/// A gateway that is bound to its addresses and not yet serving.
#[derive(Debug)]
pub struct Gateway {
    listeners: Vec<Listener>,
    router: Arc<Router>,
    http: Arc<accept::Settings>,
}

/// Why a gateway cannot start.
#[derive(Debug, Error)]
pub enum Error {
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] tls::config::Error),
    /// An address.
    #[error(transparent)]
    Listen(#[from] accept::Error),
    /// The key of the guest cookie.
    #[error(transparent)]
    Guests(#[from] guest::Error),
    /// Nobody could come in.
    #[error("[listen] has neither https nor http")]
    NoListener,
}

impl Error {
    /// The error with its causes, for people.
    #[must_use]
    pub fn with_causes(&self) -> String {
        outbound::chain(self)
    }
}

impl Gateway {
    /// Whether the files that a configuration names could be used, without making any or binding an address.
    ///
    /// # Errors
    /// What [`bind`](Self::bind) would find.
    pub fn check(config: &Config) -> Result<(), Error> {
        let tls = &config.settings.tls;
        if !config.settings.listen.https.is_empty() && !tls.makes_its_own() {
            tls.load()?;
        }
        Ok(())
    }

    /// Reads certificates and keys (those for development are made where they are missing) and binds the addresses.
    ///
    /// # Errors
    /// What stands in the way of serving.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let Config { settings, sites } = config;
        let mut listeners = Vec::new();
        if !settings.listen.https.is_empty() {
            let names: Vec<String> =
                sites.iter().flat_map(|site| site.hosts.iter().cloned()).collect();
            if settings.tls.make_development_certificate(&names)? {
                let certificate = settings.tls.certificate.display();
                warn!(%certificate, "made a development certificate: browsers will warn of it, and it is not for the open Internet");
            }
            let tls = settings.tls.load()?;
            for address in settings.listen.https {
                listeners.push(Listener::https(address, tls.clone()).await?);
            }
        }
        for Checked(plain) in &settings.listen.http {
            listeners.push(Listener::http(plain).await?);
        }
        if listeners.is_empty() {
            return Err(Error::NoListener);
        }
        let client = outbound::Client::new(&settings.outbound);
        let guests = guest::Key::load(&settings.guests)?;
        let bounds =
            Bounds { whois: settings.whois, jwks: settings.jwks, cookies: settings.cookies };
        let visitors = Arc::new(Visitors::new(guests, bounds, client.clone()));
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new());
        let edge = Edge {
            sites,
            backend: Backend::new(
                (client, settings.backend),
                visitors.clone(),
                tasks.clone(),
                shutdown.clone(),
            ),
            visitors,
            gate: Gate::new(settings.upstream, metrics.clone()),
            tickets: settings.ticket,
            websocket: Arc::new(settings.websocket),
            bosh: Sessions::new(
                settings.bosh,
                settings.guests.per_address,
                metrics.clone(),
                tasks.clone(),
                shutdown.clone(),
            ),
            metrics,
            prebind: settings.prebind,
            tasks,
            shutdown,
        };
        let router = Router::new(Arc::new(edge), settings.listen.trusted_proxies);
        Ok(Self { listeners, router: Arc::new(router), http: Arc::new(settings.http) })
    }

    /// The addresses that it is bound to, for people.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// The ports of its TCP listeners, https first.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.listeners.iter().filter_map(Listener::port).collect()
    }

    /// Serves until `shutdown` completes, then lets everybody leave in order.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let edge = self.router.edge().clone();
        let room =
            Arc::new(Semaphore::new(self.http.connections.get().min(Semaphore::MAX_PERMITS)));
        for listener in self.listeners {
            info!(address = listener.address(), "listening");
            edge.tasks.spawn(accept(
                listener,
                self.router.clone(),
                self.http.clone(),
                room.clone(),
            ));
        }
        shutdown.await;
        info!(open = edge.tasks.len(), "going down");
        edge.shutdown.cancel();
        drained(&self.router, GRACE).await;
    }
}

/// How long everybody has to leave.
const GRACE: Duration = Duration::from_secs(10);
