//! Reading entries: from the tail cache, else from the segment by way of its marks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use super::{
    error::StorageError,
    record::{HEAD_BYTES, Head, PartMark, Record, RecordId},
    segment::{HEADER_BYTES, Segment},
    shared::Shared,
    vfs::{VfsFile, read_up_to},
    walk::{self, Window, after, damaged},
    wire::{lock, narrow, wide},
};

const SLOTS: usize = 256;
const OPENED_MAX: usize = 64;
const WALK_BYTES: usize = 64 << 10;
const NEIGHBOUR_BYTES: usize = 4 << 10;
const READ_BYTES: usize = 1 << 20;

/// Where an entry lies, with its checked head and table.
#[derive(Debug)]
struct Located {
    segment: Arc<Segment>,
    head: Head,
    parts: Vec<PartMark>,
}

/// Places of entries that were read lately, so that the parts of one entry are found once.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// How often everything was forgotten. What was looked up before that is not taken in after it.
    age: u64,
    slots: Vec<Option<Arc<Located>>>,
    /// Sealed segments that were opened; their marks may be in memory.
    opened: VecDeque<Arc<Segment>>,
}

impl Places {
    fn slot(index: u64) -> usize {
        narrow(index) % SLOTS
    }

    /// To be asked before a lookup, and given back with what it found.
    fn age(&self) -> u64 {
        lock(&self.known).age
    }

    fn get(&self, index: u64) -> Option<Arc<Located>> {
        let known = lock(&self.known);
        let found = known.slots.get(Places::slot(index))?.as_ref()?;
        (found.head.id.index == index).then(|| Arc::clone(found))
    }

    fn put(&self, located: &Arc<Located>, age: u64) {
        let mut known = lock(&self.known);
        if known.age != age {
            return;
        }
        known.slots.resize(SLOTS, None);
        if let Some(slot) = known.slots.get_mut(Places::slot(located.head.id.index)) {
            *slot = Some(Arc::clone(located));
        }
    }

    /// Forgets everything, after a truncation or removal. Whoever keeps a removed segment keeps its file open, and with
    /// it the space on the disk.
    pub(super) fn clear(&self) {
        let mut known = lock(&self.known);
        known.age += 1;
        known.slots.clear();
        for segment in known.opened.drain(..) {
            segment.unload();
        }
    }

    /// Notes that a segment was opened; the oldest ones over the bound are closed again.
    fn opened(&self, segment: &Arc<Segment>, age: u64) {
        let mut known = lock(&self.known);
        if known.age != age {
            // It may be gone; whoever reads it now keeps it open for that long.
            segment.unload();
            return;
        }
        known.opened.push_back(Arc::clone(segment));
        if known.opened.len() > OPENED_MAX
            && let Some(oldest) = known.opened.pop_front()
        {
            oldest.unload();
        }
    }
}

impl Shared {
    pub(super) fn read_range(
        &self,
        from: u64,
        to_exclusive: u64,
        max_bytes: usize,
    ) -> Result<Vec<Arc<Record>>, StorageError> {
        if from >= to_exclusive {
            return Ok(Vec::new());
        }
        let recent = self.tail(|tail| tail.range(from, to_exclusive, max_bytes));
        if !recent.is_empty() {
            return Ok(recent);
        }
        let to_exclusive = to_exclusive.min(self.disk_end());
        let read = self.or_absent(from, || self.read_disk(from, to_exclusive, max_bytes));
        read.map(Option::unwrap_or_default)
    }

    /// The part, when its entry is in memory.
    pub(super) fn part_in_memory(&self, index: u64, number: usize) -> Option<Bytes> {
        self.tail(|tail| tail.get(index).and_then(|record| record.parts.get(number).cloned()))
    }

    pub(super) fn part(&self, index: u64, number: usize) -> Result<Option<Bytes>, StorageError> {
        if let Some(record) = self.tail(|tail| tail.get(index).map(Arc::clone)) {
            return Ok(record.parts.get(number).cloned());
        }
        self.or_absent(index, || self.part_on_disk(index, number)).map(Option::flatten)
    }

