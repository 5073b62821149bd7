//! Everything put together: a configuration becomes listeners that serve until they are told to stop.

pub mod reload;

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use tracing::warn;

use crate::config::Config;
use crate::config::Settings;
use crate::descriptors;
use crate::endpoint::Edge;
use crate::endpoint::backend::Backend;
use crate::endpoint::internal::Internal;
use crate::file;
use crate::gateway::reload::Reload;
use crate::gateway::reload::Showing;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::outbound;
use crate::server::accept;
use crate::server::accept::Listener;
use crate::server::accept::accept;
use crate::server::accept::drained;
use crate::server::bounds;
use crate::server::bounds::Bounds;
use crate::server::router::Router;
use crate::server::threads::Threads;
use crate::server::way::Way;
use crate::session::bosh::Sessions;
use crate::session::bosh::managed::Management;
use crate::session::roll::Roll;
use crate::site::Sites;
use crate::site::settings::Checked;
use crate::tls;
use crate::tls::certificates;
use crate::tls::certificates::Certificates;
use crate::tls::development;
use crate::upstream::gate::Gate;
use crate::visitor;
use crate::visitor::Visitors;
use crate::visitor::guest;

/// A gateway that is bound to its addresses and not yet serving.
#[derive(Debug)]
pub struct Gateway {
    listeners: Vec<Listener>,
    router: Arc<Router>,
    http: bounds::Settings,
    internal: Option<(Listener, Arc<Internal>)>,
    reload: Reload,
    threads: Threads,
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
    /// The threads that serve.
    #[error("the threads that serve do not start")]
    Threads(#[source] io::Error),
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
        let showing = showing(&settings, &sites, certificates)?;
        let tls = match &showing {
            Some(showing) => Some(tls::config::server_config_with(showing.shown())?),
            None => None,
        };
        let listeners = listeners(&settings, tls.clone()).await?;
        let monitoring = match &settings.internal.listen {
            Some(Checked(address)) => Listener::internal(address, tls).await?,
            None => None,
        };
        let trust = settings.listen.trust();
        let client = outbound::Client::new(&settings.outbound);
        let guests = guest::Key::load(&settings.guests)?;
        let bounds = visitor::Bounds {
            whois: settings.whois,
            jwks: settings.jwks,
            cookies: settings.cookies,
        };
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new());
        let visitors = Arc::new(Visitors::new(guests, bounds, client.clone(), metrics.clone()));
        let gate = Arc::new(Gate::new(settings.upstream, metrics.clone()));
        let management = Management { settings: settings.stream_management, gate: gate.clone() };
        let edge = Edge {
            sites: Live::new(sites),
            backend: Backend::new(
                (client, settings.backend),
                visitors.clone(),
                tasks.clone(),
                shutdown.clone(),
            ),
            visitors,
            gate,
            tickets: settings.ticket,
            xml: settings.xml,
            websocket: Arc::new(settings.websocket),
            roll: Arc::new(Roll::new(&settings.sessions, &settings.guests, metrics.clone())),
            addresses: settings.log.addresses,
            bosh: Sessions::new(
                (settings.bosh, management),
                metrics.clone(),
                tasks.clone(),
                shutdown.clone(),
            ),
            metrics,
            prebind: settings.prebind,
            tasks,
            shutdown,
        };
        let edge = Arc::new(edge);
        let secret = settings.internal.secret;
        let internal =
            monitoring.map(|listener| (listener, Arc::new(Internal::new(edge.clone(), secret))));
        let router = Arc::new(Router::new(edge, trust, settings.http.stall));
        let reload = Reload { router: router.clone(), showing, started_with: Arc::new(written) };
        let threads = Threads::start(settings.listen.threads()).map_err(Error::Threads)?;
        let http = settings.http;
        Ok(Self { listeners, router, http, internal, reload, threads })
    }

    /// What replaces parts of it while it runs.
    #[must_use]
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// The addresses that it is bound to, for people.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.all_listeners().map(Listener::address).collect()
    }

    /// The ports of its TCP listeners: https, http, and the internal one.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.all_listeners().filter_map(Listener::port).collect()
    }

    fn all_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().chain(self.internal.iter().map(|(listener, _)| listener))
    }

    /// Serves until `shutdown` completes, then lets everybody leave in order.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let edge = self.router.edge().clone();
        let sites = Way::Sites(self.router);
        let bounds = Bounds::new(self.http.clone(), edge.metrics.clone());
        let bounds = match descriptors::limit() {
            Some(open_files) => Arc::new(bounds.within(open_files)),
            None => Arc::new(bounds),
        };
        for listener in self.listeners {
            info!(address = listener.address(), "listening");
            let threads = self.threads.clone();
            edge.tasks.spawn(accept(listener, sites.clone(), bounds.clone(), threads));
        }
        // To the very end, so that it can be asked who is still here.
        let end = CancellationToken::new();
        if let Some((listener, internal)) = self.internal {
            info!(address = listener.address(), "listening for monitoring");
            let way = Way::Internal(internal, TaskTracker::new(), end.clone());
            let bounds = Bounds::new(monitoring(&self.http), edge.metrics.clone());
            tokio::spawn(accept(listener, way, Arc::new(bounds), Threads::default()));
        }
        edge.tasks.spawn(self.reload.watch_certificates(edge.shutdown.clone()));
        shutdown.await;
        info!(open = edge.tasks.len(), "going down");
        edge.shutdown.cancel();
        drained(&sites, GRACE).await;
        end.cancel();
    }
}

