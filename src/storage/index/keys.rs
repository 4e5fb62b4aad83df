//! Which messages have a key: runs of (topic, hash of the key, position), each sorted, in blocks of 256.
//!
//! One sled key a message would cost more than everything else the index does. So what is fed is gathered and written
//! as a run; small runs are merged, eight of about the same size at a time, until a run is large. Asking looks once
//! into each run, and does not wait for what is being written. A row may be in two runs (after a crash, or fed twice);
//! answers hold it once.
//!
//! | block of tree `keys` | as ([`crate::model::wire`]) |
//! | --- | --- |
//! | key | run (8 bytes), then topic (4) and hash (8) of its first row, number of the block in the run (4); big-endian
//! |
//! | version | byte, 1 |
//! | checksum | 4 bytes little-endian: CRC-32C of the key and of all that follows |
//! | rows | count, each: topic as delta, hash as delta, index as delta to the row before; slot |
//!
//! | row of tree `runs` | as |
//! | --- | --- |
//! | key | run, 8 bytes big-endian |
//! | value | number of rows, highest index: fixed each; then CRC-32C of key and both, 4 bytes little-endian |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::wire::{DecodeError, Reader, put_count, put_delta, put_number};
use crate::model::{Position, TopicId};

use super::sled_store::{Trees, guarded};
use super::{Index, IndexError, Shared};

/// One key of one message.
pub(super) type KeyRow = (TopicId, u64, Position);

/// Rows of a block.
const BLOCK_ROWS: usize = 256;
/// Rows that are gathered at most before they are written; also from about here on runs are not merged any more.
const RUN_ROWS: usize = 65_536;
/// Runs of one size that are merged into one.
const MERGED_RUNS: usize = 8;
/// A run of this size class (eightfold each) is large.
const LARGE: u32 = 5;

/// A written run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    rows: u64,
    highest_index: u64,
}

impl Run {
    fn class(self) -> u32 {
        self.rows.max(1).ilog2() / 3
    }

    fn encode(self, id: u64) -> Vec<u8> {
        let mut value = self.rows.to_le_bytes().to_vec();
        value.extend_from_slice(&self.highest_index.to_le_bytes());
        let checksum = checksum(&id.to_be_bytes(), &value);
        value.extend_from_slice(&checksum.to_le_bytes());
        value
    }

    fn decode(id: u64, value: &[u8]) -> Result<Run, DecodeError> {
        let mut reader = Reader::new(value);
        let run = Run { rows: reader.fixed()?, highest_index: reader.fixed()? };
        if run.encode(id) == value { Ok(run) } else { Err(reader.error("a run whose checksum is wrong")) }
    }
}

/// What is in memory of the keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) pending: Vec<KeyRow>,
    /// What is on its way to the disk, until its run is there.
    leaving: Arc<Vec<KeyRow>>,
    runs: BTreeMap<u64, Run>,
    next_run: u64,
    /// How many runs were removed. Whoever reads runs reads again when one was removed meanwhile: it may have been
    /// merged into one that came later.
    removed: u64,
}

impl Keys {
    /// Reads which runs there are.
    pub(super) fn load(trees: &Trees) -> Result<Keys, String> {
        let mut rows = Vec::new();
        let last = guarded(|| {
            for row in &trees.runs {
                rows.push(row?);
            }
            trees.keys.last()
        })?;
        let mut keys = Keys::default();
        for (key, value) in rows {
            let id = run_of(&key).ok_or("a run without a number")?;
            keys.runs.insert(id, Run::decode(id, &value).map_err(|error| error.to_string())?);
        }
        // A crash may have left blocks of a run that was never finished; its number is not used again.
        let unfinished = last.and_then(|(key, _)| run_of(&key));
        keys.next_run = keys.runs.keys().next_back().copied().max(unfinished).map_or(0, |id| id + 1);
        Ok(keys)
    }

    pub(super) fn memory(&self) -> usize {
        self.pending.len() * size_of::<KeyRow>()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= RUN_ROWS
    }

    /// Takes what waits, to be written with [`write`]; it can be found all the time.
    pub(super) fn take(&mut self) -> Arc<Vec<KeyRow>> {
        self.leaving = Arc::new(std::mem::take(&mut self.pending));
        Arc::clone(&self.leaving)
    }

    /// Runs of one size class, enough to be merged.
    fn mergeable(&self) -> Option<Vec<u64>> {
        (0..LARGE).find_map(|class| {
            let ids: Vec<u64> =
                self.runs.iter().filter(|(_, run)| run.class() == class).map(|(id, _)| *id).collect();
            (ids.len() >= MERGED_RUNS).then_some(ids)
        })
    }
}

fn run_of(key: &[u8]) -> Option<u64> {
    key.first_chunk::<8>().copied().map(u64::from_be_bytes)
}

