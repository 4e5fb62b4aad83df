//! `Delivered` in the log, and the expiries it shares with `Expired`.
//!
//! | Delivered | as |
//! | --- | --- |
//! | kind | byte, 26 |
//! | group, topic, queue, from | numbers |
//! | next | delta to from |
//! | round, session | numbers |
//! | client | text |
//! | until | number |
//! | fresh | count; each: flags (byte; bit 0 message of this very entry, 1 leased, 2 has a lane, 3 expires), then the line below |
//! | again | count; each: place (offset as delta to the one before), nonce (fixed) |
//! | expired | count; each: flags (byte; bit 0 of this entry, 1 becomes a dead letter, 2 has a lane), then the line below, without expires and nonce |
//!
//! Older versions wrote kind 11, which has next as a number, and neither from nor round.
//!
//! The line of a message: offset (delta to the one before plus 1), index unless of this entry (delta to the one
//! before), slot (delta to the one before plus 1), ready (delta to the one before), expires if flagged (delta to
//! ready), lane if flagged (fixed), body bytes (number), nonce if leased (fixed). Before the first everything is 0.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::model::wire::{DecodeError, Reader, put_count, put_delta, put_fixed, put_number, put_text};
use crate::model::{Place, Position, Timestamp};

use super::super::facts::{Delivered, Expiry, Fresh, OWN_ENTRY};
use super::fields::Fields;

const OWN: u8 = 1;
/// Of a fresh message: it is leased. Of an expired one: it becomes a dead letter.
const MARK: u8 = 1 << 1;
const LANE: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;

/// The message before this one, to which the numbers of this one are differences.
#[derive(Clone, Copy, Default)]
struct Before {
    next_offset: u64,
    index: u64,
    next_slot: u64,
    ready: u64,
}

/// What a fresh message and an expired one have in common.
#[derive(Clone, Copy)]
struct Line {
    offset: u64,
    position: Position,
    ready_at: Timestamp,
    expires_at: Timestamp,
    lane: u64,
    body_bytes: u32,
}

fn put_line(out: &mut BytesMut, before: &mut Before, mark: bool, line: &Line) {
    let own = line.position.index == OWN_ENTRY;
    let expires = line.expires_at != Timestamp::MAX;
    let flag = |there: bool, bit: u8| if there { bit } else { 0 };
    out.put_u8(flag(own, OWN) | flag(mark, MARK) | flag(line.lane != 0, LANE) | flag(expires, EXPIRES));
    put_delta(out, line.offset, before.next_offset);
    if !own {
        put_delta(out, line.position.index, before.index);
        before.index = line.position.index;
    }
    put_delta(out, line.position.slot.into(), before.next_slot);
    put_delta(out, line.ready_at.0, before.ready);
    if expires {
        put_delta(out, line.expires_at.0, line.ready_at.0);
    }
    if line.lane != 0 {
        put_fixed(out, line.lane);
    }
    put_number(out, line.body_bytes);
    before.next_offset = line.offset.wrapping_add(1);
    before.next_slot = u64::from(line.position.slot) + 1;
    before.ready = line.ready_at.0;
}

fn line(reader: &mut Reader<'_>, before: &mut Before) -> Result<(bool, Line), DecodeError> {
    let flags = reader.byte()?;
    if flags & !(OWN | MARK | LANE | EXPIRES) != 0 {
        return Err(reader.error("unknown flags of a delivery"));
    }
    let offset = reader.delta(before.next_offset)?;
    let index = if flags & OWN == 0 {
        before.index = reader.delta(before.index)?;
        before.index
    } else {
        OWN_ENTRY
    };
    let slot = reader.delta(before.next_slot)?;
    let slot = u16::try_from(slot).map_err(|_| reader.error("a slot out of range"))?;
    let ready = reader.delta(before.ready)?;
    let expires_at = if flags & EXPIRES == 0 { Timestamp::MAX } else { Timestamp(reader.delta(ready)?) };
    let lane = if flags & LANE == 0 { 0 } else { reader.fixed()? };
    let body_bytes = reader.small()?;
    before.next_offset = offset.wrapping_add(1);
    before.next_slot = u64::from(slot) + 1;
    before.ready = ready;
    let position = Position { index, slot };
    let line = Line { offset, position, ready_at: Timestamp(ready), expires_at, lane, body_bytes };
    Ok((flags & MARK != 0, line))
}

/// The fewest bytes a message takes here.
const LINE_BYTES: usize = 5;

