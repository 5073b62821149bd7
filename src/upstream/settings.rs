//! `[upstream]` of proxy.toml.

use std::num::NonZeroUsize;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// How the XMPP servers are dealt with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long one connection to the server may take to be made.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// How long one sign-in may take on a connection that is made.
    #[serde(with = "humantime_serde")]
    pub sign_in: Duration,
    /// How long a browser is held while the server cannot be reached or refuses our pass; sign-ins are tried again meanwhile.
    /// (`/prebind` has its own, longer.)
    #[serde(with = "humantime_serde")]
    pub hold: Duration,
    /// Sign-ins under way at once at one server, a quarter of them for members alone; more wait for their turn, within
    /// their hold.
    pub sign_ins: NonZeroUsize,
    /// Browsers that are held for a sign-in at one server, those under way included and a quarter for members alone; more
    /// are told at once to come back.
    pub waiting: NonZeroUsize,
    /// The largest stanza that is taken from a server; a larger one ends the stream.
    pub stanza: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            sign_in: Duration::from_secs(10),
            hold: Duration::from_secs(10),
            sign_ins: SIGN_INS,
            waiting: WAITING,
            stanza: ByteSize::mib(4),
        }
    }
}

const SIGN_INS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
const WAITING: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2047);
