//! The way to the servers: bounded for each of them, and gone once more while the browser can be held.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::SystemTime;

use aws_lc_rs::rand;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio::time::timeout_at;
use tracing::debug;
use tracing::warn;

use crate::metrics::Metrics;
use crate::metrics::bound::Bound;
use crate::metrics::label::SignIn;
use crate::outbound;
use crate::protocol::jid::Domain;
use crate::protocol::jid::Jid;
use crate::protocol::login;
use crate::protocol::login::Goal;
use crate::protocol::login::Pace;
use crate::protocol::login::Plan;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter;
use crate::upstream::dial::dial;
use crate::upstream::login::Error;
use crate::upstream::login::Stream;
use crate::upstream::login::Target;
use crate::upstream::login::log_in;
use crate::upstream::login::secure;
use crate::upstream::server::Server;
use crate::upstream::settings::Settings;

/// The way to the servers, with a bound on how many go it at once.
#[derive(Debug)]
pub struct Gate {
    settings: Settings,
    metrics: Arc<Metrics>,
    /// By address; there are no more than the settings of the sites name.
    servers: Mutex<HashMap<String, Arc<Server>>>,
    /// By domain: what was last offered there behind a login, of domains for which somebody wants to know.
    features: Mutex<HashMap<Domain, Arc<Element>>>,
}

impl Gate {
    /// A gate with these bounds.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self { settings, metrics, servers: Mutex::default(), features: Mutex::default() }
    }

    /// The bounds.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was last noted that a domain offers behind a login.
    #[must_use]
    pub fn features_of(&self, domain: &Domain) -> Option<Arc<Element>> {
        self.features.lock().unwrap_or_else(PoisonError::into_inner).get(domain).map(Arc::clone)
    }

    /// Notes it.
    pub fn note_features(&self, domain: &Domain, features: &Element) {
        let mut noted = self.features.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(domain).is_none_or(|before| **before != *features) {
            noted.insert(domain.clone(), Arc::new(features.clone()));
        }
    }

    /// Signs in, and tries again with a fresh pass until `hold` is over: a server that is down, restarts or refuses our pass
    /// is our trouble, never the visitor's.
    ///
    /// # Errors
    /// The last failure, when `hold` is over; [`Error::Crowded`] at once, and a failure that would only come again.
    pub async fn sign_in(
        &self,
        target: &Target,
        goal: &Goal,
        hold: Duration,
    ) -> Result<Stream, Error> {
        let server = self.server(&target.upstream.address);
        let Some(_place) = server.waiting.try_enter(target.kind) else {
            self.metrics.reached(Bound::SignInsWaiting);
            return Err(Error::Crowded(self.settings.waiting.get()));
        };
        let _held = self.metrics.held();
        let end = Instant::now() + hold;
        let mut pauses = Pauses::default();
        let mut last = None;
        loop {
            let error = match self.try_once(&server, target, goal, end).await {
                Ok(stream) => return Ok(stream),
                Err(error) if error.is_final(goal) => return Err(error),
                // What failed before tells more than that the time is over.
                Err(error @ Error::Late(_)) => last.unwrap_or(error),
                Err(error) => error,
            };
            report(&server, target, &error);
            let pause = pauses.behind(&error);
            if Instant::now() + pause >= end {
                return Err(error);
            }
            last = Some(error);
            sleep(pause).await;
        }
    }

    /// One try, once there is a place for it.
    async fn try_once(
        &self,
        server: &Server,
        target: &Target,
        goal: &Goal,
        end: Instant,
    ) -> Result<Stream, Error> {
        let waited = Instant::now();
        let _place = if let Some(place) = server.under_way.try_enter(target.kind) {
            place
        } else {
            self.metrics.reached(Bound::SignIns);
            let entered = timeout_at(end, server.under_way.enter(target.kind)).await;
            // None of a lane that is closed, and none ever is.
            entered.ok().flatten().ok_or_else(|| Error::Late(waited.elapsed()))?
        };
        let begun = Instant::now();
        let pace = server.pace(target.upstream.pipelining);
        let tried = self.dial_and_log_in(target, goal, pace, end).await;
        if pace == Pace::Pipelined && tried.as_ref().is_err_and(is_surprise) {
            server.be_careful();
        }
        if let Err(Error::Login(login::Error::Stream(splitter::Error::TooLarge { .. }))) = &tried {
            self.metrics.reached(Bound::UpstreamStanza);
        }
        let outcome = tried.as_ref().map_or_else(Error::outcome, |_| SignIn::Done);
        self.metrics.signed_in(&target.upstream.address, outcome, begun.elapsed());
        tried
    }

    async fn dial_and_log_in(
        &self,
        target: &Target,
        goal: &Goal,
        pace: Pace,
        end: Instant,
    ) -> Result<Stream, Error> {
        let Target { upstream, domain, language, .. } = target;
        let left = end.saturating_duration_since(Instant::now());
        let connect = self.settings.connect.min(left);
        let line = timeout(connect, dial(&upstream.address)).await;
        let line = line.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let line =
            line.map_err(|source| Error::Dial { address: upstream.address.clone(), source })?;
        let left = end.saturating_duration_since(Instant::now());
        let sign_in = self.settings.sign_in.min(left);
        let logged_in = async {
            let socket = secure(line, upstream, (domain, pace), target.visitor).await?;
            let channel = socket.channel();
            let limit = usize::try_from(self.settings.stanza.as_u64()).unwrap_or(usize::MAX);
            let (domain, language) = (domain.clone(), language.clone());
            let plan = Plan { domain, language, goal: goal.clone(), pace, channel, limit };
            log_in(socket, plan, target.pass.credentials(SystemTime::now(), nonce()?)).await
        };
        let stream = timeout(sign_in, logged_in).await.map_err(|_| Error::Late(sign_in))??;
        check(stream.jid.as_ref(), target.expected.as_ref())?;
        Ok(stream)
    }

    fn server(&self, address: &str) -> Arc<Server> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(address) {
            return server.clone();
        }
        let server = Arc::new(Server::new(&self.settings));
        servers.insert(address.to_owned(), server.clone());
        server
    }
}

