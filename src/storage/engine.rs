//! What the writer thread does to the files: encode, flush, seal, roll, truncate.

use std::{path::Path, sync::Arc, time::Instant};

use crate::model::seeded::{self, SeededBug};

use super::{
    error::StorageError,
    log::{LogOptions, reach},
    record::{self, Place, Record, RecordId},
    reserve::{measure, reserve, reserve_exactly, secure},
    segment::{Footer, HEADER_BYTES, Header, MARK_BYTES, Mark, Segment, Tip, file_name},
    shared::{Done, Shared},
    span::Span,
    vfs::{OpenMode, Vfs, VfsFile, is_no_space, write_all},
    vote::MarksFile,
    wire::wide,
};

/// Kept capacity of the flush buffer; a larger one is given back after use.
const BUFFER_KEPT: usize = 32 << 20;

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn VfsFile>,
    /// Where the durable records end.
    pub(super) end: u64,
    /// Up to where space is reserved.
    pub(super) allocated: u64,
    /// Up to where the reserved space is durable; never less than `end`.
    pub(super) secured: u64,
    /// What the file says of its own length.
    pub(super) span: Span,
    pub(super) count: u64,
    /// Offset of the newest mark.
    pub(super) marked: Option<u64>,
    pub(super) marks: usize,
}

/// One append as it waits for its flush.
pub(super) struct Batch {
    pub(super) records: Vec<Arc<Record>>,
    pub(super) committed: u64,
    pub(super) bytes: usize,
    pub(super) done: Done,
}

/// What is encoded but not yet durable.
#[derive(Default)]
struct Pending {
    buffer: Vec<u8>,
    /// Where the last record starts in the buffer.
    last_at: usize,
    count: u64,
    marks: Vec<Mark>,
    waiting: Vec<Batch>,
    tip: Option<(RecordId, u32)>,
}

/// Owner of the files.
pub(super) struct Engine {
    pub(super) marks: MarksFile,
    pub(super) active: Option<Active>,
    /// The end of what is durable.
    pub(super) tip: Tip,
    /// The highest commit index heard of.
    pub(super) committed: u64,
    /// The newest segment, open or sealed.
    pub(super) newest: u64,
    pending: Pending,
}

impl Engine {
    pub(super) fn new(marks: MarksFile, active: Option<Active>, tip: Tip, committed: u64) -> Engine {
        let newest = active.as_ref().map_or(marks.marks().newest, |active| active.segment.header.id);
        Engine { marks, active, tip, committed, newest, pending: Pending::default() }
    }

    pub(super) fn buffered(&self) -> usize {
        self.pending.buffer.len()
    }

    /// Encodes a batch into the buffer; flushes first when the segment has to change.
    pub(super) fn append(&mut self, shared: &Shared, batch: Batch) -> Result<(), StorageError> {
        let Some(first) = batch.records.first().map(|record| record.index) else {
            // Nothing to write: answered after what is before it.
            self.pending.waiting.push(batch);
            return Ok(());
        };
        let Some(restarts) = self.takes(first) else {
            outrun(shared, batch);
            return Ok(());
        };
        match self.make_room(shared, batch.bytes, restarts.then_some(first)) {
            Ok(()) if self.takes(first) == Some(restarts) => self.encode(batch),
            Ok(()) => {
                outrun(shared, batch);
                Ok(())
            }
            Err(error) if error.is_full() => {
                shared.gauge.full();
                shared.roll_back(batch.bytes, self.tip.id);
                (batch.done)(Err(error));
                Ok(())
            }
            Err(error) => {
                self.pending.waiting.push(batch);
                Err(error)
            }
        }
    }

    /// The last entry, durable or not.
    fn last(&self) -> Option<RecordId> {
        self.pending.tip.map(|(id, _)| id).or(self.tip.id)
    }

    /// Whether an entry of this index comes next, and if so, whether a new segment behind what is purged begins with
    /// it.
    fn takes(&self, first: u64) -> Option<bool> {
        let last = self.last();
        if first == last.map_or(0, |id| id.index + 1) {
            return Some(false);
        }
        let purged = self.marks.marks().purged?;
        let restarts = first == purged.index + 1 && last.is_none_or(|last| last.index < purged.index);
        restarts.then_some(true)
    }

