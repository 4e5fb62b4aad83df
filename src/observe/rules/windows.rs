//! How much counters grew in the last while, for the objects that counted anything: what rates and ratios are made of.
//!
//! A scrape leaves this to Prometheus. Alerts cannot, so the leader notes at every evaluation by how much each
//! counter grew, in steps that get coarser with age, and forgets what no rule looks back to. An object that counts
//! nothing costs nothing. After a start, or a change of leader, a window is as long as it has been looked at.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{Millis, Timestamp};

/// Steps are as long as this, as long as they are not older than that.
const STEPS: [(Millis, Millis); 3] =
    [(10_000, 10 * 60_000), (60_000, 2 * 3_600_000), (15 * 60_000, Millis::MAX)];

/// Most objects of a kind whose growth is noted, about 2 KiB each for windows of ten minutes. Beyond it what begins to
/// count is not known, and neither are its rates.
const OBJECTS_MAX: usize = 50_000;

/// The growth of `N` counters of every object of a kind.
#[derive(Debug)]
pub struct Windows<K: Ord, const N: usize> {
    rows: BTreeMap<K, Row<N>>,
    /// Since when it has been looked at; none before the first look.
    since: Option<Timestamp>,
    /// How far back anybody looks.
    keep_ms: Millis,
}

#[derive(Debug)]
struct Row<const N: usize> {
    last: [u64; N],
    /// The oldest first.
    steps: VecDeque<Step<N>>,
}

#[derive(Clone, Copy, Debug)]
struct Step<const N: usize> {
    until: Timestamp,
    grown: [u32; N],
}

impl<K: Ord + Clone, const N: usize> Default for Windows<K, N> {
    fn default() -> Windows<K, N> {
        Windows { rows: BTreeMap::new(), since: None, keep_ms: 0 }
    }
}

impl<K: Ord + Clone, const N: usize> Windows<K, N> {
    /// Forgets everything: another node led in between.
    pub fn clear(&mut self) {
        *self = Windows::default();
    }

    /// From now on, what is older than this is forgotten.
    pub fn keep(&mut self, keep_ms: Millis) {
        self.keep_ms = keep_ms;
    }

    /// Notes what the counters say at `now`. What counted before the first look does not count as growth; an object
    /// that turns up later began at 0. Objects that are not among `counts` any more are forgotten.
    pub fn note(&mut self, now: Timestamp, counts: impl IntoIterator<Item = (K, [u64; N])>) {
        let is_first = self.since.is_none();
        self.since.get_or_insert(now);
        let horizon = Timestamp(now.0.saturating_sub(self.keep_ms));
        let mut before = std::mem::take(&mut self.rows);
        for (key, now_at) in counts {
            let row = before.remove(&key);
            if row.is_none() && self.rows.len() >= OBJECTS_MAX {
                continue;
            }
            let start = if is_first { now_at } else { [0; N] };
            let mut row = row.unwrap_or_else(|| Row { last: start, steps: VecDeque::new() });
            row.note(now, now_at);
            row.forget(now, horizon);
            self.rows.insert(key, row);
        }
    }

    /// By how much the counter at `place` grew in the last `window_ms`; none when that is not known.
    #[must_use]
    pub fn growth(&self, key: &K, place: usize, window_ms: Millis, now: Timestamp) -> Option<u64> {
        let Some(row) = self.rows.get(key) else {
            return (self.rows.len() < OBJECTS_MAX).then_some(0);
        };
        let horizon = Timestamp(now.0.saturating_sub(window_ms));
        let within = row.steps.iter().rev().take_while(|step| step.until > horizon);
        Some(within.filter_map(|step| step.grown.get(place)).map(|grown| u64::from(*grown)).sum())
    }

    /// How much of a window has been looked at by `now`.
    #[must_use]
    pub fn covered_ms(&self, window_ms: Millis, now: Timestamp) -> Millis {
        self.since.map_or(0, |since| now.since(since)).min(window_ms)
    }
}

impl<const N: usize> Row<N> {
    fn note(&mut self, now: Timestamp, counts: [u64; N]) {
        let mut grown = [0; N];
        for ((grown, count), last) in grown.iter_mut().zip(counts).zip(&mut self.last) {
            *grown = u32::try_from(count.saturating_sub(*last)).unwrap_or(u32::MAX);
            *last = count;
        }
        if grown.iter().any(|grown| *grown > 0) {
            self.steps.push_back(Step { until: now, grown });
        }
    }

