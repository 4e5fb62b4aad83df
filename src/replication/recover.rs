//! From what is on disk to the state before openraft starts.
//!
//! 1. The newest image is read; if it is damaged, the spare one. Damage is named, never used.
//! 2. The log from there on is streamed in chunks of bounded size and applied, up to the commit index that the log
//!    itself carries. So openraft starts close to the end, and what it still applies is what was in flight.
//!
//! With one voter everything recovery kept is committed as soon as openraft leads. In a resumed term the tail is
//! committed at once; in a new term (or one that ended before its first entry) with the leader start.

use crate::storage::{Images, Log, StorageError};

use super::entry::from_record;
use super::error::ReplicationError;
use super::image::{self, Kept, KeptImage};
use super::log_store::from_record_id;
use super::state_machine::{Applier, Current, MachineView, OnApplied};
use super::types::LogId;

/// Log read in one go while recovering.
const CHUNK_BYTES: usize = 8 << 20;

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Index of the image it began from; none when it began with the first entry of the log.
    pub image: Option<u64>,
    /// Images that were damaged and why; the node works without them, an operator should know.
    pub damaged: Vec<String>,
    /// Entries applied from the log.
    pub entries: u64,
    /// Facts in those entries.
    pub facts: u64,
    /// Bytes of those entries.
    pub bytes: u64,
    /// Index of the last entry applied.
    pub applied: Option<u64>,
}

/// The state to start from.
pub(super) struct Recovered {
    pub(super) applier: Applier,
    pub(super) kept: Kept,
    pub(super) report: Recovery,
}

/// Rebuilds the state. Blocking: reads an image and the tail of the log.
pub(super) fn recover(
    log: &Log,
    images: &Images,
    committed: Option<u64>,
    on_applied: OnApplied,
) -> Result<Recovered, ReplicationError> {
    let mut report = Recovery::default();
    let (current, kept) = newest_usable(log, images, &mut report)?;
    report.image = current.last.map(|id| id.index);
    check_against_log(log, report.image)?;
    let applier = Applier { view: MachineView::new(current), on_applied };
    replay(log, &applier, committed, &mut report)?;
    report.applied = applier.view.applied();
    Ok(Recovered { applier, kept, report })
}

/// Reads the newest image that is whole.
fn newest_usable(
    log: &Log,
    images: &Images,
    report: &mut Recovery,
) -> Result<(Current, Kept), ReplicationError> {
    let found = match images.newest() {
        Err(error @ StorageError::Damaged { .. }) => {
            report.damaged.push(error.to_string());
            None
        }
        found => found?,
    };
    let Some(found) = found else { return from_the_beginning(log, report) };
    report.damaged.extend(found.damaged.iter().map(ToString::to_string));
    // With a damaged newest image, this one was the spare.
    let spare = if found.damaged.is_empty() { whole_spare(images, report)? } else { None };
    report_damage(report);
    let (id, current) = image::read(&found.image)?;
    let newest = KeptImage { id, membership: current.membership.clone(), bytes: found.image.raw_len()? };
    Ok((current, Kept { newest: Some(newest), spare, damaged: report.damaged.clone() }))
}

/// The spare image; a damaged one is no spare, which is no reason not to start.
fn whole_spare(images: &Images, report: &mut Recovery) -> Result<Option<LogId>, ReplicationError> {
    match images.spare() {
        Err(error @ StorageError::Damaged { .. }) => {
            report.damaged.push(error.to_string());
            Ok(None)
        }
        spare => Ok(spare?.map(|spare| from_record_id(spare.id()))),
    }
}

/// Without any image, the log must be whole.
fn from_the_beginning(log: &Log, report: &Recovery) -> Result<(Current, Kept), ReplicationError> {
    report_damage(report);
    match log.purged() {
        None => Ok((Current::default(), Kept { damaged: report.damaged.clone(), ..Kept::default() })),
        Some(purged) if report.damaged.is_empty() => {
            Err(ReplicationError::NoImage { what: "there is none".to_owned(), purged: purged.index })
        }
        Some(purged) => {
            Err(ReplicationError::NoImage { what: report.damaged.join("; "), purged: purged.index })
        }
    }
}

fn report_damage(report: &Recovery) {
    for error in &report.damaged {
        tracing::error!(%error, "an image is damaged and not used");
    }
}

/// The log must reach from the image to beyond it.
fn check_against_log(log: &Log, image: Option<u64>) -> Result<(), ReplicationError> {
    let last = log.last().map(|id| id.index);
    match image {
        Some(index) if last < Some(index) => {
            let log = last.map_or("nothing".to_owned(), |last| last.to_string());
            Err(ReplicationError::ImageAhead { image: index, log })
        }
        _ => match log.purged() {
            Some(purged) if image < Some(purged.index) => {
                Err(ReplicationError::Gap { index: image.map_or(0, |index| index + 1) })
            }
            _ => Ok(()),
        },
    }
}

/// Applies the log from behind the image to `committed`.
fn replay(
    log: &Log,
    applier: &Applier,
    committed: Option<u64>,
    report: &mut Recovery,
) -> Result<(), ReplicationError> {
    let mut next = report.image.map_or(0, |index| index + 1);
    let end = committed.map_or(0, |index| index.saturating_add(1));
    while next < end {
        let records = log.read(next, end, CHUNK_BYTES)?;
        if records.is_empty() {
            return Err(ReplicationError::Gap { index: next });
        }
        for record in records {
            if record.index != next {
                return Err(ReplicationError::Gap { index: next });
            }
            let entry = from_record(&record)?;
            applier.apply(&entry, true).map_err(|error| StorageError::Refused(error.to_string()))?;
            next += 1;
            report.entries += 1;
            if let openraft::EntryPayload::Normal(payload) = &entry.payload {
                report.facts += payload.batch().facts.len() as u64;
                report.bytes += payload.bytes();
            }
        }
    }
    Ok(())
}
