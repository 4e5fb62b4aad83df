//! Reading records one after the other out of a segment file.

use std::path::Path;

use bytes::Bytes;

use super::{
    error::StorageError,
    record::{Flaw, HEAD_BYTES, Head, Record},
    vfs::{VfsFile, read_up_to},
    wire::{narrow, wide},
};

/// A read-ahead window over a file, so that walking small records costs one read per `chunk` bytes.
pub(super) struct Window<'a> {
    file: &'a dyn VfsFile,
    path: &'a Path,
    chunk: usize,
    /// Nothing is read at or behind this offset.
    end: u64,
    start: u64,
    bytes: Bytes,
}

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a dyn VfsFile, path: &'a Path, chunk: usize, end: u64) -> Window<'a> {
        Window { file, path, chunk, end, start: 0, bytes: Bytes::new() }
    }

    /// Up to `length` bytes at `at`, shared with the window; fewer only at the end.
    pub(super) fn get(&mut self, at: u64, length: usize) -> Result<Bytes, StorageError> {
        if let Some(found) = self.held(at, length) {
            return Ok(found);
        }
        let wanted = length.max(self.chunk).min(narrow(self.end.saturating_sub(at)));
        let read =
            read_up_to(self.file, at, wanted).map_err(|error| StorageError::io("read", self.path, error))?;
        self.start = at;
        self.bytes = Bytes::from(read);
        Ok(self.bytes.slice(..length.min(self.bytes.len())))
    }

    fn held(&self, at: u64, length: usize) -> Option<Bytes> {
        let from = narrow(at.checked_sub(self.start)?);
        let to = from.checked_add(length)?;
        (to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

/// What a record must look like at its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground {
    pub(super) segment: u64,
    pub(super) salt: u32,
}

/// Reads and checks the head at `offset`, including that it was written for this place.
pub(super) fn head_at(
    window: &mut Window<'_>,
    ground: Ground,
    offset: u64,
) -> Result<Result<Head, Flaw>, StorageError> {
    let bytes = window.get(offset, HEAD_BYTES)?;
    Ok(Head::decode(&bytes, ground.salt).and_then(|head| {
        if head.segment == ground.segment && head.offset == offset {
            Ok(head)
        } else {
            Err(Flaw::head(format!(
                "the record was written for segment {} offset {}",
                head.segment, head.offset
            )))
        }
    }))
}

/// Reads and checks the whole record of a checked head.
pub(super) fn record_at(
    window: &mut Window<'_>,
    ground: Ground,
    head: &Head,
) -> Result<Result<Record, Flaw>, StorageError> {
    let bytes = window.get(head.offset, head.length)?;
    Ok(head.record(&bytes, ground.salt))
}

/// Turns a flaw into the error that names file and offset.
pub(super) fn damaged(path: &Path, offset: u64, flaw: &Flaw) -> StorageError {
    StorageError::damaged(path, offset, flaw.what.clone())
}

/// Where the next record starts.
pub(super) fn after(head: &Head) -> u64 {
    head.offset.saturating_add(wide(head.length))
}