/// How long is waited between two tries.
#[derive(Debug)]
struct Pauses {
    next: Duration,
    refused: Refused,
}

/// Whether our pass has been refused before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Never,
    Once,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST_PAUSE, refused: Refused::Never }
    }
}

impl Pauses {
    /// The pause behind this failure.
    fn behind(&mut self, error: &Error) -> Duration {
        // A fresh ticket may be all it takes: a moment ago the server began, or the ticket was late.
        if error.outcome() == SignIn::Refused && self.refused == Refused::Never {
            self.refused = Refused::Once;
            return Duration::ZERO;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// Whether a failure may come of having spoken before the server had.
fn is_surprise(error: &Error) -> bool {
    use login::Error as Failed;
    match error {
        Error::Late(_) | Error::Broken(_) => true,
        Error::Login(failed) => match failed {
            Failed::StreamError { .. }
            | Failed::Closed
            | Failed::Unexpected { .. }
            | Failed::Sasl(_)
            | Failed::Encoding
            | Failed::Stream(_)
            | Failed::Xml(_) => true,
            Failed::Refused { .. }
            | Failed::NotBound { .. }
            | Failed::NoTls
            | Failed::TlsRefused
            | Failed::Injected
            | Failed::NotResumed => false,
        },
        Error::Dial { .. } | Error::Insecure(_) | Error::Crowded(_) | Error::WrongJid { .. } => {
            false
        }
    }
}

/// The server is believed about a resource, never about who the visitor is.
fn check(bound: Option<&Jid>, expected: Option<&Jid>) -> Result<(), Error> {
    match (bound, expected) {
        (Some(bound), Some(expected)) if bound.to_bare() != *expected => {
            Err(Error::WrongJid { bound: bound.clone(), expected: expected.clone() })
        }
        _ => Ok(()),
    }
}

fn nonce() -> Result<[u8; 16], Error> {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).map_err(|_| Error::Broken(io::Error::other("no random bytes")))?;
    Ok(nonce)
}

/// Tells the log, but not of each of a thousand visitors whom one outage keeps out.
fn report(server: &Server, target: &Target, error: &Error) {
    let (upstream, domain) = (&target.upstream.address, target.domain.as_str());
    let error_chain = outbound::chain(error);
    let Some(untold) = server.failures.tell() else {
        return debug!(upstream, domain, error = error_chain, "a sign-in failed");
    };
    match error.outcome() {
        SignIn::Refused => warn!(
            upstream,
            domain,
            error = error_chain,
            untold,
            "the XMPP server refuses our pass: check the clocks of both machines and the secret they share"
        ),
        SignIn::Insecure => warn!(
            upstream,
            domain,
            error = error_chain,
            untold,
            "the XMPP server is not trusted, and nobody is signed in there: check its certificate, and security and authority in proxy.toml"
        ),
        SignIn::Unreachable | SignIn::Late | SignIn::Broken | SignIn::Done => warn!(
            upstream,
            domain,
            error = error_chain,
            untold,
            "sign-ins at the XMPP server fail, and are tried again while the browser can be held"
        ),
    }
}

/// Long enough for a port that opens a moment later.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A server that restarts is noticed within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
