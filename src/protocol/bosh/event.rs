//! What happens to a session, and what it does about it.

use std::num::NonZeroU64;

use bytes::Bytes;

use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::end::End;
use crate::protocol::xml::splitter::Cut;

/// The name the shell gives a request: another one for each, repetitions included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// A connection of the browser's own, by a number that no other connection bears. What comes over it behind an answer cannot
/// be answered before that was read.
// One number, because a session keeps three of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection(NonZeroU64);

impl Connection {
    /// One that has one request at a time (HTTP/1.1); the browser has others beside it.
    #[must_use]
    pub fn single(number: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(number.saturating_mul(2)))
    }

    /// One that the browser's requests share, all those of its tabs (HTTP/2). While one of them waits there, nobody has noticed
    /// that the connection is broken: neither we nor the browser, which would repeat itself over another.
    #[must_use]
    pub fn shared(number: u64) -> Self {
        Self(Self::single(number).0.saturating_add(1))
    }

    /// Whether the browser has all its requests here.
    #[must_use]
    pub fn is_shared(self) -> bool {
        self.0.get().is_multiple_of(2)
    }
}

/// Something happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The browser sent a request, which is answered by [`Action::Answer`] under this name.
    Request(RequestId, Body),
    /// The connection of a request closed, before its answer or instead of taking it.
    Dropped(RequestId),
    /// Upstream sent a stanza. All stanzas that are there at once come before the next action is asked for:
    /// they go into one body.
    Stanza(Cut<'a>),
    /// The browser's login goes on: bytes for it.
    Welcome(&'a [u8]),
    /// The browser's login has succeeded: what it sends from now on goes upstream. Bytes for it, too.
    SignedIn(&'a [u8]),
    /// Of these elements of the browser nobody knows whether upstream has got them, and the session is about to end.
    Lost(&'a [u8]),
    /// The session is to end, for a reason that lies outside.
    End(End),
    /// The time of [`Session::deadline`](crate::protocol::bosh::session::Session::deadline) has come.
    Deadline,
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Answer a request with status 200 and this body.
    Answer(RequestId, Bytes),
    /// Answer a request with the status of HTTP that is for this condition
    /// ([`Condition::status`](crate::protocol::bosh::condition::Condition::status)): it is of a legacy browser.
    Refuse(RequestId, Condition),
    /// Write whole elements upstream, with so many stanzas.
    Send(Vec<u8>, usize),
    /// One element of the browser's login, to be answered by [`Event::Welcome`] or [`Event::SignedIn`] before
    /// the next action is asked for.
    Login(Vec<u8>),
    /// The browser began its stream anew: the features after the login are wanted, by [`Event::Welcome`].
    Restart,
    /// The session is over: close upstream. Nothing comes after this.
    Over(End),
}

/// What the first answer of a session says beside its terms.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The session's name, not to be guessed.
    pub sid: &'a str,
    /// The XMPP domain of the visitor.
    pub domain: &'a str,
    /// The `<stream:features/>` of the login.
    pub features: &'a [u8],
}
