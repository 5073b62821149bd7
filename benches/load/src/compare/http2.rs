//! What a WebSocket costs over HTTP/2 (RFC 8441) beside one over HTTP/1.1: the scripted server is behind the gateway.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use load::phase::Phase;
use load::session::Transport;
use load::target::Tickets;
use serde::Serialize;
use tokio::time::sleep;

use crate::measure::SETTLE;
use crate::measure::count;
use crate::measure::cpu;
use crate::measure::crowd;
use crate::measure::talk;
use crate::measure::whole;
use crate::peer::Behind;
use crate::peer::Kind;
use crate::peer::Peer;
use crate::peer::Place;
use crate::table::Seen;
use crate::table::Table;

/// The ways, and how much there is to do.
pub(crate) struct Tunnels<'a> {
    pub(crate) place: &'a Place,
    pub(crate) behind: Behind,
    pub(crate) sessions: usize,
    pub(crate) lasts: Duration,
}

/// How a WebSocket comes to a gateway. nginx knows but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    /// To Vestibule, on a connection of its own.
    Http1,
    /// To Vestibule, alone on a connection of HTTP/2.
    Http2,
    /// To Vestibule, five on one.
    Five,
    /// To `HAProxy`, alone on a connection of HTTP/2.
    Haproxy,
}

impl Table for Tunnels<'_> {
    type Way = Way;
    const OURS: Way = Way::Http2;
    const ORDER: &'static [&'static str] = &[SMALL, BATCH, IDLE, AFTER, ESTABLISH];

    fn ways(&self) -> Vec<Way> {
        vec![Way::Http1, Way::Http2, Way::Five, Way::Haproxy]
    }

    async fn once(&self, way: Way) -> Result<Seen> {
        let kind = if way == Way::Haproxy { Kind::Haproxy } else { Kind::Vestibule };
        let peer = self.place.start(kind, self.behind).await?;
        let seen = self.of(way, &peer).await;
        peer.stop().await?;
        seen
    }
}

impl Tunnels<'_> {
    async fn of(&self, way: Way, peer: &Peer) -> Result<Seen> {
        let mut seen = Seen::new();
        let each = |sum: f64| sum / count(self.sessions as u64);
        let target = peer.target(Tickets::Dropped).await?;
        let (target, transport) = match way {
            Way::Http1 => (target, Transport::Websocket),
            Way::Http2 | Way::Haproxy => (target, Transport::WebsocketHttp2),
            Way::Five => (target.with_sockets(5), Transport::WebsocketHttp2),
        };
        let mut crowd = crowd(target, &peer.visitors, transport);

        let (memory, before) = (peer.process.memory()?, cpu(&[peer.process])?);
        whole(&crowd.connect(self.sessions, crowd.at_once).await?)?;
        seen.insert(ESTABLISH, each(cpu(&[peer.process])? - before));
        sleep(SETTLE).await;
        let idle = peer.process.memory()?.saturating_sub(memory);
        seen.insert(IDLE, each(count(idle)));

        for (name, window) in [(SMALL, 1), (BATCH, 16)] {
            let before = cpu(&[peer.process])?;
            let phase = Phase::Messages { lasts: self.lasts, size: 200, window };
            let back = count(talk(&mut crowd, &phase).await?);
            seen.insert(name, (cpu(&[peer.process])? - before) / back);
        }
        sleep(SETTLE).await;
        let after = peer.process.memory()?.saturating_sub(memory);
        seen.insert(AFTER, each(count(after)));
        Ok(seen)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Five => "HTTP/2, five on one connection",
            Self::Haproxy => "haproxy, HTTP/2",
        })
    }
}

const SMALL: &str = "CPU a message of 200 B, µs";
const BATCH: &str = "CPU a message, 16 under way, µs";
const IDLE: &str = "memory a session, idle, KiB";
const AFTER: &str = "memory a session, after the messages, KiB";
const ESTABLISH: &str = "CPU to establish a session, µs";
