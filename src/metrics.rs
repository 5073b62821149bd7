//! What is counted, for `/metrics` of the internal listener: a value that is passed down, never global.
//!
//! Nothing here stands on the path of a stanza: a session counts for itself and adds what it has at its end and now and then.

pub mod bound;
pub mod label;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Encoder;
use prometheus::HistogramOpts;
use prometheus::HistogramVec;
use prometheus::IntCounter;
use prometheus::IntCounterVec;
use prometheus::IntGauge;
use prometheus::IntGaugeVec;
use prometheus::Opts;
use prometheus::Registry;
use prometheus::TextEncoder;
use prometheus::core::Collector;
use tracing::error;

use crate::metrics::bound::Bound;
use crate::metrics::label::Direction;
use crate::metrics::label::Kind;
use crate::metrics::label::Resume;
use crate::metrics::label::SignIn;
use crate::metrics::label::Transport;

/// All counters.
pub struct Metrics {
    registry: Registry,
    sessions: IntGaugeVec,
    begun: IntCounterVec,
    stanzas: IntCounterVec,
    bytes: IntCounterVec,
    sign_ins: IntCounterVec,
    sign_in_seconds: HistogramVec,
    passes_refused: IntCounter,
    resumes: IntCounterVec,
    refusals: IntCounterVec,
    bounds: IntCounterVec,
    held: IntGauge,
    upstreams: IntGaugeVec,
    connections: IntGauge,
    panics: IntCounter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What a session has carried since it last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Stanzas.
    pub stanzas: u64,
    /// Their bytes, without framing and TLS.
    pub bytes: u64,
}

impl Carried {
    /// So many stanzas more, of so many bytes.
    pub fn add(&mut self, stanzas: usize, bytes: usize) {
        self.stanzas = self.stanzas.saturating_add(stanzas as u64);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

/// A thing that is there as long as this value.
#[derive(Debug)]
#[must_use = "it is counted as gone when this is dropped"]
pub struct Present(IntGauge);

impl Present {
    fn in_(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Held by a task, it counts a panic that ends it.
#[derive(Debug)]
#[must_use = "it watches as long as it is held"]
pub struct Watch(Arc<Metrics>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked();
            // The message of the panic is on standard error already.
            error!("a task ended in a defect of ours; please report it");
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All counters at 0, each label there already: a rate over what never happened is 0, not unknown.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::new(),
            sessions: gauges("sessions", "Sessions that are open.", &["kind", "transport"]),
            begun: counters("sessions_total", "Sessions that began.", &["kind", "transport"]),
            stanzas: counters("stanzas_total", "Stanzas carried.", &["transport", "direction"]),
            bytes: counters("stanza_bytes_total", "Their bytes.", &["transport", "direction"]),
            sign_ins: counters("sign_ins_total", "Attempts to sign in upstream.", &["outcome"]),
            sign_in_seconds: histograms(
                "sign_in_duration_seconds",
                "How long an attempt to sign in upstream took.",
                &["outcome"],
            ),
            passes_refused: counter(
                "passes_refused_total",
                "Passes that an XMPP server refused: check clocks and secrets.",
            ),
            resumes: counters(
                "upstream_resumes_total",
                "Streams of XMPP servers that broke and were to go on over another connection.",
                &["outcome"],
            ),
            refusals: counters("refusals_total", "Requests that were refused.", &["reason"]),
            bounds: counters("bounds_reached_total", "Bounds that were reached.", &["bound"]),
            held: gauge("held", "Browsers that are held while upstream or the site is waited for."),
            upstreams: gauges(
                "upstream_up",
                "Whether the last sign-in at this XMPP server reached it (1) or not (0).",
                &["upstream"],
            ),
            connections: gauge("connections", "Connections of browsers."),
            panics: counter("panics_total", "Tasks that ended in a defect of ours."),
        };
        metrics.register();
        metrics.begin_at_zero();
        metrics
    }

    /// What Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        // Writing to memory does not fail, and every family has a sample.
        if encoded.is_err() { String::new() } else { String::from_utf8(text).unwrap_or_default() }
    }

    /// A session begins; it ends when the value is dropped.
    pub fn session(&self, kind: Kind, transport: Transport) -> Present {
        let labels = [kind.label(), transport.label()];
        self.begun.with_label_values(&labels).inc();
        Present::in_(self.sessions.with_label_values(&labels))
    }

    /// Adds what a session has carried since it last told.
    pub fn carried(&self, transport: Transport, direction: Direction, carried: Carried) {
        let labels = [transport.label(), direction.label()];
        self.stanzas.with_label_values(&labels).inc_by(carried.stanzas);
        self.bytes.with_label_values(&labels).inc_by(carried.bytes);
    }

    /// An attempt to sign in at the server `upstream` has ended, after so long.
    pub fn signed_in(&self, upstream: &str, outcome: SignIn, took: Duration) {
        self.sign_ins.with_label_values(&[outcome.label()]).inc();
        self.sign_in_seconds.with_label_values(&[outcome.label()]).observe(took.as_secs_f64());
        let up = match outcome {
            SignIn::Done => 1,
            SignIn::Refused => {
                self.passes_refused.inc();
                1
            }
            SignIn::Unreachable | SignIn::Late | SignIn::Broken | SignIn::Insecure => 0,
        };
        self.upstreams.with_label_values(&[upstream]).set(up);
    }

    /// The attempt to let a stream go on over another connection has ended.
    pub fn resumed(&self, outcome: Resume) {
        self.resumes.with_label_values(&[outcome.label()]).inc();
    }

    /// A request was refused, for this reason.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// A bound was reached.
    pub fn reached(&self, bound: Bound) {
        self.bounds.with_label_values(&[bound.label()]).inc();
    }

    /// A browser is held as long as the value lives.
    pub fn held(&self) -> Present {
        Present::in_(self.held.clone())
    }

    /// A connection is there as long as the value lives.
    pub fn connection(&self) -> Present {
        Present::in_(self.connections.clone())
    }

    /// A task ended in a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts a panic of the task that holds the value.
    pub fn watch(self: &Arc<Self>) -> Watch {
        Watch(self.clone())
    }

    fn register(&self) {
        let all: [Box<dyn Collector>; 14] = [
            Box::new(self.sessions.clone()),
            Box::new(self.begun.clone()),
            Box::new(self.stanzas.clone()),
            Box::new(self.bytes.clone()),
            Box::new(self.sign_ins.clone()),
            Box::new(self.sign_in_seconds.clone()),
            Box::new(self.passes_refused.clone()),
            Box::new(self.resumes.clone()),
            Box::new(self.refusals.clone()),
            Box::new(self.bounds.clone()),
            Box::new(self.held.clone()),
            Box::new(self.upstreams.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.panics.clone()),
        ];
        for family in all {
            // Fails for a name that is taken; each above has its own.
            let _ = self.registry.register(family);
        }
    }

    fn begin_at_zero(&self) {
        for transport in Transport::ALL {
            for kind in Kind::ALL {
                self.sessions.with_label_values(&[kind.label(), transport.label()]).set(0);
                self.begun.with_label_values(&[kind.label(), transport.label()]).reset();
            }
            for direction in Direction::ALL {
                self.stanzas.with_label_values(&[transport.label(), direction.label()]).reset();
                self.bytes.with_label_values(&[transport.label(), direction.label()]).reset();
            }
        }
        for outcome in SignIn::ALL {
            self.sign_ins.with_label_values(&[outcome.label()]).reset();
            // It is there once it was named.
            let _ = self.sign_in_seconds.with_label_values(&[outcome.label()]);
        }
        for outcome in Resume::ALL {
            self.resumes.with_label_values(&[outcome.label()]).reset();
        }
        for bound in Bound::ALL {
            self.bounds.with_label_values(&[bound.label()]).reset();
        }
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("vestibule")
}

#[expect(
    clippy::expect_used,
    reason = "fails for a malformed name alone, and each is in this file"
)]
fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(options(name, help), labels).expect("a well-formed name")
}

