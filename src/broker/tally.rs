//! The observer: counts what filtered groups have before them, one bit a message, outside the machine.
//!
//! A tally goes on where it stopped, so each message is asked about once a group. Whoever looks at a group counts a
//! little way on; every second the observer counts on for all of them. Positions never change what they mean, so a
//! tally holds on any node, through a change of leader; a restart counts anew.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::machine::Machine;
use crate::model::{CANDIDATES_MAX, Filter, GroupId, QueueEntry, QueueNo, TopicId};

use super::core::Core;
use super::handle::Broker;

/// How often the observer counts on.
const EVERY: Duration = Duration::from_secs(1);
/// Offsets of one block of bits.
const BLOCK: u64 = 256;
/// A tally keeps this many offsets below the cursor, so that one who looks with a state of a moment ago does not make
/// it begin anew.
const SLACK: u64 = 16_384;
/// Most blocks of all tallies together, about 8 MiB; beyond that lag stays an upper bound and says so.
const BLOCKS_MAX: usize = 100_000;

/// Which tally: a group in one queue.
pub(super) type Key = (GroupId, TopicId, QueueNo);

/// How much may be counted in one go: an entry of the index costs 1, a message that has to be read 20 and 1 for each
/// KiB.
pub(super) struct Budget(u64);

/// What a person or program that waits for the answer may cause. The observer works in such slices too, so that nobody
/// waits long for a tally.
const LOOK: u64 = 20_000;

impl Budget {
    /// For one who looks.
    pub(super) fn for_a_look() -> Budget {
        Budget(LOOK)
    }

    /// For the observer, each time: about 50,000 small messages read, or a million entries.
    fn for_the_observer() -> Budget {
        Budget(50 * LOOK)
    }

    fn is_spent(&self) -> bool {
        self.0 == 0
    }

    fn spend(&mut self, filter: &Filter, entry: &QueueEntry) {
        let cost = if filter.needs_attributes() { 20 + u64::from(entry.body_bytes >> 10) } else { 1 };
        self.0 = self.0.saturating_sub(cost);
    }

    /// Has `count` spend a slice; answers whether it used that up, so that there may be more to count.
    fn spend_slice(&mut self, count: impl FnOnce(&mut Budget)) -> bool {
        let whole = self.0.min(LOOK);
        let mut slice = Budget(whole);
        count(&mut slice);
        self.0 -= whole - slice.0;
        slice.is_spent() && !self.is_spent()
    }
}

/// What was found to match, by offset.
pub(super) struct Tally {
    filter: Filter,
    /// Everything in between was counted.
    from: u64,
    to: u64,
    /// By offset divided by 256, one bit an offset; blocks without a match are left out.
    blocks: BTreeMap<u64, [u64; 4]>,
}

impl Tally {
    fn new(filter: Filter, from: u64) -> Tally {
        Tally { filter, from, to: from, blocks: BTreeMap::new() }
    }

    /// Forgets what lies well below `next`; everything, when the filter is another one, `next` is far back, or lies
    /// beyond what was counted.
    fn follow(&mut self, filter: &Filter, next: u64) {
        if self.filter != *filter || !(self.from..=self.to).contains(&next) {
            *self = Tally::new(filter.clone(), next);
            return;
        }
        self.from = self.from.max(next.saturating_sub(SLACK));
        self.blocks = self.blocks.split_off(&(self.from / BLOCK));
    }

    fn note(&mut self, offset: u64) {
        let word = usize::try_from(offset % BLOCK / 64).unwrap_or_default();
        if let Some(bits) = self.blocks.entry(offset / BLOCK).or_default().get_mut(word) {
            *bits |= 1 << (offset % 64);
        }
    }

    /// The first offset that was not counted.
    pub(super) fn end(&self) -> u64 {
        self.to
    }

