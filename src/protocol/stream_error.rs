//! The stream errors that the edge itself ends a stream with (RFC 6120 §4.9.3).

use std::fmt;

use crate::protocol::namespace;
use crate::protocol::xml::check;
use crate::protocol::xml::element::Element;

/// Why a stream ends, as the browser is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The XML is of a kind that a server would refuse too.
    Xml(check::Error),
    /// Something else than `<open/>`, or another version of it, where a stream begins.
    BadFormat,
    /// A stanza before the login is over.
    NotAuthorized,
    /// A bound or a rule of the edge.
    PolicyViolation,
    /// The login took too long, or the browser is gone.
    ConnectionTimeout,
    /// The server behind is gone, or the edge is going; on this condition browsers come back by themselves.
    SystemShutdown,
    /// An element that has no place in an established stream.
    UnsupportedStanzaType,
    /// The browser speaks an XMPP that is older than the one there is.
    UnsupportedVersion,
    /// The browser says that more stanzas have arrived than it was sent, or fewer than before (XEP-0198 §6).
    CountTooHigh {
        /// How many it says.
        h: u32,
        /// How many it was sent.
        sent: u32,
    },
}

impl StreamError {
    /// The name of the condition's element.
    #[must_use]
    pub fn condition(self) -> &'static str {
        match self {
            Self::Xml(error) => error.condition(),
            Self::BadFormat => "bad-format",
            Self::NotAuthorized => "not-authorized",
            Self::PolicyViolation => "policy-violation",
            Self::ConnectionTimeout => "connection-timeout",
            Self::SystemShutdown => "system-shutdown",
            Self::UnsupportedStanzaType => "unsupported-stanza-type",
            Self::UnsupportedVersion => "unsupported-version",
            Self::CountTooHigh { .. } => "undefined-condition",
        }
    }

    /// The error as an element that stands alone, its prefix declared.
    #[must_use]
    pub fn to_xml(self) -> String {
        let more = if let Self::CountTooHigh { h, sent } = self {
            format!(
                "<handled-count-too-high xmlns=\"{}\" h=\"{h}\" send-count=\"{sent}\"/>",
                namespace::STREAM_MANAGEMENT
            )
        } else {
            String::new()
        };
        format!(
            "<stream:error xmlns:stream=\"{}\"><{} xmlns=\"{}\"/>{more}</stream:error>",
            namespace::STREAM,
            self.condition(),
            namespace::STREAM_ERROR,
        )
    }
}

/// What a stream error of the server (RFC 6120 §4.9.3) means to a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It speaks of this browser: it is told as it is.
    OfBrowser,
    /// It speaks of the server, or of us: to the browser it is an outage.
    Outage,
}

/// Sorts an error of the server.
///
/// On `host-unknown`, `remote-connection-failed` and `not-well-formed` Converse.js gives up for good, though the browser
/// has no part in them; a condition that is not known here is rather one too few that it sees.
#[must_use]
pub fn meaning(error: &Element) -> Meaning {
    let of_browser = error.children().any(|condition| OF_BROWSER.contains(&condition.name()));
    if of_browser { Meaning::OfBrowser } else { Meaning::Outage }
}

const OF_BROWSER: [&str; 8] = [
    "conflict",
    "invalid-from",
    "not-authorized",
    "policy-violation",
    "resource-constraint",
    "restricted-xml",
    "undefined-condition",
    "unsupported-stanza-type",
];

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(condition: &str) -> Meaning {
        let error = format!(
            "<error xmlns='http://etherx.jabber.org/streams'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></error>"
        );
        meaning(&Element::parse(error.as_bytes()).unwrap())
    }

    #[test]
    fn errors_on_which_clients_give_up_for_good_are_an_outage_to_them() {
        for condition in
            ["host-unknown", "host-gone", "remote-connection-failed", "not-well-formed"]
        {
            assert_eq!(means(condition), Meaning::Outage, "{condition}");
        }
    }

    #[test]
    fn error_about_the_browser_is_told_and_one_that_nobody_knows_is_an_outage() {
        assert_eq!(means("conflict"), Meaning::OfBrowser);
        assert_eq!(means("policy-violation"), Meaning::OfBrowser);
        assert_eq!(means("of-another-century"), Meaning::Outage);
    }
}
