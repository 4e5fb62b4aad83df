//! What the index holds in memory: blocks on their way to sled, and what is known besides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use crate::model::{QueueEntry, QueueNo, Timestamp, TopicId};

use super::block::{Block, BlockKey};
use super::deadlines::Deadlines;
use super::keys::Keys;
use super::mark::Mark;
use super::pins::Pins;
use super::sled_store::{self, Trees, guarded};
use super::{IndexError, IndexOptions};

/// A block in memory. While it is here it is newer than, or the same as, the one on disk.
#[derive(Debug)]
pub(super) struct MemoryBlock {
    pub(super) block: Block,
    pub(super) dirty: bool,
}

/// What the writer still has to remove on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Removal {
    Topic(TopicId),
    /// Blocks of a queue, below a number.
    Blocks(TopicId, QueueNo),
    Segment(u64),
    /// Runs of keys, below a log index.
    Keys,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) trees: Trees,
    /// The last mark.
    pub(super) mark: Mark,
    pub(super) blocks: BTreeMap<BlockKey, MemoryBlock>,
    /// Blocks that became full and can be written for good.
    pub(super) full: Vec<BlockKey>,
    /// Bytes that `blocks` takes.
    pub(super) bytes: usize,
    pub(super) up_to: u64,
    pub(super) base: u64,
    /// Since when something waits for a mark.
    pub(super) unmarked_since: Option<Instant>,
    /// First indexes of the log's segments, ascending.
    pub(super) segments: Vec<u64>,
    /// By segment, what is not on disk yet.
    pub(super) pins: BTreeMap<u64, Pins>,
    /// The mark that was there at opening covers the rows of segments up to here.
    pub(super) rows_up_to: Option<u64>,
    pub(super) deadlines: Deadlines,
    pub(super) keys: Keys,
    /// Each once, with the highest number below which things go, so that they do not pile up while writing is paused.
    pub(super) removals: BTreeMap<Removal, u64>,
    pub(super) forgotten: BTreeSet<TopicId>,
    pub(super) marks_wanted: u64,
    pub(super) marks_done: u64,
    pub(super) paused: bool,
    pub(super) stop: bool,
    pub(super) damaged: Option<String>,
}

/// Full blocks are written once so many wait.
const FULL_BLOCKS: usize = 64;

impl State {
    /// The state over a sled just opened.
    pub(super) fn new(trees: Trees, mark: Mark) -> Result<State, String> {
        let mut state = State {
            keys: Keys::load(&trees)?,
            trees,
            mark,
            blocks: BTreeMap::new(),
            full: Vec::new(),
            bytes: 0,
            up_to: mark.up_to,
            base: mark.base,
            unmarked_since: None,
            segments: Vec::new(),
            pins: BTreeMap::new(),
            rows_up_to: (mark.sequence > 0).then_some(mark.up_to),
            deadlines: Deadlines::default(),
            removals: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            marks_wanted: 0,
            marks_done: 0,
            paused: false,
            stop: false,
            damaged: None,
        };
        state.load_deadlines(Timestamp(0))?;
        Ok(state)
    }

    /// The state over a new, empty sled.
    pub(super) fn empty(dir: &Path, options: &IndexOptions) -> Result<State, IndexError> {
        let (trees, mark) = sled_store::make(dir, options)?;
        State::new(trees, mark).map_err(IndexError::Directory)
    }

    /// Whether more may be added; always when nothing is answered any more.
    pub(super) fn has_room(&self, options: &IndexOptions) -> bool {
        let most = if self.paused { options.paused_bytes } else { options.pending_bytes };
        self.memory() <= most || self.stop || self.damaged.is_some()
    }

    /// Whether more is added at once: there is room, or waiting for some would be in vain.
    pub(super) fn takes_more(&self, options: &IndexOptions) -> bool {
        self.paused || self.has_room(options)
    }

    /// Has the writer remove something, as far as `below`.
    pub(super) fn remove_later(&mut self, what: Removal, below: u64) {
        let known = self.removals.entry(what).or_insert(below);
        *known = below.max(*known);
    }

    pub(super) fn check(&self) -> Result<(), IndexError> {
        self.damaged.as_ref().map_or(Ok(()), |why| Err(IndexError::Damaged(why.clone())))
    }

