//! Counters of many objects, of which only the most interesting ones are shown by themselves.
//!
//! The rest is summed up under the name [`OTHER`]. Objects move between the two, and still no counter may ever fall: a
//! counter that falls looks like a restart, and every rate over it is nonsense. So what an object counts goes either to
//! its own series or to the sum, whichever shows it at the time, and stays there.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;

/// The name under which the objects without series of their own are summed up. No object can have it: names begin with
/// a letter or a digit.
pub const OTHER: &str = "_other";

/// The counters of one object.
#[derive(Debug)]
pub(super) struct Counters {
    /// Which ones in their table: a key whose counters were dropped gets others, with a number of their own.
    number: u64,
    counts: Box<[Count]>,
}

#[derive(Debug, Default)]
struct Count {
    /// What was counted.
    now: AtomicU64,
    /// How much of it the last scrape saw. Only scrapes touch this and the next, one at a time.
    seen: AtomicU64,
    /// How much of what was seen belongs to the object's own series.
    own: AtomicU64,
}

impl Counters {
    pub(super) fn new(width: usize) -> Counters {
        Counters::numbered(0, width)
    }

    fn numbered(number: u64, width: usize) -> Counters {
        Counters { number, counts: std::iter::repeat_with(Count::default).take(width).collect() }
    }

    /// Adds to the counter at `place`.
    pub(super) fn add(&self, place: usize, by: u64) {
        if let Some(count) = self.counts.get(place) {
            count.now.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub(super) fn read<const N: usize>(&self) -> [u64; N] {
        std::array::from_fn(|place| {
            self.counts.get(place).map_or(0, |count| count.now.load(Ordering::Relaxed))
        })
    }

    /// How much the first counter grew since the last scrape: what objects are compared by.
    fn growth(&self) -> u64 {
        let grown = |count: &Count| {
            count.now.load(Ordering::Relaxed).saturating_sub(count.seen.load(Ordering::Relaxed))
        };
        self.counts.first().map_or(0, grown)
    }

    /// Gives what was counted since the last scrape to the object's own series, or adds it to `other`.
    fn settle(&self, is_shown: bool, other: &mut [u64]) {
        for (count, hidden) in self.counts.iter().zip(other) {
            let now = count.now.load(Ordering::Relaxed);
            let grown = now.saturating_sub(count.seen.swap(now, Ordering::Relaxed));
            if is_shown {
                count.own.fetch_add(grown, Ordering::Relaxed);
            } else {
                *hidden += grown;
            }
        }
    }

    fn own(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.own.load(Ordering::Relaxed)).collect()
    }
}

/// What an object had counted at some moment, and in which counters.
#[derive(Clone, Copy, Debug)]
pub struct Reading<const N: usize> {
    number: u64,
    counts: [u64; N],
}

impl<const N: usize> Reading<N> {
    /// By how much the counters of an object grew from the reading `before` to `after`; `newest_then` is what
    /// [`Table::newest`] answered before the earlier one. None when nobody knows: they had counted before that, and
    /// nobody had read them.
    #[must_use]
    pub fn grown(
        before: Option<&Reading<N>>,
        after: Option<&Reading<N>>,
        newest_then: u64,
    ) -> Option<[u64; N]> {
        let Some(after) = after else { return Some([0; N]) };
        let known = before.filter(|before| before.number == after.number).map(|before| before.counts);
        let before = known.or((after.number > newest_then).then_some([0; N]))?;
        let grown = |(after, before): (u64, u64)| after.saturating_sub(before);
        let mut pairs = after.counts.into_iter().zip(before);
        Some(std::array::from_fn(|_| pairs.next().map_or(0, grown)))
    }
}

/// The counters of all objects of a kind, by key. An object that never counted anything has none yet.
#[derive(Debug)]
pub struct Table<K: Ord> {
    width: usize,
    rows: Mutex<OrdMap<K, Arc<Counters>>>,
    /// The number of the newest ones; the first ones have 1. Changed while `rows` is locked.
    newest: AtomicU64,
    /// What was counted by objects while they were not shown. Held during a scrape, so that there is one at a time.
    other: Mutex<Vec<u64>>,
}

/// What a scrape found in a table.
#[derive(Debug)]
pub struct Stock {
    /// The objects with series of their own: which of those asked about, in that order, and their counters.
    pub shown: Vec<(usize, Vec<u64>)>,
    /// The counters of all others; none as long as there never were any.
    pub other: Option<Vec<u64>>,
}

impl<K: Ord + Clone> Table<K> {
    /// A table of objects with `width` counters each.
    pub(super) fn new(width: usize) -> Table<K> {
        Table { width, rows: Mutex::default(), newest: AtomicU64::new(0), other: Mutex::new(vec![0; width]) }
    }