    /// How many offsets of the range match.
    pub(super) fn count(&self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let blocks = self.blocks.range(range.start / BLOCK..=(range.end - 1) / BLOCK);
        let words = blocks.flat_map(|(number, bits)| words(*number, bits));
        words.map(|(base, bits)| u64::from((bits & within(base, &range)).count_ones())).sum()
    }

    /// The first offset from `from` on that matches.
    pub(super) fn first(&self, from: u64) -> Option<u64> {
        let words = self.blocks.range(from / BLOCK..).flat_map(|(number, bits)| words(*number, bits));
        let mut found = words.map(|(base, bits)| (base, bits & within(base, &(from..u64::MAX))));
        found.find(|(_, bits)| *bits != 0).map(|(base, bits)| base + u64::from(bits.trailing_zeros()))
    }
}

/// The words of a block, each with the offset of its lowest bit.
fn words(number: u64, bits: &[u64; 4]) -> impl Iterator<Item = (u64, u64)> + '_ {
    (0u64..).map(move |at| number * BLOCK + at * 64).zip(bits.iter().copied())
}

/// A mask of the bits from `base` on that lie in the range.
fn within(base: u64, range: &Range<u64>) -> u64 {
    let low = range.start.saturating_sub(base).min(64);
    let high = range.end.saturating_sub(base).min(64);
    match high.saturating_sub(low) {
        0 => 0,
        bits => (u64::MAX >> (64 - bits)) << low,
    }
}

/// All tallies. The map is locked for a look-up only; a tally is locked while it counts on, so that two that look at
/// the same group do not read the same messages.
#[derive(Default)]
pub(super) struct Tallies {
    by_key: Mutex<BTreeMap<Key, Arc<Mutex<Tally>>>>,
    /// Blocks of all of them, about.
    blocks: AtomicUsize,
}

impl Tallies {
    fn of(&self, key: Key, filter: &Filter, next: u64) -> Arc<Mutex<Tally>> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Mutex::new(Tally::new(filter.clone(), next)));
        Arc::clone(by_key.entry(key).or_insert_with(new))
    }

    /// Drops the tallies that nobody needs any more, and counts the blocks of the others.
    fn tidy(&self, is_needed: impl Fn(&Key) -> bool) {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        by_key.retain(|key, _| is_needed(key));
        let sizes = by_key.values().map(|tally| match tally.try_lock() {
            Ok(tally) => tally.blocks.len(),
            Err(_) => 0,
        });
        self.blocks.store(sizes.sum(), Ordering::Relaxed);
    }
}

impl Core {
    /// Counts on from `next` towards `end` as far as the budget goes, and has `look` look at the result.
    pub(super) fn tally<T>(
        &self,
        (key, filter): (Key, &Filter),
        Range { start: next, end }: Range<u64>,
        budget: &mut Budget,
        look: impl FnOnce(&Tally) -> T,
    ) -> T {
        let tally = self.tallies.of(key, filter, next);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.follow(filter, next);
        self.count_on(&mut tally, key, end, budget);
        look(&tally)
    }

    fn count_on(&self, tally: &mut Tally, (_, topic, queue): Key, end: u64, budget: &mut Budget) {
        while tally.to < end && !budget.is_spent() {
            if self.tallies.blocks.load(Ordering::Relaxed) > BLOCKS_MAX {
                return;
            }
            let entries = self.entries(topic, queue, tally.to, CANDIDATES_MAX);
            if entries.is_empty() {
                return;
            }
            for entry in entries.iter().take_while(|entry| entry.offset < end) {
                if budget.is_spent() {
                    return;
                }
                budget.spend(&tally.filter, entry);
                let Some(matches) = self.matches(&tally.filter, entry) else { return };
                if matches {
                    let before = tally.blocks.len();
                    tally.note(entry.offset);
                    self.tallies.blocks.fetch_add(tally.blocks.len() - before, Ordering::Relaxed);
                }
                tally.to = entry.offset + 1;
            }
        }
    }

