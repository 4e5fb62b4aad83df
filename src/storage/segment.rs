//! One segment file: its header, its footer once sealed, and the marks that lead from an index to an offset.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crc32c::{crc32c, crc32c_append};

use super::{
    error::StorageError,
    record::RecordId,
    span::{SLOTS, Span},
    vfs::{OpenMode, Vfs, VfsFile, read_up_to},
    walk::Ground,
    wire::{lock, narrow, put_at, u32_at, u64_at, wide},
};

/// Bytes before the first record: the header and the slots behind it.
pub(super) const HEADER_BYTES: u64 = SLOTS.1;
/// Distance between two marks, in bytes of the file.
pub(super) const MARK_BYTES: u64 = 64 << 10;
const HEADER_MAGIC: u64 = u64::from_le_bytes(*b"WHIMBLOG");
const FOOTER_MAGIC: u32 = u32::from_le_bytes(*b"WEND");
const HEADER_VERSION: u32 = 2;
const FOOTER_VERSION: u32 = 1;
const FOOTER_FIXED: usize = 80;
const FOOTER_TAIL: usize = 8;

/// Index and offset of one record about every 64 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) index: u64,
    pub(super) offset: u64,
}

/// The end of a chain of records: what the next record continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    /// The last record, if there ever was one.
    pub(super) id: Option<RecordId>,
    /// Its head checksum.
    pub(super) crc: u32,
    /// Its flush.
    pub(super) flush: u64,
}

/// The first 128 bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) salt: u32,
    /// The segment written before this one; 0 for the first.
    pub(super) previous: u64,
    /// Index of the first record that belongs here.
    pub(super) base: u64,
    /// What the first record continues.
    pub(super) before: Tip,
}

impl Header {
    /// Everything before the first record of a new segment, whose file is as long as `span` says.
    pub(super) fn start(&self, span: Span) -> Vec<u8> {
        let mut bytes = self.encode();
        bytes.resize(narrow(HEADER_BYTES), 0);
        put_at(&mut bytes, narrow(span.at()), &span.encode(self));
        bytes
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; narrow(SLOTS.0)];
        let last = self.before.id.unwrap_or(RecordId { index: 0, term: 0, leader: 0 });
        put_at(&mut bytes, 0, &HEADER_MAGIC.to_le_bytes());
        put_at(&mut bytes, 8, &HEADER_VERSION.to_le_bytes());
        put_at(&mut bytes, 12, &self.salt.to_le_bytes());
        put_at(&mut bytes, 16, &self.id.to_le_bytes());
        put_at(&mut bytes, 24, &self.previous.to_le_bytes());
        put_at(&mut bytes, 32, &self.base.to_le_bytes());
        put_at(&mut bytes, 40, &u32::from(self.before.id.is_some()).to_le_bytes());
        put_at(&mut bytes, 44, &self.before.crc.to_le_bytes());
        put_at(&mut bytes, 48, &self.before.flush.to_le_bytes());
        put_at(&mut bytes, 56, &last.index.to_le_bytes());
        put_at(&mut bytes, 64, &last.term.to_le_bytes());
        put_at(&mut bytes, 72, &last.leader.to_le_bytes());
        let crc = crc32c(bytes.get(..124).unwrap_or_default());
        put_at(&mut bytes, 124, &crc.to_le_bytes());
        bytes
    }

    /// `None` when the bytes are not a whole, unharmed header.
    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        let intact = u32_at(bytes, 124)? == crc32c(bytes.get(..124)?);
        if !intact || u64_at(bytes, 0)? != HEADER_MAGIC || u32_at(bytes, 8)? != HEADER_VERSION {
            return None;
        }
        let last =
            RecordId { index: u64_at(bytes, 56)?, term: u64_at(bytes, 64)?, leader: u64_at(bytes, 72)? };
        Some(Header {
            id: u64_at(bytes, 16)?,
            salt: u32_at(bytes, 12)?,
            previous: u64_at(bytes, 24)?,
            base: u64_at(bytes, 32)?,
            before: Tip {
                id: (u32_at(bytes, 40)? != 0).then_some(last),
                crc: u32_at(bytes, 44)?,
                flush: u64_at(bytes, 48)?,
            },
        })
    }

    pub(super) fn ground(&self) -> Ground {
        Ground { segment: self.id, salt: self.salt }
    }
}

/// What a sealed segment ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) id: u64,
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) tip: Tip,
    pub(super) committed: u64,
    pub(super) marks: Vec<Mark>,
}

impl Footer {
    /// Bytes of a footer with this many marks.
    pub(super) fn encoded_len(marks: usize) -> u64 {
        wide(FOOTER_FIXED + marks * 16 + FOOTER_TAIL)
    }

