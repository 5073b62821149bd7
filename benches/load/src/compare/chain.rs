//! What sessions cost gateway and XMPP server together: Prosody is behind, by the way each of them has to it.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use load::phase::Crowd;
use load::phase::Phase;
use load::process::Process;
use load::session::Transport;
use load::target::Tickets;
use load::visitors::Visitors;
use serde::Serialize;
use tokio::time::sleep;

use crate::measure::SETTLE;
use crate::measure::count;
use crate::measure::cpu;
use crate::measure::crowd;
use crate::measure::talk;
use crate::measure::whole;
use crate::peer::Kind;
use crate::peer::Place;
use crate::peer::SECRET;
use crate::prosody::Prosody;
use crate::table::Seen;
use crate::table::Table;

/// The ways to Prosody, and how much there is to do.
pub(crate) struct Chain<'a> {
    pub(crate) place: &'a Place,
    /// Of the browsers.
    pub(crate) transport: Transport,
    pub(crate) sessions: usize,
    pub(crate) lasts: Duration,
}

/// How a message gets to Prosody and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    /// By the client port, in the clear: the floor.
    Bare,
    /// By nginx, and Prosody's own WebSocket or BOSH.
    Nginx,
    /// By Vestibule, and the client port.
    Vestibule,
}

impl Table for Chain<'_> {
    type Way = Way;
    const OURS: Way = Way::Vestibule;
    const ORDER: &'static [&'static str] = &[MESSAGE, OF_SERVER, MEMORY, ESTABLISH];

    fn ways(&self) -> Vec<Way> {
        vec![Way::Bare, Way::Nginx, Way::Vestibule]
    }

    async fn once(&self, way: Way) -> Result<Seen> {
        let prosody = Prosody::start(self.place.folder()).await?;
        let seen = self.by(way, &prosody).await;
        prosody.stop().await?;
        seen
    }
}

impl Chain<'_> {
    async fn by(&self, way: Way, prosody: &Prosody) -> Result<Seen> {
        // Whoever speaks to Prosody itself shows it what Vestibule would.
        let tickets = Visitors::ticketed(SECRET.as_bytes());
        let (kind, visitors) = match way {
            Way::Bare => {
                let target = self.place.bare(prosody.behind).await?;
                return self.of(crowd(target, &tickets, Transport::Client), prosody, None).await;
            }
            Way::Nginx => (Kind::Nginx, Some(tickets)),
            Way::Vestibule => (Kind::Vestibule, None),
        };
        let peer = self.place.start(kind, prosody.behind).await?;
        let visitors = visitors.as_ref().unwrap_or(&peer.visitors);
        let target = peer.target(Tickets::Dropped).await?;
        let crowd = crowd(target, visitors, self.transport);
        let seen = self.of(crowd, prosody, Some(peer.process)).await;
        peer.stop().await?;
        seen
    }

    async fn of(&self, mut crowd: Crowd, prosody: &Prosody, edge: Option<Process>) -> Result<Seen> {
        let mut seen = Seen::new();
        let server = prosody.process;
        let both: Vec<Process> = edge.into_iter().chain([server]).collect();
        let each = |sum: f64| sum / count(self.sessions as u64);

        let (memory, before) = (server.memory()?, cpu(&both)?);
        whole(&crowd.connect(self.sessions, crowd.at_once).await?)?;
        seen.insert(ESTABLISH, each(cpu(&both)? - before));
        sleep(SETTLE).await;
        let idle = server.memory()?.saturating_sub(memory);
        seen.insert(MEMORY, each(count(idle)));

        let (before, alone) = (cpu(&both)?, cpu(&[server])?);
        let phase = Phase::Messages { lasts: self.lasts, size: 200, window: 1 };
        let back = count(talk(&mut crowd, &phase).await?);
        seen.insert(MESSAGE, (cpu(&both)? - before) / back);
        seen.insert(OF_SERVER, (cpu(&[server])? - alone) / back);
        Ok(seen)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare client",
            Self::Nginx => "nginx",
            Self::Vestibule => "vestibule",
        })
    }
}

const MESSAGE: &str = "CPU a message of 200 B, gateway and server, µs";
const OF_SERVER: &str = "CPU a message of 200 B, the server's part, µs";
const MEMORY: &str = "memory a session in the server, KiB";
const ESTABLISH: &str = "CPU to establish a session, gateway and server, µs";
