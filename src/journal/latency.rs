//! How long things took.

use core::fmt;
use core::time::Duration;

use hdrhistogram::Histogram;

use crate::journal::time::Shown;

/// The resolution: a nanosecond to a day, within 1 %. What takes longer counts as a day.
const LONGEST: u64 = 24 * 60 * 60 * 1_000_000_000;

/// How long something took, over many times: shortest, longest, and what most of them keep within.
/// Between the two, figures are right within 1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// How many times.
    pub count: u64,
    /// The shortest time.
    pub min: Duration,
    /// The sum divided by the count.
    pub mean: Duration,
    /// Half of them took no longer.
    pub median: Duration,
    /// 90 % took no longer.
    pub p90: Duration,
    /// 99 % took no longer.
    pub p99: Duration,
    /// 99.9 % took no longer.
    pub p999: Duration,
    /// The longest time.
    pub max: Duration,
}

impl Latency {
    /// Of some times.
    pub(super) fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut latencies = Latencies::new();
        times.for_each(|time| latencies.add(time));
        latencies.read()
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, median, p99, max, .. } = self;
        if *count == 0 {
            return f.write_str("none");
        }
        let [median, p99, max] = [*median, *p99, *max].map(Shown);
        write!(f, "{count}: median {median}, 99 % within {p99}, longest {max}")
    }
}

/// Counts of times by how long they are.
pub(super) struct Latencies {
    /// None if it could not be made, which it can with these bounds.
    histogram: Option<Histogram<u64>>,
    min: Duration,
    max: Duration,
}

impl Latencies {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 2).ok();
        Self { histogram, min: Duration::MAX, max: Duration::ZERO }
    }

    pub(super) fn add(&mut self, time: Duration) {
        self.min = self.min.min(time);
        self.max = self.max.max(time);
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn read(&self) -> Latency {
        let Some(histogram) = self.histogram.as_ref().filter(|histogram| !histogram.is_empty())
        else {
            return Latency::default();
        };
        let (min, max) = (self.min, self.max);
        let within =
            |quantile| Duration::from_nanos(histogram.value_at_quantile(quantile)).clamp(min, max);
        Latency {
            count: histogram.len(),
            min,
            mean: Duration::from_nanos(histogram.mean() as u64).clamp(min, max),
            median: within(0.5),
            p90: within(0.9),
            p99: within(0.99),
            p999: within(0.999),
            max,
        }
    }
}
