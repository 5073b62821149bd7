//! We are the server: the browser's own login, answered from what the edge knows of the visitor.

use std::num::NonZeroU8;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::protocol::jid::Domain;
use crate::protocol::jid::Jid;
use crate::protocol::namespace;
use crate::protocol::stream_error::StreamError;
use crate::protocol::xml::element::Element;

/// The login of one browser, up to its `<success/>`.
#[derive(Debug)]
pub struct Welcome {
    who: Who,
    /// Failures that are still borne.
    patience: u8,
    named: Named,
}

/// Whether the browser knows its own name when it signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// It gave a JID with a localpart.
    Itself,
    /// It gave a domain or nothing: a page that does not know its visitor.
    Not,
}

/// Whom the edge takes the browser for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A member.
    Member {
        /// The bare JID.
        own: Jid,
        /// Where he would be a guest, if anywhere.
        guests: Option<Domain>,
    },
    /// A guest of this domain.
    Guest(Domain),
    /// Somebody who may not enter.
    Nobody,
}

/// What the browser is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `<success/>`: the browser restarts the stream next (RFC 6120 §6.4.6).
    Success,
    /// `<failure/>`: it may try again.
    Failure(Failure),
    /// It may not: the stream ends.
    End(StreamError),
}

/// Why SASL failed (RFC 6120 §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The browser gave up.
    Aborted,
    /// The initial response is not base64, or no JID.
    IncorrectEncoding,
    /// The browser wants to be somebody else.
    InvalidAuthzid,
    /// A mechanism that was not offered.
    InvalidMechanism,
    /// The visitor may not enter.
    NotAuthorized,
}

impl Welcome {
    /// The login of a browser that is taken for `who`, and may fail so often before its stream ends.
    #[must_use]
    pub fn new(who: Who, failures: NonZeroU8) -> Self {
        Self { who, patience: failures.get(), named: Named::Not }
    }

    /// The mechanisms on offer.
    ///
    /// A member is offered EXTERNAL alone: with PLAIN beside it, Converse sends the password `undefined`. A guest is offered
    /// EXTERNAL and ANONYMOUS, the one pair that works whatever the page says.
    #[must_use]
    pub fn features(&self) -> Vec<u8> {
        let mechanisms: &[&str] = match self.who {
            Who::Member { .. } | Who::Nobody => &["EXTERNAL"],
            Who::Guest(_) => &["EXTERNAL", "ANONYMOUS"],
        };
        let mut offer = Element::new("mechanisms", namespace::SASL);
        for mechanism in mechanisms {
            offer =
                offer.with_child(Element::new("mechanism", namespace::SASL).with_text(mechanism));
        }
        write_features([&offer])
    }

    /// Answers what the browser says before it is signed in.
    pub fn receive(&mut self, element: &Element) -> Reply {
        let failure = match (element.namespace(), element.name()) {
            (Some(namespace::SASL), "auth") => match self.auth(element) {
                Ok(()) => return Reply::Success,
                Err(failure) => failure,
            },
            (Some(namespace::SASL), "abort") => Failure::Aborted,
            _ => return Reply::End(StreamError::NotAuthorized),
        };
        match self.patience.checked_sub(1) {
            Some(left) => {
                self.patience = left;
                Reply::Failure(failure)
            }
            None => Reply::End(StreamError::PolicyViolation),
        }
    }

    /// Whether the browser knew its own name.
    #[must_use]
    pub fn named(&self) -> Named {
        self.named
    }

    fn auth(&mut self, auth: &Element) -> Result<(), Failure> {
        let mechanism = auth.attribute("mechanism").unwrap_or_default();
        match (&self.who, mechanism) {
            (Who::Nobody, _) => Err(Failure::NotAuthorized),
            (Who::Guest(_), "ANONYMOUS") => Ok(()),
            (Who::Member { .. } | Who::Guest(_), "EXTERNAL") => {
                let authzid = authzid(&auth.text())?;
                self.allow(authzid.as_ref())?;
                let is_named = authzid.is_some_and(|authzid| authzid.local().is_some());
                self.named = if is_named { Named::Itself } else { Named::Not };
                Ok(())
            }
            (Who::Member { .. } | Who::Guest(_), _) => Err(Failure::InvalidMechanism),
        }
    }

