//! SASL as a client (RFC 4422, RFC 6120 §6): what a visitor is signed in with, and the exchange that this takes.

pub mod scram;

use thiserror::Error;

use crate::protocol::jid::Localpart;
use crate::protocol::sasl::scram::Hash;
use crate::protocol::sasl::scram::Salting;
use crate::secret::Secret;

/// What a visitor is signed in with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// What only PLAIN can show: a ticket or a token, which no server has hashed.
    Plain {
        /// Who it is for.
        username: Localpart,
        /// What stands in the place of the password.
        password: Secret,
    },
    /// A password that the server may have hashed: SCRAM-SHA-256, else SCRAM-SHA-1, else PLAIN.
    Password {
        /// Whose it is.
        username: Localpart,
        /// The password itself.
        password: Secret,
        /// Random, and new for each sign-in.
        nonce: [u8; 16],
        /// The SCRAM that this server is known to take: it is begun without waiting for the server's list.
        known: Option<Hash>,
    },
    /// Nothing: the server makes a name up (RFC 4505). No trace is given, because the server would keep it, and who a guest
    /// is on the web is none of its business.
    Anonymous,
}

/// Who else could read what is said to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Nobody: verified TLS, loopback or a Unix socket.
    Private,
    /// Whoever is on the way.
    Open,
}

/// A mechanism (RFC 6120 §6.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4505.
    Anonymous,
    /// RFC 4616.
    Plain,
    /// RFC 5802.
    Scram(Hash),
}

/// An exchange that is under way, consumed by each word of the server.
#[derive(Debug)]
pub enum Exchange {
    /// Everything has been said: `<success/>` or `<failure/>` is due.
    Told,
    /// SCRAM's first message is out: the server's challenge is due.
    Asked(scram::First),
    /// We have proven that we know the password: now the server has to.
    Proven(scram::Final),
    /// Both have: `<success/>` is due.
    Verified,
}

/// What a challenge asks for.
#[derive(Debug)]
pub enum Next {
    /// An empty response.
    Respond(Exchange),
    /// The response that comes of some hundred thousand rounds of hashing.
    Derive(Salting),
}

/// Why there is no exchange, or none further.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A password would be readable on its way.
    #[error("the connection is not encrypted, and the password would be readable on it")]
    Readable,
    /// The server takes nothing that we could show.
    #[error("the server takes none of {wanted}")]
    NoMechanism {
        /// What would do.
        wanted: &'static str,
    },
    /// The server asks for more when all has been said.
    #[error("the server asks for more than the mechanism has")]
    Challenge,
    /// The server lets us in before it has proven that it knows the password too.
    #[error("the server lets us in without proof that it knows the password")]
    Unproven,
    /// SCRAM fails.
    #[error(transparent)]
    Scram(#[from] scram::Error),
}

impl Mechanism {
    /// Its registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "ANONYMOUS",
            Self::Plain => "PLAIN",
            Self::Scram(hash) => hash.mechanism(),
        }
    }
}

impl Credentials {
    /// The mechanism that can be begun before the server says which it takes, if there is one.
    #[must_use]
    pub fn unasked(&self) -> Option<Mechanism> {
        match self {
            Self::Plain { .. } => Some(Mechanism::Plain),
            Self::Password { known, .. } => known.map(Mechanism::Scram),
            Self::Anonymous => Some(Mechanism::Anonymous),
        }
    }

    /// The best mechanism of those that the server takes.
    ///
    /// # Errors
    /// [`Error::NoMechanism`]; [`Error::Readable`] where PLAIN is all that is left on an open channel.
    pub fn choose(&self, offered: &[String], channel: Channel) -> Result<Mechanism, Error> {
        let (preferred, wanted): (&[Mechanism], _) = match self {
            Self::Plain { .. } => (&[Mechanism::Plain], "PLAIN"),
            Self::Password { .. } => (&BY_PREFERENCE, "SCRAM-SHA-256, SCRAM-SHA-1 and PLAIN"),
            Self::Anonymous => (&[Mechanism::Anonymous], "ANONYMOUS"),
        };
        let mut taken = preferred
            .iter()
            .filter(|mechanism| offered.iter().any(|offer| offer == mechanism.name()));
        match taken.next() {
            Some(Mechanism::Plain) if channel == Channel::Open => Err(Error::Readable),
            Some(mechanism) => Ok(*mechanism),
            None => Err(Error::NoMechanism { wanted }),
        }
    }

    /// Begins `mechanism`: the exchange, and the initial response before base64.
    ///
    /// # Errors
    /// [`Error::Readable`]; [`Error::NoMechanism`] for one that is not ours; [`scram::Error::Unprepared`].
    pub fn begin(
        self,
        mechanism: Mechanism,
        channel: Channel,
    ) -> Result<(Exchange, Option<Secret>), Error> {
        match (self, mechanism) {
            (Self::Anonymous, Mechanism::Anonymous) => Ok((Exchange::Told, None)),
            (
                Self::Plain { username, password } | Self::Password { username, password, .. },
                Mechanism::Plain,
            ) => {
                if channel == Channel::Open {
                    return Err(Error::Readable);
                }
                Ok((Exchange::Told, Some(plain(&username, &password))))
            }
            (Self::Password { username, password, nonce, .. }, Mechanism::Scram(hash)) => {
                let (first, message) =
                    scram::First::begin(hash, username.as_str(), &password, nonce)?;
                Ok((Exchange::Asked(first), Some(Secret::new(message))))
            }
            (Self::Anonymous, Mechanism::Plain | Mechanism::Scram(_))
            | (Self::Plain { .. }, Mechanism::Anonymous | Mechanism::Scram(_))
            | (Self::Password { .. }, Mechanism::Anonymous) => {
                Err(Error::NoMechanism { wanted: mechanism.name() })
            }
        }
    }
}

