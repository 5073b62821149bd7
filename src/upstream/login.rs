//! One sign-in: dial, TLS where it is due, and the flights of the login.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::metrics::label::Kind;
use crate::metrics::label::SignIn;
use crate::pass::Pass;
use crate::protocol::jid::Domain;
use crate::protocol::jid::Jid;
use crate::protocol::language::Language;
use crate::protocol::login;
use crate::protocol::login::Goal;
use crate::protocol::login::Login;
use crate::protocol::login::Pace;
use crate::protocol::login::Plan;
use crate::protocol::login::Step;
use crate::protocol::login::starttls;
use crate::protocol::login::starttls::StartTls;
use crate::protocol::sasl;
use crate::protocol::sasl::Credentials;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Splitter;
use crate::scratch::read_more;
use crate::site::upstream::Security;
use crate::site::upstream::Upstream;
use crate::tls::client::NotProven;
use crate::upstream::dial::Line;
use crate::upstream::proxy_protocol;
use crate::upstream::stream::Socket;

/// Where a visitor is signed in, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub upstream: Arc<Upstream>,
    /// The domain that the edge has chosen.
    pub domain: Domain,
    /// What the browser's texts are in, if it has said so before it was signed in.
    pub language: Option<Language>,
    /// What the server is shown.
    pub pass: Pass,
    /// Whom the server must bind; `None` where it makes the name up.
    pub expected: Option<Jid>,
    /// Member or guest.
    pub kind: Kind,
    /// Where the visitor is, for a server that is told.
    pub visitor: IpAddr,
}

