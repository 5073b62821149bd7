//! How long messages took: an HDR histogram in microseconds, filled by many tasks.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The latencies of one phase.
pub struct Latencies {
    histogram: Mutex<Histogram<u64>>,
}

/// What a task has seen and not yet told; told when it is dropped, or full.
pub struct Samples<'a> {
    of: &'a Latencies,
    kept: Vec<u64>,
}

/// The summary of a phase, in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// How many messages came back.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// Percentiles: 50, 90, 99, 99.9, and the longest.
    pub p50: u64,
    /// 90 of 100 took no longer.
    pub p90: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// 999 of 1000 took no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// The distribution: at each percentile, the latency.
    pub distribution: Vec<(f64, u64)>,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, HOUR, 3)
            .unwrap_or_else(|_| unreachable!("the bounds are constants"));
        Self { histogram: Mutex::new(histogram) }
    }
}

impl Latencies {
    /// A task's own part.
    #[must_use]
    pub fn samples(&self) -> Samples<'_> {
        Samples { of: self, kept: Vec::with_capacity(BATCH) }
    }

    /// How many messages came back so far.
    pub fn count(&self) -> u64 {
        self.histogram.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What there is.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let histogram = self.histogram.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |percentile| histogram.value_at_percentile(percentile);
        Summary {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: histogram.max(),
            distribution: PERCENTILES
                .iter()
                .map(|percentile| (*percentile, at(*percentile)))
                .collect(),
        }
    }
}

impl Samples<'_> {
    /// One message took so long.
    pub fn add(&mut self, took: Duration) {
        self.kept.push(u64::try_from(took.as_micros()).unwrap_or(HOUR).clamp(1, HOUR));
        if self.kept.len() == BATCH {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let mut histogram = self.of.histogram.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in self.kept.drain(..) {
            histogram.saturating_record(sample);
        }
    }
}

impl Drop for Samples<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

const BATCH: usize = 64;
/// In microseconds: nothing here takes longer.
const HOUR: u64 = 3_600_000_000;
const PERCENTILES: [f64; 16] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 99.99, 99.999,
    100.0,
];
