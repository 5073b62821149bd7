//! Signing a visitor in: dial, two flights, and once more while the browser can be held.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use aws_lc_rs::rand;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio::time::timeout_at;
use tracing::debug;
use tracing::warn;
use zeroize::Zeroizing;

use crate::metrics::Bound;
use crate::metrics::Metrics;
use crate::metrics::SignIn;
use crate::pass::Pass;
use crate::protocol::jid::Domain;
use crate::protocol::jid::Jid;
use crate::protocol::login;
use crate::protocol::login::Goal;
use crate::protocol::login::Login;
use crate::protocol::login::Step;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Splitter;
use crate::secret::Secret;
use crate::upstream::dial::dial;
use crate::upstream::settings::Settings;

/// Where a visitor is signed in, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server's client port, `host:port`.
    pub address: String,
    /// The domain that the edge has chosen.
    pub domain: Domain,
    /// What the server is shown.
    pub pass: Pass,
    /// Whom the server must bind; `None` where it makes the name up.
    pub expected: Option<Jid>,
}

/// A stream that is signed in, and what was learnt on the way.
#[derive(Debug)]
pub struct Stream {
    /// The connection.
    pub socket: TcpStream,
    /// Cuts what is read from it; stands behind the login.
    pub splitter: Splitter,
    /// What has been read behind the login, not yet cut.
    pub rest: Vec<u8>,
    /// What the server offers behind SASL.
    pub features: Element,
    /// Whom the server has bound; with [`Goal::Bind`] only.
    pub jid: Option<Jid>,
}

