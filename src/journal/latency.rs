//! Distributions of durations.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use std::time::Instant;

use crate::journal::time::Shown;

/// What takes longer counts as a day.
const LONGEST: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Each power of two is divided into so many parts, so that a time is known within 1 %.
const PARTS: u64 = 1 << 7;

/// A distribution of durations: the shortest, the longest, and percentiles. Between the two, figures
/// are right within 1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// The number of durations.
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
        let Self { count, median, mean, p99, max, .. } = self;
        if *count == 0 {
            return f.write_str("none");
        }
        let [median, mean, p99, max] = [*median, *mean, *p99, *max].map(Shown);
        write!(f, "{count}: median {median}, mean {mean}, 99 % within {p99}, longest {max}")
    }
}

/// Counts of times by how long they are.
pub(super) struct Latencies {
    /// By [`part`].
    counts: Vec<u64>,
    // In nanoseconds:
    sum: u128,
    min: u64,
    max: u64,
}

impl Latencies {
    pub(super) fn new() -> Self {
        let counts = vec![0; part(LONGEST) + 1];
        Self { counts, sum: 0, min: u64::MAX, max: 0 }
    }

    /// Adds the time from `since` to `until`, which it returns.
    #[inline]
    pub(super) fn add_between(&mut self, since: Instant, until: Instant) -> Duration {
        let time = until.saturating_duration_since(since);
        self.add(time);
        time
    }

    #[inline]
    pub(super) fn add(&mut self, time: Duration) {
        let nanos = nanos(time);
        if nanos < self.min {
            self.min = nanos;
        }
        if nanos > self.max {
            self.max = nanos;
        }
        self.sum += u128::from(nanos);
        match self.counts.get_mut(part(nanos)) {
            Some(count) => *count += 1,
            None => self.count_as_longest(),
        }
    }

    #[cold]
    fn count_as_longest(&mut self) {
        if let Some(count) = self.counts.last_mut() {
            *count += 1;
        }
    }

    pub(super) fn read(&self) -> Latency {
        let count = self.counts.iter().sum();
        let Some(mean) = self.sum.checked_div(u128::from(count)) else {
            return Latency::default();
        };
        Latency {
            count,
            min: Duration::from_nanos(self.min),
            mean: Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)),
            median: self.within(count, 500),
            p90: self.within(count, 900),
            p99: self.within(count, 990),
            p999: self.within(count, 999),
            max: Duration::from_nanos(self.max),
        }
    }

    /// What so many of a thousand times keep within, rounded up within 1 %.
    fn within(&self, count: u64, thousandths: u128) -> Duration {
        let rank = (u128::from(count) * thousandths).div_ceil(1000).max(1);
        let mut counted = 0;
        let part = self.counts.iter().position(|count| {
            counted += u128::from(*count);
            counted >= rank
        });
        Duration::from_nanos(part.map_or(self.max, end).clamp(self.min, self.max))
    }
}

#[inline]
fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

/// The number of the part that a time is in. The first 256 parts have one nanosecond each, the next 128 two,
/// and so on.
#[inline]
const fn part(nanos: u64) -> usize {
    let shift = (nanos | PARTS).ilog2() - PARTS.ilog2();
    (shift as u64 * PARTS + (nanos >> shift)) as usize
}

/// The longest time in a part.
const fn end(part: usize) -> u64 {
    let shift = (part as u64 / PARTS).saturating_sub(1);
    ((part as u64 - shift * PARTS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{LONGEST, Latencies, end, part};

    #[test]
    fn each_time_is_in_a_part_that_is_one_percent_wide_at_most() {
        assert_eq!((part(0), end(0)), (0, 0));
        for part_number in 1..part(LONGEST) {
            let (first, last) = (end(part_number - 1) + 1, end(part_number));
            assert_eq!((part(first), part(last)), (part_number, part_number));
            assert!((last - first) * 100 < first.max(1) || first == last, "{first} to {last}");
        }
    }

    #[test]
    fn of_many_times_the_quantiles_are_right_within_one_percent() {
        let mut times = Latencies::new();
        assert_eq!(times.read().count, 0);
        (1..=1000).for_each(|n| times.add(Duration::from_micros(n)));
        let read = times.read();
        let is_near = |time: Duration, micros: u64| {
            let nanos = time.as_nanos() as u64;
            nanos >= micros * 1000 && nanos <= micros * 1010
        };
        assert!(is_near(read.median, 500) && is_near(read.p90, 900), "{read:?}");
        assert!(is_near(read.p99, 990) && is_near(read.p999, 999), "{read:?}");
        let exact = [read.min, read.mean, read.max].map(|time| time.as_nanos());
        assert_eq!((read.count, exact), (1000, [1000, 500_500, 1_000_000]));
    }

    /// A quantile is a time within which that share is at least, not almost.
    #[test]
    fn of_few_times_the_quantiles_are_times_that_occurred() {
        let mut times = Latencies::new();
        [1, 2, 3].into_iter().for_each(|nanos| times.add(Duration::from_nanos(nanos)));
        let read = times.read();
        assert_eq!([read.median, read.p90, read.p999].map(|time| time.as_nanos()), [2, 3, 3]);
    }

    #[test]
    fn a_time_beyond_a_day_is_counted_too() {
        let mut times = Latencies::new();
        times.add(Duration::MAX);
        times.add(Duration::MAX);
        let (read, most) = (times.read(), Duration::from_nanos(u64::MAX));
        assert_eq!((read.count, read.min, read.median, read.max), (2, most, most, most));
    }
}
