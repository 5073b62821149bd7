//! A table: ways to do the same work, taken in turn in each round.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use serde::Serialize;
use tokio::time::timeout;

use crate::figures::Figures;

/// What was seen: by name, one figure.
pub(crate) type Seen = BTreeMap<&'static str, f64>;

/// One table of the comparison.
pub(crate) trait Table {
    /// Who does the work.
    type Way: Copy + Ord + Display + Serialize;
    /// The one whose ratio to the others is taken.
    const OURS: Self::Way;
    /// The figures, in the order of the table.
    const ORDER: &'static [&'static str];

    /// Those who do it, in the order of the first round.
    fn ways(&self) -> Vec<Self::Way>;

    /// Has it done once, by one of them.
    async fn once(&self, way: Self::Way) -> Result<Seen>;
}

/// So many rounds of a table, every second one in the other order: what changes on the machine meanwhile meets all alike.
pub(crate) async fn rounds<T: Table>(
    name: &str,
    table: &T,
    rounds: usize,
) -> Result<Figures<T::Way>> {
    let mut figures = Figures::new(T::OURS, T::ORDER);
    for round in 0..rounds {
        let mut ways = table.ways();
        if round % 2 == 1 {
            ways.reverse();
        }
        for way in ways {
            eprintln!("{name}, round {} of {rounds}: {way}", round + 1);
            let seen = timeout(PATIENCE, table.once(way)).await.context("it takes no end");
            let seen = seen.flatten().with_context(|| format!("{way} in round {}", round + 1))?;
            figures.add(way, round, seen);
        }
    }
    Ok(figures)
}

/// Far longer than one round of any table takes: what hangs is to be told, not waited for.
const PATIENCE: Duration = Duration::from_mins(10);
