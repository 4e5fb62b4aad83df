//! One log entry and its bytes. The byte table is in docs/STORAGE.md.
//!
//! The head has its own checksum and covers the part table's checksum, which covers every part's: so one 80-byte check
//! chains everything, and each body is summed once. Checksums are CRC-32C (Castagnoli, as in iSCSI and ext4) and start
//! from the segment's random salt, so that no message body can pretend to be a record.

use bytes::Bytes;
use crc32c::crc32c_append;

use crate::model::seeded::{self, SeededBug};

use super::{
    error::StorageError,
    wire::{narrow, put_at, u8_at, u32_at, u64_at, wide},
};

/// Bytes of the fixed head.
pub(super) const HEAD_BYTES: usize = 80;
/// Largest encoded record: four times what one request may carry.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;
/// What the first record of a log is chained to. Not zero, so that a head never ends in zeros by nature.
pub(super) const CHAIN_START: u32 = 0x5748_494D;
const VERSION: u8 = 1;
const LAST_OF_FLUSH: u8 = 1;
const FLAGS_AT: usize = 10;
const PAD: u8 = 0xA5;
const PART_MARK_BYTES: usize = 8;

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// Nothing but a place in the log: what a new leader writes first.
    Blank = 1,
    /// A batch of facts.
    Batch = 2,
    /// Who belongs to the cluster.
    Membership = 3,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<RecordKind> {
        match byte {
            1 => Some(RecordKind::Blank),
            2 => Some(RecordKind::Batch),
            3 => Some(RecordKind::Membership),
            _ => None,
        }
    }
}

/// Where an entry stands in the agreed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// Its place in the log, from 0.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// The node that proposed it.
    pub leader: u64,
}

/// One log entry. `parts[0]` is the entry's own header, opaque to the store; `parts[1 + slot]` is the fact at `slot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log, from 0, without gaps.
    pub index: u64,
    /// The term it was proposed in; never falls along the log.
    pub term: u64,
    /// The node that proposed it.
    pub leader: u64,
    /// What it is for.
    pub kind: RecordKind,
    /// The entry's header and its facts, each with its own checksum on disk.
    pub parts: Vec<Bytes>,
}

impl Record {
    /// Where this entry stands.
    pub fn id(&self) -> RecordId {
        RecordId { index: self.index, term: self.term, leader: self.leader }
    }

    /// Why this entry can never be written.
    pub(super) fn refusal(&self) -> Option<StorageError> {
        let length = self.encoded_len();
        (length > RECORD_BYTES_MAX).then(|| {
            let what = format!("an entry of {length} bytes is larger than {RECORD_BYTES_MAX}; split it");
            StorageError::Refused(what)
        })
    }

    /// Bytes this entry takes on disk.
    pub fn encoded_len(&self) -> usize {
        let table = self.parts.len().saturating_mul(PART_MARK_BYTES);
        let bodies = self.parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        padded(HEAD_BYTES.saturating_add(table).saturating_add(bodies))
    }
}

/// At least one byte of padding, so that a whole record never ends in a zero.
fn padded(unpadded: usize) -> usize {
    unpadded.saturating_add(8) & !7
}

/// Everything about a record that its place decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) flush: u64,
    pub(super) committed: u64,
    pub(super) prev: u32,
    pub(super) salt: u32,
}

/// Appends the record's bytes to `buffer` and returns its head checksum, which the next record is chained to.
pub(super) fn encode(buffer: &mut Vec<u8>, record: &Record, place: &Place) -> Result<u32, StorageError> {
    if let Some(refusal) = record.refusal() {
        return Err(refusal);
    }
    let length = record.encoded_len();
    let start = buffer.len();
    buffer.reserve(length);
    put_head(buffer, record, place, length)?;
    let table_at = buffer.len();
    for part in &record.parts {
        buffer.extend_from_slice(&fit(part.len())?.to_le_bytes());
        buffer.extend_from_slice(&crc32c_append(place.salt, part).to_le_bytes());
    }
    let table_crc = crc32c_append(place.salt, buffer.get(table_at..).unwrap_or_default());
    put_at(buffer, start + 76, &table_crc.to_le_bytes());
    for part in &record.parts {
        buffer.extend_from_slice(part);
    }
    buffer.resize(start + length, PAD);
    Ok(sign_head(buffer, start, place.salt))
}

fn put_head(buffer: &mut Vec<u8>, record: &Record, place: &Place, length: usize) -> Result<(), StorageError> {
    buffer.extend_from_slice(&fit(length)?.to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&[VERSION, record.kind as u8, 0, 0]);
    buffer.extend_from_slice(&fit(record.parts.len())?.to_le_bytes());
    for field in
        [place.segment, place.offset, record.index, record.term, record.leader, place.flush, place.committed]
    {
        buffer.extend_from_slice(&field.to_le_bytes());
    }
    buffer.extend_from_slice(&place.prev.to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    Ok(())
}

fn fit(length: usize) -> Result<u32, StorageError> {
    u32::try_from(length)
        .map_err(|_| StorageError::Refused(format!("a length of {length} bytes is too large")))
}

/// Marks the record that starts at `start` of the buffer as the last of its flush and returns its new head checksum.
pub(super) fn close_flush(buffer: &mut [u8], start: usize, salt: u32) -> u32 {
    let flags = u8_at(buffer, start + FLAGS_AT).unwrap_or(0);
    put_at(buffer, start + FLAGS_AT, &[flags | LAST_OF_FLUSH]);
    sign_head(buffer, start, salt)
}

fn sign_head(buffer: &mut [u8], start: usize, salt: u32) -> u32 {
    let crc = head_crc(buffer.get(start..start + HEAD_BYTES).unwrap_or_default(), salt);
    put_at(buffer, start + 4, &crc.to_le_bytes());
    crc
}

fn head_crc(head: &[u8], salt: u32) -> u32 {
    let crc = crc32c_append(salt, head.get(..4).unwrap_or_default());
    crc32c_append(crc, head.get(8..HEAD_BYTES).unwrap_or_default())
}

/// What is wrong with a record's bytes, and where inside the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) what: String,
    /// Byte range of the damaged structure, from the record's start.
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Flaw {
    fn new(what: impl Into<String>, from: usize, to: usize) -> Flaw {
        Flaw { what: what.into(), from: wide(from), to: wide(to) }
    }

    /// A flaw of the fixed head.
    pub(super) fn head(what: impl Into<String>) -> Flaw {
        Flaw::new(what, 0, HEAD_BYTES)
    }
}

/// A checked head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) crc: u32,
    pub(super) kind: RecordKind,
    pub(super) closes_flush: bool,
    pub(super) parts: usize,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) id: RecordId,
    pub(super) flush: u64,
    pub(super) committed: u64,
    pub(super) prev: u32,
    table_crc: u32,
}

