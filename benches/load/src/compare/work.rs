//! The work of one round: the same for every gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Result;
use anyhow::bail;
use load::phase::Crowd;
use load::phase::Outcome;
use load::phase::Phase;
use load::session::Transport;
use load::target::Tickets;
use load::websocket::Socket;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::peer::Peer;

/// How much there is to do.
pub(crate) struct Work {
    pub(crate) sessions: usize,
    pub(crate) lasts: Duration,
    pub(crate) handshakes: usize,
}

/// What was seen: by name, one figure.
pub(crate) type Seen = BTreeMap<&'static str, f64>;

impl Work {
    /// Does it all with one gateway.
    pub(crate) async fn of(&self, peer: &Peer) -> Result<Seen> {
        let mut seen = Seen::new();
        let lasts = self.lasts;
        let alone = peer.process.memory()?;
        seen.insert(ALONE, count(alone) / 1024.0);

        self.handshakes(peer, Tickets::Dropped, FULL, &mut seen).await?;
        self.handshakes(peer, Tickets::Kept, RESUMED, &mut seen).await?;

        let before = peer.process.memory()?;
        let mut crowd = Crowd {
            target: peer.target(Tickets::Dropped).await?,
            visitors: peer.visitors.clone(),
            transport: Transport::Websocket,
            at_once: AT_ONCE,
            sessions: Vec::new(),
            progress: Arc::new(AtomicU64::new(0)),
        };
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

fn whole(outcome: &Outcome) -> Result<()> {
    match &outcome.lost {
        Some((lost, why)) => bail!("{lost} sessions were lost, the first: {why}"),
        None => Ok(()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures to be compared")]
fn count(number: u64) -> f64 {
    number as f64
}

/// Browsers that come at the same time.
const AT_ONCE: usize = 32;
/// Until what was closed is gone, and what was freed is given back.
const SETTLE: Duration = Duration::from_millis(500);

pub(crate) const SMALL: &str = "CPU a message of 200 B, µs";
pub(crate) const LARGE: &str = "CPU a message of 2 KiB, µs";
pub(crate) const BATCH: &str = "CPU a message, 16 under way, µs";
pub(crate) const BATCH_OF_100: &str = "CPU a message, 16 under way, 100 sessions, µs";
pub(crate) const PACED: &str = "CPU a message, 2,000 a second, µs";
pub(crate) const P50: &str = "latency at 2,000 a second, median, µs";
pub(crate) const P99: &str = "latency at 2,000 a second, 99 %, µs";
pub(crate) const IDLE: &str = "memory a session, idle, KiB";
pub(crate) const AFTER: &str = "memory a session, after the messages, KiB";
pub(crate) const ALONE: &str = "memory with no session, MiB";
pub(crate) const ESTABLISH: &str = "CPU to establish a session, µs";
pub(crate) const FULL: &str = "CPU a handshake with upgrade, full, µs";
pub(crate) const RESUMED: &str = "CPU a handshake with upgrade, resumed, µs";

/// In the order of the table.
pub(crate) const ORDER: [&str; 13] = [
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
