//! Makes a machine of an image.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::wire::{DecodeError, Reader};
use crate::model::{GroupId, Position, QueueNo, Timestamp, TopicId};

use super::super::codec::fields::Fields;
use super::super::keys::Told;
use super::super::state::{
    Dead, Deadline, DeadlineKind, Group, ItemState, Machine, Progress, QueueState, Schedule, Topic,
};
use super::records::{self, ProgressHead};
use super::{VERSION, jobs, kind};

/// Takes the chunks of an image, in order, and gives the machine they came from.
#[derive(Debug, Default)]
pub struct ImageDecoder {
    machine: Machine,
    records: u64,
    ended: bool,
    group: Option<(GroupId, Group)>,
    part: Option<Part>,
    dead_trash: Option<OrdMap<Position, Dead>>,
    schedule_trash: Option<Schedule>,
    generation: Option<(TopicId, Timestamp)>,
    /// Names of members that hold leases, so that each is in memory once.
    clients: BTreeSet<Arc<str>>,
}

/// A progress whose items are still coming.
#[derive(Debug)]
struct Part {
    /// Whose it is in the group before; none: trash.
    of: Option<(TopicId, QueueNo)>,
    progress: Progress,
    keeps_lanes: bool,
}

impl ImageDecoder {
    /// Waits for the first chunk.
    #[must_use]
    pub fn new() -> ImageDecoder {
        ImageDecoder::default()
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// When it is not what an image of this or an earlier version goes on with.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(chunk);
        while !reader.rest().is_empty() {
            if self.ended {
                return Err(reader.error("records behind the end of an image"));
            }
            let kind = reader.byte()?;
            if (self.records == 0) != (kind == kind::HEADER) {
                return Err(reader.error("an image that does not begin with its header"));
            }
            if kind == kind::END {
                self.end(&mut reader)?;
            } else {
                self.record(kind, &mut reader)?;
                self.records += 1;
            }
        }
        Ok(())
    }

    /// The machine, once all chunks were fed.
    ///
    /// # Errors
    /// When the image is not complete.
    pub fn finish(self) -> Result<Machine, DecodeError> {
        if self.ended {
            Ok(self.machine)
        } else {
            Err(DecodeError { at: 0, what: "an image without an end" })
        }
    }

    fn end(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if reader.number()? != self.records {
            return Err(reader.error("an image with records missing"));
        }
        self.close_group();
        self.close_dead_trash();
        self.close_schedule_trash();
        self.machine.held = self.machine.count_held();
        self.ended = true;
        Ok(())
    }

    fn record(&mut self, kind: u8, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match kind {
            kind::HEADER => self.header(reader),
            kind::TOPIC => self.topic(reader),
            kind::GROUP => self.group(reader),
            kind::PROGRESS => {
                let of = (reader.topic()?, reader.queue()?);
                self.open_part(Some(of), reader)
            }
            kind::ITEM => self.item(reader),
            kind::BEYOND | kind::VOID => {
                let (start, end) = (reader.number()?, reader.number()?);
                let part = self.part.as_mut().ok_or(reader.error("a range of nothing"))?;
                let ranges =
                    if kind == kind::VOID { &mut part.progress.void } else { &mut part.progress.beyond };
                ranges.insert(start, end);
                Ok(())
            }
            kind::DEAD => self.dead(reader),
            kind::SCHEDULED => {
                let key = (reader.time()?, reader.position()?);
                let (topic, queue) = (reader.topic()?, reader.queue()?);
                match &mut self.schedule_trash {
                    Some(trash) => drop(trash.insert(key, queue)),
                    None => self.machine.schedule(topic, key, queue),
                }
                Ok(())
            }
            kind::DEADLINE => {
                self.machine.deadlines.insert(deadline(reader)?);
                Ok(())
            }
            kind::TRASH => {
                self.close_group();
                self.open_part(None, reader)
            }
            kind::DEAD_TRASH => {
                self.close_group();
                self.close_dead_trash();
                self.dead_trash = Some(OrdMap::new());
                Ok(())
            }
            kind::SCHEDULE_TRASH => {
                self.close_schedule_trash();
                self.schedule_trash = Some(Schedule::new());
                Ok(())
            }
            kind::KEYS => {
                self.close_group();
                self.close_dead_trash();
                self.generation = Some((reader.topic()?, reader.time()?));
                Ok(())
            }
            kind::KEY => {
                let (key, fingerprint) = reader.key()?;
                let told = Told { fingerprint, position: reader.position()? };
                let generation = self.generation.ok_or(reader.error("a key of no generation"))?;
                self.machine.keys.insert(generation, key, told);
                Ok(())
            }
            kind::JOB => {
                let (id, job) = jobs::job(reader)?;
                self.machine.jobs.insert(id, Arc::new(job));
                Ok(())
            }
            kind::ALERT => reader.json().map(|fact| self.machine.apply_alert(&fact)),
            _ => Err(reader.error("an unknown record of an image")),
        }
    }

