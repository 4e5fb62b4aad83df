//! Blocks of queue entries: the value under one sled key.
//!
//! A block holds the entries of 256 consecutive offsets of one queue, or those of them that are known. Its key is topic
//! (4 bytes), queue (2 bytes) and block number = offset / 256 (8 bytes), all big-endian, so that a queue's blocks are
//! neighbours in order of offset.
//!
//! | value | as ([`crate::model::wire`]) |
//! | --- | --- |
//! | version | byte, 1 |
//! | checksum | 4 bytes little-endian: CRC-32C of the key and of all that follows |
//! | first offset, count, first ready | numbers |
//! | last ready | delta to first ready |
//! | earliest deadline | number; plus 1, 0 for none |
//! | entries | one line each |
//!
//! | line | as |
//! | --- | --- |
//! | flags | byte; bit 0 offsets are missing before it, 1 its index is another than the one before, 2 expires, 3 lane, 4 lane as before, 5 tag, 6 tag as before |
//! | offset | if bit 0: delta to the one before plus 1 |
//! | index, slot | if bit 1: index as delta to the one before, slot; else the slot before plus 1 |
//! | ready | delta to the one before |
//! | expires | if bit 2: delta to ready |
//! | lane | if bit 3: fixed |
//! | body bytes | number |
//! | tag | if bit 5: text |

use std::sync::Arc;

use crate::model::wire::{DecodeError, Reader, put_count, put_delta, put_fixed, put_number, put_text};
use crate::model::{Position, QueueEntry, QueueNo, Timestamp, TopicId};

/// Offsets a block spans.
pub(super) const BLOCK_ENTRIES: u64 = 256;

const VERSION: u8 = 1;

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockKey {
    pub(super) topic: TopicId,
    pub(super) queue: QueueNo,
    pub(super) number: u64,
}

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 14;

impl BlockKey {
    /// The block that an offset belongs to.
    pub(super) fn of(topic: TopicId, queue: QueueNo, offset: u64) -> BlockKey {
        BlockKey { topic, queue, number: offset / BLOCK_ENTRIES }
    }

    pub(super) fn with(self, number: u64) -> BlockKey {
        BlockKey { number, ..self }
    }

    pub(super) fn bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        let (topic, rest) = bytes.split_at_mut(4);
        let (queue, number) = rest.split_at_mut(2);
        topic.copy_from_slice(&self.topic.0.to_be_bytes());
        queue.copy_from_slice(&self.queue.to_be_bytes());
        number.copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<BlockKey> {
        let (topic, rest) = bytes.split_first_chunk::<4>()?;
        let (queue, number) = rest.split_first_chunk::<2>()?;
        Some(BlockKey {
            topic: TopicId(u32::from_be_bytes(*topic)),
            queue: QueueNo::from_be_bytes(*queue),
            number: u64::from_be_bytes(number.try_into().ok()?),
        })
    }
}

/// The line before the next one, to which its numbers are differences.
#[derive(Clone, Debug, Default)]
struct Before {
    offset: u64,
    index: u64,
    slot: u16,
    ready: u64,
    lane: u64,
    tag: Option<Arc<str>>,
}

/// A block that entries can be added to. It keeps them as they go to disk: a few bytes each.
#[derive(Clone, Debug)]
pub(super) struct Block {
    first_offset: u64,
    first_ready: u64,
    count: u64,
    deadline: Timestamp,
    before: Before,
    lines: Vec<u8>,
}

impl Default for Block {
    fn default() -> Block {
        Block {
            first_offset: 0,
            first_ready: 0,
            count: 0,
            deadline: Timestamp::MAX,
            before: Before::default(),
            lines: Vec::new(),
        }
    }
}

const GAP: u8 = 1;
const INDEX: u8 = 1 << 1;
const EXPIRES: u8 = 1 << 2;
const LANE: u8 = 1 << 3;
const SAME_LANE: u8 = 1 << 4;
const TAG: u8 = 1 << 5;
const SAME_TAG: u8 = 1 << 6;
const KNOWN: u8 = (1 << 7) - 1;

impl Block {
    /// A block of these entries, which must be in order of offset.
    pub(super) fn of(entries: &[QueueEntry]) -> Block {
        let mut block = Block::default();
        entries.iter().for_each(|entry| block.push(entry));
        block
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= BLOCK_ENTRIES
    }

    /// The highest offset in it.
    pub(super) fn last_offset(&self) -> u64 {
        self.before.offset
    }

    /// The earliest deadline of its entries; [`Timestamp::MAX`] when none has one.
    pub(super) fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Bytes of memory it takes, about.
    pub(super) fn memory(&self) -> usize {
        self.lines.capacity() + 160
    }

