//! The figures of a run: for a person to read, as JSON, and as a page with plots.

use std::fmt::Write;

use serde::Serialize;

use crate::latency::Summary;

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where the sessions went.
    pub target: String,
    /// How they carried XMPP.
    pub transport: String,
    /// How many there were.
    pub sessions: usize,
    /// Whether a scripted server stood behind the gateway.
    pub sink: bool,
    /// What they did, in order.
    pub phases: Vec<Phase>,
}

/// One phase.
#[derive(Debug, Serialize)]
pub struct Phase {
    /// What was done.
    pub name: String,
    /// For how long, in seconds.
    pub seconds: f64,
    /// Sessions that were lost in it.
    pub lost: usize,
    /// Why the first was.
    pub why: Option<String>,
    /// Messages that were sent, where each is to come back once.
    pub sent: Option<u64>,
    /// How long its messages or sign-ins took, in microseconds.
    pub latencies: Option<Summary>,
    /// What the gateway's process spent, in nanoseconds; with `--process`.
    pub cpu: Option<u64>,
    /// Now and then.
    pub moments: Vec<Moment>,
}

/// What was so at one moment of a phase.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Moment {
    /// Seconds since the run began.
    pub at: f64,
    /// Messages, or sign-ins, of the phase so far.
    pub done: u64,
    /// The memory of the gateway's process, in KiB; with `--process`.
    pub memory: Option<u64>,
}

impl Phase {
    /// The phase in a few lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.name);
        if let Some(of) = &self.latencies {
            let rate = rate(of.count, self.seconds);
            let _ = writeln!(text, "  {} in {:.1} s, {rate:.0} a second", of.count, self.seconds);
            let _ = writeln!(
                text,
                "  latency: median {}, 90 % {}, 99 % {}, 99.9 % {}, longest {}",
                time(of.p50),
                time(of.p90),
                time(of.p99),
                time(of.p999),
                time(of.max)
            );
            if let Some(cpu) = self.cpu {
                let _ = writeln!(
                    text,
                    "  CPU of the gateway: {:.1} µs for each",
                    per(cpu, of.count) / 1000.0
                );
            }
        }
        if let Some(sent) = self.sent {
            let back = self.latencies.as_ref().map_or(0, |of| of.count);
            let _ = writeln!(text, "  {sent} messages sent, {back} back");
        }
        if let Some(memory) = self.moments.last().and_then(|moment| moment.memory) {
            let _ = writeln!(
                text,
                "  memory of the gateway at its end: {:.1} MiB",
                f64::from(u32::try_from(memory).unwrap_or(u32::MAX)) / 1024.0
            );
        }
        if let Some(why) = &self.why {
            let _ = writeln!(text, "  LOST: {} sessions; the first: {why}", self.lost);
        }
        text
    }
}

impl Report {
    /// A page that needs nothing else.
    #[must_use]
    pub fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Load</title><style>{STYLE}</style>\
             <h1>{} sessions by {} to {}</h1>",
            self.sessions,
            escape(&self.transport),
            escape(&self.target)
        );
        if self.sink {
            page.push_str("<p>Behind the gateway stood a scripted server that sends every message back: the edge alone is measured.</p>");
        }
        for phase in &self.phases {
            let _ = write!(
                page,
                "<h2>{}</h2><pre>{}</pre>",
                escape(&phase.name),
                escape(&phase.text())
            );
            if let Some(of) = &phase.latencies {
                let points =
                    of.distribution.iter().map(|(at, took)| (nines(*at), milliseconds(*took)));
                page.push_str(&plot(
                    "Latency in ms at each percentile: 0, 90, 99, 99.9 …",
                    &points.collect::<Vec<_>>(),
                ));
            }
            let pairs = phase.moments.windows(2);
            let rates = pairs.filter_map(|pair| match pair {
                [one, two] => {
                    Some((two.at, rate(two.done.saturating_sub(one.done), two.at - one.at)))
                }
                _ => None,
            });
            page.push_str(&plot(
                "Done a second, over the seconds of the run",
                &rates.collect::<Vec<_>>(),
            ));
            let memory = phase
                .moments
                .iter()
                .filter_map(|moment| Some((moment.at, mebibytes(moment.memory?))));
            page.push_str(&plot(
                "Memory of the gateway in MiB, over the seconds of the run",
                &memory.collect::<Vec<_>>(),
            ));
        }
        page
    }
}

/// A line through these points, with the ends of its axes; nothing for fewer than two.
fn plot(title: &str, points: &[(f64, f64)]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    if points.len() < 2 || last.0 <= first.0 {
        return String::new();
    }
    let top = points.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let line: Vec<String> = points
        .iter()
        .map(|(x, y)| {
            format!(
                "{:.1},{:.1}",
                60.0 + 520.0 * (x - first.0) / (last.0 - first.0),
                140.0 - 120.0 * y / top
            )
        })
        .collect();
    format!(
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 600 160\"><path d=\"M60 20V140H580\"/>\
         <text x=\"55\" y=\"25\">{top:.4}</text><text x=\"55\" y=\"140\">0</text>\
         <text x=\"60\" y=\"156\" class=\"x\">{:.1}</text><text x=\"580\" y=\"156\">{:.1}</text>\
         <polyline points=\"{}\"/></svg></figure>",
        escape(title),
        first.0,
        last.0,
        line.join(" ")
    )
}

/// A percentile on an axis where each further nine has the same room.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile.min(99.9995) / 100.0).log10()
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds } else { 0.0 }
}

fn per(sum: u64, count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

fn milliseconds(microseconds: u64) -> f64 {
    per(microseconds, 1000)
}

fn mebibytes(kibibytes: u64) -> f64 {
    per(kibibytes, 1024)
}

fn time(microseconds: u64) -> String {
    match microseconds {
        0..1000 => format!("{microseconds} µs"),
        1000..1_000_000 => format!("{:.1} ms", milliseconds(microseconds)),
        _ => format!("{:.1} s", per(microseconds, 1_000_000)),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

const STYLE: &str = "body{font:16px system-ui;max-width:50rem;margin:2rem auto;padding:0 1rem}\
    pre{background:#8881;padding:1rem;overflow:auto}figure{margin:1rem 0}svg{width:100%}\
    path,polyline{fill:none;stroke:#888}polyline{stroke:#06c;stroke-width:2}\
    text{font-size:11px;text-anchor:end;fill:#888}text.x{text-anchor:start}";
