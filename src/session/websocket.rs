//! A WebSocket session from the 101 on: the browser's login is answered here, then the relay begins.

mod aside;
mod hall;

use std::future::Future;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use serde::Deserialize;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::browser::Browser;
use crate::browser::Place;
use crate::metrics::Metrics;
use crate::metrics::Present;
use crate::metrics::label::Direction;
use crate::metrics::label::Transport;
use crate::protocol::jid::Domain;
use crate::protocol::stream_error::StreamError;
use crate::protocol::welcome::Resumable;
use crate::protocol::welcome::Who;
use crate::protocol::xml::check::Limits;
use crate::session::Subject;
use crate::session::end::End;
use crate::session::relay::Heard;
use crate::session::relay::Relay;
use crate::session::roll::Stay;
use crate::session::websocket::aside::Aside;
use crate::session::websocket::hall::Hall;
use crate::upstream;

/// `[websocket]` of proxy.toml.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A browser that has not said a word between two beats of this clock is pinged, and taken for gone if the next beat
    /// finds it silent still: so a silence of once to twice this is broken, and one of three times this ends the session.
    #[serde(with = "humantime_serde")]
    pub ping: Duration,
    /// How long the browser's own login may take, from the 101 to the features behind SASL.
    #[serde(with = "humantime_serde")]
    pub login: Duration,
    /// The largest stanza that is taken from a browser; a larger one ends the connection with close code 1009.
    pub stanza: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(25),
            login: Duration::from_secs(30),
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
}

/// What has become of the visitor before the 101.
#[derive(Debug)]
pub enum Entry {
    /// Signed in upstream.
    Admitted {
        /// The stream behind SASL.
        stream: Box<upstream::login::Stream>,
        /// Whom the browser signs in as.
        who: Who,
        /// The domain that the edge has chosen.
        domain: Domain,
        /// Whether the server's XEP-0198 is of use to the browser.
        resumable: Resumable,
    },
    /// The site lets no guests in: told in SASL, because on any other status than 101 Converse knocks for ever.
    Denied {
        /// The domain of the site's members.
        domain: Domain,
    },
    /// Upstream or the site does not answer: told as `system-shutdown`, on which browsers come back.
    Unavailable {
        /// The domain that the stream claims to be of.
        domain: Domain,
    },
}

/// What an established session holds to its end beside its two ends.
struct Kept {
    subject: Subject,
    stay: Stay,
    _place: Option<Place>,
    _counted: Present,
}

/// Runs a session to its end.
///
/// The relay is spawned on `tasks` as a future of its own, so that an idle session is not as large as its login.
pub async fn run(
    arrival: Arrival,
    settings: Arc<Settings>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let Arrival { browser, read_ahead, place, limits, mut entry, subject, stay } = arrival;
    let _watch = stay.metrics().watch();
    let counted = stay.metrics().session(stay.kind(), Transport::WebSocket);
    let limit = usize::try_from(settings.stanza.as_u64()).unwrap_or(usize::MAX);
    let mut hall = Hall::new(browser, read_ahead.to_vec(), limit, limits);
    let login = async {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(End::ShutDown),
            () = stay.revoked().cancelled() => Err(End::Revoked),
            login = timeout(settings.login, hall.welcome(&mut entry, stay.failed_sign_ins())) => {
                login.unwrap_or(Err(End::BadStream(StreamError::ConnectionTimeout)))
            }
        }
    };
    match (login.await, entry) {
        (Ok(()), Entry::Admitted { stream, .. }) => {
            let relay = hall.into_relay(*stream);
            let kept = Kept { subject, stay, _place: place, _counted: counted };
            tasks.spawn(established(relay, settings.ping, Box::new(kept), shutdown));
        }
        // The welcome of who is not admitted never ends well.
        (Ok(()), Entry::Denied { .. } | Entry::Unavailable { .. }) => {}
        (Err(end), entry) => {
            hall.end(&end, entry.domain()).await;
            if let Some(bound) = end.bound() {
                stay.metrics().reached(bound);
            }
            subject.report("websocket", &end);
        }
    }
}