    /// Adds an entry, whose offset must be above all others.
    pub(super) fn push(&mut self, entry: &QueueEntry) {
        let QueueEntry { offset, position, ready_at, expires_at, lane, tag, body_bytes } = entry;
        if self.count == 0 {
            self.first_offset = *offset;
            self.first_ready = ready_at.0;
            self.before = Before { offset: offset.wrapping_sub(1), ready: ready_at.0, ..Before::default() };
        }
        let before = &self.before;
        let flag = |there: bool, bit: u8| if there { bit } else { 0 };
        let next_offset = before.offset.wrapping_add(1);
        let gap = *offset != next_offset;
        let same_entry = position.index == before.index
            && before.slot.checked_add(1) == Some(position.slot)
            && self.count > 0;
        let expires = *expires_at != Timestamp::MAX;
        let same_lane = *lane == before.lane && self.count > 0;
        let same_tag = tag.is_some() && *tag == before.tag;
        let flags = flag(gap, GAP)
            | flag(!same_entry, INDEX)
            | flag(expires, EXPIRES)
            | flag(*lane != 0, if same_lane { SAME_LANE } else { LANE })
            | flag(tag.is_some(), if same_tag { SAME_TAG } else { TAG });
        let out = &mut self.lines;
        out.push(flags);
        if gap {
            put_delta(out, *offset, next_offset);
        }
        if !same_entry {
            put_delta(out, position.index, before.index);
            put_number(out, position.slot);
        }
        put_delta(out, ready_at.0, before.ready);
        if expires {
            put_delta(out, expires_at.0, ready_at.0);
        }
        if flags & LANE != 0 {
            put_fixed(out, *lane);
        }
        put_number(out, *body_bytes);
        if let Some(tag) = tag.as_ref().filter(|_| !same_tag) {
            put_text(out, tag);
        }
        self.count += 1;
        self.deadline = self.deadline.min(*expires_at);
        let Before { offset: last_offset, index, slot, ready, lane: last_lane, tag: last_tag } =
            &mut self.before;
        (*last_offset, *index, *slot) = (*offset, position.index, position.slot);
        (*ready, *last_lane) = (ready_at.0, *lane);
        if !same_tag {
            last_tag.clone_from(tag);
        }
    }

    /// The entries, in order of offset.
    pub(super) fn entries(&self) -> Lines<'_> {
        let head = Head {
            first_offset: self.first_offset,
            count: self.count,
            first_ready: self.first_ready,
            last_ready: self.before.ready,
        };
        Lines::new(head, Reader::new(&self.lines))
    }

    /// The block as it stands under its key.
    pub(super) fn encode(&self, key: BlockKey) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.lines.len() + 40);
        out.push(VERSION);
        out.extend_from_slice(&[0; 4]);
        put_number(&mut out, self.first_offset);
        put_count(&mut out, usize::try_from(self.count).unwrap_or(usize::MAX));
        put_number(&mut out, self.first_ready);
        put_delta(&mut out, self.before.ready, self.first_ready);
        put_number(&mut out, self.deadline.0.wrapping_add(1));
        out.extend_from_slice(&self.lines);
        let checksum = checksum(key, out.get(5..).unwrap_or_default());
        if let Some(place) = out.get_mut(1..5) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        out
    }

    /// Reads a block to add to it.
    pub(super) fn decode(key: BlockKey, value: &[u8]) -> Result<Block, DecodeError> {
        let entries = Lines::decode(key, value)?.collect::<Result<Vec<_>, _>>()?;
        Ok(Block::of(&entries))
    }
}

fn checksum(key: BlockKey, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&key.bytes()), bytes)
}

/// What a block says about its entries before the first of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    first_offset: u64,
    count: u64,
    first_ready: u64,
    /// The highest ready time in it.
    pub(super) last_ready: u64,
}

/// The entries of a block, read one by one.
pub(super) struct Lines<'a> {
    pub(super) head: Head,
    reader: Reader<'a>,
    left: u64,
    before: Before,
}

