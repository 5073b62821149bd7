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
    const ORDER: &'static [&'static str] = &[REQUEST, RATE, IDLE, ESTABLISH];

    fn ways(&self) -> Vec<Kind> {
        self.peers.clone()
    }

    async fn once(&self, kind: Kind) -> Result<Seen> {
        let peer = self.place.start(kind, self.behind).await?;
        let seen = self.of(&peer).await;
        peer.stop().await?;
        seen
    }
}

impl Bosh<'_> {
    async fn of(&self, peer: &Peer) -> Result<Seen> {
        let mut seen = Seen::new();
        let each = |sum: f64| sum / count(self.sessions as u64);
        let target = peer.target(Tickets::Dropped).await?;
        let mut crowd = crowd(target, &peer.visitors, Transport::Bosh);

        let (memory, before) = (peer.process.memory()?, cpu(&[peer.process])?);
        whole(&crowd.connect(self.sessions, crowd.at_once).await?)?;
        seen.insert(ESTABLISH, each(cpu(&[peer.process])? - before));
        sleep(SETTLE).await;
        let idle = peer.process.memory()?.saturating_sub(memory);
        seen.insert(IDLE, each(count(idle)));

        let (asked, before) = (requests(&crowd), cpu(&[peer.process])?);
        talk(&mut crowd, &Phase::Messages { lasts: self.lasts, size: 200, window: 1 }).await?;
        let a_request =
            (cpu(&[peer.process])? - before) / count(requests(&crowd).saturating_sub(asked));
        seen.insert(REQUEST, a_request);
        seen.insert(RATE, 1_000_000.0 / a_request);
        Ok(seen)
    }
}

fn requests(crowd: &Crowd) -> u64 {
    crowd.sessions.iter().map(Session::requests).sum()
}

const REQUEST: &str = "CPU a request with a message of 200 B, µs";
const RATE: &str = "requests a second of CPU";
const IDLE: &str = "memory a session, a request held, KiB";
const ESTABLISH: &str = "CPU to establish a session, µs";