    /// Makes sure that the active segment can take `bytes` more; `restart` begins a new one at that index. When what is
    /// buffered finds no space, the caller's entries do not follow any more.
    fn make_room(&mut self, shared: &Shared, bytes: usize, restart: Option<u64>) -> Result<(), StorageError> {
        let limit = shared.options.segment_bytes;
        let buffered = wide(self.pending.buffer.len());
        let fits = self.active.as_ref().is_some_and(|active| {
            let empty = active.end + buffered <= HEADER_BYTES;
            let footer = Footer::encoded_len(active.marks + self.pending.marks.len() + 1);
            empty || active.end + buffered + wide(bytes) + footer <= limit
        });
        if fits && restart.is_none() {
            return Ok(());
        }
        let last = self.last();
        self.flush(shared)?;
        if restart.is_none() && self.last() != last {
            return Ok(());
        }
        self.seal(shared)?;
        let base = restart.unwrap_or_else(|| self.tip.id.map_or(0, |id| id.index + 1));
        let spec = NewSegment { base, before: self.tip, previous: self.newest };
        let active = create(
            shared.dir.vfs().as_ref(),
            &shared.dir.log_path(),
            &mut self.marks,
            &spec,
            &shared.options,
        )?;
        self.newest = active.segment.header.id;
        shared.change_segments(|segments| segments.push(Arc::clone(&active.segment)));
        self.active = Some(active);
        // A new segment takes a whole step; small segments never take another.
        measure(shared)
    }

    fn encode(&mut self, batch: Batch) -> Result<(), StorageError> {
        let Some(active) = self.active.as_mut() else { return Err(StorageError::Closed) };
        let header = active.segment.header;
        let durable = self.tip.id.map_or(0, |id| id.index);
        self.committed = self.committed.max(batch.committed);
        for entry in &batch.records {
            let offset = reach(active.end, self.pending.buffer.len());
            let place = Place {
                segment: header.id,
                offset,
                flush: self.tip.flush + 1,
                // Only what this disk is known to hold: then a record never vouches for its own flush.
                committed: self.committed.min(durable),
                prev: self.pending.tip.map_or(self.tip.crc, |(_, crc)| crc),
                salt: header.salt,
            };
            let start = self.pending.buffer.len();
            let crc = match record::encode(&mut self.pending.buffer, entry, &place) {
                Ok(crc) => crc,
                Err(error) => {
                    self.pending.waiting.push(batch);
                    return Err(error);
                }
            };
            if active.marked.is_none_or(|marked| offset - marked >= MARK_BYTES) {
                self.pending.marks.push(Mark { index: entry.index, offset });
                active.marked = Some(offset);
            }
            self.pending.last_at = start;
            self.pending.count += 1;
            self.pending.tip = Some((entry.id(), crc));
        }
        self.pending.waiting.push(batch);
        Ok(())
    }