impl<'a> Lines<'a> {
    fn new(head: Head, reader: Reader<'a>) -> Lines<'a> {
        let before = Before {
            offset: head.first_offset.wrapping_sub(1),
            ready: head.first_ready,
            ..Before::default()
        };
        Lines { head, reader, left: head.count, before }
    }

    /// Checks a value and starts at its first entry.
    pub(super) fn decode(key: BlockKey, value: &'a [u8]) -> Result<Lines<'a>, DecodeError> {
        let mut reader = Reader::new(value);
        if reader.byte()? != VERSION {
            return Err(DecodeError { at: 0, what: "a block of an unknown version" });
        }
        let expected = reader.bytes(4)?;
        if checksum(key, reader.rest()).to_le_bytes() != expected {
            return Err(DecodeError { at: 1, what: "a block whose checksum is wrong" });
        }
        let first_offset = reader.number()?;
        let count = reader.number()?;
        let first_ready = reader.number()?;
        let last_ready = reader.delta(first_ready)?;
        reader.number()?;
        Ok(Lines::new(Head { first_offset, count, first_ready, last_ready }, reader))
    }

    fn line(&mut self) -> Result<QueueEntry, DecodeError> {
        let reader = &mut self.reader;
        let before = &mut self.before;
        let flags = reader.byte()?;
        if flags & !KNOWN != 0 {
            return Err(reader.error("unknown flags of a queue entry"));
        }
        before.offset = before.offset.wrapping_add(1);
        if flags & GAP != 0 {
            before.offset = reader.delta(before.offset)?;
        }
        if flags & INDEX != 0 {
            before.index = reader.delta(before.index)?;
            before.slot = reader.small()?;
        } else {
            before.slot = before.slot.wrapping_add(1);
        }
        before.ready = reader.delta(before.ready)?;
        let expires_at =
            if flags & EXPIRES == 0 { Timestamp::MAX } else { Timestamp(reader.delta(before.ready)?) };
        if flags & LANE != 0 {
            before.lane = reader.fixed()?;
        } else if flags & SAME_LANE == 0 {
            before.lane = 0;
        }
        let body_bytes = reader.small()?;
        if flags & TAG != 0 {
            before.tag = Some(reader.text()?.into());
        } else if flags & SAME_TAG == 0 {
            before.tag = None;
        }
        Ok(QueueEntry {
            offset: before.offset,
            position: Position { index: before.index, slot: before.slot },
            ready_at: Timestamp(before.ready),
            expires_at,
            lane: before.lane,
            tag: before.tag.clone(),
            body_bytes,
        })
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<QueueEntry, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let line = self.line();
        if line.is_err() {
            self.left = 0;
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> BlockKey {
        BlockKey { topic: TopicId(7), queue: 2, number: 3 }
    }

    fn any_entries() -> impl Strategy<Value = Vec<QueueEntry>> {
        let entry = (
            0u64..3,
            (0u64..3, any::<u16>()),
            0u64..5,
            proptest::option::of(any::<u64>()),
            prop_oneof![Just(0u64), Just(9), any::<u64>()],
            proptest::option::of("[ab]{1,2}"),
            any::<u32>(),
        );
        let sizes = (0u64..600, proptest::collection::vec(entry, 0..100));
        sizes.prop_map(|(start, lines)| {
            let (mut offset, mut index, mut ready) = (start, 1_000, 1_700_000_000_000);
            let mut entries = Vec::new();
            for (skip, (step, slot), later, expires, lane, tag, body_bytes) in lines {
                offset += skip;
                index += step;
                ready += later;
                entries.push(QueueEntry {
                    offset,
                    position: Position { index, slot },
                    ready_at: Timestamp(ready),
                    expires_at: expires.map_or(Timestamp::MAX, Timestamp),
                    lane,
                    tag: tag.map(Arc::from),
                    body_bytes,
                });
                offset += 1;
            }
            entries
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn a_block_reads_back(entries in any_entries(), at: proptest::sample::Index, bit in 0..8) {
            let block = Block::of(&entries);
            let own: Result<Vec<_>, _> = block.entries().collect();
            prop_assert_eq!(own.unwrap(), &entries[..]);
            let mut value = block.encode(key());
            let read: Result<Vec<_>, _> = Lines::decode(key(), &value).unwrap().collect();
            prop_assert_eq!(read.unwrap(), &entries[..]);
            prop_assert_eq!(Block::decode(key(), &value).unwrap().encode(key()), &value[..]);
            prop_assert!(Lines::decode(key().with(4), &value).is_err(), "a value under another key");
            let at = at.index(value.len());
            value[at] ^= 1u8 << bit;
            prop_assert!(Lines::decode(key(), &value).is_err(), "a flipped bit at {}", at);
        }
    }

    #[test]
    fn a_plain_entry_takes_a_handful_of_bytes() {
        let entries: Vec<QueueEntry> = (0..256u16)
            .map(|at| QueueEntry {
                offset: u64::from(at),
                position: Position { index: 1 << 40, slot: at },
                ready_at: Timestamp(1_700_000_000_000),
                expires_at: Timestamp::MAX,
                lane: 0,
                tag: Some("eu".into()),
                body_bytes: 200,
            })
            .collect();
        assert!(Block::of(&entries).encode(key()).len() < 256 * 4 + 40);
    }

    /// Written blocks must stay readable.
    #[test]
    fn the_bytes_are_frozen() {
        let entry = |offset, index, slot| QueueEntry {
            offset,
            position: Position { index, slot },
            ready_at: Timestamp(1_700_000_000_000 + offset),
            expires_at: if slot == 1 { Timestamp(1_700_000_060_000) } else { Timestamp::MAX },
            lane: u64::from(slot),
            tag: Some("eu".into()),
            body_bytes: 200,
        };
        let value = Block::of(&[entry(770, 9, 0), entry(771, 9, 1), entry(775, 10, 1)]).encode(key());
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "015e00cc0e82060382d695ffbc310ae1a499ffbc3122120000c8010265754c02ba9d070100000000000000c8015706020108b29d07c801";
}
