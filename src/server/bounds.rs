//! What connections may take before anybody is signed in: `[http]`, and the tables that hold it.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;
use tokio::task::yield_now;
use tracing::warn;

use crate::descriptors;
use crate::descriptors::Shortage;
use crate::metrics::Metrics;
use crate::metrics::bound::Bound;
use crate::share::Share;
use crate::share::Shares;
use crate::share::network;
use crate::throttle::Throttle;

/// `[http]` of proxy.toml: the bounds of connections, before anybody is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Connections of browsers at once, sessions over WebSocket included; more wait unaccepted. Fewer, where the limit of
    /// open files is not enough for two of each.
    pub connections: NonZeroUsize,
    /// Connections of one IPv4 address, or of one /64 of IPv6, at once; more are closed.
    pub connections_per_address: NonZeroUsize,
    /// TLS handshakes that are worked on at once; more wait for their turn, within `handshake`. One that waits for the browser
    /// has none.
    pub handshakes: NonZeroUsize,
    /// TLS handshakes of one address that have begun and are not over; more are closed.
    pub handshakes_per_address: NonZeroUsize,
    /// How long a TLS handshake may take, with the PROXY header before it and the wait for its turn.
    #[serde(with = "humantime_serde")]
    pub handshake: Duration,
    /// How long the header of a request may take, and how long a connection may idle before one. Over HTTP/2: before the
    /// first.
    #[serde(with = "humantime_serde")]
    pub header: Duration,
    /// Header fields of one request; more get a 431.
    pub header_fields: NonZeroUsize,
    /// The header of one request; a larger one gets a 431.
    pub header_bytes: ByteSize,
    /// How long a browser may take no byte of its answer, or send none of a body that goes to the site; less than 512 bytes
    /// a second is as good as none. In a session over WebSocket any byte will do.
    #[serde(with = "humantime_serde")]
    pub stall: Duration,
    /// Requests under way at once on one HTTP/2 connection.
    pub streams: u32,
    /// WebSockets at once on one HTTP/2 connection; more get a 429. One of `streams` is for pages in any case.
    /// With 0 none goes over HTTP/2, and browsers open a connection of HTTP/1.1 for each.
    pub websockets: u32,
    /// Requests that one HTTP/2 connection may take back before they are begun; more end it.
    pub resets: usize,
    /// How long an HTTP/2 connection may have no request under way.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// How long an HTTP/2 connection may be silent before it is pinged.
    #[serde(with = "humantime_serde")]
    pub ping: Duration,
    /// How long the answer to that ping may take.
    #[serde(with = "humantime_serde")]
    pub pong: Duration,
}

impl Settings {
    /// WebSockets at once on one HTTP/2 connection, so that there is room for a page beside them.
    #[must_use]
    pub fn tunnels(&self) -> u32 {
        self.websockets.min(self.streams.saturating_sub(1))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            handshakes: HANDSHAKES,
            handshakes_per_address: HANDSHAKES_PER_ADDRESS,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(20),
            header_fields: HEADER_FIELDS,
            header_bytes: ByteSize::kib(32),
            stall: Duration::from_secs(30),
            streams: 100,
            websockets: 50,
            resets: 20,
            idle: Duration::from_secs(30),
            ping: Duration::from_secs(20),
            pong: Duration::from_secs(10),
        }
    }
}

/// The tables of what is taken, over all listeners.
#[derive(Debug)]
pub struct Bounds {
    settings: Settings,
    metrics: Arc<Metrics>,
    room: Arc<Semaphore>,
    /// Set where open files are fewer than connections were to be.
    short: Option<(Shortage, Throttle)>,
    by_address: Arc<Shares<IpAddr>>,
    handshakes: Semaphore,
    handshakes_by_address: Arc<Shares<IpAddr>>,
    /// How many connections have a number.
    numbered: AtomicU64,
}

/// A bound on what one address may have is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has as many connections as it may.
    #[error("the address has as many connections as it may")]
    Connections,
    /// It has as many handshakes under way as it may.
    #[error("the address has as many handshakes under way as it may")]
    Handshakes,
}