    pub(super) fn encode(&self, salt: u32) -> Vec<u8> {
        let length = Footer::encoded_len(self.marks.len());
        let mut bytes = vec![0u8; narrow(length)];
        let last = self.tip.id.unwrap_or(RecordId { index: 0, term: 0, leader: 0 });
        put_at(&mut bytes, 0, &FOOTER_MAGIC.to_le_bytes());
        put_at(&mut bytes, 4, &FOOTER_VERSION.to_le_bytes());
        put_at(&mut bytes, 8, &self.id.to_le_bytes());
        put_at(&mut bytes, 16, &self.first.to_le_bytes());
        put_at(&mut bytes, 24, &self.count.to_le_bytes());
        put_at(&mut bytes, 32, &last.index.to_le_bytes());
        put_at(&mut bytes, 40, &last.term.to_le_bytes());
        put_at(&mut bytes, 48, &last.leader.to_le_bytes());
        put_at(&mut bytes, 56, &self.tip.flush.to_le_bytes());
        put_at(&mut bytes, 64, &self.committed.to_le_bytes());
        put_at(&mut bytes, 72, &self.tip.crc.to_le_bytes());
        let marks = u32::try_from(self.marks.len()).unwrap_or(u32::MAX);
        put_at(&mut bytes, 76, &(marks << 1 | u32::from(self.tip.id.is_some())).to_le_bytes());
        for (number, mark) in self.marks.iter().enumerate() {
            put_at(&mut bytes, FOOTER_FIXED + number * 16, &mark.index.to_le_bytes());
            put_at(&mut bytes, FOOTER_FIXED + number * 16 + 8, &mark.offset.to_le_bytes());
        }
        let tail = bytes.len() - FOOTER_TAIL;
        put_at(&mut bytes, tail, &u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        let crc = crc32c_append(salt, bytes.get(..tail + 4).unwrap_or_default());
        put_at(&mut bytes, tail + 4, &crc.to_le_bytes());
        bytes
    }

    /// How long the footer at the start of `bytes` means to be, if this looks like one of segment `id`.
    pub(super) fn length_at(bytes: &[u8], id: u64) -> Option<u64> {
        let looks = u32_at(bytes, 0)? == FOOTER_MAGIC
            && u32_at(bytes, 4)? == FOOTER_VERSION
            && u64_at(bytes, 8)? == id;
        looks.then(|| u32_at(bytes, 76).map(|marks| Footer::encoded_len(narrow(u64::from(marks >> 1)))))?
    }

    /// Reads a footer that fills `bytes` exactly.
    pub(super) fn decode(bytes: &[u8], salt: u32) -> Option<Footer> {
        let tail = bytes.len().checked_sub(FOOTER_TAIL)?;
        let intact = u32_at(bytes, tail + 4)? == crc32c_append(salt, bytes.get(..tail + 4)?);
        if !intact || u32_at(bytes, 0)? != FOOTER_MAGIC || u32_at(bytes, 4)? != FOOTER_VERSION {
            return None;
        }
        let last =
            RecordId { index: u64_at(bytes, 32)?, term: u64_at(bytes, 40)?, leader: u64_at(bytes, 48)? };
        let marks = bytes.get(FOOTER_FIXED..tail)?.chunks_exact(16);
        let marks = marks.map(|mark| Some(Mark { index: u64_at(mark, 0)?, offset: u64_at(mark, 8)? }));
        Some(Footer {
            id: u64_at(bytes, 8)?,
            first: u64_at(bytes, 16)?,
            count: u64_at(bytes, 24)?,
            tip: Tip {
                id: (u32_at(bytes, 76)? & 1 != 0).then_some(last),
                crc: u32_at(bytes, 72)?,
                flush: u64_at(bytes, 56)?,
            },
            committed: u64_at(bytes, 64)?,
            marks: marks.collect::<Option<Vec<Mark>>>()?,
        })
    }

    /// Reads the footer at the end of a file of `length` bytes, and where it starts.
    pub(super) fn read(
        file: &dyn VfsFile,
        path: &Path,
        salt: u32,
        length: u64,
    ) -> Result<Option<(Footer, u64)>, StorageError> {
        let get = |at: u64, bytes: u64| {
            read_up_to(file, at, narrow(bytes)).map_err(|error| StorageError::io("read", path, error))
        };
        let Some(tail_at) = length.checked_sub(wide(FOOTER_TAIL)) else { return Ok(None) };
        let tail = get(tail_at, wide(FOOTER_TAIL))?;
        let own = u64::from(u32_at(&tail, 0).unwrap_or(0));
        let fits = own >= Footer::encoded_len(0) && own <= length.saturating_sub(HEADER_BYTES);
        let Some(start) = length.checked_sub(own).filter(|_| fits) else { return Ok(None) };
        Ok(Footer::decode(&get(start, own)?, salt).map(|footer| (footer, start)))
    }
}

/// Names the records of a sealed segment: two segments with the same stamp hold the same, as the last checksum is
/// chained to all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) id: u64,
    pub(super) salt: u32,
    pub(super) base: u64,
    pub(super) count: u64,
    /// Head checksum of the last record.
    pub(super) crc: u32,
}

/// What readers know of a segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: Header,
    pub(super) path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: Option<Arc<dyn VfsFile>>,
    end: u64,
    count: u64,
    last: u64,
    sealed: Option<u64>,
    /// Head checksum of the last record, once sealed.
    crc: u32,
    marks: Option<Arc<Vec<Mark>>>,
}