    fn rows(&self) -> MutexGuard<'_, OrdMap<K, Arc<Counters>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of an object.
    pub(super) fn row(&self, key: &K) -> Arc<Counters> {
        let mut rows = self.rows();
        if let Some(row) = rows.get(key) {
            return row.clone();
        }
        let number = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let row = Arc::new(Counters::numbered(number, self.width));
        rows.insert(key.clone(), row.clone());
        row
    }

    /// The objects that have counters at the moment.
    #[must_use]
    pub fn keys(&self) -> Vec<K> {
        let rows = self.rows().clone();
        rows.keys().cloned().collect()
    }

    /// What every object has counted since the start of the process, shown by itself or not. Each of `sums` names the
    /// counters that are added up.
    #[must_use]
    pub fn totals<const N: usize>(&self, sums: [&[usize]; N]) -> Vec<(K, [u64; N])> {
        let rows = self.rows().clone();
        let total = |row: &Counters| {
            sums.map(|places| {
                let counts = places.iter().filter_map(|place| row.counts.get(*place));
                counts.map(|count| count.now.load(Ordering::Relaxed)).sum()
            })
        };
        rows.iter().map(|(key, row)| (key.clone(), total(row))).collect()
    }

    /// The number of the newest counters: those with a higher one began at 0 after this was asked.
    #[must_use]
    pub fn newest(&self) -> u64 {
        let _no_new_ones = self.rows();
        self.newest.load(Ordering::Relaxed)
    }

    /// What an object has counted, to be compared with a later one ([`Reading::grown`]); none when it never did.
    #[must_use]
    pub fn reading<const N: usize>(&self, key: &K) -> Option<Reading<N>> {
        let row = self.rows().get(key).cloned()?;
        Some(Reading { number: row.number, counts: row.read() })
    }

    /// Drops the counters of objects that are gone.
    pub fn forget(&self, gone: impl IntoIterator<Item = K>) {
        for key in gone {
            self.rows().remove(&key);
        }
    }

