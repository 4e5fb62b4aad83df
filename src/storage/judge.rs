//! Walking the newest segment after a crash, and telling a torn tail from damage.
//!
//! Flush k + 1 is written only after flush k is durable, and nothing of a flush is acknowledged before all of it is.
//! So the newest flush is all or nothing, and anything bad before it is damage. Inside it, a power cut leaves 512-byte
//! sectors old (zero, because the space was never written) or new; a bad record that no lost sector and no cut-off
//! write explains is damage too, even if it is the last one.

use std::path::Path;

use bytes::Bytes;

use crate::model::seeded::{self, SeededBug};

use super::{
    error::StorageError,
    record::{Flaw, HEAD_BYTES, Head},
    segment::{Footer, HEADER_BYTES, Header, MARK_BYTES, Mark, Tip},
    span::{SLOTS, Span},
    vfs::VfsFile,
    walk::{self, Window, after},
    wire::{narrow, u64_at, wide},
};

const SECTOR: u64 = 512;
const CHUNK: usize = 1 << 20;

/// How far a segment holds good, complete flushes.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    pub(super) tip: Tip,
    /// Where the last kept record ends.
    pub(super) end: u64,
    pub(super) count: u64,
    pub(super) marks: Vec<Mark>,
    pub(super) committed: u64,
    /// Where the last kept flush starts.
    pub(super) flush_start: u64,
    /// Whether the last kept record ends its flush; a truncation may have cut inside one.
    pub(super) closed: bool,
}

impl Extent {
    pub(super) fn empty(header: &Header) -> Extent {
        Extent {
            tip: header.before,
            end: HEADER_BYTES,
            count: 0,
            marks: Vec::new(),
            committed: 0,
            flush_start: HEADER_BYTES,
            closed: true,
        }
    }

    /// Takes in a checked record.
    pub(super) fn take(&mut self, head: &Head) {
        if head.flush != self.tip.flush || self.count == 0 {
            self.flush_start = head.offset;
        }
        if self.marks.last().is_none_or(|mark| head.offset - mark.offset >= MARK_BYTES) {
            self.marks.push(Mark { index: head.id.index, offset: head.offset });
        }
        self.tip = Tip { id: Some(head.id), crc: head.crc, flush: head.flush };
        self.end = after(head);
        self.count += 1;
        self.closed = head.closes_flush;
        self.committed = self.committed.max(head.committed);
    }

    /// Why a head, good in itself, does not continue this chain.
    pub(super) fn follows(&self, header: &Header, head: &Head) -> Result<(), Flaw> {
        let expected = header.base + self.count;
        let term = self.tip.id.map_or(0, |id| id.term);
        if head.prev != self.tip.crc || head.id.index != expected || head.id.term < term {
            return Err(Flaw::head(format!(
                "entry {} of term {} does not continue the chain, entry {expected} comes here",
                head.id.index, head.id.term
            )));
        }
        if head.flush != self.tip.flush && head.flush != self.tip.flush + 1 {
            return Err(Flaw::head(format!("flush {} follows flush {}", head.flush, self.tip.flush)));
        }
        Ok(())
    }
}

/// A torn tail that recovery cuts off. Nothing of it was ever acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub path: std::path::PathBuf,
    /// Where the cut is made.
    pub offset: u64,
    /// Bytes up to the last one that is not zero.
    pub bytes: u64,
    /// What was found there.
    pub what: String,
}

/// The segment under judgement.
pub(super) struct Case<'a> {
    pub(super) file: &'a dyn VfsFile,
    pub(super) path: &'a Path,
    pub(super) header: &'a Header,
    pub(super) length: u64,
    /// What the file says of its own length; none when neither slot is whole.
    pub(super) span: Option<Span>,
    /// Whether the vote file knows this segment: then its creation was finished.
    pub(super) named: bool,
    /// Everything of this segment before this offset was durable once.
    pub(super) floor: u64,
}

