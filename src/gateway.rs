//! Everything put together: a configuration becomes listeners that serve until they are told to stop.

pub mod reload;

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
use crate::file;
use crate::gateway::reload::Reload;
use crate::gateway::reload::Showing;
use crate::metrics::Metrics;
use crate::outbound;
use crate::server::accept;
use crate::server::accept::Listener;
use crate::server::accept::accept;
use crate::server::accept::drained;
use crate::server::live::Live;
use crate::server::router::Router;
use crate::session::bosh::Sessions;
use crate::site::Sites;
use crate::site::settings::Checked;
use crate::tls;
use crate::tls::certificates;
use crate::tls::certificates::Certificates;
use crate::tls::development;
use crate::upstream::login::Gate;
use crate::visitor::Visitors;
use crate::visitor::guest;

/// A gateway that is bound to its addresses and not yet serving.
#[derive(Debug)]
pub struct Gateway {
    listeners: Vec<Listener>,
    router: Arc<Router>,
    http: Arc<accept::Settings>,
    reload: Reload,
}

/// Why a gateway cannot start.
#[derive(Debug, Error)]
pub enum Error {
    /// Certificate or key.
    #[error(transparent)]
    Certificate(#[from] certificates::Error),
    /// The certificate for a first try.
    #[error(transparent)]
    Development(#[from] development::Error),
    /// TLS as a whole.
    #[error("there is no TLS")]
    Tls(#[from] rustls::Error),
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
    /// Binds the addresses; a development certificate is made where it is missing.
    ///
    /// # Errors
    /// What stands in the way of serving.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let Config { settings, sites, certificates, written, .. } = config;
        let mut listeners = Vec::new();
        let mut showing = None;
        if !settings.listen.https.is_empty() {
            let certificates = match certificates {
                Some(certificates) => certificates,
                None => development_certificate(&settings.tls, &sites)?,
            };
            let here = Arc::new(Showing::new(&settings.tls, certificates));
            let tls = tls::config::server_config_with(here.shown())?;
            showing = Some(here);
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
        let visitors = Arc::new(Visitors::new(guests, settings.whois, client.clone()));
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new());
        let edge = Edge {
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
        let live = Live::new(sites, settings.listen.trusted_proxies);
        let router = Arc::new(Router::new(Arc::new(edge), live));
        let reload = Reload { router: router.clone(), showing, started_with: Arc::new(written) };
        Ok(Self { listeners, router, http: Arc::new(settings.http), reload })
    }

    /// What replaces parts of it while it runs.
    #[must_use]
    pub fn reload(&self) -> Reload {
        self.reload.clone()
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
        edge.tasks.spawn(self.reload.watch_certificates(edge.shutdown.clone()));
        shutdown.await;
        info!(open = edge.tasks.len(), "going down");
        edge.shutdown.cancel();
        drained(&self.router, GRACE).await;
    }
}

fn development_certificate(
    settings: &tls::config::Settings,
    sites: &Sites,
) -> Result<Certificates, Error> {
    let names: Vec<String> = sites.iter().flat_map(|site| site.hosts.iter().cloned()).collect();
    development::make(settings, &names)?;
    let certificate = settings.certificate.display();
    warn!(%certificate, "made a development certificate: browsers will warn of it, and it is not for the open Internet");
    let loaded = Certificates::load(&settings.pairs(), &file::read);
    loaded.map_err(|faults| match faults.into_iter().next() {
        Some(fault) => fault.error.into(),
        None => Error::NoListener,
    })
}

/// How long everybody has to leave.
const GRACE: Duration = Duration::from_secs(10);
