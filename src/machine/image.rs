//! The machine's state as bytes: an image, from which a node starts without the log before it.
//!
//! An image is a stream of chunks of at most about 1 MiB, each a sequence of whole records; the store gives every chunk
//! its checksum. Encoding walks the state and holds one chunk at a time; encode from a clone (which shares everything)
//! to let the machine go on meanwhile.
//!
//! | record | byte | fields ([`crate::model::wire`] says how each looks) |
//! | --- | --- | --- |
//! | Header | 1, always first | version (byte, 5), now, applied, base, next topic, next group |
//! | Topic | 2 | topic, name, settings (JSON), made at, next queue, scheduled, count of queues (next offset, first kept), count of groups (group) |
//! | Group | 3 | group, name, settings (JSON), made at, paused (byte), in flight, retrying |
//! | Progress | 4 | topic, queue, and a progress of the group before |
//! | Item | 5 | an item of the progress before |
//! | Beyond | 6 | start, end: a range of the progress before |
//! | Dead | 7 | a dead letter of the group or the dead trash before |
//! | Scheduled | 8 | due, position, topic, queue |
//! | Deadline | 9 | at, position, group, topic, queue, place, kind (byte: 0 lease, 1 retry, 2 TTL) |
//! | Trash | 10 | a progress of something deleted |
//! | Dead trash | 11 | none; its dead letters follow |
//! | End | 12, always last | number of records before it |
//! | Void | 13 | start, end: a range of the progress before whose receipts are expired; since version 2 |
//! | Schedule trash | 14 | none; scheduled messages of a deleted topic follow; since version 2 |
//! | Keys | 15 | topic, until: a generation of idempotency keys; since version 3 |
//! | Key | 16 | a key of the generation before: key (two fixed), fingerprint (fixed), position |
//! | Job | 17 | see `jobs.rs`; since version 4 |
//! | Alert | 18 | an `AlertFact` (JSON) that makes part of alerting; since version 5 |
//!
//! `records.rs` has the tables of progress, item and dead letter. What follows from the rest is not written: names,
//! ready sets, lanes of ordered groups, what was redriven, what is scheduled first, how much is held.
//! Deadlines are written, leftovers of deleted things included, because a tick counts them.

mod decode;
mod jobs;
mod records;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::seeded::{self, SeededBug};
use crate::model::wire::{put_count, put_number, put_text};
use crate::model::{GroupId, JobId, KeyHash, Position, QueueNo, Timestamp, TopicId};

use super::alerts::AlertFact;
use super::codec::fields::{put_json, put_key, put_kind_json, put_place, put_position};
use super::jobs::Job;
use super::keys::Told;
use super::state::{
    Dead, Deadline, DeadlineKind, Group, Item, Machine, Progress, Schedule, Scheduled, Topic,
};

pub use decode::ImageDecoder;

/// Version 4 had no alerting. Version 3 had no jobs. Version 2 had no keys. Version 1 had neither void ranges nor
/// schedule trash: it is read as a state without any, and what it still has in the schedule of deleted topics is passed
/// over.
const VERSION: u8 = 5;

/// A chunk is closed once it has this many bytes. A record is far smaller, settings aside (at most about half a MiB).
const CHUNK_BYTES: usize = 512 << 10;

/// The byte that names a record.
mod kind {
    pub(super) const HEADER: u8 = 1;
    pub(super) const TOPIC: u8 = 2;
    pub(super) const GROUP: u8 = 3;
    pub(super) const PROGRESS: u8 = 4;
    pub(super) const ITEM: u8 = 5;
    pub(super) const BEYOND: u8 = 6;
    pub(super) const DEAD: u8 = 7;
    pub(super) const SCHEDULED: u8 = 8;
    pub(super) const DEADLINE: u8 = 9;
    pub(super) const TRASH: u8 = 10;
    pub(super) const DEAD_TRASH: u8 = 11;
    pub(super) const END: u8 = 12;
    pub(super) const VOID: u8 = 13;
    pub(super) const SCHEDULE_TRASH: u8 = 14;
    pub(super) const KEYS: u8 = 15;
    pub(super) const KEY: u8 = 16;
    pub(super) const JOB: u8 = 17;
    pub(super) const ALERT: u8 = 18;
}