    /// Term and leader of an entry, if it is kept.
    pub(super) fn id_at(&self, index: u64) -> Result<Option<RecordId>, StorageError> {
        if let Some(id) = self.tail(|tail| tail.get(index).map(|record| record.id())) {
            return Ok(Some(id));
        }
        Ok(self.locate(index)?.map(|located| located.head.id))
    }

    /// A failed read of an entry that was truncated or whose segment was removed meanwhile is no failure; one that
    /// something else was written over is read again.
    fn or_absent<T>(
        &self,
        index: u64,
        read: impl Fn() -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        let age = self.places.age();
        let result = match read() {
            Err(_) if self.places.age() != age => read(),
            result => result,
        };
        match result {
            Ok(value) => Ok(Some(value)),
            Err(_) if self.core(|core| core.last.is_none_or(|last| index > last.index)) => Ok(None),
            Err(_) if self.segment_of(index).is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn segment_of(&self, index: u64) -> Option<Arc<Segment>> {
        if index >= self.disk_end() {
            return None;
        }
        self.segments(|segments| {
            let after = segments.partition_point(|segment| segment.header.base <= index);
            let found = segments.get(after.checked_sub(1)?)?;
            found.info().last_index.is_some_and(|last| index <= last).then(|| Arc::clone(found))
        })
    }

    /// The file of a segment, which stays open for later reads, but not of too many segments.
    fn open(&self, segment: &Arc<Segment>) -> Result<Arc<dyn VfsFile>, StorageError> {
        let age = self.places.age();
        let (file, opened) = segment.file(self.dir.vfs().as_ref())?;
        if opened {
            self.places.opened(segment, age);
        }
        Ok(file)
    }

    /// The offset to start walking from to meet `index`.
    fn mark_before(&self, segment: &Arc<Segment>, index: u64) -> Result<u64, StorageError> {
        let age = self.places.age();
        let (marks, opened) = segment.marks(self.dir.vfs().as_ref())?;
        if opened {
            self.places.opened(segment, age);
        }
        let after = marks.partition_point(|mark| mark.index <= index);
        let mark = after.checked_sub(1).and_then(|at| marks.get(at));
        Ok(mark.map_or(HEADER_BYTES, |mark| mark.offset))
    }

    fn locate(&self, index: u64) -> Result<Option<Arc<Located>>, StorageError> {
        if let Some(found) = self.places.get(index).filter(|_| index < self.disk_end()) {
            return Ok(Some(found));
        }
        let age = self.places.age();
        let Some(segment) = self.segment_of(index) else { return Ok(None) };
        let file = self.open(&segment)?;
        let Some(head) = self.walk_to(&segment, file.as_ref(), index)? else { return Ok(None) };
        let start = read_up_to(file.as_ref(), head.offset, head.table_end())
            .map_err(|error| StorageError::io("read", &segment.path, error))?;
        let parts = head
            .table(&start, segment.header.salt)
            .map_err(|flaw| damaged(&segment.path, head.offset, &flaw))?;
        let located = Arc::new(Located { segment, head, parts });
        self.places.put(&located, age);
        Ok(Some(located))
    }

    fn walk_to(
        &self,
        segment: &Arc<Segment>,
        file: &dyn VfsFile,
        index: u64,
    ) -> Result<Option<Head>, StorageError> {
        // Readers mostly go on where they were: then the entry before is known and no walk is needed.
        let neighbour = index.checked_sub(1).and_then(|before| self.places.get(before));
        let neighbour = neighbour.filter(|found| found.segment.header.id == segment.header.id);
        let (mut offset, chunk) = match neighbour {
            Some(found) => (after(&found.head), NEIGHBOUR_BYTES),
            None => (self.mark_before(segment, index)?, WALK_BYTES),
        };
        let end = segment.end();
        let mut window = Window::new(file, &segment.path, chunk, end);
        while offset + wide(HEAD_BYTES) <= end {
            let head = walk::head_at(&mut window, segment.header.ground(), offset)?
                .map_err(|flaw| damaged(&segment.path, offset, &flaw))?;
            match head.id.index {
                found if found == index => return Ok(Some(head)),
                found if found > index => break,
                _ => offset = after(&head),
            }
        }
        let what = format!("entry {index} is not where the segment's marks say");
        Err(StorageError::damaged(&segment.path, offset, what))
    }

    fn part_on_disk(&self, index: u64, number: usize) -> Result<Option<Bytes>, StorageError> {
        let Some(located) = self.locate(index)? else { return Ok(None) };
        let Some(mark) = located.parts.get(number) else { return Ok(None) };
        let segment = &located.segment;
        let file = self.open(segment)?;
        let at = located.head.offset + wide(mark.at);
        let bytes = read_up_to(file.as_ref(), at, mark.length)
            .map_err(|error| StorageError::io("read", &segment.path, error))?;
        if !mark.matches(&bytes, segment.header.salt) {
            let what = format!("the checksum of part {number} of entry {index} does not match");
            return Err(StorageError::damaged(&segment.path, at, what));
        }
        Ok(Some(bytes.into()))
    }

    fn read_disk(
        &self,
        from: u64,
        to_exclusive: u64,
        max_bytes: usize,
    ) -> Result<Vec<Arc<Record>>, StorageError> {
        let Some(segment) = self.segment_of(from) else { return Ok(Vec::new()) };
        let file = self.open(&segment)?;
        let Some(first) = self.walk_to(&segment, file.as_ref(), from)? else { return Ok(Vec::new()) };
        let (ground, end) = (segment.header.ground(), segment.end());
        let mut window =
            Window::new(file.as_ref(), &segment.path, max_bytes.clamp(HEAD_BYTES, READ_BYTES), end);
        let (mut offset, mut bytes, mut found) = (first.offset, 0usize, Vec::new());
        while offset < end {
            let head = walk::head_at(&mut window, ground, offset)?
                .map_err(|flaw| damaged(&segment.path, offset, &flaw))?;
            bytes = bytes.saturating_add(head.length);
            if head.id.index >= to_exclusive || (bytes > max_bytes && !found.is_empty()) {
                break;
            }
            let record = walk::record_at(&mut window, ground, &head)?
                .map_err(|flaw| damaged(&segment.path, offset, &flaw))?;
            found.push(Arc::new(record));
            offset = after(&head);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::storage::{
        record::{CHAIN_START, Place, RecordKind, encode},
        segment::{Header, Tip},
        vfs::{OpenMode, Vfs, sim::SimFs},
    };

    /// A place that was looked up before a truncation and noted after it led to bytes of another entry.
    #[test]
    fn what_was_looked_up_before_a_truncation_is_not_noted_after_it() {
        let fs = SimFs::new(1);
        let path = Path::new("/segment");
        let file = fs.open(path, OpenMode::CreateNew).unwrap();
        let before = Tip { id: None, crc: CHAIN_START, flush: 0 };
        let header = Header { id: 1, salt: 3, previous: 0, base: 0, before };
        let segment = Arc::new(Segment::open(header, path.to_owned(), file));
        let place = Place { segment: 1, offset: 192, flush: 1, committed: 0, prev: CHAIN_START, salt: 3 };
        let record = Record { index: 0, term: 0, leader: 1, kind: RecordKind::Blank, parts: Vec::new() };
        let mut bytes = Vec::new();
        encode(&mut bytes, &record, &place).unwrap();
        let head = Head::decode(&bytes, 3).unwrap();
        let located = Arc::new(Located { segment, head, parts: Vec::new() });
        let places = Places::default();
        places.put(&located, places.age());
        assert!(places.get(0).is_some());
        let age = places.age();
        places.clear();
        places.put(&located, age);
        assert!(places.get(0).is_none());
    }
}
