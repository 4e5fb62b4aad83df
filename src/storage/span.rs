//! How long a segment's file is known to be: the evidence against a file that was cut short.
//!
//! Records are written only into space that is durable already, so a crash never leaves a file shorter than the space
//! its newest flush was written into. That length stands in one of two slots behind the header. It is written together
//! with the first flush that uses new space and becomes durable with that flush's own sync, so it costs no sync. A file
//! shorter than it says has lost something, wherever the cut was made.
//!
//! The slots are written in turn, so that a write that stops half-way leaves the other one.

use std::path::Path;

use crc32c::crc32c_append;

use super::{
    engine::{fault, sync},
    error::StorageError,
    segment::{HEADER_BYTES, Header},
    vfs::{VfsFile, read_up_to, write_all},
    wire::{narrow, put_at, u64_at},
};

/// Where the slots begin, and where they end.
pub(super) const SLOTS: (u64, u64) = (128, 192);
const SLOT_BYTES: u64 = 32;
const MAGIC: u32 = u32::from_le_bytes(*b"WLEN");

/// What the newest slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    sequence: u64,
    /// The file was durably this long.
    pub(super) length: u64,
}

impl Span {
    /// The one that takes the place of this one.
    pub(super) fn next(self, length: u64) -> Span {
        Span { sequence: self.sequence + 1, length }
    }

    /// The bytes of its slot.
    pub(super) fn encode(self, header: &Header) -> [u8; 32] {
        let mut slot = [0u8; 32];
        put_at(&mut slot, 0, &MAGIC.to_le_bytes());
        put_at(&mut slot, 8, &header.id.to_le_bytes());
        put_at(&mut slot, 16, &self.sequence.to_le_bytes());
        put_at(&mut slot, 24, &self.length.to_le_bytes());
        let crc = crc32c_append(header.salt, slot.get(8..).unwrap_or_default());
        put_at(&mut slot, 4, &crc.to_le_bytes());
        slot
    }

    fn decode(slot: &[u8], header: &Header) -> Option<Span> {
        let span = Span { sequence: u64_at(slot, 16)?, length: u64_at(slot, 24)? };
        (slot == span.encode(header)).then_some(span)
    }

    /// The newer whole slot in the bytes before a segment's first record; `None` when neither is whole.
    pub(super) fn read(start: &[u8], header: &Header) -> Option<Span> {
        let slots = start.get(narrow(SLOTS.0)..narrow(SLOTS.1))?.chunks_exact(narrow(SLOT_BYTES));
        slots.filter_map(|slot| Span::decode(slot, header)).max_by_key(|span| span.sequence)
    }

    /// Where its slot is.
    pub(super) fn at(self) -> u64 {
        SLOTS.0 + self.sequence % 2 * SLOT_BYTES
    }

    /// Writes its slot; the caller syncs.
    pub(super) fn write(self, file: &dyn VfsFile, path: &Path, header: &Header) -> Result<(), StorageError> {
        write_all(file, &self.encode(header), self.at()).map_err(|error| fault("write", path, error))
    }

    /// Cuts a file to `end`, durably, after it says itself that it is no longer than that.
    pub(super) fn shorten(
        file: &dyn VfsFile,
        path: &Path,
        header: &Header,
        end: u64,
    ) -> Result<Span, StorageError> {
        let start = read_up_to(file, 0, narrow(HEADER_BYTES)).map_err(|error| fault("read", path, error))?;
        let span = Span::read(&start, header).unwrap_or_default().next(end);
        span.write(file, path, header)?;
        sync(file, path)?;
        file.set_len(end).map_err(|error| fault("cut", path, error))?;
        sync(file, path)?;
        Ok(span)
    }
}
