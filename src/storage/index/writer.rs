//! The one thread that writes sled.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::model::{QueueNo, Timestamp};

use super::Shared;
use super::block::BlockKey;
use super::keys::{self, KeyRow};
use super::mark::{self, Mark};
use super::memory::Removal;
use super::pins::Pins;
use super::sled_store::{Trees, guarded};

/// Blocks in one sled batch, encoded under one hold of the lock.
const BATCH_BLOCKS: usize = 128;
/// Keys removed in one sled batch.
const BATCH_REMOVALS: usize = 1_000;

/// What one turn writes.
struct Turn {
    trees: Trees,
    blocks: Vec<BlockKey>,
    removals: BTreeMap<Removal, u64>,
    keys: Arc<Vec<KeyRow>>,
    /// By segment, and whether a row must be there already.
    pins: BTreeMap<u64, (Pins, bool)>,
    /// The mark to make at the end, and how many asked for one.
    mark: Option<(Mark, u64)>,
    /// Whether blocks that are not full leave memory as well.
    evict_all: bool,
}

/// Writes until the index stops. Sleeps while nothing was fed.
pub(super) fn run(shared: &Shared) {
    while wait_for_work(shared) {
        let writing = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(turn) = take_turn(shared) else { continue };
        let result = catch_unwind(AssertUnwindSafe(|| write(shared, turn)));
        if let Err(why) = result.unwrap_or_else(|_| Err("the writer of the index panicked".to_owned())) {
            shared.damage(why);
        }
        drop(writing);
        shared.done.notify_all();
    }
}

/// False when the index stops.
fn wait_for_work(shared: &Shared) -> bool {
    let mut state = shared.state();
    loop {
        if state.stop {
            return false;
        }
        if state.paused || state.damaged.is_some() {
            state = Shared::wait(&shared.work, state);
            continue;
        }
        if state.has_full()
            || state.is_crowded(&shared.options)
            || state.marks_done < state.marks_wanted
            || !state.removals.is_empty()
        {
            return true;
        }
        let Some(since) = state.unmarked_since else {
            state = Shared::wait(&shared.work, state);
            continue;
        };
        let left = (since + shared.options.mark_every).saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        state = shared.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn take_turn(shared: &Shared) -> Option<Turn> {
    let mut state = shared.state();
    if state.stop || state.paused || state.damaged.is_some() {
        return None;
    }
    let is_time = state.unmarked_since.is_some_and(|since| since.elapsed() >= shared.options.mark_every);
    let marks = is_time || state.marks_done < state.marks_wanted;
    let evict_all = state.is_crowded(&shared.options);
    let mut blocks = std::mem::take(&mut state.full);
    if marks || evict_all {
        blocks =
            state.blocks.iter().filter(|(_, held)| held.dirty || evict_all).map(|(key, _)| *key).collect();
    }
    let mark = marks.then(|| {
        state.unmarked_since = None;
        let sequence = state.mark.sequence + 1;
        let mark = Mark { sequence, up_to: state.up_to, base: state.base, ..state.mark };
        (mark, state.marks_wanted)
    });
    let mut keys = Arc::default();
    if marks || evict_all || state.keys.is_full() {
        keys = state.keys.take();
    }
    let mut pins = BTreeMap::new();
    if marks {
        let taken = std::mem::take(&mut state.pins);
        pins.extend(taken.into_iter().map(|(segment, of)| (segment, (of, state.expects_row(segment)))));
    }
    Some(Turn {
        trees: state.trees.clone(),
        blocks,
        removals: std::mem::take(&mut state.removals),
        keys,
        pins,
        mark,
        evict_all,
    })
}

fn write(shared: &Shared, turn: Turn) -> Result<(), String> {
    let Turn { trees, blocks, removals, keys: rows, pins, mark, evict_all } = turn;
    for keys in blocks.chunks(BATCH_BLOCKS) {
        write_blocks(shared, &trees, keys)?;
        let mut state = shared.state();
        for key in keys {
            let leaves =
                state.blocks.get(key).is_some_and(|held| !held.dirty && (evict_all || held.block.is_full()));
            if leaves {
                state.evict(*key);
            }
        }
        drop(state);
        shared.done.notify_all();
    }
    keys::write(shared, &trees, &rows)?;
    for (removal, below) in removals {
        remove(shared, &trees, (removal, below))?;
    }
    // Whoever reads pins waits for this turn to end, so it does not matter that they are in neither place now.
    write_pins(&trees, &pins)?;
    let Some((mark, marks_wanted)) = mark else { return Ok(()) };
    trees.put_mark(&mark)?;
    mark::write(&shared.dir, &mark).map_err(|error| error.to_string())?;
    let mut state = shared.state();
    state.mark = mark;
    state.marks_done = state.marks_done.max(marks_wanted);
    Ok(())
}

fn write_blocks(shared: &Shared, trees: &Trees, keys: &[BlockKey]) -> Result<(), String> {
    let mut blocks = sled::Batch::default();
    let mut deadlines = sled::Batch::default();
    let mut with_deadlines = false;
    let mut state = shared.state();
    for key in keys {
        let Some(held) = state.blocks.get_mut(key).filter(|held| held.dirty) else { continue };
        held.dirty = false;
        blocks.insert(key.bytes().as_slice(), held.block.encode(*key));
        let deadline = held.block.deadline();
        if deadline != Timestamp::MAX {
            with_deadlines = true;
            deadlines.insert(key.bytes().as_slice(), deadline.0.to_le_bytes().as_slice());
        }
    }
    drop(state);
    guarded(|| {
        trees.blocks.apply_batch(blocks)?;
        if with_deadlines { trees.deadlines.apply_batch(deadlines) } else { Ok(()) }
    })
}

fn remove(shared: &Shared, trees: &Trees, (removal, below): (Removal, u64)) -> Result<(), String> {
    let (from, to) = match removal {
        Removal::Topic(topic) => {
            let first = BlockKey { topic, queue: 0, number: 0 };
            let end = BlockKey { topic, queue: QueueNo::MAX, number: u64::MAX };
            (first, end)
        }
        Removal::Blocks(topic, queue) => {
            let first = BlockKey { topic, queue, number: 0 };
            (first, first.with(below))
        }
        Removal::Keys => return keys::remove_below(shared, trees, below),
        Removal::Segment(first) => return Pins::remove(trees, first),
    };
    for tree in [&trees.blocks, &trees.deadlines] {
        loop {
            let mut batch = sled::Batch::default();
            let removed = guarded(|| {
                let mut removed = 0;
                for key in tree.range(from.bytes()..to.bytes()).keys().take(BATCH_REMOVALS) {
                    batch.remove(key?);
                    removed += 1;
                }
                tree.apply_batch(batch).map(|()| removed)
            })?;
            if removed < BATCH_REMOVALS {
                break;
            }
        }
    }
    if let Removal::Topic(topic) = removal {
        shared.state().forgotten.remove(&topic);
    }
    Ok(())
}

/// Adds what is known of each segment to its row.
fn write_pins(trees: &Trees, pins: &BTreeMap<u64, (Pins, bool)>) -> Result<(), String> {
    for (segment, (pins, expected)) in pins {
        let on_disk = Pins::read(trees, *segment)?;
        if on_disk.is_none() && *expected {
            return Err(format!("the pins of the segment that begins at {segment} are missing"));
        }
        let mut row = on_disk.unwrap_or_default();
        row.merge(pins);
        row.write(trees, *segment)?;
    }
    Ok(())
}
