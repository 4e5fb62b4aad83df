//! A table of idempotency keys: 32 bytes a key and a little, O(1) to clone, and cheap to go on with after a clone.
//!
//! Linear hashing (Litwin 1980): keys lie in small sorted buckets, and whenever there are too many for the buckets, one
//! bucket is split. A clone shares all buckets, and an insert copies the one it changes. How many buckets there are
//! depends on nothing but the number of keys, so equal tables are equal in every part, however they came about.

use std::sync::Arc;

use imbl::Vector;

use crate::model::{KeyHash, Position};

use super::facts::OWN_ENTRY;

/// Keys a bucket holds on average.
const LOAD: usize = 32;
/// A bucket grows by so many places: 256 bytes, which the allocator's sizes fit.
const STEP: usize = 8;
/// Where the slot ends and the index begins in a packed position.
const SLOT_BITS: u32 = 16;

/// What is kept about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The fingerprint of the request it came with.
    pub fingerprint: u64,
    /// Where its [`super::Fact::Remembered`] stands.
    pub position: Position,
}

/// The table. Keys are only added; a table is dropped as a whole.
#[derive(Clone, Debug, Default)]
pub struct KeyTable {
    buckets: Vector<Arc<Bucket>>,
    len: usize,
}

/// A key and what is kept about it. 32 bytes, and there may be millions.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: KeyHash,
    fingerprint: u64,
    /// The position: an index of 48 bits, which at 10,000 entries a second last for 890 years, and the slot.
    at: u64,
}

impl Entry {
    fn new(key: KeyHash, told: Told) -> Entry {
        let Position { index, slot } = told.position;
        Entry { key, fingerprint: told.fingerprint, at: (index << SLOT_BITS) | u64::from(slot) }
    }

    fn told(&self) -> Told {
        let index = self.at >> SLOT_BITS;
        // OWN_ENTRY is all ones, also where it is cut off.
        let index = if index == OWN_ENTRY >> SLOT_BITS { OWN_ENTRY } else { index };
        let slot = u16::try_from(self.at & u64::from(u16::MAX)).unwrap_or(u16::MAX);
        Told { fingerprint: self.fingerprint, position: Position { index, slot } }
    }
}

/// Entries in the order of their keys.
#[derive(Debug, Default)]
struct Bucket(Vec<Entry>);

impl Clone for Bucket {
    /// A bucket is cloned because something is to be added to it.
    fn clone(&self) -> Bucket {
        Bucket::of(self.0.len() + 1, self.0.iter().copied())
    }
}

impl Bucket {
    fn of(room: usize, entries: impl Iterator<Item = Entry>) -> Bucket {
        let mut all = Vec::with_capacity(room.next_multiple_of(STEP));
        all.extend(entries);
        Bucket(all)
    }

    fn find(&self, key: KeyHash) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |entry| entry.key)
    }

    /// Adds an entry; false when it only took the place of one with the same key.
    fn insert(&mut self, entry: Entry) -> bool {
        match self.find(entry.key) {
            Ok(at) => {
                if let Some(old) = self.0.get_mut(at) {
                    *old = entry;
                }
                false
            }
            Err(at) => {
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(STEP);
                }
                self.0.insert(at, entry);
                true
            }
        }
    }
}

impl KeyTable {
    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is kept about a key.
    #[must_use]
    pub fn get(&self, key: KeyHash) -> Option<Told> {
        let bucket = self.buckets.get(place(key, self.buckets.len()))?;
        let at = bucket.find(key).ok()?;
        bucket.0.get(at).map(Entry::told)
    }

    /// Adds a key; false when it was there, and is replaced.
    pub(super) fn insert(&mut self, key: KeyHash, told: Told) -> bool {
        if self.buckets.is_empty() {
            self.buckets.push_back(Arc::default());
        }
        let at = place(key, self.buckets.len());
        let Some(bucket) = self.buckets.get_mut(at) else { return false };
        let is_new = Arc::make_mut(bucket).insert(Entry::new(key, told));
        if is_new {
            self.len += 1;
            if self.len > self.buckets.len() * LOAD {
                self.split();
            }
        }
        is_new
    }