/// A segment as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Never used twice in one log; grows.
    pub id: u64,
    /// Index of the first record that belongs here.
    pub first_index: u64,
    /// Index of the last durable record here, if there is one.
    pub last_index: Option<u64>,
    /// Bytes of its header, records and footer.
    pub bytes: u64,
    /// Whether it is complete and will never be written again.
    pub sealed: bool,
}

impl Segment {
    pub(super) fn open(header: Header, path: PathBuf, file: Arc<dyn VfsFile>) -> Segment {
        let state = State {
            file: Some(file),
            end: HEADER_BYTES,
            count: 0,
            last: 0,
            sealed: None,
            crc: 0,
            marks: Some(Arc::new(Vec::new())),
        };
        Segment { header, path, state: Mutex::new(state) }
    }

    pub(super) fn sealed(header: Header, path: PathBuf, footer: &Footer, records_end: u64) -> Segment {
        let state = State {
            file: None,
            end: records_end,
            count: footer.count,
            last: footer.tip.id.map_or(0, |id| id.index),
            sealed: Some(records_end + Footer::encoded_len(footer.marks.len())),
            crc: footer.tip.crc,
            marks: None,
        };
        Segment { header, path, state: Mutex::new(state) }
    }

    pub(super) fn info(&self) -> SegmentInfo {
        let state = lock(&self.state);
        SegmentInfo {
            id: self.header.id,
            first_index: self.header.base,
            last_index: (state.count > 0).then_some(state.last),
            bytes: state.sealed.unwrap_or(state.end),
            sealed: state.sealed.is_some(),
        }
    }

    /// Where the durable records end.
    pub(super) fn end(&self) -> u64 {
        lock(&self.state).end
    }

    /// Adds durable records: `marks` are the new ones, `last` the last index, `end` where they end.
    pub(super) fn grow(&self, marks: &[Mark], count: u64, last: u64, end: u64) {
        let mut state = lock(&self.state);
        if let Some(known) = state.marks.as_mut() {
            Arc::make_mut(known).extend_from_slice(marks);
        }
        state.count += count;
        state.last = last;
        state.end = end;
    }

    /// Notes that the footer is durable; the marks are then read back when somebody needs them. `crc` is the head
    /// checksum of the last record.
    pub(super) fn seal(&self, bytes: u64, crc: u32) {
        let mut state = lock(&self.state);
        state.sealed = Some(bytes);
        state.crc = crc;
    }

    /// What it holds, for good; none before it is sealed.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let state = lock(&self.state);
        let Header { id, salt, base, .. } = self.header;
        state.sealed.map(|_| Stamp { id, salt, base, count: state.count, crc: state.crc })
    }

    /// Forgets the loaded marks of a sealed segment and closes its file; whoever is reading keeps it open meanwhile.
    pub(super) fn unload(&self) {
        let mut state = lock(&self.state);
        if state.sealed.is_some() {
            state.marks = None;
            state.file = None;
        }
    }

    /// Forgets everything from `index` on and becomes the open segment again.
    pub(super) fn cut(&self, index: u64, end: u64, marks: Vec<Mark>) {
        let mut state = lock(&self.state);
        state.marks = Some(Arc::new(marks));
        state.count = index.saturating_sub(self.header.base);
        state.last = index.saturating_sub(1);
        state.end = end;
        state.sealed = None;
    }

    /// The open file. `true` if it had to be opened.
    pub(super) fn file(&self, vfs: &dyn Vfs) -> Result<(Arc<dyn VfsFile>, bool), StorageError> {
        let mut state = lock(&self.state);
        if let Some(file) = &state.file {
            return Ok((Arc::clone(file), false));
        }
        let file = vfs
            .open(&self.path, OpenMode::Read)
            .map_err(|error| StorageError::io("open", &self.path, error))?;
        state.file = Some(Arc::clone(&file));
        Ok((file, true))
    }

    /// The marks, read from the footer when they are not in memory. `true` if the file had to be opened for them.
    pub(super) fn marks(&self, vfs: &dyn Vfs) -> Result<(Arc<Vec<Mark>>, bool), StorageError> {
        let (file, opened) = self.file(vfs)?;
        let mut state = lock(&self.state);
        if let Some(marks) = &state.marks {
            return Ok((Arc::clone(marks), opened));
        }
        let length = state.sealed.unwrap_or(state.end);
        let Some((footer, _)) = Footer::read(file.as_ref(), &self.path, self.header.salt, length)? else {
            return Err(StorageError::damaged(
                &self.path,
                state.end,
                "the footer does not match its checksum",
            ));
        };
        let marks = Arc::new(footer.marks);
        state.marks = Some(Arc::clone(&marks));
        Ok((marks, opened))
    }
}

/// The file name of a segment.
pub(super) fn file_name(id: u64) -> String {
    format!("{id:012}.log")
}

/// The id in a segment's file name.
pub(super) fn id_of(name: &str) -> Option<u64> {
    let id = name.strip_suffix(".log")?.parse().ok()?;
    (file_name(id) == name).then_some(id)
}