/// Why a visitor could not be signed in.
#[derive(Debug, Error)]
pub enum Error {
    /// The server's port does not answer.
    #[error("the XMPP server at {address} cannot be reached")]
    Dial {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// More browsers wait for a sign-in than may.
    #[error("{0} browsers wait for a sign-in, which is the most")]
    Crowded(usize),
    /// A step took longer than its deadline.
    #[error("the XMPP server does not answer within {0:?}")]
    Late(Duration),
    /// The connection broke.
    #[error("the connection to the XMPP server broke during the sign-in")]
    Broken(#[source] io::Error),
    /// The server does not let us in.
    #[error(transparent)]
    Login(#[from] login::Error),
    /// The server bound somebody else than the visitor.
    #[error("the XMPP server bound {bound} where {expected} was to be")]
    WrongJid {
        /// Whom it bound.
        bound: Jid,
        /// Whom it should have.
        expected: Jid,
    },
}

impl Error {
    /// What is counted.
    fn outcome(&self) -> SignIn {
        match self {
            Self::Dial { .. } => SignIn::Unreachable,
            Self::Crowded(_) | Self::Late(_) => SignIn::Late,
            Self::Login(login::Error::Refused { .. }) => SignIn::Refused,
            Self::Broken(_) | Self::Login(_) | Self::WrongJid { .. } => SignIn::Broken,
        }
    }
}

/// The way to the servers, with a bound on how many go it at once.
#[derive(Debug)]
pub struct Gate {
    settings: Settings,
    metrics: Arc<Metrics>,
    under_way: Semaphore,
    waiting: Semaphore,
}

impl Gate {
    /// A gate with these bounds.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let room = |bound: NonZeroUsize| Semaphore::new(bound.get().min(Semaphore::MAX_PERMITS));
        let (under_way, waiting) = (room(settings.sign_ins), room(settings.waiting));
        Self { settings, metrics, under_way, waiting }
    }

    /// The bounds.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Signs in, and tries again with a fresh pass until `hold` is over: a server that is down, restarts or refuses our pass
    /// is our trouble, never the visitor's.
    ///
    /// # Errors
    /// The last failure, when `hold` is over; [`Error::Crowded`] at once.
    pub async fn sign_in(
        &self,
        target: &Target,
        goal: &Goal,
        hold: Duration,
    ) -> Result<Stream, Error> {
        let crowded = |_| {
            self.metrics.reached(Bound::SignInsWaiting);
            Error::Crowded(self.settings.waiting.get())
        };
        let _place = self.waiting.try_acquire().map_err(crowded)?;
        let _held = self.metrics.held();
        let end = Instant::now() + hold;
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            let error = match timeout_at(end, self.try_once(target, goal)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                // What failed before tells more than that the time is over.
                Err(_) => return Err(last.unwrap_or(Error::Late(hold))),
            };
            report(target, &error);
            if Instant::now() + pause >= end {
                return Err(error);
            }
            last = Some(error);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_once(&self, target: &Target, goal: &Goal) -> Result<Stream, Error> {
        // The semaphore is never closed.
        let _permit = self.under_way.acquire().await;
        let begun = Instant::now();
        let tried = self.dial_and_log_in(target, goal).await;
        let outcome = tried.as_ref().map_or_else(Error::outcome, |_| SignIn::Done);
        self.metrics.signed_in(&target.address, outcome, begun.elapsed());
        tried
    }

    async fn dial_and_log_in(&self, target: &Target, goal: &Goal) -> Result<Stream, Error> {
        let Settings { connect, sign_in, .. } = self.settings;
        let socket =
            timeout(connect, dial(&target.address)).await.map_err(|_| Error::Late(connect))?;
        let socket =
            socket.map_err(|source| Error::Dial { address: target.address.clone(), source })?;
        timeout(sign_in, self.log_in(socket, target, goal))
            .await
            .map_err(|_| Error::Late(sign_in))?
    }

    async fn log_in(
        &self,
        mut socket: TcpStream,
        target: &Target,
        goal: &Goal,
    ) -> Result<Stream, Error> {
        let limit = usize::try_from(self.settings.stanza.as_u64()).unwrap_or(usize::MAX);
        let mut flight = Zeroizing::new(Vec::with_capacity(512));
        let mut login = {
            let shown = target.pass.initial_response(SystemTime::now(), nonce()?);
            let payload = shown.payload.as_ref().map(Secret::expose);
            Login::begin(
                target.domain.clone(),
                goal.clone(),
                (shown.mechanism, payload),
                limit,
                &mut flight,
            )
        };
        socket.write_all(&flight).await.map_err(Error::Broken)?;
        let mut read = [0; 4096];
        loop {
            let length = socket.read(&mut read).await.map_err(Error::Broken)?;
            if length == 0 {
                return Err(login::Error::Closed.into());
            }
            flight.clear();
            login = match login.receive(read.get(..length).unwrap_or_default(), &mut flight)? {
                Step::More(login) => login,
                Step::Done(signed_in) => {
                    let login::SignedIn { features, jid, splitter, rest } = *signed_in;
                    check(jid.as_ref(), target.expected.as_ref())?;
                    return Ok(Stream { socket, splitter, rest, features, jid });
                }
            };
            socket.write_all(&flight).await.map_err(Error::Broken)?;
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

fn report(target: &Target, error: &Error) {
    let domain = target.domain.as_str();
    if let Error::Login(login::Error::Refused { condition }) = error {
        warn!(
            domain,
            condition,
            "the XMPP server refuses our pass: check the clocks of both machines and the secret they share"
        );
    } else {
        debug!(domain, error = %error, "sign-in failed, trying again while the browser can be held");
    }
}

/// Long enough for a port that opens a moment later.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A server that restarts is noticed within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn at_the_bound_on_waiting_browsers_another_is_refused_at_once() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            address: silent.local_addr().unwrap().to_string(),
            domain: Domain::parse("xmpp.test").unwrap(),
            pass: Pass::Anonymous,
            expected: None,
        };
        let gate = Arc::new(Gate::new(
            Settings { waiting: NonZeroUsize::MIN, ..Settings::default() },
            Arc::default(),
        ));
        let (first_gate, first_target) = (gate.clone(), target.clone());
        let hold = Duration::from_secs(3600);
        let first =
            tokio::spawn(
                async move { first_gate.sign_in(&first_target, &Goal::Features, hold).await },
            );
        let _under_way = silent.accept().await.unwrap();

        let second = timeout(Duration::from_secs(30), gate.sign_in(&target, &Goal::Features, hold));
        let second = second.await.expect("it is not held");

        assert!(matches!(second, Err(Error::Crowded(1))), "{second:?}");
        first.abort();
    }
}
