//! What an XMPP server is shown in place of a visitor's password; one file per way.

pub mod jwt;
pub mod ticket;

use std::sync::Arc;
use std::time::SystemTime;

use crate::pass::jwt::Signer;
use crate::pass::ticket::Mint;
use crate::protocol::jid::Domain;
use crate::protocol::jid::Localpart;
use crate::protocol::sasl::Credentials;
use crate::secret::Secret;
use crate::site::Proof;
use crate::site::XmppDomain;

/// How one visitor will be signed in: a recipe, because what it makes is good for seconds.
#[derive(Debug, Clone)]
pub enum Pass {
    /// A one-time ticket for this user, made by this mint.
    Ticket {
        /// Signs with what the domain's server knows too.
        mint: Arc<Mint>,
        /// Who the visitor is.
        localpart: Localpart,
        /// Where the visitor is at home.
        domain: Domain,
    },
    /// A token for this user, made by this signer.
    Jwt {
        /// Signs with what the domain's server knows too.
        signer: Arc<Signer>,
        /// Who the visitor is.
        localpart: Localpart,
        /// Where the visitor is at home.
        domain: Domain,
    },
    /// The server makes a name up.
    Anonymous,
}

impl Pass {
    /// The pass of a visitor at one of a site's domains, where `localpart` is the visitor's name.
    ///
    /// The name is not used where the server makes one up.
    #[must_use]
    pub fn new(xmpp: &XmppDomain, localpart: Localpart, settings: &ticket::Settings) -> Self {
        match &xmpp.pass {
            Proof::Ticket(secret) => {
                let mint = Arc::new(Mint::new(secret, settings.lifetime));
                Self::Ticket { mint, localpart, domain: xmpp.domain.clone() }
            }
            Proof::Jwt(secret) => {
                let signer = Arc::new(Signer::new(secret, settings.lifetime));
                Self::Jwt { signer, localpart, domain: xmpp.domain.clone() }
            }
            Proof::Anonymous => Self::Anonymous,
        }
    }

    /// Makes what is shown to the server, at the moment when it is written.
    ///
    /// `now` is this machine's clock; the server's may differ by a few seconds (`vestibule_clock_skew`). `nonce` is
    /// random, and a new one for each call.
    #[must_use]
    pub fn credentials(&self, now: SystemTime, nonce: [u8; 16]) -> Credentials {
        match self {
            Self::Ticket { mint, localpart, domain } => {
                let ticket = mint.mint(localpart.as_str(), domain.as_str(), now, nonce);
                Credentials::Plain { username: localpart.clone(), password: Secret::new(ticket) }
            }
            Self::Jwt { signer, localpart, domain } => {
                let token = signer.sign(localpart.as_str(), domain.as_str(), now, nonce);
                Credentials::Plain { username: localpart.clone(), password: Secret::new(token) }
            }
            Self::Anonymous => Credentials::Anonymous,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::site::upstream::Upstream;

    fn pass(proof: Proof) -> Pass {
        let xmpp = XmppDomain {
            domain: Domain::parse("xmpp.example.org").unwrap(),
            upstream: Arc::new(Upstream::local("127.0.0.1:5222")),
            pass: proof,
        };
        Pass::new(&xmpp, Localpart::parse("bob").unwrap(), &ticket::Settings::default())
    }

    fn ticket_pass() -> Pass {
        pass(Proof::Ticket(Secret::new("secret")))
    }

    #[test]
    fn ticket_is_shown_as_the_password_of_plain() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);

        let credentials = ticket_pass().credentials(now, [1; 16]);

        let Credentials::Plain { username, password } = credentials else {
            panic!("{credentials:?}")
        };
        assert_eq!(username.as_str(), "bob");
        let text = str::from_utf8(password.expose()).unwrap();
        assert!(text.starts_with("vt1.1700000000000.1700000010000."), "{text}");
    }

    #[test]
    fn ticket_is_new_each_time() {
        let pass = ticket_pass();
        let shown = |nonce| {
            let credentials = pass.credentials(SystemTime::UNIX_EPOCH, nonce);
            let Credentials::Plain { password, .. } = credentials else { panic!("no PLAIN") };
            password
        };

        assert!(!shown([1; 16]).matches(shown([2; 16]).expose()));
        // The test can tell.
        assert!(shown([1; 16]).matches(shown([1; 16]).expose()));
    }

    #[test]
    fn token_is_shown_as_the_password_of_plain() {
        let pass = pass(Proof::Jwt(Secret::new("secret")));

        let credentials = pass.credentials(SystemTime::UNIX_EPOCH, [1; 16]);

        let Credentials::Plain { username, password } = credentials else {
            panic!("{credentials:?}")
        };
        assert_eq!(username.as_str(), "bob");
        assert_eq!(password.expose().split(|byte| *byte == b'.').count(), 3);
        assert!(!format!("{pass:?}").contains("secret\""));
    }

    #[test]
    fn anonymous_shows_nothing() {
        let credentials = pass(Proof::Anonymous).credentials(SystemTime::UNIX_EPOCH, [0; 16]);

        assert!(matches!(credentials, Credentials::Anonymous), "{credentials:?}");
    }

    #[test]
    fn neither_secret_nor_ticket_prints() {
        let pass = ticket_pass();
        let shown = pass.credentials(SystemTime::UNIX_EPOCH, [0; 16]);

        let printed = format!("{pass:?} {shown:?}");

        assert!(!printed.contains("secret\"") && !printed.contains("vt1"), "{printed}");
    }
}
