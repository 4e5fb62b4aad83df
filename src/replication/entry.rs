//! A Raft entry as a record of the commit log, and back.

use std::sync::Arc;

use openraft::EntryPayload;

use crate::machine::Batch;
use crate::model::wire::DecodeError;
use crate::storage::{Record, RecordKind};

use super::membership::{self, MembershipError};
use super::types::{Entry, LogId, Payload, log_id};

/// A record that passed its checksums but does not read as an entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Its batch does not decode.
    #[error("the batch at index {index} cannot be read: {source}")]
    Batch {
        /// Where it stands.
        index: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Its membership does not decode.
    #[error("the membership at index {index} cannot be read: {source}")]
    Membership {
        /// Where it stands.
        index: u64,
        /// What is wrong with it.
        source: MembershipError,
    },
}

/// Encodes `entry`; a batch is marked as submitted, with its size.
pub(super) fn to_record(entry: &Entry) -> Record {
    let (kind, parts) = match &entry.payload {
        EntryPayload::Blank => (RecordKind::Blank, Vec::new()),
        EntryPayload::Normal(payload) => (RecordKind::Batch, payload.batch().encode()),
        EntryPayload::Membership(membership) => {
            (RecordKind::Membership, vec![membership::encode(membership)])
        }
    };
    if let EntryPayload::Normal(payload) = &entry.payload {
        payload.submitted(parts.iter().map(|part| part.len() as u64).sum());
    }
    let LogId { leader_id, index } = entry.log_id;
    Record { index, term: leader_id.term, leader: leader_id.node_id, kind, parts }
}

pub(super) fn from_record(record: &Record) -> Result<Entry, EntryError> {
    let index = record.index;
    let payload = match record.kind {
        RecordKind::Blank => EntryPayload::Blank,
        RecordKind::Batch => EntryPayload::Normal(to_payload(record)?),
        RecordKind::Membership => {
            let bytes = record.parts.first().map(|part| part.as_ref()).unwrap_or_default();
            let membership =
                membership::decode(bytes).map_err(|source| EntryError::Membership { index, source })?;
            EntryPayload::Membership(membership)
        }
    };
    Ok(Entry { log_id: record_id(record), payload })
}

fn to_payload(record: &Record) -> Result<Payload, EntryError> {
    let batch =
        Batch::decode(&record.parts).map_err(|source| EntryError::Batch { index: record.index, source })?;
    let payload = Payload::new(Arc::new(batch));
    payload.submitted(record.parts.iter().map(|part| part.len() as u64).sum());
    Ok(payload)
}

fn record_id(record: &Record) -> LogId {
    log_id(record.index, record.term, record.leader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Fact;
    use crate::model::Timestamp;

    fn entry(payload: EntryPayload<super::super::types::Types>) -> Entry {
        Entry { log_id: log_id(7, 3, 2), payload }
    }

    #[test]
    fn every_kind_comes_back_as_it_was() {
        let facts = vec![Fact::LeaderStart { node: 2 }];
        let batch = Arc::new(Batch { base: 0, time: Timestamp(5), facts });
        let membership = super::super::types::Membership::new(vec![[1, 2].into()], ());
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Payload::new(Arc::clone(&batch))),
            EntryPayload::Membership(membership),
        ] {
            let before = entry(payload);
            let after = from_record(&to_record(&before)).unwrap();
            assert_eq!(after.log_id, before.log_id);
            match (&after.payload, &before.payload) {
                (EntryPayload::Normal(after), EntryPayload::Normal(before)) => {
                    assert_eq!(after.batch(), before.batch());
                    assert_eq!(after.bytes(), before.bytes());
                    assert!(after.bytes() > 0);
                }
                (EntryPayload::Membership(after), EntryPayload::Membership(before)) => {
                    assert_eq!(after, before);
                }
                (EntryPayload::Blank, EntryPayload::Blank) => {}
                (after, before) => panic!("{after:?} is not {before:?}"),
            }
        }
    }

    #[test]
    fn a_batch_counts_as_submitted_from_the_moment_it_is_encoded() {
        let batch =
            Arc::new(Batch { base: 0, time: Timestamp(5), facts: vec![Fact::LeaderStart { node: 2 }] });
        let payload = Payload::new(batch);
        let kept = payload.clone();
        assert!(!kept.was_submitted());
        to_record(&entry(EntryPayload::Normal(payload)));
        assert!(kept.was_submitted());
    }

    #[test]
    fn what_does_not_read_is_refused_by_its_place() {
        let mut record = to_record(&entry(EntryPayload::Blank));
        record.kind = RecordKind::Batch;
        assert!(from_record(&record).unwrap_err().to_string().contains("index 7"));
        record.kind = RecordKind::Membership;
        assert!(from_record(&record).unwrap_err().to_string().contains("index 7"));
    }
}
