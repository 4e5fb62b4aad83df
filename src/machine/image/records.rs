//! The records of an image that several places use.
//!
//! | progress | next, round, highest round, redrives, leased, retrying, lanes kept (byte) |
//! | --- | --- |
//! | **item** | place, flags (byte; bit 0 lane, 1 expires, 2 history), position, offset (delta to its place), ready, expires if flagged (delta to ready), lane if flagged (fixed), body bytes, round, failures, history if flagged, state, last end |
//! | **state** | byte 0 parked, 1 ready, 2 leased: nonce (fixed), until, session, client (text), 3 retrying: due |
//! | **last end** | byte 0 none, 1 ran out: nonce (fixed), 2 nacked: nonce (fixed) |
//! | **history** | first positions, last positions, total |
//! | **dead letter** | position, flags (byte; bit 0 lane, 1 history, 2 known by its offset), topic, topic name, queue, offset, lane if flagged (fixed), ready, body bytes, round, failures, reason (byte), at (delta to ready), history if flagged |

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::model::seeded::{self, SeededBug};
use crate::model::wire::{DecodeError, Reader, put_delta, put_fixed, put_number, put_text};
use crate::model::{Place, Position, Timestamp};

use super::super::codec::fields::{Fields, put_place, put_position, put_positions, put_reason};
use super::super::state::{Dead, History, Item, ItemState, LastEnd, Lease, Progress};

/// A progress without its items and ranges, and whether it keeps lanes.
pub(super) struct ProgressHead {
    pub(super) progress: Progress,
    pub(super) keeps_lanes: bool,
}

pub(super) fn put_progress(out: &mut BytesMut, part: &Progress) {
    let Progress {
        next,
        items: _,
        ready: _,
        lanes,
        redriven: _,
        beyond: _,
        void: _,
        leased,
        retrying,
        round,
        max_round,
        redrives,
    } = part;
    put_number(out, *next);
    put_number(out, *round);
    put_number(out, *max_round);
    put_number(out, *redrives);
    put_number(out, *leased);
    put_number(out, *retrying);
    out.put_u8(u8::from(!lanes.is_empty()));
}

pub(super) fn progress(reader: &mut Reader<'_>) -> Result<ProgressHead, DecodeError> {
    let progress = Progress {
        next: reader.number()?,
        round: reader.small()?,
        max_round: reader.small()?,
        redrives: reader.small()?,
        leased: reader.number()?,
        retrying: reader.number()?,
        ..Progress::default()
    };
    Ok(ProgressHead { progress, keeps_lanes: reader.flag()? })
}

fn flag(there: bool, bit: u8) -> u8 {
    if there { bit } else { 0 }
}

const ITEM_LANE: u8 = 1;
const ITEM_EXPIRES: u8 = 1 << 1;
const ITEM_HISTORY: u8 = 1 << 2;

pub(super) fn put_item(out: &mut BytesMut, place: Place, item: &Item) {
    let Item {
        position,
        offset,
        lane,
        ready_at,
        expires_at,
        body_bytes,
        round,
        failures,
        history,
        state,
        last,
    } = item;
    let expires = *expires_at != Timestamp::MAX;
    put_place(out, place);
    out.put_u8(
        flag(*lane != 0, ITEM_LANE) | flag(expires, ITEM_EXPIRES) | flag(history.is_some(), ITEM_HISTORY),
    );
    put_position(out, *position);
    put_delta(out, *offset, place.offset);
    put_number(out, ready_at.0);
    if expires {
        put_delta(out, expires_at.0, ready_at.0);
    }
    if *lane != 0 {
        put_fixed(out, *lane);
    }
    put_number(out, *body_bytes);
    put_number(out, *round);
    put_number(out, *failures);
    if let Some(history) = history {
        put_history(out, history);
    }
    put_state(out, state);
    match last {
        LastEnd::None => out.put_u8(0),
        LastEnd::RanOut { nonce } => {
            out.put_u8(1);
            put_fixed(out, *nonce);
        }
        LastEnd::Nacked { nonce } => {
            out.put_u8(2);
            put_fixed(out, *nonce);
        }
    }
}