fn number_of(key: &[u8]) -> Option<u32> {
    key.last_chunk::<4>().copied().map(u32::from_be_bytes)
}

fn checksum(key: &[u8], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), bytes)
}

pub(super) fn block_key(run: u64, topic: TopicId, hash: u64, number: u32) -> Vec<u8> {
    let mut key = run.to_be_bytes().to_vec();
    key.extend_from_slice(&topic.0.to_be_bytes());
    key.extend_from_slice(&hash.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

const VERSION: u8 = 1;

pub(super) fn encode_block(key: &[u8], rows: &[KeyRow]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * 14 + 2);
    put_count(&mut out, rows.len());
    let mut before = (TopicId(0), 0, Position::default());
    for row in rows {
        put_delta(&mut out, row.0.0.into(), before.0.0.into());
        put_delta(&mut out, row.1, before.1);
        put_delta(&mut out, row.2.index, before.2.index);
        put_number(&mut out, row.2.slot);
        before = *row;
    }
    let mut value = vec![VERSION];
    value.extend_from_slice(&checksum(key, &out).to_le_bytes());
    value.extend_from_slice(&out);
    value
}

pub(super) fn decode_block(key: &[u8], value: &[u8]) -> Result<Vec<KeyRow>, DecodeError> {
    let mut reader = Reader::new(value);
    if reader.byte()? != VERSION {
        return Err(DecodeError { at: 0, what: "a block of keys of an unknown version" });
    }
    if reader.bytes(4)? != checksum(key, value.get(5..).unwrap_or_default()).to_le_bytes() {
        return Err(DecodeError { at: 1, what: "a block of keys whose checksum is wrong" });
    }
    let mut rows = Vec::with_capacity(reader.count(4)?);
    let (mut topic, mut hash, mut index) = (0, 0, 0);
    while !reader.rest().is_empty() {
        topic = reader.delta(topic)?;
        hash = reader.delta(hash)?;
        index = reader.delta(index)?;
        let id = u32::try_from(topic).map_err(|_| reader.error("a topic out of range"))?;
        rows.push((TopicId(id), hash, Position { index, slot: reader.small()? }));
    }
    Ok(rows)
}

/// Writes rows as a new run, then merges small runs. Called by the writer alone.
pub(super) fn write(shared: &Shared, trees: &Trees, rows: &[KeyRow]) -> Result<(), String> {
    write_run(shared, trees, rows.to_vec())?;
    shared.state().keys.leaving = Arc::default();
    loop {
        let Some(ids) = shared.state().keys.mergeable() else { return Ok(()) };
        let mut rows = Vec::new();
        for id in &ids {
            for (_, block) in blocks_of(trees, *id)? {
                rows.extend(block);
            }
        }
        write_run(shared, trees, rows)?;
        ids.into_iter().try_for_each(|id| remove_run(shared, trees, id))?;
    }
}

fn write_run(shared: &Shared, trees: &Trees, mut rows: Vec<KeyRow>) -> Result<(), String> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable();
    rows.dedup();
    let id = {
        let mut state = shared.state();
        state.keys.next_run += 1;
        state.keys.next_run - 1
    };
    let mut batch = sled::Batch::default();
    for (rows, number) in rows.chunks(BLOCK_ROWS).zip(0u32..) {
        let Some((topic, hash, _)) = rows.first() else { continue };
        let key = block_key(id, *topic, *hash, number);
        batch.insert(key.as_slice(), encode_block(&key, rows));
    }
    let highest_index = rows.iter().map(|row| row.2.index).max().unwrap_or(0);
    let run = Run { rows: rows.len() as u64, highest_index };
    guarded(|| {
        trees.keys.apply_batch(batch)?;
        trees.runs.insert(id.to_be_bytes(), run.encode(id))
    })?;
    shared.state().keys.runs.insert(id, run);
    Ok(())
}

/// A block's key and its rows.
type KeyBlock = (sled::IVec, Vec<KeyRow>);

fn blocks_of(trees: &Trees, run: u64) -> Result<Vec<KeyBlock>, String> {
    let blocks = guarded(|| trees.keys.scan_prefix(run.to_be_bytes()).collect::<Result<Vec<_>, _>>())?;
    let decode = |(key, value): (sled::IVec, sled::IVec)| {
        decode_block(&key, &value).map(|rows| (key, rows)).map_err(|error| error.to_string())
    };
    blocks.into_iter().map(decode).collect()
}

fn remove_run(shared: &Shared, trees: &Trees, id: u64) -> Result<(), String> {
    {
        let mut state = shared.state();
        state.keys.runs.remove(&id);
        state.keys.removed += 1;
    }
    guarded(|| {
        trees.runs.remove(id.to_be_bytes())?;
        let mut batch = sled::Batch::default();
        for key in trees.keys.scan_prefix(id.to_be_bytes()).keys() {
            batch.remove(key?);
        }
        trees.keys.apply_batch(batch)
    })
}

