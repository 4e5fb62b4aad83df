//! Which blocks hold something that outlives its TTL next.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Timestamp;

use super::block::BlockKey;

/// Most blocks kept in memory: 25 million messages with a TTL, about 10 MB. The later ones are left out and looked up
/// again when their time is near.
const BLOCKS_MAX: usize = 100_000;

/// For each block with deadlines, the next one that was not reported yet.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    next: BTreeMap<BlockKey, Timestamp>,
    due: BTreeSet<(Timestamp, BlockKey)>,
    /// The earliest deadline that was left out.
    left_out_from: Option<Timestamp>,
}

impl Deadlines {
    /// An entry of this block has this deadline.
    pub(super) fn note(&mut self, key: BlockKey, at: Timestamp) {
        if at == Timestamp::MAX || self.next.get(&key).is_some_and(|known| *known <= at) {
            return;
        }
        if let Some(later) = self.next.insert(key, at) {
            self.due.remove(&(later, key));
        }
        self.due.insert((at, key));
        if self.next.len() > BLOCKS_MAX
            && let Some((left_out, key)) = self.due.pop_last()
        {
            self.next.remove(&key);
            self.left_out_from = Some(self.left_out_from.map_or(left_out, |known| known.min(left_out)));
        }
    }

    /// Takes out the block whose deadline comes first, if it has come.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, BlockKey)> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (at, key) = self.due.pop_first()?;
        self.next.remove(&key);
        Some((at, key))
    }

    /// Whether blocks that were left out may be due, and from which deadline on; asked once.
    pub(super) fn take_left_out(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.left_out_from? > now { None } else { self.left_out_from.take() }
    }

    pub(super) fn forget(&mut self, gone: impl Fn(&BlockKey) -> bool) {
        self.next.retain(|key, _| !gone(key));
        self.due.retain(|(_, key)| !gone(key));
    }
}