pub(super) fn item(reader: &mut Reader<'_>) -> Result<(Place, Item), DecodeError> {
    let place = reader.place()?;
    let flags = reader.byte()?;
    if flags & !(ITEM_LANE | ITEM_EXPIRES | ITEM_HISTORY) != 0 {
        return Err(reader.error("unknown flags of an item"));
    }
    let position = reader.position()?;
    let offset = reader.delta(place.offset)?;
    let ready_at = reader.time()?;
    let expires_at =
        if flags & ITEM_EXPIRES == 0 { Timestamp::MAX } else { Timestamp(reader.delta(ready_at.0)?) };
    let lane = if flags & ITEM_LANE == 0 { 0 } else { reader.fixed()? };
    let body_bytes = reader.small()?;
    let round = reader.small()?;
    let mut failures = reader.small()?;
    if seeded::active(SeededBug::AttemptReset) {
        failures = 0;
    }
    let history = if flags & ITEM_HISTORY == 0 { None } else { Some(history(reader)?) };
    let state = state(reader)?;
    let last = match reader.byte()? {
        0 => LastEnd::None,
        1 => LastEnd::RanOut { nonce: reader.fixed()? },
        2 => LastEnd::Nacked { nonce: reader.fixed()? },
        _ => return Err(reader.error("an unknown end of a lease")),
    };
    let item = Item {
        position,
        offset,
        lane,
        ready_at,
        expires_at,
        body_bytes,
        round,
        failures,
        history,
        state,
        last,
    };
    Ok((place, item))
}

fn put_state(out: &mut BytesMut, state: &ItemState) {
    match state {
        ItemState::Parked => out.put_u8(0),
        ItemState::Ready => out.put_u8(1),
        ItemState::Leased(Lease { nonce, until, session, client }) => {
            out.put_u8(2);
            put_fixed(out, *nonce);
            put_number(out, until.0);
            put_number(out, *session);
            put_text(out, client);
        }
        ItemState::Retrying { due } => {
            out.put_u8(3);
            put_number(out, due.0);
        }
    }
}

fn state(reader: &mut Reader<'_>) -> Result<ItemState, DecodeError> {
    Ok(match reader.byte()? {
        0 => ItemState::Parked,
        1 => ItemState::Ready,
        2 => ItemState::Leased(Lease {
            nonce: reader.fixed()?,
            until: reader.time()?,
            session: reader.number()?,
            client: reader.text()?.into(),
        }),
        3 => ItemState::Retrying { due: reader.time()? },
        _ => return Err(reader.error("an unknown state of an item")),
    })
}

fn put_history(out: &mut BytesMut, history: &History) {
    let History { first, last, total } = history;
    put_positions(out, first);
    put_positions(out, last);
    put_number(out, *total);
}

fn history(reader: &mut Reader<'_>) -> Result<Arc<History>, DecodeError> {
    let first = reader.positions()?;
    let last = reader.positions()?;
    Ok(Arc::new(History { first, last, total: reader.small()? }))
}

const DEAD_LANE: u8 = 1;
const DEAD_HISTORY: u8 = 1 << 1;
const DEAD_AT_OFFSET: u8 = 1 << 2;

pub(super) fn put_dead(out: &mut BytesMut, position: Position, dead: &Dead, at_offset: bool) {
    let Dead {
        topic,
        topic_name,
        queue,
        offset,
        lane,
        ready_at,
        body_bytes,
        round,
        failures,
        reason,
        at,
        history,
    } = dead;
    put_position(out, position);
    out.put_u8(
        flag(*lane != 0, DEAD_LANE) | flag(history.is_some(), DEAD_HISTORY) | flag(at_offset, DEAD_AT_OFFSET),
    );
    put_number(out, topic.0);
    put_text(out, topic_name.as_str());
    put_number(out, *queue);
    put_number(out, *offset);
    if *lane != 0 {
        put_fixed(out, *lane);
    }
    put_number(out, ready_at.0);
    put_number(out, *body_bytes);
    put_number(out, *round);
    put_number(out, *failures);
    put_reason(out, *reason);
    put_delta(out, at.0, ready_at.0);
    if let Some(history) = history {
        put_history(out, history);
    }
}

/// The dead letter, its position, and whether it is known by its offset too.
pub(super) fn dead(reader: &mut Reader<'_>) -> Result<(Position, Dead, bool), DecodeError> {
    let position = reader.position()?;
    let flags = reader.byte()?;
    if flags & !(DEAD_LANE | DEAD_HISTORY | DEAD_AT_OFFSET) != 0 {
        return Err(reader.error("unknown flags of a dead letter"));
    }
    let topic = reader.topic()?;
    let topic_name = reader.name()?;
    let queue = reader.queue()?;
    let offset = reader.number()?;
    let lane = if flags & DEAD_LANE == 0 { 0 } else { reader.fixed()? };
    let ready_at = reader.time()?;
    let body_bytes = reader.small()?;
    let round = reader.small()?;
    let failures = reader.small()?;
    let reason = reader.dead_reason()?;
    let at = Timestamp(reader.delta(ready_at.0)?);
    let history = if flags & DEAD_HISTORY == 0 { None } else { Some(history(reader)?) };
    let dead = Dead {
        topic,
        topic_name,
        queue,
        offset,
        lane,
        ready_at,
        body_bytes,
        round,
        failures,
        reason,
        at,
        history,
    };
    Ok((position, dead, flags & DEAD_AT_OFFSET != 0))
}