/// Removes the runs all of whose messages are below this log index.
pub(super) fn remove_below(shared: &Shared, trees: &Trees, index: u64) -> Result<(), String> {
    let ids: Vec<u64> = {
        let state = shared.state();
        state.keys.runs.iter().filter(|(_, run)| run.highest_index < index).map(|(id, _)| *id).collect()
    };
    ids.into_iter().try_for_each(|id| remove_run(shared, trees, id))
}

impl Index {
    /// Adds keys of messages: topic, hash of the key, position. To be called before [`Index::feed`] of the same log
    /// entry, whose mark covers them. Never waits; the feed that follows does.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn feed_keys(
        &self,
        keys: impl IntoIterator<Item = (TopicId, u64, Position)>,
    ) -> Result<(), IndexError> {
        let mut state = self.shared.state();
        state.check()?;
        state.keys.pending.extend(keys);
        if state.keys.is_full() {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// The messages of a topic that have a key with this hash, newest first: at most `max`, and of those before
    /// `before` when that is given. Other keys may share the hash: compare with the message. Some may be gone by now.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn positions_of_key(
        &self,
        topic: TopicId,
        hash: u64,
        before: Option<Position>,
        max: usize,
    ) -> Result<Vec<Position>, IndexError> {
        let wanted = Wanted { topic, hash, before, max };
        loop {
            let state = self.shared.state();
            state.check()?;
            let in_memory = state.keys.pending.iter().chain(state.keys.leaving.iter());
            let mut found: BTreeSet<Position> =
                in_memory.filter(|row| wanted.fits(row)).map(|row| row.2).collect();
            let (removed, runs) = (state.keys.removed, state.keys.runs.keys().copied().collect::<Vec<_>>());
            let trees = state.trees.clone();
            drop(state);
            let read = runs.into_iter().try_for_each(|run| wanted.add_from(&trees, run, &mut found));
            if self.shared.state().keys.removed != removed {
                continue;
            }
            self.sound(read)?;
            return Ok(found.into_iter().rev().take(max).collect());
        }
    }

    /// Messages below this log index are gone; runs of keys that name nothing else go.
    pub fn forget_keys_below(&self, index: u64) {
        self.shared.state().remove_later(super::memory::Removal::Keys, index);
        self.shared.work.notify_one();
    }
}

/// Which rows are asked for.
struct Wanted {
    topic: TopicId,
    hash: u64,
    before: Option<Position>,
    max: usize,
}

impl Wanted {
    fn fits(&self, row: &KeyRow) -> bool {
        (row.0, row.1) == (self.topic, self.hash) && self.before.is_none_or(|before| row.2 < before)
    }

    /// Adds the newest of one run.
    fn add_from(&self, trees: &Trees, run: u64, found: &mut BTreeSet<Position>) -> Result<(), String> {
        let from = block_key(run, TopicId(0), 0, 0);
        let to = block_key(run, self.topic, self.hash, self.end_in(trees, run)?);
        let mut left = self.max;
        // Backwards from the last block that begins at or before the key, to the first that begins before it.
        for block in trees.keys.range(from..to).rev() {
            let (key, value) = guarded(|| block)?;
            let rows = decode_block(&key, &value).map_err(|error| error.to_string())?;
            for row in rows.iter().rev().filter(|row| self.fits(row)).take(left) {
                found.insert(row.2);
                left -= 1;
            }
            let begins_before = |first: &KeyRow| (first.0, first.1) < (self.topic, self.hash);
            if left == 0 || rows.first().is_none_or(begins_before) {
                break;
            }
        }
        Ok(())
    }

    /// The number of the first block that holds nothing before `before`: one key may fill thousands of blocks, all of
    /// which begin with it.
    fn end_in(&self, trees: &Trees, run: u64) -> Result<u32, String> {
        let Some(before) = self.before else { return Ok(u32::MAX) };
        let key = |number| block_key(run, self.topic, self.hash, number);
        let mut own = trees.keys.range(key(0)..=key(u32::MAX));
        let Some((first, _)) = guarded(|| own.next().transpose())? else { return Ok(u32::MAX) };
        let last = guarded(|| own.next_back().transpose())?.map_or_else(|| first.clone(), |(last, _)| last);
        let (Some(mut low), Some(last)) = (number_of(&first), number_of(&last)) else {
            return Err("a block of keys without a number".to_owned());
        };
        let mut high = last.saturating_add(1);
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(value) = guarded(|| trees.keys.get(key(middle)))? else {
                return Err(format!("block {middle} of run {run} of keys is missing"));
            };
            let rows = decode_block(&key(middle), &value).map_err(|error| error.to_string())?;
            if rows.first().is_some_and(|first| first.2 < before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
