//! What sessions over BOSH cost a gateway, alone: the scripted server is behind it.

use std::time::Duration;

use anyhow::Result;
use load::phase::Crowd;
use load::phase::Phase;
use load::session::Session;
use load::session::Transport;
use load::target::Tickets;
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

/// The gateways, and how much there is to do.
pub(crate) struct Bosh<'a> {
    pub(crate) place: &'a Place,
    pub(crate) behind: Behind,
    pub(crate) peers: Vec<Kind>,
    pub(crate) sessions: usize,
    pub(crate) lasts: Duration,
}

impl Table for Bosh<'_> {
    type Way = Kind;
    const OURS: Kind = Kind::Vestibule;
    const ORDER: &'static [&'static str] = &[REQUEST, RATE, IDLE, IDLE_HTTP_2, ESTABLISH];

    fn ways(&self) -> Vec<Kind> {
        self.peers.clone()
    }

    async fn once(&self, kind: Kind) -> Result<Seen> {
        let peer = self.place.start(kind, self.behind).await?;
        let seen = self.of(&peer).await;
        peer.stop().await?;
        let mut seen = seen?;
        // Anew, because what the first sessions leave would serve the second.
        let peer = self.place.start(kind, self.behind).await?;
        let idle = self.idle(&mut self.crowd(&peer, Transport::BoshHttp2).await?, &peer).await;
        peer.stop().await?;
        seen.insert(IDLE_HTTP_2, idle?);
        Ok(seen)
    }
}

impl Bosh<'_> {
    async fn of(&self, peer: &Peer) -> Result<Seen> {
        let mut seen = Seen::new();
        let each = |sum: f64| sum / count(self.sessions as u64);
        let mut crowd = self.crowd(peer, Transport::Bosh).await?;

        let before = cpu(&[peer.process])?;
        seen.insert(IDLE, self.idle(&mut crowd, peer).await?);
        seen.insert(ESTABLISH, each(cpu(&[peer.process])? - before));

        let (asked, before) = (requests(&crowd), cpu(&[peer.process])?);
        talk(&mut crowd, &Phase::Messages { lasts: self.lasts, size: 200, window: 1 }).await?;
        let a_request =
            (cpu(&[peer.process])? - before) / count(requests(&crowd).saturating_sub(asked));
        seen.insert(REQUEST, a_request);
        seen.insert(RATE, 1_000_000.0 / a_request);
        Ok(seen)
    }

    async fn crowd(&self, peer: &Peer, transport: Transport) -> Result<Crowd> {
        Ok(crowd(peer.target(Tickets::Dropped).await?, &peer.visitors, transport))
    }

    /// Has them all come; the memory of one that is idle, in KiB.
    async fn idle(&self, crowd: &mut Crowd, peer: &Peer) -> Result<f64> {
        let memory = peer.process.memory()?;
        whole(&crowd.connect(self.sessions, crowd.at_once).await?)?;
        sleep(SETTLE).await;
        let idle = peer.process.memory()?.saturating_sub(memory);
        Ok(count(idle) / count(self.sessions as u64))
    }
}

fn requests(crowd: &Crowd) -> u64 {
    crowd.sessions.iter().map(Session::requests).sum()
}

const REQUEST: &str = "CPU a request with a message of 200 B, µs";
const RATE: &str = "requests a second of CPU";
const IDLE: &str = "memory a session, a request held, KiB";
const IDLE_HTTP_2: &str = "the same over one connection of HTTP/2, KiB";
const ESTABLISH: &str = "CPU to establish a session, µs";