    /// Notes the earliest deadline of every block that has one at or after `from`.
    pub(super) fn load_deadlines(&mut self, from: Timestamp) -> Result<(), String> {
        let deadlines = &mut self.deadlines;
        let tree = &self.trees.deadlines;
        guarded(|| {
            for row in tree {
                let (key, value) = row?;
                let at = value.as_ref().try_into().map(u64::from_le_bytes);
                if let (Some(key), Ok(at)) = (BlockKey::from_bytes(&key), at)
                    && at >= from.0
                {
                    deadlines.note(key, Timestamp(at));
                }
            }
            Ok(())
        })?;
        for (key, held) in &self.blocks {
            if held.block.deadline() >= from {
                deadlines.note(*key, held.block.deadline());
            }
        }
        Ok(())
    }

    /// Whether the writer has something to do now.
    pub(super) fn needs_writer(&mut self, options: &IndexOptions) -> bool {
        let first = self.unmarked_since.is_none();
        if first {
            self.unmarked_since = Some(Instant::now());
        }
        first || self.has_full() || self.is_crowded(options)
    }

    pub(super) fn has_full(&self) -> bool {
        self.full.len() >= FULL_BLOCKS || self.keys.is_full()
    }

    /// Bytes of memory that wait for the disk.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.keys.memory()
    }

    pub(super) fn is_crowded(&self, options: &IndexOptions) -> bool {
        self.memory() > options.pending_bytes / 2
    }

    pub(super) fn add(
        &mut self,
        entries: impl IntoIterator<Item = (TopicId, QueueNo, QueueEntry)>,
    ) -> Result<(), String> {
        // Entries that do not come last in their block: each block is taken apart once a call.
        let mut inner: BTreeMap<BlockKey, Vec<QueueEntry>> = BTreeMap::new();
        for (topic, queue, entry) in entries {
            let key = BlockKey::of(topic, queue, entry.offset);
            self.pin(topic, queue, &entry);
            self.deadlines.note(key, entry.expires_at);
            if let Some(waiting) = inner.get_mut(&key) {
                waiting.push(entry);
            } else if let Some(entry) = self.append(key, entry)? {
                inner.insert(key, vec![entry]);
            }
        }
        for (key, entries) in inner {
            self.merge(key, entries)?;
        }
        Ok(())
    }

    /// Adds the entry if it comes last in its block, else gives it back.
    fn append(&mut self, key: BlockKey, entry: QueueEntry) -> Result<Option<QueueEntry>, String> {
        if !self.blocks.contains_key(&key) {
            self.load(key)?;
        }
        let Some(held) = self.blocks.get_mut(&key) else { return Ok(Some(entry)) };
        if !held.block.is_empty() && entry.offset <= held.block.last_offset() {
            return Ok(Some(entry));
        }
        let before = held.block.memory();
        held.block.push(&entry);
        held.dirty = true;
        self.bytes = self.bytes + held.block.memory() - before;
        if held.block.is_full() {
            self.full.push(key);
        }
        Ok(None)
    }

    /// Brings a block into memory, as it is on disk, or empty.
    fn load(&mut self, key: BlockKey) -> Result<(), String> {
        let value = guarded(|| self.trees.blocks.get(key.bytes()))?;
        let block = match value {
            Some(value) => Block::decode(key, &value).map_err(|error| error.to_string())?,
            None => Block::default(),
        };
        self.bytes += block.memory();
        self.blocks.insert(key, MemoryBlock { block, dirty: false });
        Ok(())
    }

    /// Puts entries between others; those with a known offset replace what was there.
    fn merge(&mut self, key: BlockKey, entries: Vec<QueueEntry>) -> Result<(), String> {
        let Some(held) = self.blocks.get_mut(&key) else { return Ok(()) };
        let mut all: BTreeMap<u64, QueueEntry> = BTreeMap::new();
        for entry in held.block.entries() {
            let entry = entry.map_err(|error| error.to_string())?;
            all.insert(entry.offset, entry);
        }
        let mut changed = false;
        for entry in entries {
            changed |= all.get(&entry.offset) != Some(&entry);
            all.insert(entry.offset, entry);
        }
        if changed {
            let all: Vec<QueueEntry> = all.into_values().collect();
            let before = held.block.memory();
            held.block = Block::of(&all);
            held.dirty = true;
            self.bytes = (self.bytes + held.block.memory()).saturating_sub(before);
            if held.block.is_full() {
                self.full.push(key);
            }
        }
        Ok(())
    }

    fn pin(&mut self, topic: TopicId, queue: QueueNo, entry: &QueueEntry) {
        let segment = self.segment_of(entry.position.index);
        self.pins.entry(segment).or_default().note(topic, queue, entry.offset);
    }

    /// A segment begins at this index.
    pub(super) fn segment_started(&mut self, first: u64) -> Result<(), String> {
        let Err(place) = self.segments.binary_search(&first) else { return Ok(()) };
        let before = place.checked_sub(1).and_then(|at| self.segments.get(at)).copied().unwrap_or(0);
        self.segments.insert(place, first);
        if self.rows_up_to.is_some_and(|up_to| first <= up_to) {
            return Ok(());
        }
        let mut pins = Pins::default();
        if first <= self.up_to {
            // Told late: entries of this segment stand under the one before. Too many pins are safe, too few are not.
            pins = self.pins_of(before)?.unwrap_or_default();
        }
        self.pins.entry(first).or_default().merge(&pins);
        Ok(())
    }

    /// The pins of a segment, from memory and disk together; none when there is no row although there should be.
    pub(super) fn pins_of(&self, segment: u64) -> Result<Option<Pins>, String> {
        let held = self.pins.get(&segment);
        let on_disk = Pins::read(&self.trees, segment)?;
        if on_disk.is_none() && (held.is_none() || self.expects_row(segment)) && segment != 0 {
            return Ok(None);
        }
        let mut pins = on_disk.unwrap_or_default();
        if let Some(held) = held {
            pins.merge(held);
        }
        Ok(Some(pins))
    }

    /// Whether this segment's row must be on disk.
    pub(super) fn expects_row(&self, segment: u64) -> bool {
        segment != 0 && self.rows_up_to.is_some_and(|up_to| segment <= up_to)
    }

    /// A segment is gone.
    pub(super) fn segment_gone(&mut self, first: u64) {
        self.segments.retain(|known| *known != first);
        self.pins.remove(&first);
        self.remove_later(Removal::Segment(first), 0);
    }

    /// The first index of the segment that holds this index; 0 when it is before all that are known.
    pub(super) fn segment_of(&self, index: u64) -> u64 {
        match self.segments.last() {
            Some(last) if *last <= index => *last,
            _ => {
                let before = self.segments.partition_point(|first| *first <= index);
                before.checked_sub(1).and_then(|at| self.segments.get(at)).copied().unwrap_or(0)
            }
        }
    }

    /// Removes a block from memory.
    pub(super) fn evict(&mut self, key: BlockKey) {
        if let Some(gone) = self.blocks.remove(&key) {
            self.bytes = self.bytes.saturating_sub(gone.block.memory());
        }
    }

    pub(super) fn forget_topic(&mut self, topic: TopicId) {
        let gone: Vec<BlockKey> = self.blocks.keys().filter(|key| key.topic == topic).copied().collect();
        gone.into_iter().for_each(|key| self.evict(key));
        self.full.retain(|key| key.topic != topic);
        self.pins.values_mut().for_each(|pins| pins.forget(topic));
        self.deadlines.forget(|key| key.topic == topic);
        self.forgotten.insert(topic);
        self.remove_later(Removal::Topic(topic), 0);
    }

    pub(super) fn forget_below(&mut self, topic: TopicId, queue: QueueNo, offset: u64) {
        let end = BlockKey::of(topic, queue, offset);
        let gone: Vec<BlockKey> = self.blocks.range(end.with(0)..end).map(|(key, _)| *key).collect();
        gone.into_iter().for_each(|key| self.evict(key));
        self.full.retain(|key| !(end.with(0)..end).contains(key));
        self.deadlines.forget(|key| (end.with(0)..end).contains(key));
        self.remove_later(Removal::Blocks(topic, queue), end.number);
    }
}