    /// Adds a bucket, and gives it its share of the only one that may hold something for it.
    fn split(&mut self) {
        let last = self.buckets.len();
        let buddy = last - (last + 1).next_power_of_two() / 2;
        let Some(whole) = self.buckets.get(buddy).map(Arc::clone) else { return };
        let moves = |entry: &&Entry| place(entry.key, last + 1) == last;
        let moving = whole.0.iter().filter(moves).count();
        let stays = Bucket::of(whole.0.len() - moving, whole.0.iter().filter(|entry| !moves(entry)).copied());
        let moved = Bucket::of(moving, whole.0.iter().filter(moves).copied());
        self.buckets.set(buddy, Arc::new(stays));
        self.buckets.push_back(Arc::new(moved));
    }

    /// All keys, in an order that follows from the keys alone.
    pub fn iter(&self) -> impl Iterator<Item = (KeyHash, Told)> + '_ {
        self.buckets.iter().flat_map(|bucket| bucket.0.iter().map(|entry| (entry.key, entry.told())))
    }
}

/// Which of `count` buckets a key belongs to: as many of its low bits as there are buckets for, one fewer where the
/// bucket is still to come.
fn place(key: KeyHash, count: usize) -> usize {
    let low = usize::try_from(key.0 & u128::from(u32::MAX)).unwrap_or(0);
    let mask = count.next_power_of_two() - 1;
    let at = low & mask;
    if at < count { at } else { at & (mask >> 1) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn told(number: u64) -> Told {
        let slot = u16::try_from(number % 50_000).unwrap();
        Told { fingerprint: number, position: Position { index: number * 3, slot } }
    }

    /// Numbers spread as hashes are (SplitMix64, twice).
    fn hash(number: u64) -> KeyHash {
        let mix = |number: u64| {
            let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            u128::from(mixed ^ (mixed >> 31))
        };
        KeyHash((mix(number) << 64) | mix(number.wrapping_add(0x9E37_79B9_7F4A_7C15)))
    }

    #[test]
    fn a_table_holds_what_a_map_holds_at_every_size() {
        let mut table = KeyTable::default();
        let mut map = BTreeMap::new();
        for number in 0..3_000 {
            assert_eq!(table.get(hash(number)), None);
            assert!(table.insert(hash(number), told(number)));
            map.insert(hash(number), told(number));
            if number % 37 == 0 {
                assert!(map.iter().all(|(key, told)| table.get(*key) == Some(*told)), "{number}");
            }
        }
        assert!(!table.insert(hash(7), told(9)), "the same key again");
        assert_eq!((table.len(), table.get(hash(7))), (3_000, Some(told(9))));
        assert!(table.buckets.len() > 80 && table.buckets.iter().all(|bucket| bucket.0.len() < 4 * LOAD));
    }

    #[test]
    fn equal_tables_are_equal_in_every_part() {
        let fill = |order: &mut dyn Iterator<Item = u64>| {
            let mut table = KeyTable::default();
            order.for_each(|number| assert!(table.insert(hash(number), told(number))));
            table
        };
        let (up, down) = (fill(&mut (0..2_000)), fill(&mut (0..2_000).rev()));
        assert!(up.iter().eq(down.iter()));
    }

    #[test]
    fn a_clone_does_not_see_what_comes_later() {
        let mut table = KeyTable::default();
        (0..500).for_each(|number| assert!(table.insert(hash(number), told(number))));
        let before = table.clone();
        (500..1_000).for_each(|number| assert!(table.insert(hash(number), told(number))));
        assert_eq!((before.len(), before.iter().count(), before.get(hash(700))), (500, 500, None));
        assert_eq!((table.len(), table.get(hash(700))), (1_000, Some(told(700))));
    }

    #[test]
    fn a_position_of_the_own_entry_stays_one() {
        let mut table = KeyTable::default();
        let own = Told { fingerprint: 1, position: Position { index: OWN_ENTRY, slot: u16::MAX } };
        table.insert(KeyHash(5), own);
        assert_eq!(table.get(KeyHash(5)), Some(own));
        assert_eq!(std::mem::size_of::<Entry>(), 32);
    }
}