#[expect(
    clippy::expect_used,
    reason = "fails for a malformed name alone, and each is in this file"
)]
fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::with_opts(options(name, help)).expect("a well-formed name")
}

#[expect(
    clippy::expect_used,
    reason = "fails for a malformed name alone, and each is in this file"
)]
fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(options(name, help), labels).expect("a well-formed name")
}

#[expect(
    clippy::expect_used,
    reason = "fails for a malformed name alone, and each is in this file"
)]
fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::with_opts(options(name, help)).expect("a well-formed name")
}

#[expect(
    clippy::expect_used,
    reason = "fails for a malformed name alone, and each is in this file"
)]
fn histograms(name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    let options = HistogramOpts::from(options(name, help)).buckets(SIGN_IN_SECONDS.to_vec());
    HistogramVec::new(options, labels).expect("a well-formed name")
}

/// From a server next door to one at its limit.
const SIGN_IN_SECONDS: [f64; 11] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_stands_at_zero() {
        let text = Metrics::new().text();

        for line in [
            r#"vestibule_sessions{kind="guest",transport="websocket"} 0"#,
            r#"vestibule_sign_ins_total{outcome="refused"} 0"#,
            r#"vestibule_sign_in_duration_seconds_count{outcome="late"} 0"#,
            r#"vestibule_bounds_reached_total{bound="unknown_sids"} 0"#,
            "vestibule_passes_refused_total 0",
            "vestibule_held 0",
            "vestibule_panics_total 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
        }
    }

    #[test]
    fn session_is_open_until_it_is_dropped() {
        let metrics = Metrics::new();
        let open = r#"vestibule_sessions{kind="member",transport="bosh"} 1"#;

        let session = metrics.session(Kind::Member, Transport::Bosh);
        assert!(metrics.text().contains(open));
        drop(session);

        assert!(!metrics.text().contains(open));
        assert!(
            metrics
                .text()
                .contains(r#"vestibule_sessions_total{kind="member",transport="bosh"} 1"#)
        );
    }

    #[test]
    fn task_that_panics_is_counted_and_one_that_ends_is_not() {
        let metrics = Arc::new(Metrics::new());
        drop(metrics.watch());

        let watch = metrics.watch();
        let task = std::thread::spawn(move || {
            let _watch = watch;
            panic!("on purpose");
        });

        assert!(task.join().is_err());
        assert!(metrics.text().contains("vestibule_panics_total 1"));
    }

    #[test]
    fn refused_pass_is_counted_and_the_server_is_up_all_the_same() {
        let metrics = Metrics::new();

        metrics.signed_in("127.0.0.1:5222", SignIn::Refused, Duration::ZERO);
        metrics.signed_in("127.0.0.1:5223", SignIn::Unreachable, Duration::ZERO);

        let text = metrics.text();
        assert!(text.contains("vestibule_passes_refused_total 1"), "{text}");
        assert!(text.contains(r#"vestibule_upstream_up{upstream="127.0.0.1:5222"} 1"#), "{text}");
        assert!(text.contains(r#"vestibule_upstream_up{upstream="127.0.0.1:5223"} 0"#), "{text}");
    }
}