impl Exchange {
    /// Takes a challenge, after base64.
    ///
    /// # Errors
    /// When none is due, or it is not to be believed.
    pub fn challenge(self, message: &[u8]) -> Result<Next, Error> {
        match self {
            Self::Asked(first) => Ok(Next::Derive(first.receive(message)?)),
            // A server without a word for `<success/>` says its last one here.
            Self::Proven(last) => {
                last.receive(message)?;
                Ok(Next::Respond(Self::Verified))
            }
            Self::Told | Self::Verified => Err(Error::Challenge),
        }
    }

    /// Takes `<success/>` with what it holds, after base64.
    ///
    /// # Errors
    /// When the server has to prove itself and has not, or not rightly.
    pub fn succeed(self, message: Option<&[u8]>) -> Result<(), Error> {
        match (self, message) {
            (Self::Told | Self::Verified, _) => Ok(()),
            (Self::Proven(last), Some(message)) => Ok(last.receive(message)?),
            (Self::Proven(_), None) | (Self::Asked(_), _) => Err(Error::Unproven),
        }
    }
}

/// RFC 4616 §2, without an authorization identity: it is the server's to derive (RFC 6120 §6.3.8).
fn plain(username: &Localpart, password: &Secret) -> Secret {
    // As long as it will be, so that no half of it is left behind in memory.
    let mut message = Vec::with_capacity(2 + username.as_str().len() + password.expose().len());
    message.push(0);
    message.extend_from_slice(username.as_str().as_bytes());
    message.push(0);
    message.extend_from_slice(password.expose());
    Secret::new(message)
}

const BY_PREFERENCE: [Mechanism; 3] =
    [Mechanism::Scram(Hash::Sha256), Mechanism::Scram(Hash::Sha1), Mechanism::Plain];

#[cfg(test)]
mod tests {
    use super::*;

    fn password() -> Credentials {
        Credentials::Password {
            username: Localpart::parse("bob").unwrap(),
            password: Secret::new("pencil"),
            nonce: [7; 16],
            known: None,
        }
    }

    fn ticket() -> Credentials {
        Credentials::Plain {
            username: Localpart::parse("bob").unwrap(),
            password: Secret::new("vt1.x"),
        }
    }

    fn choose(
        credentials: &Credentials,
        offered: &str,
        channel: Channel,
    ) -> Result<&'static str, Error> {
        let offered: Vec<String> = offered.split(' ').map(str::to_owned).collect();
        credentials.choose(&offered, channel).map(Mechanism::name)
    }

    #[test]
    fn the_strongest_mechanism_that_the_server_takes_is_chosen() {
        for (offered, chosen) in [
            ("PLAIN SCRAM-SHA-1 SCRAM-SHA-256 X-OAUTH2", "SCRAM-SHA-256"),
            ("PLAIN SCRAM-SHA-1 SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"),
            ("X-OAUTH2 PLAIN", "PLAIN"),
        ] {
            assert_eq!(choose(&password(), offered, Channel::Private), Ok(chosen), "{offered}");
        }
        let none = choose(&password(), "X-OAUTH2 DIGEST-MD5 scram-sha-1", Channel::Private);
        assert!(matches!(none, Err(Error::NoMechanism { .. })), "{none:?}");
    }

    #[test]
    fn a_ticket_is_shown_by_plain_alone() {
        let offered = "SCRAM-SHA-256 PLAIN";

        assert_eq!(choose(&ticket(), offered, Channel::Private), Ok("PLAIN"));
        assert!(choose(&ticket(), "SCRAM-SHA-256", Channel::Private).is_err());
    }

    #[test]
    fn plain_never_goes_over_an_open_channel() {
        assert_eq!(choose(&ticket(), "PLAIN", Channel::Open), Err(Error::Readable));
        assert_eq!(choose(&password(), "PLAIN", Channel::Open), Err(Error::Readable));
        let begun = ticket().begin(Mechanism::Plain, Channel::Open);
        assert_eq!(begun.map(|_| ()), Err(Error::Readable));
        // The test can tell: SCRAM does.
        assert_eq!(choose(&password(), "PLAIN SCRAM-SHA-1", Channel::Open), Ok("SCRAM-SHA-1"));
    }

    #[test]
    fn plain_has_no_authorization_identity() {
        let (_, message) = ticket().begin(Mechanism::Plain, Channel::Private).unwrap();

        assert!(message.unwrap().matches(b"\0bob\0vt1.x"));
    }

    #[test]
    fn challenge_where_all_has_been_said_is_an_error() {
        let (exchange, _) = ticket().begin(Mechanism::Plain, Channel::Private).unwrap();

        assert!(matches!(exchange.challenge(b""), Err(Error::Challenge)));
    }

    #[test]
    fn success_before_the_challenge_of_scram_is_no_success() {
        let scram = Mechanism::Scram(Hash::Sha256);
        let (exchange, _) = password().begin(scram, Channel::Private).unwrap();

        assert_eq!(exchange.succeed(None), Err(Error::Unproven));
    }

    #[test]
    fn neither_password_nor_message_prints() {
        let printed = format!("{:?} {:?}", password(), ticket());

        assert!(!printed.contains("pencil") && !printed.contains("vt1"), "{printed}");
    }
}
