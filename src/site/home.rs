//! Where visitors are at home: an XMPP domain, its server, and what that is shown for them.

use std::sync::Arc;

use crate::file::Read;
use crate::protocol::jid::Domain;
use crate::secret::Secret;
use crate::site::Error;
use crate::site::Fault;
use crate::site::settings;
use crate::site::settings::Pass;
use crate::site::upstream::Upstream;

/// An XMPP domain, and how a visitor is signed in to it.
#[derive(Debug, Clone)]
pub struct XmppDomain {
    /// What follows the `@`.
    pub domain: Domain,
    /// The server that serves it.
    pub upstream: Arc<Upstream>,
    /// What the server is shown in place of a password.
    pub pass: Proof,
}

/// What a server is shown in place of a visitor's password, with what that takes.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A one-time ticket, signed with what the server's module knows too.
    Ticket(Secret),
    /// A token, signed with what the server knows too.
    Jwt(Secret),
    /// SASL ANONYMOUS: the server makes a name up.
    Anonymous,
}

impl XmppDomain {
    /// Nothing where there is none, or a fault.
    pub(super) fn new(
        (settings, read): (Option<settings::XmppDomain>, Read),
        keys: &Keys,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let settings = settings?;
        let upstream = Upstream::new(&settings, read).map_err(|error| {
            let key =
                if matches!(error, Error::InTheClear(_)) { keys.upstream } else { keys.authority };
            faults.push((key, error));
        });
        let pass = match (settings.pass, settings.secret) {
            (Pass::Ticket, Some(secret)) => Proof::Ticket(secret),
            (Pass::Jwt, Some(secret)) => Proof::Jwt(secret),
            (Pass::Ticket | Pass::Jwt, None) => return None,
            (Pass::Anonymous, _) => Proof::Anonymous,
        };
        Some(Self { domain: settings.domain.0, upstream: Arc::new(upstream.ok()?), pass })
    }
}

/// What is told of the server of one home, by key.
pub(super) struct Keys {
    upstream: &'static str,
    authority: &'static str,
}

pub(super) const REGISTERED: Keys =
    Keys { upstream: "registered.upstream", authority: "registered.authority" };
pub(super) const GUESTS: Keys = Keys { upstream: "guests.upstream", authority: "guests.authority" };
