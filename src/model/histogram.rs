//! Counts by size: how long things took, how large they were. Kept where things happen, read by whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often values fell between fixed bounds. Counting is two additions to shared counters; nobody waits.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is above them all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a [`Histogram`] had counted at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The upper bounds, each included, in rising order.
    pub bounds: &'static [u64],
    /// How many values there were up to each bound and above the bound before it; the last is of those above all.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// An empty one. `bounds` are upper bounds, each included, in rising order.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Histogram {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Histogram { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts one value.
    pub fn observe(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Counts one duration, in microseconds.
    pub fn observe_micros(&self, took: Duration) {
        self.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// What was counted so far. The sum may miss, or be ahead by, what is being counted at this very moment.
    #[must_use]
    pub fn read(&self) -> Distribution {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Distribution { bounds: self.bounds, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl Distribution {
    /// What was counted since `before`, an earlier reading of the same histogram.
    #[must_use]
    pub fn since(&self, before: &Distribution) -> Distribution {
        let counts = self.counts.iter().zip(&before.counts).map(|(now, then)| now.saturating_sub(*then));
        let sum = self.sum.saturating_sub(before.sum);
        Distribution { bounds: self.bounds, counts: counts.collect(), sum }
    }

    /// The value that a `share` (0 to 1) of all values does not exceed, none when there is no value. It is found as
    /// Prometheus finds it: values are taken as evenly spread between two bounds, and what lies above all bounds as the
    /// highest one.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        if all == 0 {
            return None;
        }
        let wanted = share * all as f64;
        let (mut passed, mut low) = (0.0, 0.0);
        for (count, bound) in self.counts.iter().zip(self.bounds) {
            let (count, bound) = (*count as f64, *bound as f64);
            if count > 0.0 && passed + count >= wanted {
                return Some(low + (bound - low) * ((wanted - passed) / count).clamp(0.0, 1.0));
            }
            passed += count;
            low = bound;
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_within_it() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1_000] {
            histogram.observe(value);
        }
        let read = histogram.read();
        assert_eq!((read.counts, read.sum), (vec![2, 2, 2], 1_062));
    }

    #[test]
    fn durations_are_microseconds() {
        let histogram = Histogram::new(&[1_500]);
        histogram.observe_micros(Duration::from_millis(1));
        histogram.observe_micros(Duration::from_millis(2));
        assert_eq!(histogram.read(), Distribution { bounds: &[1_500], counts: vec![1, 1], sum: 3_000 });
    }

    #[test]
    fn a_quantile_lies_between_the_bounds_of_its_values() {
        let of = |counts: &[u64]| Distribution { bounds: &[10, 20, 40], counts: counts.to_vec(), sum: 0 };
        assert_eq!(of(&[0; 4]).quantile(0.5), None);
        assert_eq!(of(&[4, 0, 0, 0]).quantile(0.5), Some(5.0));
        assert_eq!(of(&[1, 0, 1, 0]).quantile(1.0), Some(40.0));
        assert_eq!(of(&[0, 98, 2, 0]).quantile(0.99), Some(30.0));
        assert_eq!(of(&[0, 0, 0, 3]).quantile(0.5), Some(40.0), "above all bounds is the highest one");
        let later = Distribution { bounds: &[10, 20, 40], counts: vec![5, 2, 0, 0], sum: 50 };
        let grown = later.since(&Distribution { bounds: &[10, 20, 40], counts: vec![5, 0, 0, 0], sum: 20 });
        assert_eq!((grown.quantile(0.5), grown.sum), (Some(15.0), 30));
    }
}
