//! Why a server did not let us in.

use thiserror::Error;

use crate::protocol::sasl;
use crate::protocol::xml::check;
use crate::protocol::xml::splitter;

/// Why the server did not let us in.
#[derive(Debug, Error)]
pub enum Error {
    /// The pass is refused: a clock, a secret, an account.
    #[error("the server refuses the sign-in: {condition}")]
    Refused {
        /// The SASL condition (RFC 6120 §6.5).
        condition: String,
    },
    /// The resource cannot be bound.
    #[error("the server refuses to bind: {condition}")]
    NotBound {
        /// The stanza error (RFC 6120 §7.6.2).
        condition: String,
    },
    /// The server ends the stream.
    #[error("the server ends the stream: {condition}")]
    StreamError {
        /// The condition (RFC 6120 §4.9.3).
        condition: String,
    },
    /// The server closes without a word.
    #[error("the server closes the stream during the sign-in")]
    Closed,
    /// The server closes without a word where it was to resume a stream, which it does not keep then (Prosody 0.12).
    #[error("the server closes the stream instead of resuming it")]
    NotResumed,
    /// The server says something that has no place here.
    #[error("the server sends <{name}/> where {expected} is due")]
    Unexpected {
        /// The name of the element.
        name: String,
        /// What should have come.
        expected: &'static str,
    },
    /// There is no exchange with this server, or it is not what it claims to be.
    #[error(transparent)]
    Sasl(#[from] sasl::Error),
    /// What the server says in SASL is no base64.
    #[error("the server's SASL message is not base64")]
    Encoding,
    /// The server has no TLS, or somebody on the way hides it.
    #[error("the server does not offer STARTTLS")]
    NoTls,
    /// The server cannot begin TLS just now (RFC 6120 §5.4.2.2).
    #[error("the server refuses to begin TLS")]
    TlsRefused,
    /// Something follows `<proceed/>` that TLS does not protect (RFC 6120 §5.4.3.3).
    #[error("something was sent in the clear where TLS was to begin")]
    Injected,
    /// The server's stream cannot be cut.
    #[error(transparent)]
    Stream(#[from] splitter::Error),
    /// The server's XML is none.
    #[error("the server's XML cannot be read")]
    Xml(#[from] check::Error),
}
