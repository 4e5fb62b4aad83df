//! The fields that several facts share.

use std::str::FromStr;

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::wire::{DecodeError, Reader, put_count, put_delta, put_fixed, put_number, put_text};
use crate::model::{DeadReason, GroupId, KeyHash, Place, Position, QueueNo, Timestamp, TopicId};

use super::super::cause::FailCause;

/// Settings as JSON, versioned by serde's defaults for missing fields.
pub(in crate::machine) fn put_json(out: &mut BytesMut, settings: &impl Serialize) {
    // Serialising plain structs of numbers and texts has no way to fail.
    let text = serde_json::to_string(settings).unwrap_or_default();
    put_text(out, &text);
}

/// The byte that names a kind, and the JSON of what it is.
pub(in crate::machine) fn put_kind_json(out: &mut BytesMut, kind: u8, value: &impl Serialize) {
    out.put_u8(kind);
    put_json(out, value);
}

pub(in crate::machine) fn put_place(out: &mut BytesMut, place: Place) {
    put_number(out, place.offset);
    put_number(out, place.turn);
}

pub(super) fn put_places(out: &mut BytesMut, places: &[Place]) {
    put_count(out, places.len());
    let mut before = 0;
    for place in places {
        put_delta(out, place.offset, before);
        put_number(out, place.turn);
        before = place.offset;
    }
}

/// [`super::super::OWN_ENTRY`], the highest number there is, becomes 0 and short.
pub(in crate::machine) fn put_position(out: &mut BytesMut, position: Position) {
    put_number(out, position.index.wrapping_add(1));
    put_number(out, position.slot);
}

pub(in crate::machine) fn put_positions(out: &mut BytesMut, positions: &[Position]) {
    put_count(out, positions.len());
    let mut before = 0;
    for position in positions {
        put_delta(out, position.index, before);
        put_number(out, position.slot);
        before = position.index;
    }
}

/// An idempotency key and the fingerprint of its request: three fixed, the high half of the key first.
pub(in crate::machine) fn put_key(out: &mut BytesMut, key: KeyHash, fingerprint: u64) {
    for half in [key.0 >> 64, key.0 & u128::from(u64::MAX)] {
        put_fixed(out, u64::try_from(half).unwrap_or(0));
    }
    put_fixed(out, fingerprint);
}

/// An offset where `u64::MAX` has a meaning and should be short.
pub(super) fn put_offset(out: &mut BytesMut, offset: u64) {
    put_number(out, offset.wrapping_add(1));
}

pub(in crate::machine) fn put_reason(out: &mut BytesMut, reason: DeadReason) {
    out.put_u8(match reason {
        DeadReason::MaxAttempts => 0,
        DeadReason::Rejected => 1,
        DeadReason::Expired => 2,
    });
}

pub(super) fn put_cause(out: &mut BytesMut, cause: Option<&FailCause>) {
    let (byte, words) = match cause {
        None => (0, None),
        Some(FailCause::RanOut) => (1, None),
        Some(FailCause::Broken) => (2, None),
        Some(FailCause::Nacked { reason: None }) => (3, None),
        Some(FailCause::Nacked { reason: Some(words) }) => (4, Some(words)),
        Some(FailCause::Rejected { reason: None }) => (5, None),
        Some(FailCause::Rejected { reason: Some(words) }) => (6, Some(words)),
    };
    out.put_u8(byte);
    if let Some(words) = words {
        put_text(out, words);
    }
}

pub(super) fn put_starts(out: &mut BytesMut, starts: &[(TopicId, Vec<u64>)]) {
    put_count(out, starts.len());
    for (topic, offsets) in starts {
        put_number(out, topic.0);
        put_count(out, offsets.len());
        for offset in offsets {
            put_number(out, *offset);
        }
    }
}