    /// Whether the filter lets the message pass; a damaged one passes, as where it is delivered. None when it cannot be
    /// read now.
    pub(super) fn matches(&self, filter: &Filter, entry: &QueueEntry) -> Option<bool> {
        if !filter.needs_attributes() {
            return filter.matches(entry.tag.as_deref(), || None);
        }
        match self.read_attributes(entry.position).ok()? {
            Some(attributes) => filter.matches(entry.tag.as_deref(), || Some(&attributes)),
            None => Some(true),
        }
    }

    /// Counts on for every filtered group.
    fn observe(&self, machine: &Machine) {
        let mut budget = Budget::for_the_observer();
        for (group_id, group) in machine.groups() {
            for subscription in group.settings.subscriptions.iter().filter(|one| !one.filter.is_all()) {
                let Some((topic_id, topic)) = machine.topic(&subscription.topic) else { continue };
                for (queue, _, end) in topic.bounds() {
                    let Some(progress) = group.progress(topic_id, queue) else { continue };
                    let span = progress.next..end;
                    let of = ((group_id, topic_id, queue), &subscription.filter);
                    let count = |slice: &mut Budget| self.tally(of, span.clone(), slice, |_| ());
                    while !span.is_empty() && budget.spend_slice(count) {}
                }
            }
        }
        self.tallies.tidy(|(group, topic, queue)| {
            let progress = machine.group_by_id(*group).and_then(|group| group.progress(*topic, *queue));
            let end = machine.queue_bounds(*topic, *queue).map_or(0, |(_, end)| end);
            progress.is_some_and(|progress| progress.next < end)
        });
    }
}

/// Runs the observer until the broker stops.
pub(super) async fn run(broker: Broker) {
    let mut rounds = broker.core.rounds_every(EVERY);
    while rounds.next().await {
        let observer = broker.clone();
        // Reads the index and the log, so it does not belong on an async thread.
        let observed =
            tokio::task::spawn_blocking(move || observer.core.observe(&observer.core.machine.snapshot()));
        if let Err(error) = observed.await {
            tracing::error!(%error, "the observer of lag failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_exactly_and_follows_the_cursor() {
        let tags = |text| Filter::parse_tags(text).unwrap();
        let mut tally = Tally::new(tags("a"), 10);
        let matching: Vec<u64> = (10..2_000).filter(|offset| offset % 7 == 3 || *offset > 1_900).collect();
        matching.iter().for_each(|offset| tally.note(*offset));
        tally.to = 2_000;
        let expected = |range: Range<u64>| matching.iter().filter(|at| range.contains(*at)).count() as u64;
        for range in [0..0, 10..2_000, 10..11, 17..18, 63..65, 64..128, 255..257, 300..1_024, 1_999..5_000] {
            assert_eq!(tally.count(range.clone()), expected(range.clone()), "{range:?}");
        }
        for from in [0, 10, 11, 255, 256, 257, 1_899, 1_999, 2_000] {
            let expected = matching.iter().copied().find(|offset| *offset >= from);
            assert_eq!(tally.first(from), expected, "from {from}");
        }
        for next in [1_000, 10] {
            tally.follow(&tags("a"), next);
            assert_eq!((tally.count(next..2_000), tally.end()), (expected(next..2_000), 2_000));
        }
        let restarted = |tally: &Tally| (tally.from, tally.end(), tally.blocks.len());
        tally.follow(&tags("a"), 3_000);
        assert_eq!(restarted(&tally), (3_000, 3_000, 0), "ahead of what was counted");
        tally.note(3_000);
        tally.to = 100_000;
        tally.follow(&tags("a"), 90_000);
        assert_eq!(restarted(&tally), (90_000 - SLACK, 100_000, 0), "what is far behind is forgotten");
        tally.note(90_000);
        tally.follow(&tags("a"), 5);
        assert_eq!(restarted(&tally), (5, 5, 0), "far back");
        tally.note(5);
        tally.follow(&tags("b"), 5);
        assert_eq!(restarted(&tally), (5, 5, 0), "another filter");
    }
}