/// The certificates, where any listener shows them; those for development are made where they are missing.
fn showing(
    settings: &Settings,
    sites: &Sites,
    certificates: Option<Certificates>,
) -> Result<Option<Arc<Showing>>, Error> {
    let tls = &settings.tls;
    if let Some(certificates) = certificates {
        return Ok(Some(Arc::new(Showing::new(tls, certificates))));
    }
    if settings.listen.https.is_empty() && !settings.internal.is_https() {
        return Ok(None);
    }
    let names: Vec<String> = sites.iter().flat_map(|site| site.hosts.iter().cloned()).collect();
    development::make(tls, &names)?;
    let certificate = tls.certificate.display();
    warn!(%certificate, "made a development certificate: browsers will warn of it, and it is not for the open Internet");
    match Certificates::load(&tls.pairs(), &file::read) {
        Ok(certificates) => Ok(Some(Arc::new(Showing::new(tls, certificates)))),
        // There is a fault where there is no certificate.
        Err(faults) => match faults.into_iter().next() {
            Some(fault) => Err(fault.error.into()),
            None => Ok(None),
        },
    }
}

async fn listeners(
    settings: &Settings,
    tls: Option<Arc<ServerConfig>>,
) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    let port = settings.listen.port();
    if let Some(tls) = tls {
        for address in &settings.listen.https {
            listeners.push(Listener::https(*address, tls.clone(), port)?);
        }
    }
    for Checked(plain) in &settings.listen.http {
        listeners.push(Listener::http(plain, port).await?);
    }
    if listeners.is_empty() { Err(Error::NoListener) } else { Ok(listeners) }
}

/// The bounds of the internal listener: places of its own, so that it answers when those of browsers are taken.
///
/// No address can take them all, and nobody keeps one who asks nothing: a site must come through to end sessions.
fn monitoring(http: &bounds::Settings) -> bounds::Settings {
    let (header, handshake) = (http.header.min(ASKING), http.handshake.min(ASKING));
    let (connections, connections_per_address) = (MONITORING, MONITORING_PER_ADDRESS);
    let http = http.clone();
    bounds::Settings { connections, connections_per_address, handshake, header, ..http }
}

/// How long everybody has to leave.
const GRACE: Duration = Duration::from_secs(10);
const MONITORING: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
const MONITORING_PER_ADDRESS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
/// How long whoever asks there may take for it.
const ASKING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_can_keep_the_internal_listener_from_others() {
        let settings = monitoring(&bounds::Settings::default());
        let bounds = Bounds::new(settings.clone(), Arc::default());
        let address = |text: &str| Some(text.parse().unwrap());

        let taken: Vec<_> =
            std::iter::from_fn(|| bounds.share(address("192.0.2.1")).ok()).take(64).collect();

        assert!(taken.len() * 4 < settings.connections.get(), "{}", taken.len());
        assert!(bounds.share(address("192.0.2.2")).is_ok());
        assert!(settings.header <= Duration::from_secs(5));
    }
}
