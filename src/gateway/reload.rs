//! A running gateway takes over what has changed: certificates when their files change, and the rest of `proxy.toml` when told.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::SystemTime;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;
use tracing::info;
use tracing::warn;

use crate::config::Config;
use crate::config::log::Log;
use crate::config::written::Written;
use crate::file;
use crate::live::Live;
use crate::outbound;
use crate::server::router::Router;
use crate::tls::certificates::Certificates;
use crate::tls::config::Settings;
use crate::tls::shown::Found;
use crate::tls::shown::Shown;
use crate::tls::shown::Watch;

/// The parts of a running gateway that can be replaced.
#[derive(Debug, Clone)]
pub struct Reload {
    pub(super) router: Arc<Router>,
    /// None where nobody speaks TLS with us.
    pub(super) showing: Option<Arc<Showing>>,
    /// What the program was started with, by which all else still goes.
    pub(super) started_with: Arc<Written>,
}

/// Goes by these settings of the log from now on.
pub type UseLog = dyn Fn(&Log) + Send + Sync;

/// The certificates that are shown, and the look at their files.
#[derive(Debug)]
pub(super) struct Showing {
    shown: Arc<Shown>,
    watch: Mutex<(Watch, Duration)>,
}

impl Reload {
    /// Reads `path` again and takes over what can be; says in the log what could not, and what is wrong with the file. With an
    /// error in it everything stays as it was. The log is the caller's, and so is `use_log`. Says whether anything was taken over.
    pub async fn reload(&self, path: &Path, use_log: Arc<UseLog>) -> bool {
        let (all, path) = (self.clone(), path.to_owned());
        // A file may be far away, and a look at the certificates under way.
        let read = spawn_blocking(move || {
            let config = Self::read_again(&path)?;
            all.take_over(config, use_log.as_ref());
            Some(())
        });
        // One that panics has taken nothing over.
        read.await.is_ok_and(|read| read.is_some())
    }

    fn read_again(path: &Path) -> Option<Config> {
        match Config::load(path) {
            Ok(config) if !config.sites.is_empty() => Some(config),
            Ok(_) => {
                error!(file = %path.display(), "there is no site in it: the configuration stays as it was");
                None
            }
            Err(problems) => {
                for problem in problems.iter() {
                    error!(%problem, "wrong in the configuration");
                }
                error!(problems = problems.iter().count(), "the configuration stays as it was");
                None
            }
        }
    }

    fn take_over(&self, config: Config, use_log: &UseLog) {
        let Config { settings, sites, certificates, warnings, written } = config;
        for warning in warnings {
            warn!(%warning, "the configuration may not be what is meant");
        }
        if let Some((showing, certificates)) = self.showing.as_ref().zip(certificates) {
            showing.replace(&settings.tls, certificates);
        }
        let count = sites.iter().count();
        let edge = self.router.edge();
        let has_sessions = |site: &str| edge.roll.has_any_of(site);
        edge.sites.replace(edge.sites.now().followed_by(sites, has_sessions));
        self.router.trust().replace(settings.listen.trust());
        let keys = self.started_with.that_need_a_restart(&written);
        if !keys.is_empty() {
            warn!(keys = keys.join(", "), "changed, but is taken over only by a restart");
        }
        use_log(&settings.log);
        info!(sites = count, "the configuration is taken over");
    }

    /// Looks at the files of the certificates now and then, until the edge goes down.
    pub(super) async fn watch_certificates(self, shutdown: CancellationToken) {
        let Some(showing) = self.showing else { return };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(showing.every()) => {}
            }
            let looking = Arc::clone(&showing);
            // A look that panics is one that found nothing.
            let _ = spawn_blocking(move || looking.look()).await;
        }
    }
}

impl Showing {
    pub(super) fn new(settings: &Settings, certificates: Certificates) -> Self {
        let watch = Watch::new(settings.pairs(), &certificates);
        let shown = Arc::new(Shown(Live::new(certificates)));
        Self { shown, watch: Mutex::new((watch, settings.watch)) }
    }

    pub(super) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    fn replace(&self, settings: &Settings, certificates: Certificates) {
        let watch = Watch::new(settings.pairs(), &certificates);
        // Under the lock, lest a look that is under way puts the old ones back.
        let mut watched = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        *watched = (watch, settings.watch);
        self.shown.0.replace(certificates);
    }

    fn every(&self) -> Duration {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn look(&self) {
        let mut watched = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        match watched.0.look(&file::read) {
            Found::Same => {}
            Found::New(certificates) => {
                for (_, warning) in certificates.warnings(SystemTime::now()) {
                    warn!(warning, "a new certificate");
                }
                self.shown.0.replace(certificates);
                info!("new certificates are shown");
            }
            Found::Broken(faults) => {
                for fault in faults {
                    let problem = outbound::chain(&fault.error);
                    error!(problem, "the old certificates are still shown");
                }
            }
        }
    }
}