impl Case<'_> {
    /// Reads all records, checks everything, and says what to keep and what was torn off.
    pub(super) fn judge(&self) -> Result<(Extent, Option<TornTail>), StorageError> {
        let mut window = Window::new(self.file, self.path, CHUNK, self.length);
        let mut extent = Extent::empty(self.header);
        let mut kept = extent.clone();
        let mut open = false;
        let flaw = loop {
            match self.next(&mut window, &extent, open)? {
                Ok(head) => {
                    if head.flush != extent.tip.flush {
                        // Also after a truncation inside a flush: a later flush proves that the kept part was durable.
                        kept.clone_from(&extent);
                    }
                    extent.take(&head);
                    open = !head.closes_flush && extent.end != self.floor;
                    if !open {
                        kept.clone_from(&extent);
                    }
                }
                Err(flaw) => break flaw,
            }
        };
        if self.is_sealed_at(&extent)? {
            // A footer is written after everything before it is durable, so it ends a flush that was cut inside, too.
            return Ok((extent, None));
        }
        self.check_length(&extent)?;
        let torn = self.sentence(&extent, &kept, open, &flaw)?;
        Ok((kept, torn))
    }

    /// Refuses a file that is shorter than it durably was: no crash explains that, wherever the cut was made.
    fn check_length(&self, extent: &Extent) -> Result<(), StorageError> {
        if !self.named && extent.count == 0 {
            // Its creation was cut short, so nothing of it was durable yet.
            return Ok(());
        }
        let Some(span) = self.span else {
            let what = "neither note of the file's length matches its checksum";
            return Err(StorageError::damaged(self.path, SLOTS.0, what));
        };
        if self.length < span.length {
            let what = format!("the file ends here, but {} bytes of it were durable", span.length);
            return Err(StorageError::damaged(self.path, self.length, what));
        }
        Ok(())
    }

    fn next(
        &self,
        window: &mut Window<'_>,
        extent: &Extent,
        open: bool,
    ) -> Result<Result<Head, Flaw>, StorageError> {
        let ground = self.header.ground();
        let head = match walk::head_at(window, ground, extent.end)? {
            Ok(head) => head,
            Err(flaw) => return Ok(Err(flaw)),
        };
        if let Err(flaw) = extent.follows(self.header, &head) {
            return Ok(Err(flaw));
        }
        // A truncation that was cut short leaves the rest of its flush behind the floor.
        if !open && head.flush == extent.tip.flush && extent.end != self.floor {
            return Ok(Err(Flaw::head(format!("flush {} goes on after its end", head.flush))));
        }
        Ok(walk::record_at(window, ground, &head)?.map(|_| head))
    }

    /// Nothing, a torn tail, or the error that names the damage.
    fn sentence(
        &self,
        extent: &Extent,
        kept: &Extent,
        open: bool,
        flaw: &Flaw,
    ) -> Result<Option<TornTail>, StorageError> {
        let at = extent.end;
        let survey = self.survey(at)?;
        if !open && survey.data_end == at {
            return Ok(None);
        }
        let flush = if open { extent.tip.flush } else { extent.tip.flush + 1 };
        let index = self.header.base + extent.count;
        let proof = if at < self.floor {
            Some("the log was once cut behind this place".to_owned())
        } else if survey.flush > flush {
            Some(format!("flush {} was written after it", survey.flush))
        } else if survey.committed >= index && survey.committed > 0 {
            Some(format!("a later record says that entries up to {} were durable", survey.committed))
        } else if !self.is_torn(at, flaw, survey.data_end)? {
            Some("no lost sector explains it".to_owned())
        } else {
            None
        };
        if let Some(proof) = proof.filter(|_| !seeded::active(SeededBug::CutAtCorruption)) {
            return Err(StorageError::damaged(self.path, at, format!("{}, and {proof}", flaw.what)));
        }
        let bytes = survey.data_end.max(at).saturating_sub(kept.end);
        Ok(Some(TornTail { path: self.path.to_owned(), offset: kept.end, bytes, what: flaw.what.clone() }))
    }

    /// Looks behind the first bad place: where do the bytes end, and do whole record heads follow?
    fn survey(&self, from: u64) -> Result<Survey, StorageError> {
        let mut window = Window::new(self.file, self.path, CHUNK, self.length);
        let mut survey = Survey { data_end: from, flush: 0, committed: 0 };
        let mut at = from;
        while at < self.length {
            let bytes = window.get(at, CHUNK)?;
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                survey.data_end = at + wide(last) + 1;
                self.survey_heads(&bytes, at, &mut survey);
            }
            if bytes.is_empty() {
                break;
            }
            // Heads may lie across two chunks.
            at += wide(bytes.len().saturating_sub(HEAD_BYTES).max(HEAD_BYTES) & !7);
        }
        Ok(survey)
    }

    fn survey_heads(&self, bytes: &Bytes, at: u64, survey: &mut Survey) {
        for place in (0..bytes.len().saturating_sub(HEAD_BYTES - 1)).step_by(8) {
            let offset = at + wide(place);
            let here = u64_at(bytes, place + 16) == Some(self.header.id)
                && u64_at(bytes, place + 24) == Some(offset);
            if !here {
                continue;
            }
            let head = bytes.get(place..).map(|rest| Head::decode(rest, self.header.salt));
            if let Some(Ok(head)) = head {
                survey.flush = survey.flush.max(head.flush);
                survey.committed = survey.committed.max(head.committed);
            }
        }
    }

    /// Whether an unharmed footer that knows this very end follows.
    fn is_sealed_at(&self, extent: &Extent) -> Result<bool, StorageError> {
        let mut window = Window::new(self.file, self.path, HEAD_BYTES, self.length);
        let Some(length) = Footer::length_at(&window.get(extent.end, HEAD_BYTES)?, self.header.id) else {
            return Ok(false);
        };
        let bytes = window.get(extent.end, narrow(length.min(self.length)))?;
        Ok(Footer::decode(&bytes, self.header.salt).is_some_and(|footer| footer.tip == extent.tip))
    }

    /// Whether a lost sector or a write that stopped half-way explains the flaw of the record at `at`.
    fn is_torn(&self, at: u64, flaw: &Flaw, data_end: u64) -> Result<bool, StorageError> {
        let mut window = Window::new(self.file, self.path, CHUNK, self.length);
        let to = Footer::length_at(&window.get(at, HEAD_BYTES)?, self.header.id).unwrap_or(flaw.to);
        let (from, to) = (at + flaw.from, at + to);
        if data_end < to {
            return Ok(true);
        }
        let mut sector = from - from % SECTOR;
        while sector < to {
            let (start, end) = (sector.max(at), (sector + SECTOR).min(to));
            let bytes = window.get(start, narrow(end - start))?;
            if bytes.iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            sector += SECTOR;
        }
        Ok(false)
    }
}

/// What lies behind a bad place.
struct Survey {
    data_end: u64,
    flush: u64,
    committed: u64,
}
