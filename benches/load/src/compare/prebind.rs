//! How long a page waits for a session that is bound before it asks, and what that costs.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use load::latency::Latencies;
use load::process::Process;
use load::session::Transport;
use load::target::Tickets;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::asker::Asker;
use crate::classical;
use crate::measure::count;
use crate::measure::cpu;
use crate::measure::crowd;
use crate::measure::whole;
use crate::peer::Behind;
use crate::peer::Kind;
use crate::peer::Peer;
use crate::peer::Place;
use crate::prosody::Prosody;
use crate::table::Seen;
use crate::table::Table;

/// The ways to a bound session, and how many are made.
pub(crate) struct Prebind<'a> {
    pub(crate) place: &'a Place,
    pub(crate) scripted: Behind,
    pub(crate) number: usize,
}

/// Who makes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    /// A client of the client port, in two flights.
    Bare,
    /// The site's PHP: five requests over BOSH.
    Php,
    /// nginx: no prebind, but what it costs to let a browser sign in by itself.
    Nginx,
    /// `/prebind`.
    Vestibule,
}

impl Table for Prebind<'_> {
    type Way = Way;
    const OURS: Way = Way::Vestibule;
    const ORDER: &'static [&'static str] = &[
        SCRIPTED.median,
        SCRIPTED.late,
        SCRIPTED.rate,
        SCRIPTED.cpu,
        PROSODY.median,
        PROSODY.late,
        PROSODY.rate,
        PROSODY.cpu,
        OF_PROSODY,
    ];

    fn ways(&self) -> Vec<Way> {
        vec![Way::Bare, Way::Php, Way::Nginx, Way::Vestibule]
    }

    async fn once(&self, way: Way) -> Result<Seen> {
        let mut seen = Seen::new();
        self.with(way, self.scripted, &SCRIPTED, &mut seen).await?;
        if way != Way::Nginx {
            let prosody = Prosody::start(self.place.folder()).await?;
            let before = cpu(&[prosody.process])?;
            let made = self.with(way, prosody.behind, &PROSODY, &mut seen).await;
            let a_session = (cpu(&[prosody.process])? - before) / count(2 * self.number as u64);
            prosody.stop().await?;
            made?;
            seen.insert(OF_PROSODY, a_session);
        }
        Ok(seen)
    }
}

impl Prebind<'_> {
    /// Has sessions made at this server: one after the other for the time they take, and then several at a time.
    async fn with(&self, way: Way, behind: Behind, names: &Names, seen: &mut Seen) -> Result<()> {
        match way {
            Way::Bare => {
                let bare = self.place.bare(behind).await?;
                self.asked(async || Ok(Asker::bare(&bare)), None, names, seen).await
            }
            Way::Php => self.classical(behind, names, seen).await,
            Way::Nginx => {
                let peer = self.place.start(Kind::Nginx, behind).await?;
                let established = self.established(&peer).await;
                peer.stop().await?;
                seen.insert(names.cpu, established?);
                Ok(())
            }
            Way::Vestibule => {
                let peer = self.place.start(Kind::Vestibule, behind).await?;
                let page = async || Asker::page(&peer).await;
                let asked = self.asked(page, Some(peer.process), names, seen).await;
                peer.stop().await?;
                asked
            }
        }
    }

    async fn asked(
        &self,
        asker: impl AsyncFn() -> Result<Asker>,
        edge: Option<Process>,
        names: &Names,
        seen: &mut Seen,
    ) -> Result<()> {
        let latencies = Arc::new(Latencies::default());
        let one = asker().await?.ask(0..self.number, Arc::clone(&latencies)).await?;
        let times = latencies.summary();
        seen.insert(names.median, count(times.p50));
        seen.insert(names.late, count(times.p99));

        let mut waiting = Vec::new();
        for numbers in self.shares() {
            waiting.push(asker().await?.ask(numbers, Arc::clone(&latencies)));
        }
        let edge = edge.as_slice();
        let (before, begun) = (cpu(edge)?, Instant::now());
        let mut tasks: JoinSet<_> = waiting.into_iter().collect();
        let mut others = Vec::new();
        while let Some(done) = tasks.join_next().await {
            others.push(done??);
        }
        let number = count(self.number as u64);
        seen.insert(names.rate, number / begun.elapsed().as_secs_f64());
        if !edge.is_empty() {
            seen.insert(names.cpu, (cpu(edge)? - before) / number);
        }
        // Up to here all sessions are there, as those of the other ways are.
        drop((one, others));
        Ok(())
    }

    async fn classical(&self, behind: Behind, names: &Names, seen: &mut Seen) -> Result<()> {
        let script = classical::Script::new(self.place.folder(), behind)?;
        let latencies = Latencies::default();
        let mut samples = latencies.samples();
        for made in script.run(0..self.number).await? {
            samples.add(made.took);
        }
        drop(samples);
        let times = latencies.summary();
        seen.insert(names.median, count(times.p50));
        seen.insert(names.late, count(times.p99));

        let mut tasks = JoinSet::new();
        for numbers in self.shares() {
            let script = script.clone();
            tasks.spawn(async move { script.run(numbers).await });
        }
        let (mut rate, mut spent) = (0.0, 0.0);
        while let Some(done) = tasks.join_next().await {
            let made = done??;
            let took: f64 = made.iter().map(|made| made.took.as_secs_f64()).sum();
            rate += count(made.len() as u64) / took;
            spent += made.iter().map(|made| made.cpu.as_secs_f64()).sum::<f64>();
        }
        seen.insert(names.rate, rate);
        seen.insert(names.cpu, spent * 1_000_000.0 / count(self.number as u64));
        Ok(())
    }

    /// The CPU of letting a browser sign in by WebSocket, µs.
    async fn established(&self, peer: &Peer) -> Result<f64> {
        let target = peer.target(Tickets::Dropped).await?;
        let mut crowd = crowd(target, &peer.visitors, Transport::Websocket);
        let before = cpu(&[peer.process])?;
        whole(&crowd.connect(self.number, TOGETHER).await?)?;
        Ok((cpu(&[peer.process])? - before) / count(self.number as u64))
    }

    /// Whose sessions each of several makes; none of those that were made before.
    fn shares(&self) -> Vec<Range<usize>> {
        let of = |part: usize| self.number + self.number * part / TOGETHER;
        let shares = (0..TOGETHER).map(|part| of(part)..of(part + 1));
        shares.filter(|share| !share.is_empty()).collect()
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare client",
            Self::Php => "PHP over BOSH",
            Self::Nginx => "nginx (WebSocket)",
            Self::Vestibule => "vestibule",
        })
    }
}

/// What the figures are called with one server behind.
struct Names {
    median: &'static str,
    late: &'static str,
    rate: &'static str,
    cpu: &'static str,
}

const SCRIPTED: Names = Names {
    median: "scripted server: latency, median, µs",
    late: "scripted server: latency, 99 %, µs",
    rate: "scripted server: sessions a second, 8 at a time",
    cpu: "scripted server: CPU a session, µs",
};
const PROSODY: Names = Names {
    median: "Prosody: latency, median, µs",
    late: "Prosody: latency, 99 %, µs",
    rate: "Prosody: sessions a second, 8 at a time",
    cpu: "Prosody: CPU a session, µs",
};
const OF_PROSODY: &str = "Prosody: its own CPU a session, µs";

/// How many are asked for at a time, for the rate.
const TOGETHER: usize = 8;