/// One record, still where it lies in the state.
enum Record<'a> {
    Header(&'a Machine),
    Topic(TopicId, &'a Topic),
    Group(GroupId, &'a Group),
    Progress(TopicId, QueueNo, &'a Progress),
    Item(crate::model::Place, &'a Item),
    Beyond(u64, u64),
    Void(u64, u64),
    Dead(Position, &'a Dead, bool),
    Scheduled(Timestamp, Position, Scheduled),
    Deadline(&'a Deadline),
    Trash(&'a Progress),
    DeadTrash,
    ScheduleTrash,
    Keys(TopicId, Timestamp),
    Key(KeyHash, Told),
    Job(JobId, &'a Job),
    Alert(Box<AlertFact>),
}

impl Machine {
    /// The state as an image, chunk by chunk. [`ImageDecoder`] makes the same state of it.
    pub fn encode_image(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut records = self.records();
        let mut written: u64 = 0;
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES + (64 << 10));
            while chunk.len() < CHUNK_BYTES {
                if let Some(record) = records.next() {
                    put_record(&mut chunk, &record);
                    written += 1;
                } else {
                    chunk.put_u8(kind::END);
                    put_number(&mut chunk, written);
                    ended = true;
                    break;
                }
            }
            Some(chunk.freeze())
        })
    }

    fn records(&self) -> impl Iterator<Item = Record<'_>> {
        // Every field is named, so that a new one cannot be forgotten here.
        let Machine {
            now: _,
            applied: _,
            base: _,
            next_topic: _,
            next_group: _,
            topics,
            topic_names: _,
            groups,
            group_names: _,
            next_scheduled: _,
            deadlines,
            trash,
            dead_trash,
            schedule_trash,
            held: _,
            keys,
            jobs,
            alerting,
        } = self;
        std::iter::once(Record::Header(self))
            .chain(topics.iter().map(|(id, topic)| Record::Topic(*id, topic)))
            .chain(groups.iter().flat_map(|(id, group)| group_records(*id, group)))
            .chain(topics.iter().flat_map(|(id, topic)| scheduled_records(*id, &topic.schedule)))
            .chain(deadlines.iter().map(Record::Deadline))
            .chain(
                trash
                    .iter()
                    .flat_map(|part| std::iter::once(Record::Trash(part)).chain(progress_records(part))),
            )
            .chain(dead_trash.iter().flat_map(|set| {
                std::iter::once(Record::DeadTrash)
                    .chain(set.iter().map(|(position, dead)| Record::Dead(*position, dead, false)))
            }))
            .chain(schedule_trash.iter().flat_map(|schedule| {
                std::iter::once(Record::ScheduleTrash).chain(scheduled_records(TopicId(0), schedule))
            }))
            .chain(keys.generations().filter(|_| !seeded::active(SeededBug::KeysForgotten)).flat_map(
                |(topic, until, generation)| {
                    std::iter::once(Record::Keys(topic, until))
                        .chain(generation.iter().map(|(key, told)| Record::Key(key, told)))
                },
            ))
            .chain(jobs.iter().map(|(id, job)| Record::Job(*id, job)))
            .chain(alerting.as_facts().map(|fact| Record::Alert(Box::new(fact))))
    }
}

fn group_records(id: GroupId, group: &Group) -> impl Iterator<Item = Record<'_>> {
    let progress = group.progress.iter().flat_map(|((topic, queue), part)| {
        std::iter::once(Record::Progress(*topic, *queue, part)).chain(progress_records(part))
    });
    let dead = group.dead.iter().map(|(position, dead)| {
        let stood = (dead.topic, dead.queue, dead.offset);
        Record::Dead(*position, dead, group.dead_offsets.get(&stood) == Some(position))
    });
    std::iter::once(Record::Group(id, group)).chain(progress).chain(dead)
}

fn scheduled_records(topic: TopicId, schedule: &Schedule) -> impl Iterator<Item = Record<'_>> {
    let record = move |((due, position), queue): (&(Timestamp, Position), &QueueNo)| {
        Record::Scheduled(*due, *position, Scheduled { topic, queue: *queue })
    };
    schedule.iter().map(record)
}

fn progress_records(part: &Progress) -> impl Iterator<Item = Record<'_>> {
    let items = part.items.iter().map(|(place, item)| Record::Item(*place, item));
    let beyond = part.beyond.iter().map(|(start, end)| Record::Beyond(start, end));
    items.chain(beyond).chain(part.void.iter().map(|(start, end)| Record::Void(start, end)))
}

fn put_record(out: &mut BytesMut, record: &Record<'_>) {
    match record {
        Record::Header(machine) => {
            out.put_u8(kind::HEADER);
            out.put_u8(VERSION);
            put_number(out, machine.now.0);
            put_number(out, machine.applied);
            put_number(out, machine.base);
            put_number(out, machine.next_topic);
            put_number(out, machine.next_group);
        }
        Record::Topic(id, topic) => put_topic(out, *id, topic),
        Record::Group(id, group) => put_group(out, *id, group),
        Record::Progress(topic, queue, part) => {
            out.put_u8(kind::PROGRESS);
            put_number(out, topic.0);
            put_number(out, *queue);
            records::put_progress(out, part);
        }
        Record::Item(place, item) => {
            out.put_u8(kind::ITEM);
            records::put_item(out, *place, item);
        }
        Record::Beyond(start, end) => put_range(out, kind::BEYOND, *start, *end),
        Record::Void(start, end) => put_range(out, kind::VOID, *start, *end),
        Record::Dead(position, dead, at_offset) => {
            out.put_u8(kind::DEAD);
            records::put_dead(out, *position, dead, *at_offset);
        }
        Record::Scheduled(due, position, it) => {
            out.put_u8(kind::SCHEDULED);
            put_number(out, due.0);
            put_position(out, *position);
            put_number(out, it.topic.0);
            put_number(out, it.queue);
        }
        Record::Deadline(deadline) => put_deadline(out, deadline),
        Record::Trash(part) => {
            out.put_u8(kind::TRASH);
            records::put_progress(out, part);
        }
        Record::DeadTrash => out.put_u8(kind::DEAD_TRASH),
        Record::ScheduleTrash => out.put_u8(kind::SCHEDULE_TRASH),
        Record::Keys(topic, until) => {
            out.put_u8(kind::KEYS);
            put_number(out, topic.0);
            put_number(out, until.0);
        }
        Record::Key(key, told) => {
            out.put_u8(kind::KEY);
            put_key(out, *key, told.fingerprint);
            put_position(out, told.position);
        }
        Record::Job(id, job) => {
            out.put_u8(kind::JOB);
            jobs::put_job(out, *id, job);
        }
        Record::Alert(fact) => put_kind_json(out, kind::ALERT, &**fact),
    }
}

fn put_range(out: &mut BytesMut, kind: u8, start: u64, end: u64) {
    out.put_u8(kind);
    put_number(out, start);
    put_number(out, end);
}

fn put_topic(out: &mut BytesMut, id: TopicId, topic: &Topic) {
    let Topic { name, settings, made_at, queues, next_queue, schedule, groups } = topic;
    out.put_u8(kind::TOPIC);
    put_number(out, id.0);
    put_text(out, name.as_str());
    put_json(out, settings);
    put_number(out, made_at.0);
    put_number(out, *next_queue);
    put_count(out, schedule.len());
    put_count(out, queues.len());
    for queue in queues {
        put_number(out, queue.next_offset);
        put_number(out, queue.first_kept);
    }
    put_count(out, groups.len());
    for group in groups {
        put_number(out, group.0);
    }
}

fn put_group(out: &mut BytesMut, id: GroupId, group: &Group) {
    let Group { name, settings, made_at, paused, progress: _, in_flight, retrying, dead: _, dead_offsets: _ } =
        group;
    out.put_u8(kind::GROUP);
    put_number(out, id.0);
    put_text(out, name.as_str());
    put_json(out, settings.as_ref());
    put_number(out, made_at.0);
    out.put_u8(u8::from(*paused));
    put_number(out, *in_flight);
    put_number(out, *retrying);
}

fn put_deadline(out: &mut BytesMut, deadline: &Deadline) {
    let Deadline { at, position, group, topic, queue, place, kind } = deadline;
    out.put_u8(kind::DEADLINE);
    put_number(out, at.0);
    put_position(out, *position);
    put_number(out, group.0);
    put_number(out, topic.0);
    put_number(out, *queue);
    put_place(out, *place);
    out.put_u8(match kind {
        DeadlineKind::Lease => 0,
        DeadlineKind::Retry => 1,
        DeadlineKind::Ttl => 2,
    });
}