/// A handshake's turn; the next may be worked on when this is dropped.
#[derive(Debug)]
#[must_use = "the next may be worked on when this is dropped"]
pub struct Turn<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl Bounds {
    /// Nothing is taken yet.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let permits = |most: NonZeroUsize| most.get().min(Semaphore::MAX_PERMITS);
        Self {
            metrics,
            room: Arc::new(Semaphore::new(permits(settings.connections))),
            short: None,
            by_address: Arc::new(Shares::new(settings.connections_per_address.get())),
            handshakes: Semaphore::new(permits(settings.handshakes)),
            handshakes_by_address: Arc::new(Shares::new(settings.handshakes_per_address.get())),
            numbered: AtomicU64::new(0),
            settings,
        }
    }

    /// The same for a process that may have so many files open: with no more connections than those let come in.
    #[must_use]
    pub fn within(self, open_files: u64) -> Self {
        let (connections, fitting) =
            (self.settings.connections.get(), descriptors::fitting(open_files).max(1));
        if fitting >= connections {
            return self;
        }
        let (needed, shortage) =
            (descriptors::needed(connections), Shortage::OfProcess(open_files));
        warn!(
            connections,
            needed,
            open_files,
            accepted = fitting,
            "`connections` of [http] is more than the open files are enough for: {shortage}"
        );
        let room = Arc::new(Semaphore::new(fitting));
        Self { room, short: Some((shortage, Throttle::default())), ..self }
    }

    /// The figures.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What reached bounds are counted in.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// A number for a connection that no other one bears.
    pub fn number(&self) -> u64 {
        self.numbered.fetch_add(1, Ordering::Relaxed)
    }

    /// A place for one more connection, as soon as there is one; none when there never will be.
    ///
    /// Cancel safe.
    pub async fn room(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.room.clone().try_acquire_owned() {
            return Some(permit);
        }
        self.metrics.reached(Bound::Connections);
        if let Some((shortage, told)) = &self.short
            && let Some(untold) = told.tell()
        {
            warn!(untold, "browsers wait to be accepted until others leave: {shortage}");
        }
        // The semaphore is never closed.
        self.room.clone().acquire_owned().await.ok()
    }

    /// A place for one more connection, if there is one now.
    #[must_use]
    pub fn room_now(&self) -> Option<OwnedSemaphorePermit> {
        let room = self.room.clone().try_acquire_owned().ok();
        if room.is_none() {
            self.metrics.reached(Bound::Connections);
        }
        room
    }

    /// A place among those of `address`, where it is bounded at all.
    ///
    /// # Errors
    /// [`Error::Connections`]
    pub fn share(&self, address: Option<IpAddr>) -> Result<Option<Share<IpAddr>>, Error> {
        let Some(network) = address.and_then(network) else { return Ok(None) };
        self.by_address.take(network).map(Some).ok_or_else(|| {
            self.metrics.reached(Bound::ConnectionsPerAddress);
            Error::Connections
        })
    }

    /// A place among the handshakes of `address`, where they are bounded at all; for one that has begun, until it is over.
    ///
    /// # Errors
    /// [`Error::Handshakes`]
    pub fn handshake(&self, address: Option<IpAddr>) -> Result<Option<Share<IpAddr>>, Error> {
        let Some(network) = address.and_then(network) else { return Ok(None) };
        self.handshakes_by_address.take(network).map(Some).ok_or_else(|| {
            self.metrics.reached(Bound::HandshakesPerAddress);
            Error::Handshakes
        })
    }

    /// The turn to work on a handshake, which is awaited where too many have theirs. Nobody who has it waits for a browser.
    ///
    /// Cancel safe; the caller bounds the time.
    pub async fn turn(&self) -> Turn<'_> {
        let permit = if let Ok(permit) = self.handshakes.try_acquire() {
            Some(permit)
        } else {
            self.metrics.reached(Bound::Handshakes);
            // The semaphore is never closed.
            self.handshakes.acquire().await.ok()
        };
        // Behind everything else that can go on now: so sessions wait for this many handshakes, and not for all that have
        // come in one wave.
        yield_now().await;
        Turn { _permit: permit }
    }
}

/// Two file descriptors each, below the 20,000 that a process commonly may have.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(8999);
/// Some hundreds of people behind one address of a mobile carrier, each with the site and a chat.
const CONNECTIONS_PER_ADDRESS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);
/// A third of a millisecond each: two hundred milliseconds of work, which sessions may have to wait for.
const HANDSHAKES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);
const HANDSHAKES_PER_ADDRESS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
const HEADER_FIELDS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn bounds(settings: Settings) -> Bounds {
        Bounds::new(settings, Arc::default())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn no_default_lets_a_slow_browser_stay_for_longer_than_half_a_minute() {
        let Settings { handshake, header, stall, idle, ping, pong, .. } = Settings::default();
        let body_time = crate::protocol::bosh::settings::Settings::default().body_time;

        for time in [handshake, header, stall, idle, ping + pong, body_time] {
            assert!(time <= Duration::from_secs(30), "{time:?}");
        }
    }

    #[tokio::test]
    async fn one_network_has_so_many_connections_and_our_own_machine_any() {
        let bounds =
            bounds(Settings { connections_per_address: NonZeroUsize::MIN, ..Settings::default() });

        let first = bounds.share(Some(address("2001:db8::1"))).unwrap();
        let second = bounds.share(Some(address("2001:db8::2")));
        let other = bounds.share(Some(address("2001:db8:0:1::1")));

        assert!(first.is_some() && other.is_ok());
        assert_eq!(second.unwrap_err(), Error::Connections);
        assert!(bounds.share(Some(address("::1"))).unwrap().is_none());
        assert!(bounds.metrics.text().contains("{bound=\"connections_per_address\"} 1"));
    }

    #[tokio::test]
    async fn handshake_beyond_the_bound_waits_for_its_turn() {
        let bounds = bounds(Settings { handshakes: NonZeroUsize::MIN, ..Settings::default() });

        let first = bounds.turn().await;
        let mut second = std::pin::pin!(bounds.turn());
        let waits = timeout(Duration::ZERO, second.as_mut()).await.is_err();
        drop(first);

        assert!(waits && timeout(Duration::from_secs(10), second).await.is_ok());
        assert!(bounds.metrics.text().contains("{bound=\"handshakes\"} 1"));
    }

    #[test]
    fn handshake_beyond_the_bound_of_its_address_has_no_place() {
        let bounds =
            bounds(Settings { handshakes_per_address: NonZeroUsize::MIN, ..Settings::default() });

        let first = bounds.handshake(Some(address("192.0.2.1"))).unwrap();
        let second = bounds.handshake(Some(address("192.0.2.1")));
        drop(first);

        assert_eq!(second.unwrap_err(), Error::Handshakes);
        assert!(bounds.handshake(Some(address("192.0.2.1"))).is_ok());
        assert!(bounds.metrics.text().contains("{bound=\"handshakes_per_address\"} 1"));
    }
}