pub(super) fn put_delivered(out: &mut BytesMut, delivered: &Delivered) {
    let Delivered { group, topic, queue, from, next, round, .. } = delivered;
    let Delivered { session, client, until, fresh, again, expired, .. } = delivered;
    put_number(out, group.0);
    put_number(out, topic.0);
    put_number(out, *queue);
    put_number(out, *from);
    put_delta(out, *next, *from);
    put_number(out, *round);
    put_number(out, *session);
    put_text(out, client);
    put_number(out, until.0);
    put_count(out, fresh.len());
    let mut before = Before::default();
    for message in fresh {
        let &Fresh { offset, position, ready_at, expires_at, lane, body_bytes, nonce } = message;
        let line = Line { offset, position, ready_at, expires_at, lane, body_bytes };
        put_line(out, &mut before, nonce.is_some(), &line);
        if let Some(nonce) = nonce {
            put_fixed(out, nonce);
        }
    }
    put_count(out, again.len());
    let mut offset_before = 0;
    for (place, nonce) in again {
        put_delta(out, place.offset, offset_before);
        put_number(out, place.turn);
        put_fixed(out, *nonce);
        offset_before = place.offset;
    }
    put_expiries(out, expired);
}

pub(super) fn put_expiries(out: &mut BytesMut, expiries: &[Expiry]) {
    put_count(out, expiries.len());
    let mut before = Before::default();
    for expiry in expiries {
        let &Expiry { offset, position, lane, ready_at, body_bytes, dead } = expiry;
        let line = Line { offset, position, ready_at, expires_at: Timestamp::MAX, lane, body_bytes };
        put_line(out, &mut before, dead, &line);
    }
}

pub(super) fn delivered(reader: &mut Reader<'_>) -> Result<Delivered, DecodeError> {
    let group = reader.group()?;
    let topic = reader.topic()?;
    let queue = reader.queue()?;
    let from = reader.number()?;
    let next = reader.delta(from)?;
    let round = reader.small()?;
    let session = reader.number()?;
    let client = Arc::from(reader.text()?);
    let until = reader.time()?;
    let fresh = fresh(reader)?;
    let again = again(reader)?;
    let expired = expiries(reader)?;
    Ok(Delivered { group, topic, queue, from, next, round, session, client, until, fresh, again, expired })
}

/// What older versions wrote: where the look began and the round are not in it.
pub(super) fn delivered_before(reader: &mut Reader<'_>) -> Result<Delivered, DecodeError> {
    let group = reader.group()?;
    let topic = reader.topic()?;
    let queue = reader.queue()?;
    let next = reader.number()?;
    let session = reader.number()?;
    let client = Arc::from(reader.text()?);
    let until = reader.time()?;
    let fresh = fresh(reader)?;
    let again = again(reader)?;
    let expired = expiries(reader)?;
    let listed = fresh.iter().map(|fresh| fresh.offset).chain(expired.iter().map(|expiry| expiry.offset));
    let from = listed.min().unwrap_or(next);
    Ok(Delivered { group, topic, queue, from, next, round: 0, session, client, until, fresh, again, expired })
}

fn fresh(reader: &mut Reader<'_>) -> Result<Vec<Fresh>, DecodeError> {
    let count = reader.count(LINE_BYTES)?;
    let mut messages = Vec::with_capacity(count);
    let mut before = Before::default();
    for _ in 0..count {
        let (leased, line) = line(reader, &mut before)?;
        let nonce = if leased { Some(reader.fixed()?) } else { None };
        let Line { offset, position, ready_at, expires_at, lane, body_bytes } = line;
        messages.push(Fresh { offset, position, ready_at, expires_at, lane, body_bytes, nonce });
    }
    Ok(messages)
}

fn again(reader: &mut Reader<'_>) -> Result<Vec<(Place, u64)>, DecodeError> {
    let count = reader.count(10)?;
    let mut messages = Vec::with_capacity(count);
    let mut offset = 0;
    for _ in 0..count {
        offset = reader.delta(offset)?;
        let place = Place { offset, turn: reader.small()? };
        messages.push((place, reader.fixed()?));
    }
    Ok(messages)
}

pub(super) fn expiries(reader: &mut Reader<'_>) -> Result<Vec<Expiry>, DecodeError> {
    let count = reader.count(LINE_BYTES)?;
    let mut messages = Vec::with_capacity(count);
    let mut before = Before::default();
    for _ in 0..count {
        let (dead, line) = line(reader, &mut before)?;
        if line.expires_at != Timestamp::MAX {
            return Err(reader.error("unknown flags of an expiry"));
        }
        let Line { offset, position, ready_at, lane, body_bytes, .. } = line;
        messages.push(Expiry { offset, position, lane, ready_at, body_bytes, dead });
    }
    Ok(messages)
}