    fn header(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if !(1..=VERSION).contains(&reader.byte()?) {
            return Err(reader.error("an image of an unknown version"));
        }
        self.machine.now = reader.time()?;
        self.machine.applied = reader.number()?;
        self.machine.base = reader.number()?;
        self.machine.next_topic = reader.small()?;
        self.machine.next_group = reader.small()?;
        Ok(())
    }

    fn topic(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let id = reader.topic()?;
        let name: crate::model::TopicName = reader.name()?;
        let settings = reader.json()?;
        let made_at = reader.time()?;
        let next_queue = reader.queue()?;
        // How many are scheduled; they come one by one.
        reader.number()?;
        let queues = (0..reader.count(2)?)
            .map(|_| Ok(QueueState { next_offset: reader.number()?, first_kept: reader.number()? }))
            .collect::<Result<_, DecodeError>>()?;
        let groups = (0..reader.count(1)?).map(|_| reader.group()).collect::<Result<_, _>>()?;
        self.machine.topic_names.insert(name.clone(), id);
        let schedule = Schedule::new();
        let topic = Topic { name, settings, made_at, queues, next_queue, schedule, groups };
        self.machine.topics.insert(id, Arc::new(topic));
        Ok(())
    }

    fn group(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.close_group();
        let id = reader.group()?;
        let group = Group {
            name: reader.name()?,
            settings: Arc::new(reader.json()?),
            made_at: reader.time()?,
            paused: reader.flag()?,
            progress: OrdMap::new(),
            in_flight: reader.number()?,
            retrying: reader.number()?,
            dead: OrdMap::new(),
            dead_offsets: OrdMap::new(),
        };
        self.group = Some((id, group));
        Ok(())
    }

    fn open_part(
        &mut self,
        of: Option<(TopicId, QueueNo)>,
        reader: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        self.close_part();
        if of.is_some() && self.group.is_none() {
            return Err(reader.error("a progress of no group"));
        }
        let ProgressHead { progress, keeps_lanes } = records::progress(reader)?;
        self.part = Some(Part { of, progress, keeps_lanes });
        Ok(())
    }

    fn item(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let (place, mut item) = records::item(reader)?;
        if let ItemState::Leased(lease) = &mut item.state {
            match self.clients.get(&lease.client) {
                Some(known) => lease.client = Arc::clone(known),
                None => drop(self.clients.insert(Arc::clone(&lease.client))),
            }
        }
        let part = self.part.as_mut().ok_or(reader.error("an item of nothing"))?;
        if item.state == ItemState::Ready {
            part.progress.ready.insert(place);
        }
        if part.keeps_lanes {
            part.progress.lanes.insert((item.lane, place));
        }
        if place.turn > 0 {
            part.progress.redriven.insert(item.position, place);
        }
        part.progress.items.insert(place, item);
        Ok(())
    }

    fn dead(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let (position, dead, at_offset) = records::dead(reader)?;
        if let Some(set) = &mut self.dead_trash {
            set.insert(position, dead);
        } else if let Some((_, group)) = &mut self.group {
            if at_offset {
                group.dead_offsets.insert((dead.topic, dead.queue, dead.offset), position);
            }
            group.dead.insert(position, dead);
        } else {
            return Err(reader.error("a dead letter of no group"));
        }
        Ok(())
    }

    fn close_part(&mut self) {
        let Some(Part { of, progress, .. }) = self.part.take() else { return };
        match (of, &mut self.group) {
            (Some(key), Some((_, group))) => {
                group.progress.insert(key, Arc::new(progress));
            }
            _ => self.machine.trash.push_back(Arc::new(progress)),
        }
    }

    fn close_group(&mut self) {
        self.close_part();
        if let Some((id, group)) = self.group.take() {
            self.machine.group_names.insert(group.name.clone(), id);
            self.machine.groups.insert(id, Arc::new(group));
        }
    }

    fn close_dead_trash(&mut self) {
        if let Some(set) = self.dead_trash.take() {
            self.machine.dead_trash.push_back(set);
        }
    }

    fn close_schedule_trash(&mut self) {
        if let Some(schedule) = self.schedule_trash.take() {
            self.machine.schedule_trash.push_back(schedule);
        }
    }
}

fn deadline(reader: &mut Reader<'_>) -> Result<Deadline, DecodeError> {
    Ok(Deadline {
        at: reader.time()?,
        position: reader.position()?,
        group: reader.group()?,
        topic: reader.topic()?,
        queue: reader.queue()?,
        place: reader.place()?,
        kind: match reader.byte()? {
            0 => DeadlineKind::Lease,
            1 => DeadlineKind::Retry,
            2 => DeadlineKind::Ttl,
            _ => return Err(reader.error("an unknown kind of deadline")),
        },
    })
}