    /// Compares whom the browser wants to be with whom the edge knows it to be; it is never forwarded.
    fn allow(&self, authzid: Option<&Jid>) -> Result<(), Failure> {
        let Some(authzid) = authzid else { return Ok(()) };
        let allowed = match &self.who {
            Who::Member { own, guests } => {
                // A guest's page that is still open after its visitor has signed in at the site.
                let was_guest =
                    guests.as_ref().is_some_and(|guests| authzid.domain() == guests.as_str());
                let is_domain = authzid.local().is_none() && authzid.domain() == own.domain();
                authzid == own || is_domain || was_guest
            }
            // The page may name any domain: it does not know yet that its visitor is a guest, nor by what name.
            Who::Guest(domain) => authzid.local().is_none() || authzid.domain() == domain.as_str(),
            Who::Nobody => false,
        };
        if allowed && authzid.resource().is_none() { Ok(()) } else { Err(Failure::InvalidAuthzid) }
    }
}

impl Failure {
    /// The element of the condition, in its `<failure/>`.
    #[must_use]
    pub fn to_xml(self) -> String {
        let condition = match self {
            Self::Aborted => "aborted",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::NotAuthorized => "not-authorized",
        };
        format!("<failure xmlns=\"{}\"><{condition}/></failure>", namespace::SASL)
    }
}

/// `<success/>` (RFC 6120 §6.4.6).
#[must_use]
pub fn success() -> String {
    format!("<success xmlns=\"{}\"/>", namespace::SASL)
}

/// Whether the visitor can come back to an upstream stream by XEP-0198.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumable {
    /// It binds him to the same name again.
    Yes,
    /// A new login is a new name.
    No,
}

/// Who manages a browser's stream (XEP-0198).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The server, whose `<sm/>` is shown.
    Server,
    /// The edge in its place, with an `<sm/>` of its own.
    Edge,
    /// None is shown.
    Nobody,
}

impl Manager {
    /// Who manages the stream of a browser that knew its name or not, behind these features of the server: the server where the
    /// visitor can come back to it, else the edge where it `keeps` streams.
    ///
    /// Converse 14 keeps the state of XEP-0198 by the JID of its page, but under the bound JID once it has `<enabled/>`.
    /// After a reload a page that names a domain alone finds the half it kept first, binds anew, and speaks XEP-0198
    /// without `<enable/>`, for which servers end the stream. Without `<sm/>` it signs in anew and all is well.
    #[must_use]
    pub fn of(upstream: &Element, (resumable, named): (Resumable, Named), keeps: bool) -> Self {
        let offers = upstream.child("sm", namespace::STREAM_MANAGEMENT).is_some();
        match (named, resumable) {
            (Named::Itself, Resumable::Yes) if offers => Self::Server,
            (Named::Itself, _) if keeps => Self::Edge,
            (Named::Itself | Named::Not, _) => Self::Nobody,
        }
    }
}

/// The features behind the login: the server's, rebuilt from what a browser may use.
///
/// Never `<session/>` (a round trip for nothing), `<starttls/>` or `<mechanisms/>`.
#[must_use]
pub fn established_features(upstream: &Element, manager: Manager) -> Vec<u8> {
    let own = (manager == Manager::Edge).then(|| Element::new("sm", namespace::STREAM_MANAGEMENT));
    let allowed = upstream.children().filter(|feature| match feature.namespace() {
        Some(namespace::STREAM_MANAGEMENT) => manager == Manager::Server,
        Some(namespace) => ALLOWED_FEATURES.contains(&namespace),
        None => false,
    });
    write_features(allowed.chain(&own))
}

fn write_features<'a>(features: impl IntoIterator<Item = &'a Element>) -> Vec<u8> {
    let mut out = format!("<stream:features xmlns:stream=\"{}\">", namespace::STREAM).into_bytes();
    for feature in features {
        feature.write(&mut out);
    }
    out.extend_from_slice(b"</stream:features>");
    out
}

/// The authorization identity of EXTERNAL (RFC 4422 appendix A); none where it is empty.
fn authzid(text: &str) -> Result<Option<Jid>, Failure> {
    // An empty response is `=` (RFC 6120 §6.4.2).
    if matches!(text, "" | "=") {
        return Ok(None);
    }
    let decoded = BASE64_STANDARD.decode(text).map_err(|_| Failure::IncorrectEncoding)?;
    let decoded = String::from_utf8(decoded).map_err(|_| Failure::IncorrectEncoding)?;
    if decoded.is_empty() {
        return Ok(None);
    }
    Jid::parse(&decoded).map(Some).map_err(|_| Failure::InvalidAuthzid)
}

/// What a browser may see of the server's features: bind, entity capabilities, roster versions, pre-approval, client
/// state, and the limits of the stream.
const ALLOWED_FEATURES: &[&str] = &[
    namespace::BIND,
    "http://jabber.org/protocol/caps",
    "urn:xmpp:features:rosterver",
    "urn:xmpp:features:pre-approval",
    "urn:xmpp:csi:0",
    "urn:xmpp:stream-limits:0",
];

#[cfg(test)]
mod tests;