/// The whole life of an established session; ends with either side, by silence, or with the edge.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn would hold its arguments twice, for as long as the session lives"
)]
fn established(
    mut relay: Relay,
    ping: Duration,
    kept: Box<Kept>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send {
    async move {
        let Kept { subject, stay, .. } = &*kept;
        let _watch = stay.metrics().watch();
        let end = carry(&mut relay, ping, stay, &shutdown).await;
        // In a box, because it is as large as the rest and seldom there.
        Box::pin(async { timeout(FAREWELL, relay.finish(&end)).await }).await.ok();
        tell(&mut relay, stay.metrics());
        if let Some(bound) = end.bound() {
            stay.metrics().reached(bound);
        }
        subject.report("websocket", &end);
    }
}

async fn carry(
    relay: &mut Relay,
    ping: Duration,
    stay: &Stay,
    shutdown: &CancellationToken,
) -> End {
    let mut asked = false;
    loop {
        let mut aside = Aside::new(interruption(ping, stay, shutdown));
        tokio::select! {
            biased;
            end = poll_fn(|cx| relay.poll_carry(cx)) => return end,
            interruption = &mut aside => match (interruption, relay.take_heard()) {
                (Some(end), _) => return end,
                (None, Heard::Yes) => asked = false,
                (None, Heard::No) if asked => return End::BrowserSilent,
                (None, Heard::No) => {
                    relay.ping();
                    asked = true;
                }
            },
        }
        tell(relay, stay.metrics());
    }
}

/// An end that comes from neither browser nor server, or none when the clock strikes.
async fn interruption(ping: Duration, stay: &Stay, shutdown: &CancellationToken) -> Option<End> {
    tokio::select! {
        biased;
        () = stay.revoked().cancelled() => Some(End::Revoked),
        () = shutdown.cancelled() => Some(End::ShutDown),
        () = sleep(ping) => None,
    }
}

/// Counts what was carried since this was last called.
fn tell(relay: &mut Relay, metrics: &Metrics) {
    let carried = relay.take_carried();
    metrics.carried(Transport::WebSocket, Direction::Up, carried.up);
    metrics.carried(Transport::WebSocket, Direction::Down, carried.down);
}

impl Entry {
    fn domain(&self) -> &Domain {
        match self {
            Self::Admitted { domain, .. }
            | Self::Denied { domain }
            | Self::Unavailable { domain } => domain,
        }
    }
}

/// How long the last words may take to go out.
const FAREWELL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use super::*;
    use crate::address::Addresses;
    use crate::browser::Line;
    use crate::browser::Patience;
    use crate::protocol::websocket::frame::Reader;
    use crate::protocol::xml::splitter::Splitter;
    use crate::session::relay::Ahead;
    use crate::session::roll;
    use crate::session::roll::Roll;
    use crate::upstream::stream::Socket;
    use crate::visitor::guest;

    async fn connected() -> TcpStream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn an_idle_session_is_a_task_of_less_than_768_bytes() {
        let ahead = Ahead { browser: Vec::new(), upstream: Vec::new() };
        let patience = Arc::new(Patience::new(Duration::from_secs(1), Arc::default()));
        let browser = Browser::new(Line::Tcp(connected().await), patience);
        let browser = (browser, Reader::new(1000));
        let upstream = (Socket::Tcp(connected().await), Splitter::new(1000));
        let relay = Relay::new(browser, upstream, Limits::default(), ahead);
        let address = Addresses::Full.logged(Ipv4Addr::LOCALHOST.into());
        let subject = Subject { site: String::new(), visitor: String::new(), address };
        let (guests, metrics) = (guest::Settings::default(), Arc::default());
        let roll = Arc::new(Roll::new(&roll::Settings::default(), &guests, metrics));
        let stay = roll.unknown();
        let counted = stay.metrics().session(stay.kind(), Transport::WebSocket);
        let kept = Box::new(Kept { subject, stay, _place: None, _counted: counted });

        let task = established(relay, Duration::from_secs(1), kept, CancellationToken::new());

        let bytes = size_of_val(&task);
        assert!(bytes < 768, "{bytes} bytes");
    }
}
