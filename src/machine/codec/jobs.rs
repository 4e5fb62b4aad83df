//! Jobs in the log.
//!
//! | Job | as |
//! | --- | --- |
//! | kind | byte, 29 |
//! | what happened | byte: 1 started, 2 progressed, 3 ended, 4 forgotten |
//! | job | number |
//! | started | group, filter (text: JSON), target (topic plus 1; 0: none), rate (0: none), total |
//! | progressed | cursor (position), looked, moved, failed, not before |
//! | ended | end (byte: 1 done, 2 cancelled, 3 group deleted, 4 topic deleted) |
//! | forgotten | nothing more |

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::model::wire::{DecodeError, Reader, put_number};
use crate::model::{JobId, TopicId};

use super::super::jobs::{JobEnd, JobFact, JobProgressed, JobStarted};
use super::fields::{Fields, put_json, put_position};
use super::kind;

const STARTED: u8 = 1;
const PROGRESSED: u8 = 2;
const ENDED: u8 = 3;
const FORGOTTEN: u8 = 4;

pub(super) fn put_job(out: &mut BytesMut, fact: &JobFact) {
    out.put_u8(kind::JOB);
    match fact {
        JobFact::Started(JobStarted { id, group, filter, to, rate_per_s, total }) => {
            out.put_u8(STARTED);
            put_number(out, id.0);
            put_number(out, group.0);
            put_json(out, &**filter);
            put_target(out, *to);
            put_number(out, rate_per_s.unwrap_or(0));
            put_number(out, *total);
        }
        JobFact::Progressed(JobProgressed { id, cursor, looked, moved, failed, not_before }) => {
            out.put_u8(PROGRESSED);
            put_number(out, id.0);
            put_position(out, *cursor);
            put_number(out, *looked);
            put_number(out, *moved);
            put_number(out, *failed);
            put_number(out, not_before.0);
        }
        JobFact::Ended { id, end } => {
            out.put_u8(ENDED);
            put_number(out, id.0);
            out.put_u8(end_byte(*end));
        }
        JobFact::Forgotten { id } => {
            out.put_u8(FORGOTTEN);
            put_number(out, id.0);
        }
    }
}

pub(super) fn job(reader: &mut Reader<'_>) -> Result<JobFact, DecodeError> {
    let what = reader.byte()?;
    let id = JobId(reader.number()?);
    Ok(match what {
        STARTED => JobFact::Started(JobStarted {
            id,
            group: reader.group()?,
            filter: Arc::new(reader.json()?),
            to: target(reader)?,
            rate_per_s: rate(reader)?,
            total: reader.number()?,
        }),
        PROGRESSED => JobFact::Progressed(JobProgressed {
            id,
            cursor: reader.position()?,
            looked: reader.small()?,
            moved: reader.small()?,
            failed: reader.small()?,
            not_before: reader.time()?,
        }),
        ENDED => {
            let end = end(reader)?.ok_or(reader.error("a job that ended and runs"))?;
            JobFact::Ended { id, end }
        }
        FORGOTTEN => JobFact::Forgotten { id },
        _ => return Err(reader.error("something unknown that happened to a job")),
    })
}

pub(in crate::machine) fn put_target(out: &mut BytesMut, to: Option<TopicId>) {
    put_number(out, to.map_or(0, |topic| u64::from(topic.0) + 1));
}

pub(in crate::machine) fn target(reader: &mut Reader<'_>) -> Result<Option<TopicId>, DecodeError> {
    let Some(id) = reader.number()?.checked_sub(1) else { return Ok(None) };
    let id = u32::try_from(id).map_err(|_| reader.error("a topic that cannot be"))?;
    Ok(Some(TopicId(id)))
}

pub(in crate::machine) fn rate(reader: &mut Reader<'_>) -> Result<Option<u32>, DecodeError> {
    Ok(Some(reader.small()?).filter(|rate| *rate > 0))
}

pub(in crate::machine) fn end_byte(end: JobEnd) -> u8 {
    match end {
        JobEnd::Done => 1,
        JobEnd::Cancelled => 2,
        JobEnd::GroupDeleted => 3,
        JobEnd::TopicDeleted => 4,
    }
}

/// How a job ended; none (0) when it runs.
pub(in crate::machine) fn end(reader: &mut Reader<'_>) -> Result<Option<JobEnd>, DecodeError> {
    Ok(Some(match reader.byte()? {
        0 => return Ok(None),
        1 => JobEnd::Done,
        2 => JobEnd::Cancelled,
        3 => JobEnd::GroupDeleted,
        4 => JobEnd::TopicDeleted,
        _ => return Err(reader.error("an unknown end of a job")),
    }))
}