/// Reading of the machine's own fields.
pub(in crate::machine) trait Fields {
    fn group(&mut self) -> Result<GroupId, DecodeError>;
    fn topic(&mut self) -> Result<TopicId, DecodeError>;
    fn queue(&mut self) -> Result<QueueNo, DecodeError>;
    fn time(&mut self) -> Result<Timestamp, DecodeError>;
    fn flag(&mut self) -> Result<bool, DecodeError>;
    fn name<T: FromStr>(&mut self) -> Result<T, DecodeError>;
    fn json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError>;
    fn offset(&mut self) -> Result<u64, DecodeError>;
    fn place(&mut self) -> Result<Place, DecodeError>;
    fn places(&mut self) -> Result<Vec<Place>, DecodeError>;
    fn position(&mut self) -> Result<Position, DecodeError>;
    fn positions(&mut self) -> Result<Vec<Position>, DecodeError>;
    fn key(&mut self) -> Result<(KeyHash, u64), DecodeError>;
    fn dead_reason(&mut self) -> Result<DeadReason, DecodeError>;
    fn cause(&mut self) -> Result<Option<FailCause>, DecodeError>;
    fn starts(&mut self) -> Result<Vec<(TopicId, Vec<u64>)>, DecodeError>;
}

impl Fields for Reader<'_> {
    fn group(&mut self) -> Result<GroupId, DecodeError> {
        self.small().map(GroupId)
    }

    fn topic(&mut self) -> Result<TopicId, DecodeError> {
        self.small().map(TopicId)
    }

    fn queue(&mut self) -> Result<QueueNo, DecodeError> {
        self.small()
    }

    fn time(&mut self) -> Result<Timestamp, DecodeError> {
        self.number().map(Timestamp)
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("neither yes nor no")),
        }
    }

    fn name<T: FromStr>(&mut self) -> Result<T, DecodeError> {
        self.text()?.parse().map_err(|_| self.error("a name that is not one"))
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        serde_json::from_str(self.text()?).map_err(|_| self.error("settings that cannot be read"))
    }

    fn offset(&mut self) -> Result<u64, DecodeError> {
        Ok(self.number()?.wrapping_sub(1))
    }

    fn place(&mut self) -> Result<Place, DecodeError> {
        Ok(Place { offset: self.number()?, turn: self.small()? })
    }

    fn places(&mut self) -> Result<Vec<Place>, DecodeError> {
        let count = self.count(2)?;
        let mut before = 0;
        let mut places = Vec::with_capacity(count);
        for _ in 0..count {
            before = self.delta(before)?;
            places.push(Place { offset: before, turn: self.small()? });
        }
        Ok(places)
    }

    fn position(&mut self) -> Result<Position, DecodeError> {
        Ok(Position { index: self.number()?.wrapping_sub(1), slot: self.small()? })
    }

    fn positions(&mut self) -> Result<Vec<Position>, DecodeError> {
        let count = self.count(2)?;
        let mut before = 0;
        let mut positions = Vec::with_capacity(count);
        for _ in 0..count {
            before = self.delta(before)?;
            positions.push(Position { index: before, slot: self.small()? });
        }
        Ok(positions)
    }

    fn key(&mut self) -> Result<(KeyHash, u64), DecodeError> {
        let (high, low) = (self.fixed()?, self.fixed()?);
        Ok((KeyHash((u128::from(high) << 64) | u128::from(low)), self.fixed()?))
    }

    fn dead_reason(&mut self) -> Result<DeadReason, DecodeError> {
        match self.byte()? {
            0 => Ok(DeadReason::MaxAttempts),
            1 => Ok(DeadReason::Rejected),
            2 => Ok(DeadReason::Expired),
            _ => Err(self.error("an unknown reason of a dead letter")),
        }
    }

    fn cause(&mut self) -> Result<Option<FailCause>, DecodeError> {
        Ok(match self.byte()? {
            0 => None,
            1 => Some(FailCause::RanOut),
            2 => Some(FailCause::Broken),
            3 => Some(FailCause::Nacked { reason: None }),
            4 => Some(FailCause::Nacked { reason: Some(self.text()?.into()) }),
            5 => Some(FailCause::Rejected { reason: None }),
            6 => Some(FailCause::Rejected { reason: Some(self.text()?.into()) }),
            _ => return Err(self.error("an unknown cause of a failure")),
        })
    }

    fn starts(&mut self) -> Result<Vec<(TopicId, Vec<u64>)>, DecodeError> {
        let count = self.count(2)?;
        let mut starts = Vec::with_capacity(count);
        for _ in 0..count {
            let topic = self.topic()?;
            let queues = self.count(1)?;
            let offsets = (0..queues).map(|_| self.number()).collect::<Result<_, _>>()?;
            starts.push((topic, offsets));
        }
        Ok(starts)
    }
}
