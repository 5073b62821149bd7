//! What sessions over WebSocket cost a gateway, alone: the scripted server is behind it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Result;
use anyhow::bail;
use load::phase::Phase;
use load::session::Transport;
use load::target::Tickets;
use load::websocket::Socket;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::measure::AT_ONCE;
use crate::measure::SETTLE;
use crate::measure::count;
use crate::measure::crowd;
use crate::measure::whole;
use crate::peer::Behind;
use crate::peer::Kind;
use crate::peer::Peer;
use crate::peer::Place;
use crate::table::Seen;
use crate::table::Table;

/// The gateways, and how much there is to do.
pub(crate) struct Work<'a> {
    pub(crate) place: &'a Place,
    pub(crate) behind: Behind,
    pub(crate) peers: Vec<Kind>,
    pub(crate) sessions: usize,
    pub(crate) lasts: Duration,
    pub(crate) handshakes: usize,
}

impl Table for Work<'_> {
    type Way = Kind;
    const OURS: Kind = Kind::Vestibule;
    const ORDER: &'static [&'static str] = &ORDER;

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

impl Work<'_> {
    /// Does it all with one gateway.
    async fn of(&self, peer: &Peer) -> Result<Seen> {
        let mut seen = Seen::new();
        let lasts = self.lasts;
        let alone = peer.process.memory()?;
        seen.insert(ALONE, count(alone) / 1024.0);

        self.handshakes(peer, Tickets::Dropped, FULL, &mut seen).await?;
        self.handshakes(peer, Tickets::Kept, RESUMED, &mut seen).await?;

        let before = peer.process.memory()?;
        let target = peer.target(Tickets::Dropped).await?;
        let mut crowd = crowd(target, &peer.visitors, Transport::Websocket);
        let cpu = peer.process.cpu()?;
        let outcome = crowd.connect(self.sessions, crowd.at_once).await?;
        whole(&outcome)?;
        let each = |sum: u64| count(sum) / count(self.sessions as u64);
        seen.insert(ESTABLISH, each(peer.process.cpu()? - cpu) / 1000.0);
        sleep(SETTLE).await;
        let idle = peer.process.memory()?.saturating_sub(before);
        seen.insert(IDLE, each(idle));

        let phases = [
            (SMALL, self.sessions, Phase::Messages { lasts, size: 200, window: 1 }),
            (LARGE, self.sessions, Phase::Messages { lasts, size: 2048, window: 1 }),
            (BATCH, self.sessions, Phase::Messages { lasts, size: 200, window: 16 }),
            (BATCH_OF_100, 100, Phase::Messages { lasts, size: 200, window: 16 }),
            (PACED, 200, Phase::Paced { lasts, size: 200, rate: 2000.0 }),
        ];
        for (name, sessions, phase) in phases {
            let cpu = peer.process.cpu()?;
            let outcome = crowd.run_some(&phase, sessions).await?;
            whole(&outcome)?;
            let Some(latencies) = outcome.latencies else { bail!("nothing came back") };
            seen.insert(name, count(peer.process.cpu()? - cpu) / count(latencies.count) / 1000.0);
            if name == PACED {
                seen.insert(P50, count(latencies.p50));
                seen.insert(P99, count(latencies.p99));
            }
        }
        sleep(SETTLE).await;
        seen.insert(AFTER, each(peer.process.memory()?.saturating_sub(before)));
        Ok(seen)
    }

    /// TCP, TLS, the upgrade and the connection upstream; then the end of it all.
    async fn handshakes(
        &self,
        peer: &Peer,
        tickets: Tickets,
        name: &'static str,
        seen: &mut Seen,
    ) -> Result<()> {
        let target = peer.target(tickets).await?;
        let cookie = peer.visitors.cookie(0)?;
        // What comes with a ticket has been here before.
        drop(Socket::open(&target, cookie.as_deref()).await?);
        let left = Arc::new(AtomicUsize::new(self.handshakes));
        let cpu = peer.process.cpu()?;
        let mut browsers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (target, cookie, left) = (target.clone(), cookie.clone(), left.clone());
            browsers.spawn(async move {
                let one_less = |left: usize| left.checked_sub(1);
                while left.fetch_update(Relaxed, Relaxed, one_less).is_ok() {
                    drop(Socket::open(&target, cookie.as_deref()).await?);
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = browsers.join_next().await {
            ended??;
        }
        sleep(SETTLE).await;
        seen.insert(
            name,
            count(peer.process.cpu()? - cpu) / count(self.handshakes as u64) / 1000.0,
        );
        Ok(())
    }
}

const SMALL: &str = "CPU a message of 200 B, µs";
const LARGE: &str = "CPU a message of 2 KiB, µs";
const BATCH: &str = "CPU a message, 16 under way, µs";
const BATCH_OF_100: &str = "CPU a message, 16 under way, 100 sessions, µs";
const PACED: &str = "CPU a message, 2,000 a second, µs";
const P50: &str = "latency at 2,000 a second, median, µs";
const P99: &str = "latency at 2,000 a second, 99 %, µs";
const IDLE: &str = "memory a session, idle, KiB";
const AFTER: &str = "memory a session, after the messages, KiB";
const ALONE: &str = "memory with no session, MiB";
const ESTABLISH: &str = "CPU to establish a session, µs";
const FULL: &str = "CPU a handshake with upgrade, full, µs";
const RESUMED: &str = "CPU a handshake with upgrade, resumed, µs";

/// In the order of the table.
const ORDER: [&str; 13] = [
    SMALL,
    LARGE,
    BATCH,
    BATCH_OF_100,
    PACED,
    P50,
    P99,
    IDLE,
    AFTER,
    ALONE,
    ESTABLISH,
    FULL,
    RESUMED,
];
