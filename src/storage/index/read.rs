//! Questions to the index: memory first, then sled.

use std::ops::Range;
use std::sync::PoisonError;

use crate::model::{QueueEntry, QueueNo, Timestamp, TopicId};

use super::block::{BLOCK_ENTRIES, Block, BlockKey, Lines};
use super::pins::Pins;
use super::sled_store::guarded;
use super::{Index, IndexError};

/// From which end a block is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    First,
    Last,
}

/// A block as it was found.
enum Found {
    Memory(Block),
    Disk(sled::IVec),
}

impl Found {
    fn lines(&self, key: BlockKey) -> Result<Lines<'_>, String> {
        match self {
            Found::Memory(block) => Ok(block.entries()),
            Found::Disk(value) => Lines::decode(key, value).map_err(|error| error.to_string()),
        }
    }
}

impl Index {
    /// The entries of a queue from offset `from` on, in order, at most `max`. Fewer when there are no more, or not yet;
    /// offsets that were never fed are passed over.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn entries(
        &self,
        topic: TopicId,
        queue: QueueNo,
        from: u64,
        max: usize,
    ) -> Result<Vec<QueueEntry>, IndexError> {
        let mut found = Vec::with_capacity(max.min(512));
        let mut at = BlockKey::of(topic, queue, from);
        while found.len() < max {
            let Some((key, block)) = self.block_from(at)? else { break };
            for entry in self.sound(block.lines(key))? {
                let entry = self.sound(entry.map_err(|error| error.to_string()))?;
                if entry.offset >= from && found.len() < max {
                    found.push(entry);
                }
            }
            let Some(next) = key.number.checked_add(1) else { break };
            at = key.with(next);
        }
        Ok(found)
    }

    /// The entries of a queue whose offsets are in `offsets`, from the highest down, at most `max`. Offsets that were
    /// never fed are passed over.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn entries_down(
        &self,
        topic: TopicId,
        queue: QueueNo,
        offsets: Range<u64>,
        max: usize,
    ) -> Result<Vec<QueueEntry>, IndexError> {
        let mut found = Vec::with_capacity(max.min(512));
        let lowest = BlockKey::of(topic, queue, offsets.start);
        let mut at = offsets.end.checked_sub(1).map(|last| BlockKey::of(topic, queue, last));
        while let Some(end) = at.filter(|end| *end >= lowest && found.len() < max) {
            let Some((key, block)) = self.nearest(lowest, end, Side::Last)? else { break };
            let entries: Result<Vec<QueueEntry>, _> = self.sound(block.lines(key))?.collect();
            let entries = self.sound(entries.map_err(|error| error.to_string()))?;
            let wanted = entries.into_iter().rev().filter(|entry| offsets.contains(&entry.offset));
            found.extend(wanted.take(max - found.len()));
            at = key.number.checked_sub(1).map(|number| key.with(number));
        }
        Ok(found)
    }

    /// As [`Index::entries`], but never waits for the disk: none when the first of them is not in memory, and fewer
    /// when a later one is not.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn entries_in_memory(
        &self,
        topic: TopicId,
        queue: QueueNo,
        from: u64,
        max: usize,
    ) -> Result<Option<Vec<QueueEntry>>, IndexError> {
        let mut found: Option<Vec<QueueEntry>> = None;
        let mut key = BlockKey::of(topic, queue, from);
        while found.as_ref().is_none_or(|found| found.len() < max) {
            let state = self.shared.state();
            state.check()?;
            let held = state.blocks.get(&key).filter(|held| !held.block.is_empty());
            let Some(block) = held.map(|held| held.block.clone()) else { break };
            drop(state);
            let found = found.get_or_insert_with(|| Vec::with_capacity(max.min(512)));
            for entry in block.entries() {
                let entry = self.sound(entry.map_err(|error| error.to_string()))?;
                if entry.offset >= from && found.len() < max {
                    found.push(entry);
                }
            }
            let Some(next) = key.number.checked_add(1) else { break };
            key = key.with(next);
        }
        Ok(found)
    }

    /// The first offset of a queue that became ready at or after `time`; none when there is none (yet).
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn first_at_or_after(
        &self,
        topic: TopicId,
        queue: QueueNo,
        time: Timestamp,
    ) -> Result<Option<u64>, IndexError> {
        let any = BlockKey { topic, queue, number: 0 };
        let Some(last) = self.last_block(any)? else { return Ok(None) };
        // Ready times never fall, so the first block that ends at or after `time` holds the answer. It is between
        // `low` and `high`, both included.
        let (mut low, mut high) = (0, last.number + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let Some((key, block)) = self.block_from(any.with(middle))? else {
                high = middle;
                continue;
            };
            if self.sound(block.lines(key))?.head.last_ready >= time.0 {
                high = middle;
            } else {
                low = key.number + 1;
            }
        }
        let Some((key, block)) = self.block_from(any.with(low))? else { return Ok(None) };
        for entry in self.sound(block.lines(key))? {
            let entry = self.sound(entry.map_err(|error| error.to_string()))?;
            if entry.ready_at >= time {
                return Ok(Some(entry.offset));
            }
        }
        Ok(None)
    }

    /// Entries whose TTL has run out at `now`, block by block until there are `limit` or more (at most a block more),
    /// each once; after [`Index::expired_again`] all of them again.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TopicId, QueueNo, QueueEntry)>, IndexError> {
        let mut found = Vec::new();
        let reloaded = {
            let mut state = self.shared.state();
            state.check()?;
            match state.deadlines.take_left_out(now) {
                Some(from) => state.load_deadlines(from),
                None => Ok(()),
            }
        };
        self.sound(reloaded)?;
        while found.len() < limit {
            let Some((at, key)) = self.shared.state().deadlines.pop(now) else { break };
            let Some((_, block)) = self.block_from(key)?.filter(|(there, _)| *there == key) else { continue };
            let mut next = Timestamp::MAX;
            for entry in self.sound(block.lines(key))? {
                let entry = self.sound(entry.map_err(|error| error.to_string()))?;
                if entry.expires_at > now {
                    next = next.min(entry.expires_at);
                } else if entry.expires_at >= at {
                    found.push((key.topic, key.queue, entry));
                }
            }
            self.shared.state().deadlines.note(key, next);
        }
        Ok(found)
    }

    /// Forgets what [`Index::expired`] has answered, for a new leader.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn expired_again(&self) -> Result<(), IndexError> {
        let loaded = self.shared.state().load_deadlines(Timestamp(0));
        self.sound(loaded)
    }

    /// For the messages whose bodies lie in the segments that begin within `segments`: the highest offset of each
    /// queue, of topics deleted since as well. Such a segment is needed until every group is past it.
    ///
    /// # Errors
    /// When the index is damaged, which includes a segment it should know and does not: a forgotten pin would let a
    /// message be removed that is still needed.
    pub fn pins(
        &self,
        segments: std::ops::RangeInclusive<u64>,
    ) -> Result<Vec<(TopicId, QueueNo, u64)>, IndexError> {
        // While the writer moves pins to disk they are in neither place.
        let _writing = self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Pins::default();
        let read = {
            let state = self.shared.state();
            state.check()?;
            let first = state.segment_of(*segments.start());
            let mut asked: Vec<u64> = state.segments.clone();
            asked.retain(|segment| (first..=*segments.end()).contains(segment));
            if asked.is_empty() {
                asked.push(first);
            }
            asked.into_iter().try_for_each(|segment| {
                let pins = state.pins_of(segment)?;
                let missing = || format!("the pins of the segment that begins at {segment} are missing");
                all.merge(&pins.ok_or_else(missing)?);
                Ok(())
            })
        };
        self.sound(read)?;
        Ok(all.into_rows())
    }

    /// What cannot be is damage.
    pub(super) fn sound<T>(&self, result: Result<T, String>) -> Result<T, IndexError> {
        result.map_err(|why| self.shared.damage(why))
    }

    /// The first block of the same queue at or after `key`, with its key.
    fn block_from(&self, key: BlockKey) -> Result<Option<(BlockKey, Found)>, IndexError> {
        self.nearest(key, key.with(u64::MAX), Side::First)
    }

    /// The first or the last block of a queue from `first` to `end`, both included, with its key.
    fn nearest(
        &self,
        first: BlockKey,
        end: BlockKey,
        side: Side,
    ) -> Result<Option<(BlockKey, Found)>, IndexError> {
        let best = if side == Side::First { first } else { end };
        let state = self.shared.state();
        state.check()?;
        if state.forgotten.contains(&best.topic) {
            return Ok(None);
        }
        let trees = state.trees.clone();
        // An empty block was only loaded to be filled.
        let mut held = state.blocks.range(first..=end).filter(|(_, held)| !held.block.is_empty());
        let held = if side == Side::First { held.next() } else { held.next_back() };
        let held = held.map(|(at, held)| (*at, held.block.clone()));
        drop(state);
        if let Some((at, block)) = held.as_ref().filter(|(at, _)| *at == best) {
            return Ok(Some((*at, Found::Memory(block.clone()))));
        }
        let on_disk = self.sound(guarded(|| {
            if let Some(value) = trees.blocks.get(best.bytes())? {
                return Ok(Some((sled::IVec::from(best.bytes().as_slice()), value)));
            }
            let mut rows = trees.blocks.range(first.bytes()..=end.bytes());
            if side == Side::First { rows.next() } else { rows.next_back() }.transpose()
        }))?;
        let on_disk = on_disk.and_then(|(at, value)| Some((BlockKey::from_bytes(&at)?, value)));
        let is_nearer = |held: BlockKey, disk: BlockKey| match side {
            Side::First => held <= disk,
            Side::Last => held >= disk,
        };
        Ok(match (held, on_disk) {
            (Some((at, block)), Some((disk_at, _))) if is_nearer(at, disk_at) => {
                Some((at, Found::Memory(block)))
            }
            (_, Some((at, value))) => Some((at, Found::Disk(value))),
            (Some((at, block)), None) => Some((at, Found::Memory(block))),
            (None, None) => None,
        })
    }

    /// The last block of the queue of `any`.
    fn last_block(&self, any: BlockKey) -> Result<Option<BlockKey>, IndexError> {
        let (first, end) = (any.with(0), any.with(u64::MAX / BLOCK_ENTRIES));
        let state = self.shared.state();
        state.check()?;
        if state.forgotten.contains(&any.topic) {
            return Ok(None);
        }
        let trees = state.trees.clone();
        let held = state.blocks.range(first..=end).next_back().map(|(key, _)| *key);
        drop(state);
        let on_disk =
            self.sound(guarded(|| trees.blocks.range(first.bytes()..=end.bytes()).next_back().transpose()))?;
        let on_disk = on_disk.and_then(|(key, _)| BlockKey::from_bytes(&key));
        Ok(held.max(on_disk))
    }
}
