//! What the tables' work has in common: a crowd of whom nobody may be lost, and what it costs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use load::phase::Crowd;
use load::phase::Outcome;
use load::phase::Phase;
use load::process::Process;
use load::session::Transport;
use load::target::Target;
use load::visitors::Visitors;

/// Visitors of whom none is in yet.
pub(crate) fn crowd(target: Target, visitors: &Visitors, transport: Transport) -> Crowd {
    let (visitors, progress) = (visitors.clone(), Arc::new(AtomicU64::new(0)));
    Crowd { target, visitors, transport, at_once: AT_ONCE, sessions: Vec::new(), progress }
}

/// Fails where a session was lost: what the others cost would be no figure.
pub(crate) fn whole(outcome: &Outcome) -> Result<()> {
    match &outcome.lost {
        Some((lost, why)) => bail!("{lost} sessions were lost, the first: {why}"),
        None => Ok(()),
    }
}

/// Has all sessions do this, and says how many messages came back.
pub(crate) async fn talk(crowd: &mut Crowd, phase: &Phase) -> Result<u64> {
    let outcome = crowd.run(phase).await?;
    whole(&outcome)?;
    Ok(outcome.latencies.context("nothing came back")?.count)
}

/// The CPU time of these processes so far, in µs.
pub(crate) fn cpu(processes: &[Process]) -> Result<f64> {
    let mut sum = 0;
    for process in processes {
        sum += process.cpu()?;
    }
    Ok(count(sum) / 1000.0)
}

#[expect(clippy::cast_precision_loss, reason = "figures to be compared")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

/// Browsers that come at the same time.
pub(crate) const AT_ONCE: usize = 32;
/// Until what was closed is gone, and what was freed is given back.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);