    /// Writes and syncs what is buffered and answers its callers. An error other than "full" is a fault.
    pub(super) fn flush(&mut self, shared: &Shared) -> Result<(), StorageError> {
        let Some((last, _)) = self.pending.tip else {
            for batch in std::mem::take(&mut self.pending.waiting) {
                (batch.done)(Ok(()));
            }
            return Ok(());
        };
        let bytes = self.pending.waiting.iter().fold(0usize, |sum, batch| sum.saturating_add(batch.bytes));
        match self.write_out(shared, last) {
            Ok(()) => {
                shared.flushed(bytes, last.index);
                for batch in self.clear() {
                    (batch.done)(Ok(()));
                }
                Ok(())
            }
            Err(error) if error.is_full() => {
                shared.gauge.full();
                shared.roll_back(bytes, self.tip.id);
                if let Some(active) = self.active.as_mut() {
                    // The marks of what was not written are void; the next record makes a new one.
                    active.marked = None;
                }
                for batch in self.clear() {
                    (batch.done)(Err(error.clone()));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn write_out(&mut self, shared: &Shared, last: RecordId) -> Result<(), StorageError> {
        let Some(active) = self.active.as_mut() else { return Err(StorageError::Closed) };
        let segment = Arc::clone(&active.segment);
        let end = reach(active.end, self.pending.buffer.len());
        let footer = Footer::encoded_len(active.marks + self.pending.marks.len());
        reserve(active, end + footer, shared)?;
        secure(active, end + footer)?;
        let salt = segment.header.salt;
        let crc = record::close_flush(&mut self.pending.buffer, self.pending.last_at, salt);
        write_all(active.file.as_ref(), &self.pending.buffer, active.end)
            .map_err(|error| fault("write", &segment.path, error))?;
        let began = Instant::now();
        sync(active.file.as_ref(), &segment.path)?;
        shared.fsyncs.observe_micros(began.elapsed());
        segment.grow(&self.pending.marks, self.pending.count, last.index, end);
        active.secured = active.allocated;
        active.end = end;
        active.count += self.pending.count;
        active.marks += self.pending.marks.len();
        self.tip = Tip { id: Some(last), crc, flush: self.tip.flush + 1 };
        Ok(())
    }

    fn clear(&mut self) -> Vec<Batch> {
        self.pending.tip = None;
        self.pending.count = 0;
        self.pending.marks.clear();
        self.pending.buffer.clear();
        if self.pending.buffer.capacity() > BUFFER_KEPT {
            self.pending.buffer = Vec::new();
        }
        std::mem::take(&mut self.pending.waiting)
    }

    /// After a fault: everybody who waits is told.
    pub(super) fn fail_waiting(&mut self, shared: &Shared) {
        for batch in self.clear() {
            (batch.done)(Err(shared.poison.refusal().unwrap_or(StorageError::Closed)));
        }
    }

    /// Ends the active segment with its footer. `Full`: it stays as it is.
    fn seal(&mut self, shared: &Shared) -> Result<(), StorageError> {
        if let Some(active) = self.active.as_mut() {
            // Right after a start or a truncation nothing is reserved.
            reserve_exactly(active, active.end + Footer::encoded_len(active.marks))?;
        }
        let Some(active) = self.active.take() else { return Ok(()) };
        let segment = &active.segment;
        let (marks, _) = segment.marks(shared.dir.vfs().as_ref())?;
        let footer = Footer {
            id: segment.header.id,
            first: segment.header.base,
            count: active.count,
            tip: self.tip,
            committed: self.committed.min(self.tip.id.map_or(0, |id| id.index)),
            marks: marks.as_ref().clone(),
        };
        let bytes = footer.encode(segment.header.salt);
        let length = reach(active.end, bytes.len());
        write_all(active.file.as_ref(), &bytes, active.end)
            .map_err(|error| fault("write", &segment.path, error))?;
        // Only a durable footer explains why the file is shorter than it was.
        sync(active.file.as_ref(), &segment.path)?;
        active.file.set_len(length).map_err(|error| fault("trim", &segment.path, error))?;
        sync(active.file.as_ref(), &segment.path)?;
        segment.seal(length, self.tip.crc);
        segment.unload();
        Ok(())
    }

    /// Removes `index` and what follows: later segments newest first, then the rest of the one that holds it.
    pub(super) fn truncate(&mut self, shared: &Shared, index: u64) -> Result<(), StorageError> {
        if self.tip.id.is_none_or(|last| last.index < index) {
            shared.cut(self.tip.id);
            return Ok(());
        }
        let vfs = shared.dir.vfs().as_ref();
        let keep = shared.segments(|segments| {
            segments
                .iter()
                .rposition(|segment| segment.header.base <= index)
                .and_then(|at| segments.get(at).map(Arc::clone))
        });
        let Some(keep) = keep else {
            return Err(StorageError::Refused(format!("entry {index} is no longer kept")));
        };
        let file = vfs.open(&keep.path, OpenMode::Write).map_err(|error| fault("open", &keep.path, error))?;
        let cut = super::recover::cut_at(&keep, file.as_ref(), index)?;
        let id = keep.header.id;
        self.marks.change(|marks| {
            marks.newest = id;
            marks.floor = (id, cut.end);
        })?;
        self.active = None;
        let later = shared.change_segments(|segments| {
            let from = segments.partition_point(|segment| segment.header.id <= id);
            segments.split_off(from)
        });
        for segment in later.iter().rev() {
            vfs.remove(&segment.path).map_err(|error| fault("remove", &segment.path, error))?;
            sync_folder(vfs, &shared.dir.log_path())?;
        }
        let span = Span::shorten(file.as_ref(), &keep.path, &keep.header, cut.end)?;
        sync_folder(vfs, &shared.dir.log_path())?;
        keep.cut(index, cut.end, cut.marks.clone());
        shared.places.clear();
        shared.cut(cut.tip.id);
        // Flush numbers go on without a gap after the last kept record.
        self.tip = cut.tip;
        self.newest = id;
        self.active = Some(Active {
            segment: keep,
            file,
            end: cut.end,
            allocated: cut.end,
            secured: cut.end,
            span,
            count: cut.count,
            marked: cut.marks.last().map(|mark| mark.offset),
            marks: cut.marks.len(),
        });
        Ok(())
    }

    /// On a clean end: what is buffered, then the highest commit index, if it is not on disk yet, is left to recovery.
    pub(super) fn finish(&mut self, shared: &Shared) -> Result<(), StorageError> {
        self.flush(shared)
    }
}

/// Refuses what was queued behind an append that found no space. What callers see of the log went back with that one,
/// and may have gone on since.
fn outrun(shared: &Shared, batch: Batch) {
    shared.let_go(batch.bytes);
    let path = shared.dir.log_path();
    (batch.done)(Err(StorageError::Full { path, needed: wide(batch.bytes) }));
}

/// What a new segment continues.
pub(super) struct NewSegment {
    pub(super) base: u64,
    pub(super) before: Tip,
    pub(super) previous: u64,
}

/// Makes a segment durable before its first record: file, space, header, sync, directory, and the mark that it exists.
pub(super) fn create(
    vfs: &dyn Vfs,
    folder: &Path,
    marks: &mut MarksFile,
    new: &NewSegment,
    options: &LogOptions,
) -> Result<Active, StorageError> {
    let id = marks.marks().next.max(new.previous + 1);
    let path = folder.join(file_name(id));
    let header =
        Header { id, salt: rand::random(), previous: new.previous, base: new.base, before: new.before };
    let step = options.allocate_bytes.clamp(HEADER_BYTES, 8 << 20);
    let refuse = |action, error: std::io::Error| match is_no_space(&error) {
        true => StorageError::Full { path: path.clone(), needed: step },
        false => fault(action, &path, error),
    };
    let file = vfs.open(&path, OpenMode::CreateNew).map_err(|error| refuse("create", error))?;
    if let Err(error) = file.allocate(0, step) {
        vfs.remove(&path).map_err(|error| fault("remove", &path, error))?;
        return Err(refuse("reserve space for", error));
    }
    let span = Span::default().next(step);
    write_all(file.as_ref(), &header.start(span), 0).map_err(|error| fault("write", &path, error))?;
    sync(file.as_ref(), &path)?;
    if !seeded::active(SeededBug::DirectoryFsyncSkipped) {
        sync_folder(vfs, folder)?;
    }
    marks.change(|marks| {
        marks.newest = id;
        marks.next = id + 1;
    })?;
    let segment = Arc::new(Segment::open(header, path, Arc::clone(&file)));
    Ok(Active {
        segment,
        file,
        end: HEADER_BYTES,
        allocated: step,
        secured: step,
        span,
        count: 0,
        marked: None,
        marks: 0,
    })
}

pub(super) fn sync(file: &dyn VfsFile, path: &Path) -> Result<(), StorageError> {
    if seeded::active(SeededBug::FdatasyncSkipped) {
        return Ok(());
    }
    file.sync_data().map_err(|error| fault("sync", path, error))
}

pub(super) fn sync_folder(vfs: &dyn Vfs, folder: &Path) -> Result<(), StorageError> {
    vfs.sync_dir(folder).map_err(|error| fault("sync", folder, error))
}

/// A failed operation that leaves the disk in an unknown state, even when the reason was lack of space.
pub(super) fn fault(action: &'static str, path: &Path, error: std::io::Error) -> StorageError {
    StorageError::io(action, path, error)
}