/// Where one part lies, from the record's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartMark {
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) crc: u32,
}

impl Head {
    /// Reads and checks the fixed head at the start of `bytes`.
    pub(super) fn decode(bytes: &[u8], salt: u32) -> Result<Head, Flaw> {
        Head::fields(bytes, salt).unwrap_or_else(|| Err(Flaw::head("the record's head is cut off")))
    }

    fn fields(bytes: &[u8], salt: u32) -> Option<Result<Head, Flaw>> {
        let head = bytes.get(..HEAD_BYTES)?;
        let crc = u32_at(head, 4)?;
        if !same(crc, head_crc(head, salt)) {
            return Some(Err(Flaw::head("the checksum of the record's head does not match")));
        }
        let version = u8_at(head, 8)?;
        let Some(kind) = RecordKind::from_byte(u8_at(head, 9)?).filter(|_| version == VERSION) else {
            return Some(Err(Flaw::head(format!("record version {version} or its kind is unknown"))));
        };
        let length = narrow(u64::from(u32_at(head, 0)?));
        let parts = narrow(u64::from(u32_at(head, 12)?));
        if length > RECORD_BYTES_MAX || length < padded(HEAD_BYTES + parts.saturating_mul(PART_MARK_BYTES)) {
            return Some(Err(Flaw::head(format!("a record of {length} bytes cannot hold {parts} parts"))));
        }
        Some(Ok(Head {
            length,
            crc,
            kind,
            closes_flush: u8_at(head, FLAGS_AT)? & LAST_OF_FLUSH != 0,
            parts,
            segment: u64_at(head, 16)?,
            offset: u64_at(head, 24)?,
            id: RecordId { index: u64_at(head, 32)?, term: u64_at(head, 40)?, leader: u64_at(head, 48)? },
            flush: u64_at(head, 56)?,
            committed: u64_at(head, 64)?,
            prev: u32_at(head, 72)?,
            table_crc: u32_at(head, 76)?,
        }))
    }

    /// Bytes of head and table together.
    pub(super) fn table_end(&self) -> usize {
        HEAD_BYTES + self.parts * PART_MARK_BYTES
    }

    /// Checks the part table; `bytes` starts at the record and reaches at least to [`Head::table_end`].
    pub(super) fn table(&self, bytes: &[u8], salt: u32) -> Result<Vec<PartMark>, Flaw> {
        let end = self.table_end();
        let table = bytes.get(HEAD_BYTES..end).unwrap_or_default();
        if !same(crc32c_append(salt, table), self.table_crc) {
            return Err(Flaw::new("the checksum of the record's part table does not match", HEAD_BYTES, end));
        }
        let mut at = end;
        let mut marks = Vec::with_capacity(table.len() / PART_MARK_BYTES);
        for mark in table.chunks_exact(PART_MARK_BYTES) {
            let length = narrow(u64::from(u32_at(mark, 0).unwrap_or(u32::MAX)));
            marks.push(PartMark { at, length, crc: u32_at(mark, 4).unwrap_or(0) });
            at = at.saturating_add(length);
        }
        if padded(at) != self.length {
            return Err(Flaw::new("the record's parts do not add up to its length", HEAD_BYTES, end));
        }
        Ok(marks)
    }

    /// Checks everything and shares the parts out of `bytes`, which holds exactly this record.
    pub(super) fn record(&self, bytes: &Bytes, salt: u32) -> Result<Record, Flaw> {
        let marks = self.table(bytes, salt)?;
        let mut parts = Vec::with_capacity(marks.len());
        let mut end = self.table_end();
        for (number, mark) in marks.iter().enumerate() {
            end = mark.at.saturating_add(mark.length);
            let part = if end <= bytes.len() { bytes.slice(mark.at..end) } else { Bytes::new() };
            if !mark.matches(&part, salt) {
                return Err(Flaw::new(
                    format!("the checksum of part {number} does not match"),
                    mark.at,
                    self.length,
                ));
            }
            parts.push(part);
        }
        let padding = bytes.get(end..).unwrap_or_default();
        if padding.is_empty() || padding.iter().any(|byte| *byte != PAD) {
            return Err(Flaw::new("the record's padding is damaged", end, self.length));
        }
        let RecordId { index, term, leader } = self.id;
        Ok(Record { index, term, leader, kind: self.kind, parts })
    }
}

impl PartMark {
    /// Whether these are the part's bytes.
    pub(super) fn matches(&self, part: &[u8], salt: u32) -> bool {
        part.len() == self.length && same(crc32c_append(salt, part), self.crc)
    }
}

fn same(left: u32, right: u32) -> bool {
    left == right || seeded::active(SeededBug::BadCrcAccepted)
}
