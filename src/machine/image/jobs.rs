//! Jobs in an image.
//!
//! | job | id, group, group name, filter (text: JSON), target (topic plus 1, then its name; 0: none), rate (0: none), started at, total, cursor (byte 0; or 1 and a position), not before, looked, moved, failed, end (byte, 0: it runs; else as in the log, then ended at) |
//! | --- | --- |

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::model::JobId;
use crate::model::wire::{DecodeError, Reader, put_number, put_text};

use super::super::codec::fields::{Fields, put_json, put_position};
use super::super::codec::jobs::{end, end_byte, put_target, rate, target};
use super::super::jobs::Job;

pub(super) fn put_job(out: &mut BytesMut, id: JobId, job: &Job) {
    let Job {
        group,
        group_name,
        filter,
        to,
        rate_per_s,
        started_at,
        total,
        cursor,
        not_before,
        looked,
        moved,
        failed,
        ended,
    } = job;
    put_number(out, id.0);
    put_number(out, group.0);
    put_text(out, group_name.as_str());
    put_json(out, &**filter);
    put_target(out, to.as_ref().map(|(topic, _)| *topic));
    if let Some((_, name)) = to {
        put_text(out, name.as_str());
    }
    put_number(out, rate_per_s.unwrap_or(0));
    put_number(out, started_at.0);
    put_number(out, *total);
    out.put_u8(u8::from(cursor.is_some()));
    if let Some(cursor) = cursor {
        put_position(out, *cursor);
    }
    for number in [not_before.0, *looked, *moved, *failed] {
        put_number(out, number);
    }
    match ended {
        None => out.put_u8(0),
        Some((end, at)) => {
            out.put_u8(end_byte(*end));
            put_number(out, at.0);
        }
    }
}

pub(super) fn job(reader: &mut Reader<'_>) -> Result<(JobId, Job), DecodeError> {
    let id = JobId(reader.number()?);
    let group = reader.group()?;
    let group_name = reader.name()?;
    let filter = Arc::new(reader.json()?);
    let to = match target(reader)? {
        None => None,
        Some(topic) => Some((topic, reader.name()?)),
    };
    let job = Job {
        group,
        group_name,
        filter,
        to,
        rate_per_s: rate(reader)?,
        started_at: reader.time()?,
        total: reader.number()?,
        cursor: if reader.flag()? { Some(reader.position()?) } else { None },
        not_before: reader.time()?,
        looked: reader.number()?,
        moved: reader.number()?,
        failed: reader.number()?,
        ended: match end(reader)? {
            None => None,
            Some(end) => Some((end, reader.time()?)),
        },
    };
    Ok((id, job))
}
