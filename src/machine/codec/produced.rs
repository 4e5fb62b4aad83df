//! Messages in the log: `Produced` and `ScheduleDue`.
//!
//! | Produced | as |
//! | --- | --- |
//! | kind | byte, 9 |
//! | topic, queue | numbers |
//! | flags | number; bit 0 scheduled, 1 has a TTL, 2 content type, 3 content encoding, 4 tag, 5 ordering key, 6 keys, 7 properties, 8 traceparent, 9 tracestate |
//! | offset, or due | number; due when scheduled |
//! | TTL | number, if flagged |
//! | the flagged texts | in the order of the flags; keys: count, texts; properties: count, name and value in order of names |
//! | body | all that is left |
//!
//! | entry of ScheduleDue | as |
//! | --- | --- |
//! | flags | byte; bit 0 tag, 1 lane, 2 expires |
//! | offset | number |
//! | position | index, slot |
//! | ready | number |
//! | expires | delta to ready, if flagged; never when not |
//! | lane | fixed, if flagged; 0 when not |
//! | body bytes | number |
//! | tag | text, if flagged |

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::wire::{DecodeError, Reader, put_count, put_delta, put_fixed, put_number, put_text};
use crate::model::{Attributes, Message, Millis, Position, QueueEntry, QueueNo, Timestamp, TopicId};

use super::super::facts::{Produced, ProducedAs, ScheduleDue};
use super::fields::{Fields, put_position};
use super::kind;

const SCHEDULED: u16 = 1;
const TTL: u16 = 1 << 1;
const CONTENT_TYPE: u16 = 1 << 2;
const CONTENT_ENCODING: u16 = 1 << 3;
const TAG: u16 = 1 << 4;
const ORDERING_KEY: u16 = 1 << 5;
const KEYS: u16 = 1 << 6;
const PROPERTIES: u16 = 1 << 7;
const TRACEPARENT: u16 = 1 << 8;
const TRACESTATE: u16 = 1 << 9;
const KNOWN: u16 = (1 << 10) - 1;

/// What the log says about a message besides the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedMeta {
    /// Its topic.
    pub topic: TopicId,
    /// Its queue.
    pub queue: QueueNo,
    /// Ready at once, or later.
    pub state: ProducedAs,
    /// Time to live; none: for ever.
    pub ttl_ms: Option<Millis>,
}

fn flags_of(produced: &Produced) -> u16 {
    let attributes = &produced.message.attributes;
    let flag = |there: bool, bit: u16| if there { bit } else { 0 };
    flag(matches!(produced.state, ProducedAs::Scheduled { .. }), SCHEDULED)
        | flag(produced.ttl_ms.is_some(), TTL)
        | flag(attributes.content_type.is_some(), CONTENT_TYPE)
        | flag(attributes.content_encoding.is_some(), CONTENT_ENCODING)
        | flag(attributes.tag.is_some(), TAG)
        | flag(attributes.ordering_key.is_some(), ORDERING_KEY)
        | flag(!attributes.keys.is_empty(), KEYS)
        | flag(!attributes.properties.is_empty(), PROPERTIES)
        | flag(attributes.traceparent.is_some(), TRACEPARENT)
        | flag(attributes.tracestate.is_some(), TRACESTATE)
}

pub(super) fn put_produced(out: &mut BytesMut, produced: &Produced) {
    put_number(out, produced.topic.0);
    put_number(out, produced.queue);
    put_number(out, flags_of(produced));
    match produced.state {
        ProducedAs::Ready { offset } => put_number(out, offset),
        ProducedAs::Scheduled { due } => put_number(out, due.0),
    }
    if let Some(ttl_ms) = produced.ttl_ms {
        put_number(out, ttl_ms);
    }
    put_attributes(out, &produced.message.attributes);
    out.put_slice(&produced.message.body);
}

fn put_attributes(out: &mut BytesMut, attributes: &Attributes) {
    let Attributes {
        content_type,
        content_encoding,
        tag,
        ordering_key,
        keys,
        properties,
        traceparent,
        tracestate,
    } = attributes;
    for text in [content_type, content_encoding, tag, ordering_key].into_iter().flatten() {
        put_text(out, text);
    }
    if !keys.is_empty() {
        put_count(out, keys.len());
        keys.iter().for_each(|key| put_text(out, key));
    }
    if !properties.is_empty() {
        put_count(out, properties.len());
        for (name, value) in properties {
            put_text(out, name);
            put_text(out, value);
        }
    }
    for text in [traceparent, tracestate].into_iter().flatten() {
        put_text(out, text);
    }
}