/// A stream that is signed in, and what was learnt on the way.
#[derive(Debug)]
pub struct Stream {
    /// The connection.
    pub socket: Socket,
    /// Cuts what is read from it; stands behind the login.
    pub splitter: Splitter,
    /// What has been read behind the login, not yet cut.
    pub rest: Vec<u8>,
    /// What the server offers behind SASL.
    pub features: Element,
    /// Whom the server has bound; with [`login::Goal::Bind`] only.
    pub jid: Option<Jid>,
    /// What the server said to `<resume/>`; with [`login::Goal::Resume`] only.
    pub resumption: Option<Element>,
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
    /// The server is not, or cannot be shown to be, whose it should be.
    #[error("the XMPP server is not talked to")]
    Insecure(#[source] NotProven),
    /// More browsers wait for a sign-in than may.
    #[error("as many browsers wait for a sign-in as may, {0} in all and fewer of guests")]
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
    /// Whether another try would be of no use.
    ///
    /// A server that is down forgets its streams; who waits for one to go on would only be told later.
    #[must_use]
    pub fn is_final(&self, goal: &Goal) -> bool {
        match (self, goal) {
            (Self::Login(login::Error::NotResumed), _) => true,
            (Self::Dial { source, .. }, Goal::Resume { .. }) => {
                matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
            }
            _ => false,
        }
    }

    /// What is counted.
    #[must_use]
    pub fn outcome(&self) -> SignIn {
        use login::Error as Refused;
        match self {
            Self::Dial { .. } => SignIn::Unreachable,
            Self::Crowded(_) | Self::Late(_) => SignIn::Late,
            // Behind the sign-in.
            Self::Login(Refused::NotResumed) => SignIn::Done,
            Self::Login(Refused::Refused { .. }) => SignIn::Refused,
            Self::Insecure(_)
            | Self::Login(
                Refused::NoTls
                | Refused::TlsRefused
                | Refused::Injected
                | Refused::Sasl(sasl::Error::Readable),
            ) => SignIn::Insecure,
            Self::Broken(_)
            | Self::WrongJid { .. }
            | Self::Login(
                Refused::NotBound { .. }
                | Refused::StreamError { .. }
                | Refused::Closed
                | Refused::Unexpected { .. }
                | Refused::Sasl(_)
                | Refused::Encoding
                | Refused::Stream(_)
                | Refused::Xml(_),
            ) => SignIn::Broken,
        }
    }
}

/// Makes a connection that was just dialled one on which credentials may be shown.
///
/// # Errors
/// When the server is not, or cannot be shown to be, that of `domain`; nothing has been said then that is worth reading.
pub async fn secure(
    mut line: Line,
    upstream: &Upstream,
    (domain, pace): (&Domain, Pace),
    visitor: IpAddr,
) -> Result<Socket, Error> {
    if upstream.proxy_protocol {
        let header = line.server().and_then(|server| proxy_protocol::header(visitor, server));
        let header = header.map_err(Error::Broken)?;
        let written = match &mut line {
            Line::Tcp(tcp) => tcp.write_all(&header).await,
            Line::Unix(unix) => unix.write_all(&header).await,
        };
        written.map_err(Error::Broken)?;
    }
    let mut tcp = match line {
        Line::Tcp(tcp) => tcp,
        // Nothing that leaves this machine could be protected on it; the configuration has no TLS here.
        Line::Unix(unix) => return Ok(Socket::Unix(unix)),
    };
    let identity = match &upstream.security {
        Security::None => return Ok(Socket::Tcp(tcp)),
        Security::StartTls(identity) => {
            start_tls(&mut tcp, domain, pace).await?;
            identity
        }
        Security::Tls(identity) => identity,
    };
    match identity.connect(tcp).await {
        Ok(stream) => Ok(Socket::Tls(Box::new(stream))),
        Err(NotProven::Broken(error)) => Err(Error::Broken(error)),
        Err(error @ NotProven::Untrusted { .. }) => Err(Error::Insecure(error)),
    }
}

/// Says in the clear what it takes to begin TLS.
async fn start_tls(tcp: &mut TcpStream, domain: &Domain, pace: Pace) -> Result<(), Error> {
    let mut flight = Vec::new();
    let mut starttls = StartTls::begin(domain, pace, &mut flight);
    let mut read = Vec::new();
    loop {
        tcp.write_all(&flight).await.map_err(Error::Broken)?;
        flight.clear();
        read.clear();
        if read_more(tcp, &mut read).await.map_err(Error::Broken)? == 0 {
            return Err(login::Error::Closed.into());
        }
        starttls = match starttls.receive(&read, &mut flight)? {
            starttls::Step::More(starttls) => starttls,
            starttls::Step::Proceed => return Ok(()),
        };
    }
}

/// Signs in on a connection whose other end is who it should be.
///
/// # Errors
/// When the server does not let us in.
pub async fn log_in(
    mut socket: Socket,
    plan: Plan,
    credentials: Credentials,
) -> Result<Stream, Error> {
    let mut flight = Zeroizing::new(Vec::with_capacity(512));
    let mut read = Vec::new();
    let mut step = Step::More(Login::begin(plan, credentials, &mut flight)?);
    loop {
        step = match step {
            Step::More(login) => {
                socket.write_all(&flight).await.map_err(Error::Broken)?;
                socket.flush().await.map_err(Error::Broken)?;
                flight.clear();
                read.clear();
                if read_more(&mut socket, &mut read).await.map_err(Error::Broken)? == 0 {
                    return Err(login.closed().into());
                }
                login.receive(&read, &mut flight)?
            }
            Step::Derive(deriving) => {
                // Up to half a second of hashing is nothing for a thread that others wait for.
                let derived = spawn_blocking(move || {
                    let mut flight = Zeroizing::new(Vec::new());
                    (deriving.derive(&mut flight), flight)
                });
                let (derived, written) =
                    derived.await.map_err(|error| Error::Broken(io::Error::other(error)))?;
                flight = written;
                derived?
            }
            Step::Done(signed_in) => {
                let login::SignedIn { features, jid, resumption, splitter, rest } = *signed_in;
                return Ok(Stream { socket, splitter, rest, features, jid, resumption });
            }
        };
    }
}
