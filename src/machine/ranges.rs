//! Sets of offsets, kept as ranges.

use imbl::OrdMap;

/// A set of offsets as disjoint ranges that do not touch. Cloning shares everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(OrdMap<u64, u64>);

impl Ranges {
    /// Adds `start..end`.
    pub(super) fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (mut first, mut until) = (start, end);
        if let Some((before, its_end)) = self.before(start).filter(|(_, its_end)| *its_end >= start) {
            first = before;
            until = until.max(its_end);
        }
        while let Some((touched, its_end)) = self.from(first).filter(|(touched, _)| *touched <= until) {
            self.0.remove(&touched);
            until = until.max(its_end);
        }
        self.0.insert(first, until);
    }

    /// Takes `start..end` out.
    pub(super) fn remove(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        if let Some((before, its_end)) =
            self.before(start).filter(|(before, its_end)| *before < start && *its_end > start)
        {
            self.0.insert(before, start);
            if its_end > end {
                self.0.insert(end, its_end);
            }
        }
        while let Some((touched, its_end)) = self.from(start).filter(|(touched, _)| *touched < end) {
            self.0.remove(&touched);
            if its_end > end {
                self.0.insert(end, its_end);
            }
        }
    }

    /// Forgets the lowest ranges until at most `most` are left.
    pub(super) fn keep_highest(&mut self, most: usize) {
        while self.0.len() > most {
            let Some((lowest, _)) = self.first() else { return };
            self.0.remove(&lowest);
        }
    }

    /// Whether it holds `offset`.
    #[must_use]
    pub fn contains(&self, offset: u64) -> bool {
        self.before(offset).is_some_and(|(_, end)| offset < end)
    }

    /// The first offset from `offset` on that it does not hold.
    pub(super) fn end_from(&self, offset: u64) -> u64 {
        if self.0.is_empty() {
            return offset;
        }
        self.before(offset).map_or(offset, |(_, end)| offset.max(end))
    }

    /// The parts of `from..to` that it does not hold.
    pub(super) fn gaps(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = self.end_from(from);
        while at < to {
            let (next, its_end) = self.from(at).unwrap_or((to, to));
            gaps.push((at, next.min(to)));
            at = its_end;
        }
        gaps
    }

    /// The lowest range.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.0.get_min().copied()
    }

    /// The ranges, as (start, end), lowest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(start, end)| (*start, *end))
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many offsets it holds.
    #[must_use]
    pub fn offsets(&self) -> u64 {
        self.iter().map(|(start, end)| end.saturating_sub(start)).sum()
    }

    /// The range that begins at or before `offset`.
    fn before(&self, offset: u64) -> Option<(u64, u64)> {
        self.0.get_prev(&offset).map(|(start, end)| (*start, *end))
    }

    /// The range that begins at or after `offset`.
    fn from(&self, offset: u64) -> Option<(u64, u64)> {
        self.0.get_next(&offset).map(|(start, end)| (*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every offset one by one is the naive way to keep a set.
    #[test]
    fn ranges_are_a_set_of_offsets() {
        let mut seed = 0x5EED_u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 8) % below
        };
        for _ in 0..200 {
            let (mut ranges, mut naive) = (Ranges::default(), BTreeSet::new());
            for _ in 0..60 {
                let start = random(40);
                let end = start + random(6);
                if random(3) > 0 {
                    ranges.insert(start, end);
                    naive.extend(start..end);
                } else {
                    ranges.remove(start, end);
                    naive.retain(|offset| !(start..end).contains(offset));
                }
                let held: Vec<u64> = ranges.iter().flat_map(|(start, end)| start..end).collect();
                assert_eq!(held, naive.iter().copied().collect::<Vec<_>>());
                let ends: Vec<(u64, u64)> = ranges.iter().collect();
                assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ends:?}");
                assert_eq!(ranges.offsets(), naive.len() as u64);
                let (from, to) = (random(50), random(50));
                let free: Vec<u64> =
                    ranges.gaps(from, to).iter().flat_map(|(start, end)| *start..*end).collect();
                assert_eq!(free, (from..to).filter(|offset| !naive.contains(offset)).collect::<Vec<_>>());
                assert_eq!(ranges.contains(from), naive.contains(&from));
                let end = (from..).find(|offset| !naive.contains(offset));
                assert_eq!(Some(ranges.end_from(from)), end);
            }
            ranges.keep_highest(2);
            assert!(ranges.len() <= 2);
        }
    }
}
