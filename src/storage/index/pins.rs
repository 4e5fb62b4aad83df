//! What pins a segment of the log: for the messages in it, the highest offset of each queue. One row a segment, written
//! even when it is empty, so that a lost row is noticed and never taken for "nothing".
//!
//! | row | as ([`crate::model::wire`]) |
//! | --- | --- |
//! | version | byte, 1 |
//! | checksum | 4 bytes little-endian: CRC-32C of the segment's first index (8 bytes, big-endian) and of all that follows |
//! | pins | count, each: topic as delta to the one before, queue, highest offset; in order |

use std::collections::BTreeMap;

use crate::model::wire::{DecodeError, Reader, put_count, put_delta, put_number};
use crate::model::{QueueNo, TopicId};

use super::sled_store::{Trees, guarded};

const VERSION: u8 = 1;

/// The pins of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pins(BTreeMap<(TopicId, QueueNo), u64>);

impl Pins {
    pub(super) fn note(&mut self, topic: TopicId, queue: QueueNo, offset: u64) {
        let highest = self.0.entry((topic, queue)).or_insert(offset);
        *highest = (*highest).max(offset);
    }

    pub(super) fn merge(&mut self, other: &Pins) {
        for ((topic, queue), offset) in &other.0 {
            self.note(*topic, *queue, *offset);
        }
    }

    pub(super) fn forget(&mut self, topic: TopicId) {
        self.0.retain(|(of, _), _| *of != topic);
    }

    pub(super) fn into_rows(self) -> Vec<(TopicId, QueueNo, u64)> {
        self.0.into_iter().map(|((topic, queue), offset)| (topic, queue, offset)).collect()
    }

    /// The row of a segment, if there is one.
    pub(super) fn read(trees: &Trees, segment: u64) -> Result<Option<Pins>, String> {
        let Some(row) = guarded(|| trees.pins.get(segment.to_be_bytes()))? else { return Ok(None) };
        Pins::decode(segment, &row).map(Some).map_err(|error| error.to_string())
    }

    pub(super) fn write(&self, trees: &Trees, segment: u64) -> Result<(), String> {
        guarded(|| trees.pins.insert(segment.to_be_bytes(), self.encode(segment)).map(|_| ()))
    }

    pub(super) fn remove(trees: &Trees, segment: u64) -> Result<(), String> {
        guarded(|| trees.pins.remove(segment.to_be_bytes()).map(|_| ()))
    }

    fn encode(&self, segment: u64) -> Vec<u8> {
        let mut pins = Vec::with_capacity(8 + self.0.len() * 8);
        put_count(&mut pins, self.0.len());
        let mut before = 0;
        for ((topic, queue), offset) in &self.0 {
            put_delta(&mut pins, topic.0.into(), before);
            put_number(&mut pins, *queue);
            put_number(&mut pins, *offset);
            before = topic.0.into();
        }
        let mut row = vec![VERSION];
        row.extend_from_slice(&checksum(segment, &pins).to_le_bytes());
        row.extend_from_slice(&pins);
        row
    }

    fn decode(segment: u64, row: &[u8]) -> Result<Pins, DecodeError> {
        let mut reader = Reader::new(row);
        if reader.byte()? != VERSION {
            return Err(DecodeError { at: 0, what: "pins of an unknown version" });
        }
        if reader.bytes(4)? != checksum(segment, row.get(5..).unwrap_or_default()).to_le_bytes() {
            return Err(DecodeError { at: 1, what: "pins whose checksum is wrong" });
        }
        let mut pins = Pins::default();
        let mut topic = 0;
        for _ in 0..reader.count(3)? {
            topic = reader.delta(topic)?;
            let id = u32::try_from(topic).map_err(|_| reader.error("a topic out of range"))?;
            pins.note(TopicId(id), reader.small()?, reader.number()?);
        }
        reader.finish()?;
        Ok(pins)
    }
}

fn checksum(segment: u64, pins: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_be_bytes()), pins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_and_every_flipped_bit_is_noticed() {
        let mut pins = Pins::default();
        for (topic, queue, offset) in
            [(1, 0, 5), (1, 1, 9), (900, 255, u64::MAX), (u32::MAX, 0, 0), (1, 0, 3)]
        {
            pins.note(TopicId(topic), queue, offset);
        }
        let row = pins.encode(77);
        assert_eq!(Pins::decode(77, &row), Ok(pins));
        assert!(Pins::decode(78, &row).is_err());
        for bit in 0..row.len() * 8 {
            let mut wrong = row.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(Pins::decode(77, &wrong).is_err(), "bit {bit}");
        }
    }
}
