//! A WebSocket session from the 101 on: the visitor is signed in upstream and the browser here, then the relay begins.

mod established;
mod hall;
pub mod standing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::browser::Browser;
use crate::browser::Place;
use crate::protocol::jid::Domain;
use crate::protocol::login::Goal;
use crate::protocol::welcome::Resumable;
use crate::protocol::welcome::Who;
use crate::protocol::xml::check::Limits;
use crate::session::Subject;
use crate::session::end::End;
use crate::session::relay::managed::Keep;
use crate::session::roll::Stay;
use crate::session::websocket::established::Kept;
use crate::session::websocket::established::established;
use crate::session::websocket::hall::Behind;
use crate::session::websocket::hall::Hall;
use crate::session::websocket::hall::again::Entered;
use crate::session::websocket::standing::Witness;
use crate::upstream::gate::Gate;
use crate::upstream::login::Target;

/// `[websocket]` of proxy.toml.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A browser that has not said a word between two beats of this clock is pinged, and taken for gone if the next beat
    /// finds it silent still: so a silence of once to twice this is broken, and one of three times this ends the session.
    #[serde(with = "humantime_serde")]
    pub ping: Duration,
    /// How long the browser may take to open its stream behind the 101, once more for its login, from the features to those
    /// behind SASL, and once more to bind or resume; what it waits for the server in between does not count.
    #[serde(with = "humantime_serde")]
    pub login: Duration,
    /// Whether `<open/>` and the features are sent before the browser asks for them, which spares two round trips at each page
    /// load. It departs from RFC 7395 §3.4, by which the browser speaks first.
    pub early: bool,
    /// How long a browser may take to answer a ping when its stream is asked for over another socket: one that answers has
    /// duplicated a tab, and keeps its stream; from one that does not it is taken.
    #[serde(with = "humantime_serde")]
    pub duplicate: Duration,
    /// How often it is looked whether the site still knows a member by the cookie his socket came with: at the first beat of
    /// `ping` behind this.
    #[serde(with = "humantime_serde")]
    pub recheck: Duration,
    /// How long the stream of a member is kept whom the site no longer knows by the cookie he came with: with another one, he
    /// comes back to it with nothing lost. Without XEP-0198 on the stream it is not kept.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// How long the stream of a browser that went without a word is kept here, for the same browser to come back to, where the
    /// server could not let it go on (XEP-0198): guests who sign in by ANONYMOUS, and servers that do not have it. 0 for not
    /// at all.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// How much is kept for such a browser that it has not acknowledged. A stream with more ends when its browser goes, and what
    /// was kept goes back to its senders; it waits again once the browser has acknowledged everything.
    pub kept: ByteSize,
    /// Whether messages may be compressed (permessage-deflate, RFC 7692).
    pub deflate: bool,
    /// The largest stanza that is taken from a browser; a larger one ends the connection with close code 1009.
    pub stanza: ByteSize,
}

impl Settings {
    fn keep(&self) -> Keep {
        let bytes = u32::try_from(self.kept.as_u64()).unwrap_or(u32::MAX);
        Keep { time: self.keep, bytes }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(25),
            login: Duration::from_secs(30),
            early: false,
            duplicate: Duration::from_secs(2),
            recheck: Duration::from_secs(300),
            grace: Duration::from_secs(30),
            keep: Duration::from_secs(75),
            kept: ByteSize::kib(256),
            deflate: false,
            stanza: ByteSize::kib(256),
        }
    }
}

/// A browser whose upgrade has been answered.
#[derive(Debug)]
pub struct Arrival {
    /// Its connection.
    pub browser: Browser,
    /// What was read from it behind the upgrade request.
    pub read_ahead: Bytes,
    /// Whether the upgrade agreed on compression (RFC 7692).
    pub deflates: bool,
    /// Its place among the connections that are allowed, held to the end.
    pub place: Option<Place>,
    /// What its elements may be made of.
    pub limits: Limits,
    /// What has become of its visitor.
    pub entry: Entry,
    /// What the log says of the session.
    pub subject: Subject,
    /// The visitor's place among those who are here.
    pub stay: Stay,
    /// Who can say later whether the visitor is still who he was.
    pub witness: Option<Box<dyn Witness>>,
}

/// What is known of the visitor at the 101.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every visitor is known, and lives in it for the sign-in alone"
)]
pub enum Entry {
    /// To be signed in upstream.
    Known {
        /// Where, and as whom.
        target: Target,
        /// How long it may be tried.
        until: Instant,
        /// Whom the browser signs in as.
        who: Who,
        /// Whether the server's XEP-0198 is of use to the browser.
        resumable: Resumable,
    },
    /// The site lets no guests in: told in SASL, because on any other status than 101 Converse knocks for ever.
    Denied {
        /// The domain of the site's members.
        domain: Domain,
    },
    /// The site does not answer: told as `system-shutdown`, on which browsers come back.
    Unavailable {
        /// The domain that the stream claims to be of.
        domain: Domain,
    },
}

/// Runs a session to its end.
///
/// The relay is spawned on `tasks` as a future of its own, so that an idle session is not as large as its login.
pub async fn run(
    arrival: Arrival,
    gate: &Gate,
    settings: &Arc<Settings>,
    (tasks, shutdown): (&TaskTracker, &CancellationToken),
) {
    let Arrival { browser, read_ahead, deflates, place, limits, entry, subject, stay, witness } =
        arrival;
    let _watch = stay.metrics().watch();
    let transport = browser.transport();
    let counted = stay.metrics().session(stay.kind(), transport);
    let mut hall = Hall::new(browser, (read_ahead.to_vec(), deflates), limits, settings);
    let login = async {
        tokio::select! {
            biased;
            // First, or a kept stream that is just handed over would be lost.
            entered = enter(&mut hall, &entry, gate, (&stay, settings.keep())) => entered,
            () = shutdown.cancelled() => Err(End::ShutDown),
            () = stay.revoked() => Err(End::Revoked),
        }
    };
    match login.await {
        Ok(entered) => {
            let relay = hall.into_relay(entered);
            let settings = Arc::clone(settings);
            let known = Instant::now();
            let kept =
                Kept { subject, stay, witness, known, settings, _place: place, _counted: counted };
            tasks.spawn(established(relay, Box::new(kept), shutdown.clone()));
        }
        Err(end) => {
            hall.end(&end, entry.domain()).await;
            if let Some(bound) = end.bound() {
                stay.metrics().reached(bound);
            }
            subject.report(transport.label(), &end);
        }
    }
}

/// Signs the visitor in on both sides, up to its first word on the stream.
async fn enter(
    hall: &mut Hall,
    entry: &Entry,
    gate: &Gate,
    (stay, keep): (&Stay, Keep),
) -> Result<Entered, End> {
    let behind = hall.welcome(entry, gate, (stay, !keep.time.is_zero())).await?;
    // Nobody else is let in.
    let Entry::Known { target, .. } = entry else { return Err(End::Unavailable) };
    let hold = gate.settings().hold;
    let anew = gate.sign_in(target, &Goal::Features, hold);
    match behind {
        Behind::Server(mut stream) => {
            hall.cross(&mut stream, anew, (stay, hold)).await?;
            Ok(Entered::Anew(stream))
        }
        Behind::Edge(stream) => hall.enter(stream, anew, (stay, keep)).await,
    }
}

impl Entry {
    fn domain(&self) -> &Domain {
        match self {
            Self::Known { target, .. } => &target.domain,
            Self::Denied { domain } | Self::Unavailable { domain } => domain,
        }
    }
}

/// How long the last words may take to go out.
const FAREWELL: Duration = Duration::from_secs(5);