/// Reads the part of a `Produced` fact: the message, its body a slice of `part`, and what the log says about it.
///
/// # Errors
/// When the part is not that of a message.
pub fn decode_message(part: &Bytes) -> Result<(Message, ProducedMeta), DecodeError> {
    let mut reader = Reader::new(part);
    if reader.byte()? != kind::PRODUCED {
        return Err(DecodeError { at: 0, what: "a fact that is not a message" });
    }
    let topic = reader.topic()?;
    let queue = reader.queue()?;
    let flags: u16 = reader.small()?;
    if flags & !KNOWN != 0 {
        return Err(reader.error("unknown flags of a message"));
    }
    let when = reader.number()?;
    let state = if flags & SCHEDULED == 0 {
        ProducedAs::Ready { offset: when }
    } else {
        ProducedAs::Scheduled { due: Timestamp(when) }
    };
    let ttl_ms = if flags & TTL == 0 { None } else { Some(reader.number()?) };
    let attributes = attributes(&mut reader, flags)?;
    let body = part.slice(reader.at()..);
    Ok((Message { body, attributes }, ProducedMeta { topic, queue, state, ttl_ms }))
}

fn attributes(reader: &mut Reader<'_>, flags: u16) -> Result<Attributes, DecodeError> {
    fn optional(reader: &mut Reader<'_>, there: u16) -> Result<Option<Box<str>>, DecodeError> {
        if there == 0 { Ok(None) } else { reader.text().map(|text| Some(text.into())) }
    }
    let mut attributes = Attributes {
        content_type: optional(reader, flags & CONTENT_TYPE)?,
        content_encoding: optional(reader, flags & CONTENT_ENCODING)?,
        tag: optional(reader, flags & TAG)?,
        ordering_key: optional(reader, flags & ORDERING_KEY)?,
        ..Attributes::default()
    };
    if flags & KEYS != 0 {
        let count = reader.count(1)?;
        attributes.keys = (0..count).map(|_| reader.text().map(Box::from)).collect::<Result<_, _>>()?;
    }
    if flags & PROPERTIES != 0 {
        for _ in 0..reader.count(2)? {
            let name: Box<str> = reader.text()?.into();
            let value: Box<str> = reader.text()?.into();
            if attributes.properties.insert(name, value).is_some() {
                return Err(reader.error("a property that is there twice"));
            }
        }
    }
    attributes.traceparent = optional(reader, flags & TRACEPARENT)?;
    attributes.tracestate = optional(reader, flags & TRACESTATE)?;
    Ok(attributes)
}

pub(super) fn produced(part: &Bytes) -> Result<Produced, DecodeError> {
    let (message, meta) = decode_message(part)?;
    let ProducedMeta { topic, queue, state, ttl_ms } = meta;
    Ok(Produced { topic, queue, state, ttl_ms, message: Arc::new(message) })
}

const ENTRY_TAG: u8 = 1;
const ENTRY_LANE: u8 = 1 << 1;
const ENTRY_EXPIRES: u8 = 1 << 2;

pub(super) fn put_schedule_due(out: &mut BytesMut, due: &ScheduleDue) {
    put_number(out, due.topic.0);
    put_number(out, due.queue);
    put_number(out, due.due.0);
    let QueueEntry { offset, position, ready_at, expires_at, lane, tag, body_bytes } = &due.entry;
    let mut flags = 0;
    if tag.is_some() {
        flags |= ENTRY_TAG;
    }
    if *lane != 0 {
        flags |= ENTRY_LANE;
    }
    if *expires_at != Timestamp::MAX {
        flags |= ENTRY_EXPIRES;
    }
    out.put_u8(flags);
    put_number(out, *offset);
    put_position(out, *position);
    put_number(out, ready_at.0);
    if *expires_at != Timestamp::MAX {
        put_delta(out, expires_at.0, ready_at.0);
    }
    if *lane != 0 {
        put_fixed(out, *lane);
    }
    put_number(out, *body_bytes);
    if let Some(tag) = tag {
        put_text(out, tag);
    }
}

pub(super) fn schedule_due(reader: &mut Reader<'_>) -> Result<ScheduleDue, DecodeError> {
    let topic = reader.topic()?;
    let queue = reader.queue()?;
    let due = reader.time()?;
    let flags = reader.byte()?;
    if flags & !(ENTRY_TAG | ENTRY_LANE | ENTRY_EXPIRES) != 0 {
        return Err(reader.error("unknown flags of a queue entry"));
    }
    let offset = reader.number()?;
    let position: Position = reader.position()?;
    let ready_at = reader.time()?;
    let expires_at =
        if flags & ENTRY_EXPIRES == 0 { Timestamp::MAX } else { Timestamp(reader.delta(ready_at.0)?) };
    let lane = if flags & ENTRY_LANE == 0 { 0 } else { reader.fixed()? };
    let body_bytes = reader.small()?;
    let tag = if flags & ENTRY_TAG == 0 { None } else { Some(Arc::from(reader.text()?)) };
    let entry = QueueEntry { offset, position, ready_at, expires_at, lane, tag, body_bytes };
    Ok(ScheduleDue { topic, queue, due, entry })
}