    /// Reads the counters of `objects`, given as key and weight. At most `most` are shown by themselves: the ones with
    /// the highest weight, among equals those whose first counter grew most since the last scrape, then the first ones.
    #[must_use]
    pub fn take_stock(&self, objects: &[(K, u64)], most: usize) -> Stock {
        let mut other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.rows().clone();
        let shown = most_interesting(objects, &rows, most);
        let mut stock = Stock { shown: Vec::with_capacity(shown.len()), other: None };
        for (at, (key, _)) in objects.iter().enumerate() {
            let is_shown = shown.contains(&at);
            let row = rows.get(key);
            if let Some(row) = row {
                row.settle(is_shown, &mut other);
            }
            if is_shown {
                stock.shown.push((at, row.map_or_else(|| vec![0; self.width], |row| row.own())));
            }
        }
        let had_others = objects.len() > stock.shown.len() || other.iter().any(|count| *count > 0);
        stock.other = had_others.then(|| other.clone());
        stock
    }
}

/// Which of `objects` are shown by themselves.
fn most_interesting<K: Ord>(
    objects: &[(K, u64)],
    rows: &OrdMap<K, Arc<Counters>>,
    most: usize,
) -> BTreeSet<usize> {
    if objects.len() <= most {
        return (0..objects.len()).collect();
    }
    let rank = |(at, (key, weight)): (usize, &(K, u64))| {
        (Reverse(*weight), Reverse(rows.get(key).map_or(0, |row| row.growth())), at)
    };
    let mut ranks: Vec<_> = objects.iter().enumerate().map(rank).collect();
    ranks.select_nth_unstable(most);
    ranks.into_iter().take(most).map(|(_, _, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(table: &Table<u32>, key: u32, by: u64) {
        table.row(&key).add(0, by);
    }

    fn shown(stock: &Stock) -> Vec<(usize, u64)> {
        stock.shown.iter().map(|(at, counts)| (*at, counts[0])).collect()
    }

    #[test]
    fn what_never_counted_is_zero() {
        let table = Table::new(2);
        let stock = table.take_stock(&[(7, 0)], 10);
        assert_eq!((stock.shown, stock.other), (vec![(0, vec![0, 0])], None));
    }

    #[test]
    fn the_heaviest_are_shown_then_those_that_grow_then_the_first() {
        let table = Table::new(1);
        count(&table, 4, 9);
        let objects = [(1, 0), (2, 0), (3, 5), (4, 0), (5, 0)];
        let stock = table.take_stock(&objects, 3);
        assert_eq!(shown(&stock), [(0, 0), (2, 0), (3, 9)]);
        assert_eq!(stock.other, Some(vec![0]));
    }

    #[test]
    fn no_counter_falls_and_nothing_is_lost_while_objects_come_and_go() {
        let table = Table::new(1);
        let (first, second) = ([(1, 1), (2, 0)], [(1, 0), (2, 1)]);
        count(&table, 1, 10);
        count(&table, 2, 100);
        let stock = table.take_stock(&first, 1);
        assert_eq!((shown(&stock), stock.other), (vec![(0, 10)], Some(vec![100])));
        // The other one is shown now: it begins at what it counts from here on.
        count(&table, 1, 1);
        count(&table, 2, 2);
        let stock = table.take_stock(&second, 1);
        assert_eq!((shown(&stock), stock.other), (vec![(1, 2)], Some(vec![101])));
        // The first one goes on where it stopped.
        count(&table, 1, 1);
        count(&table, 2, 3);
        let stock = table.take_stock(&first, 1);
        assert_eq!((shown(&stock), stock.other), (vec![(0, 11)], Some(vec![104])));
        // Room for all: what the sum had, it keeps.
        let stock = table.take_stock(&first, 2);
        assert_eq!((shown(&stock), stock.other), (vec![(0, 11), (1, 2)], Some(vec![104])));
        assert_eq!(11 + 2 + 104, 10 + 100 + 1 + 2 + 1 + 3);
    }

    #[test]
    fn totals_are_what_was_counted_whoever_shows_it() {
        let table = Table::new(3);
        for (place, by) in [(0, 1), (1, 20), (2, 300)] {
            table.row(&7).add(place, by);
        }
        let _ = table.take_stock(&[(7, 0)], 0);
        table.row(&7).add(0, 4_000);
        count(&table, 3, 5);
        assert_eq!(table.totals([&[0, 2], &[1], &[9]]), [(3, [5, 0, 0]), (7, [4_301, 20, 0])]);
    }

    #[test]
    fn growth_is_that_of_the_same_counters_or_not_known() {
        let table = Table::new(1);
        let mut then = (table.newest(), table.reading::<1>(&7));
        let mut grown = |table: &Table<u32>| {
            let now = (table.newest(), table.reading::<1>(&7));
            let (newest_then, before) = std::mem::replace(&mut then, now);
            Reading::grown(before.as_ref(), now.1.as_ref(), newest_then)
        };
        assert_eq!(grown(&table), Some([0]), "it never counted");
        count(&table, 7, 100);
        assert_eq!(grown(&table), Some([100]), "it began since the reading before");
        count(&table, 7, 5);
        assert_eq!(grown(&table), Some([5]));
        table.forget([7]);
        count(&table, 7, 102);
        assert_eq!(grown(&table), Some([102]), "others, that began at 0");
        table.forget([7]);
        assert_eq!(grown(&table), Some([0]));
        count(&table, 7, 40);
        let (newest, found) = (table.newest(), table.reading::<1>(&7));
        assert_eq!(Reading::grown(None, found.as_ref(), newest), None, "nobody had read what was counted");
    }

    #[test]
    fn what_is_gone_takes_its_series_along_and_leaves_the_sum() {
        let table = Table::new(1);
        count(&table, 1, 10);
        count(&table, 2, 5);
        let _ = table.take_stock(&[(1, 1), (2, 0)], 1);
        assert_eq!(table.keys(), [1, 2]);
        table.forget([2]);
        let stock = table.take_stock(&[(1, 1)], 1);
        assert_eq!((shown(&stock), stock.other), (vec![(0, 10)], Some(vec![5])));
        assert_eq!(table.keys(), [1]);
    }
}