    /// Drops what nobody looks back to, and puts neighbours into one step that are old enough.
    fn forget(&mut self, now: Timestamp, horizon: Timestamp) {
        while self.steps.front().is_some_and(|step| step.until <= horizon) {
            self.steps.pop_front();
        }
        let mut merged: Option<Step<N>> = None;
        let mut kept = VecDeque::with_capacity(self.steps.len());
        for step in self.steps.drain(..) {
            match &mut merged {
                Some(last) if slot(last.until, now) == slot(step.until, now) => {
                    last.until = step.until;
                    for (sum, grown) in last.grown.iter_mut().zip(step.grown) {
                        *sum = sum.saturating_add(grown);
                    }
                }
                _ => kept.extend(merged.replace(step)),
            }
        }
        kept.extend(merged);
        self.steps = kept;
    }
}

/// Which step a moment belongs to: how long the step is, and its number.
fn slot(at: Timestamp, now: Timestamp) -> (Millis, u64) {
    let age = now.since(at);
    let length = STEPS.iter().find(|(_, oldest)| age <= *oldest).map_or(1, |(length, _)| *length);
    (length, at.0 / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Millis = 1_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_790_000_000_000 + seconds * SECOND)
    }

    #[test]
    fn growth_is_what_came_in_the_window() {
        let mut windows: Windows<u32, 2> = Windows::default();
        windows.keep(600 * SECOND);
        windows.note(at(0), [(1, [100, 7])]);
        assert_eq!(windows.growth(&1, 0, 300 * SECOND, at(0)), Some(0), "what counted before does not count");
        windows.note(at(60), [(1, [110, 7]), (2, [5, 0])]);
        windows.note(at(120), [(1, [113, 8]), (2, [5, 0])]);
        let growth = |windows: &Windows<u32, 2>, key, place, seconds| {
            windows.growth(&key, place, seconds * SECOND, at(120)).unwrap()
        };
        assert_eq!(growth(&windows, 1, 0, 300), 13);
        assert_eq!(growth(&windows, 1, 0, 60), 3);
        assert_eq!(growth(&windows, 1, 1, 300), 1);
        assert_eq!(growth(&windows, 2, 0, 300), 5, "an object that turns up began at 0");
        assert_eq!(growth(&windows, 3, 0, 300), 0, "and one that never counted grew by nothing");
        assert_eq!(windows.covered_ms(300 * SECOND, at(120)), 120 * SECOND);
        assert_eq!(windows.covered_ms(60 * SECOND, at(120)), 60 * SECOND);
        windows.note(at(121), [(2, [6, 0])]);
        assert_eq!(growth(&windows, 1, 0, 300), 0, "what is gone is forgotten");
    }

    #[test]
    fn a_day_of_growth_is_whole_and_stays_small() {
        let mut windows: Windows<u32, 1> = Windows::default();
        windows.keep(86_400 * SECOND);
        let mut count = 0;
        for step in 0..20_000 {
            windows.note(at(step * 5), [(1, [count])]);
            count += 1;
        }
        let now = at(19_999 * 5);
        for (window, expected, off) in [(600, 120, 2), (7_200, 1_440, 12), (86_400, 17_280, 180)] {
            let found = windows.growth(&1, 0, window * SECOND, now).unwrap();
            assert!(found.abs_diff(expected) <= off, "{window} s: {found}");
        }
        let steps = windows.rows[&1].steps.len();
        assert!(steps < 300, "{steps}");
        windows.keep(600 * SECOND);
        windows.note(at(100_000), [(1, [count])]);
        assert!(windows.rows[&1].steps.len() <= 61);
    }

    #[test]
    fn beyond_its_room_it_says_that_it_does_not_know() {
        let mut windows: Windows<usize, 1> = Windows::default();
        windows.keep(60 * SECOND);
        windows.note(at(0), []);
        windows.note(at(1), (0..OBJECTS_MAX + 1).map(|key| (key, [1])));
        assert_eq!(windows.growth(&0, 0, 60 * SECOND, at(1)), Some(1));
        assert_eq!(windows.growth(&OBJECTS_MAX, 0, 60 * SECOND, at(1)), None);
    }
}
