//! The figures of all rounds, and the table of their ratios.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::peer::Kind;
use crate::work::ORDER;
use crate::work::Seen;

/// What was seen of each gateway in each round.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    rounds: BTreeMap<Kind, Vec<(usize, Seen)>>,
}

impl Figures {
    pub(crate) fn add(&mut self, kind: Kind, round: usize, seen: Seen) {
        self.rounds.entry(kind).or_default().push((round, seen));
    }

    /// Medians with quartiles, and the median of each round's own ratio of Vestibule to the others.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from("| |");
        for kind in self.rounds.keys() {
            let _ = write!(table, " {kind} |");
        }
        let peers: Vec<Kind> =
            self.rounds.keys().copied().filter(|kind| *kind != Kind::Vestibule).collect();
        for peer in &peers {
            let _ = write!(table, " vestibule / {peer} |");
        }
        table.push_str("\n|---|");
        table.push_str(&"---|".repeat(self.rounds.len() + peers.len()));
        for name in ORDER {
            let _ = write!(table, "\n| {name} |");
            for kind in self.rounds.keys() {
                let _ = write!(
                    table,
                    " {} |",
                    spread(self.of(*kind, name).into_iter().map(|(_, figure)| figure))
                );
            }
            for peer in &peers {
                let ours = self.of(Kind::Vestibule, name);
                let ratios = self.of(*peer, name).into_iter().filter_map(|(round, theirs)| {
                    let ours = ours.iter().find(|(of, _)| *of == round)?;
                    Some(ours.1 / theirs)
                });
                let _ = write!(table, " **{}** |", spread(ratios));
            }
        }
        table
    }

    fn of(&self, kind: Kind, name: &str) -> Vec<(usize, f64)> {
        let rounds = self.rounds.get(&kind).into_iter().flatten();
        rounds.filter_map(|(round, seen)| Some((*round, *seen.get(name)?))).collect()
    }
}

/// The median, and the quartiles in brackets.
fn spread(figures: impl Iterator<Item = f64>) -> String {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let at = |part: usize| {
        figures
            .get((figures.len().saturating_sub(1) * part + 2) / 4)
            .copied()
            .map_or_else(String::new, digits)
    };
    format!("{} ({}–{})", at(2), at(1), at(3))
}

/// Three digits that count.
fn digits(figure: f64) -> String {
    match figure {
        big if big >= 100.0 => format!("{big:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}
