//! The figures of all rounds, and the table of their ratios.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fmt::Write;

use serde::Serialize;

use crate::table::Seen;

/// What was seen of each way in each round.
#[derive(Debug, Serialize)]
pub(crate) struct Figures<W: Ord> {
    #[serde(skip)]
    ours: W,
    #[serde(skip)]
    order: &'static [&'static str],
    rounds: BTreeMap<W, Vec<(usize, Seen)>>,
}

impl<W: Copy + Ord + Display> Figures<W> {
    pub(crate) fn new(ours: W, order: &'static [&'static str]) -> Self {
        Self { ours, order, rounds: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, way: W, round: usize, seen: Seen) {
        self.rounds.entry(way).or_default().push((round, seen));
    }

    /// Medians with quartiles, and the median of each round's own ratio of ours to the others.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from("| |");
        for way in self.rounds.keys() {
            let _ = write!(table, " {way} |");
        }
        let others: Vec<W> = self.rounds.keys().copied().filter(|way| *way != self.ours).collect();
        for other in &others {
            let _ = write!(table, " {} / {other} |", self.ours);
        }
        table.push_str("\n|---|");
        table.push_str(&"---|".repeat(self.rounds.len() + others.len()));
        for name in self.order {
            let _ = write!(table, "\n| {name} |");
            for way in self.rounds.keys() {
                let figures = self.of(*way, name).into_iter().map(|(_, figure)| figure);
                let figures = spread(figures).unwrap_or_default();
                let _ = write!(table, " {figures} |");
            }
            for other in &others {
                let ours = self.of(self.ours, name);
                let ratios = self.of(*other, name).into_iter().filter_map(|(round, theirs)| {
                    let ours = ours.iter().find(|(of, _)| *of == round)?;
                    Some(ours.1 / theirs)
                });
                let ratios = spread(ratios).map(|ratios| format!("**{ratios}**"));
                let _ = write!(table, " {} |", ratios.unwrap_or_default());
            }
        }
        table
    }

    fn of(&self, way: W, name: &str) -> Vec<(usize, f64)> {
        let rounds = self.rounds.get(&way).into_iter().flatten();
        rounds.filter_map(|(round, seen)| Some((*round, *seen.get(name)?))).collect()
    }
}

/// The median, and the quartiles in brackets; nothing of nothing.
fn spread(figures: impl Iterator<Item = f64>) -> Option<String> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let at = |part: usize| {
        figures.get((figures.len().saturating_sub(1) * part + 2) / 4).copied().map(digits)
    };
    Some(format!("{} ({}–{})", at(2)?, at(1)?, at(3)?))
}

/// Three digits that count.
fn digits(figure: f64) -> String {
    match figure {
        big if big >= 100.0 => format!("{big:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}
