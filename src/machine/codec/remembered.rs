//! Idempotency keys in the log: `Remembered`.
//!
//! | Remembered | as |
//! | --- | --- |
//! | kind | byte, 24 |
//! | topic | number |
//! | key | two fixed, the high half first |
//! | fingerprint | fixed |
//! | until, messages | numbers |
//! | refused | count, each: its number in the request, byte, fields |
//!
//! *refused*, byte: 0 queue not found (queue, queues), 1 queue and ordering key, 2 too many held, 3 `delay_ms` too
//! long, 4 `deliver_at` too late.

use bytes::{BufMut, BytesMut};

use crate::model::KeyHash;
use crate::model::wire::{DecodeError, Reader, put_count, put_number};

use super::super::facts::{RefusedAs, Remembered};
use super::fields::{Fields, put_key};

pub(super) fn put_remembered(out: &mut BytesMut, remembered: &Remembered) {
    let Remembered { topic, key, fingerprint, until, messages, refused } = remembered;
    put_number(out, topic.0);
    put_key(out, *key, *fingerprint);
    put_number(out, until.0);
    put_number(out, *messages);
    put_count(out, refused.len());
    for (at, refused) in refused {
        put_number(out, *at);
        put_refused(out, *refused);
    }
}

fn put_refused(out: &mut BytesMut, refused: RefusedAs) {
    match refused {
        RefusedAs::QueueNotFound { queue, queues } => {
            out.put_u8(0);
            put_number(out, queue);
            put_number(out, queues);
        }
        RefusedAs::QueueAndOrderingKey => out.put_u8(1),
        RefusedAs::TooManyHeld => out.put_u8(2),
        RefusedAs::DelayTooLong => out.put_u8(3),
        RefusedAs::DeliverAtTooLate => out.put_u8(4),
    }
}

pub(super) fn remembered(reader: &mut Reader<'_>) -> Result<Remembered, DecodeError> {
    let topic = reader.topic()?;
    let (key, fingerprint): (KeyHash, u64) = reader.key()?;
    let until = reader.time()?;
    let messages = reader.small()?;
    let count = reader.count(2)?;
    let refused = (0..count).map(|_| Ok((reader.small()?, refused(reader)?))).collect::<Result<_, _>>()?;
    Ok(Remembered { topic, key, fingerprint, until, messages, refused })
}

fn refused(reader: &mut Reader<'_>) -> Result<RefusedAs, DecodeError> {
    Ok(match reader.byte()? {
        0 => RefusedAs::QueueNotFound { queue: reader.number()?, queues: reader.queue()? },
        1 => RefusedAs::QueueAndOrderingKey,
        2 => RefusedAs::TooManyHeld,
        3 => RefusedAs::DelayTooLong,
        4 => RefusedAs::DeliverAtTooLate,
        _ => return Err(reader.error("an unknown reason of a refused message")),
    })
}
