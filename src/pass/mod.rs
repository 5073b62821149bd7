//! What an XMPP server is shown in place of a visitor's password; one file per way.

pub mod anonymous;
pub mod ticket;

use std::sync::Arc;
use std::time::SystemTime;

use crate::pass::ticket::Mint;
use crate::protocol::jid::Domain;
use crate::protocol::jid::Localpart;
use crate::secret::Secret;

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
    /// The server makes a name up.
    Anonymous,
}

/// What `<auth/>` says (RFC 6120 §6.4.2).
#[derive(Debug, Clone)]
pub struct InitialResponse {
    /// The name of the SASL mechanism.
    pub mechanism: &'static str,
    /// The content of the element before base64; `None` where it stays empty.
    pub payload: Option<Secret>,
}

impl Pass {
    /// Makes what is shown to the server, at the moment when it is written.
    ///
    /// `now` is this machine's clock; the server's may differ by a few seconds (`vestibule_clock_skew`). `nonce` is
    /// random, and a new one for each call.
    #[must_use]
    pub fn initial_response(&self, now: SystemTime, nonce: [u8; 16]) -> InitialResponse {
        match self {
            Self::Ticket { mint, localpart, domain } => {
                let ticket = mint.mint(localpart.as_str(), domain.as_str(), now, nonce);
                ticket::initial_response(localpart, &ticket)
            }
            Self::Anonymous => anonymous::initial_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ticket_pass() -> Pass {
        Pass::Ticket {
            mint: Arc::new(Mint::new(&Secret::new("secret"), Duration::from_secs(10))),
            localpart: Localpart::parse("bob").unwrap(),
            domain: Domain::parse("xmpp.example.org").unwrap(),
        }
    }

    #[test]
    fn ticket_is_shown_as_the_password_of_plain() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);

        let shown = ticket_pass().initial_response(now, [1; 16]);

        assert_eq!(shown.mechanism, "PLAIN");
        let payload = shown.payload.unwrap();
        let text = str::from_utf8(payload.expose()).unwrap();
        assert!(text.starts_with("\0bob\0vt1.1700000000000.1700000010000."), "{text}");
    }

    #[test]
    fn ticket_is_new_each_time() {
        let pass = ticket_pass();
        let now = SystemTime::UNIX_EPOCH;

        let first = pass.initial_response(now, [1; 16]).payload.unwrap();
        let second = pass.initial_response(now, [2; 16]).payload.unwrap();

        assert!(!first.matches(second.expose()));
    }

    #[test]
    fn anonymous_shows_nothing() {
        let shown = Pass::Anonymous.initial_response(SystemTime::UNIX_EPOCH, [0; 16]);

        assert_eq!(shown.mechanism, "ANONYMOUS");
        assert!(shown.payload.is_none());
    }

    #[test]
    fn neither_secret_nor_ticket_prints() {
        let pass = ticket_pass();
        let shown = pass.initial_response(SystemTime::UNIX_EPOCH, [0; 16]);

        let printed = format!("{pass:?} {shown:?}");

        assert!(!printed.contains("secret\"") && !printed.contains("vt1"), "{printed}");
    }
}
