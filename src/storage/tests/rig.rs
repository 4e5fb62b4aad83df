//! A log on a simulated disk beside a model of what was acknowledged.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, mpsc},
};

use bytes::Bytes;

use crate::storage::{
    DataDir, Log, LogOptions, Record, RecordId, RecordKind, Recovered, StorageError, Vote, vfs::sim::SimFs,
};

pub(super) const ROOT: &str = "/data";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Small,
    Large,
    Vote,
    Truncate,
    Purge,
    Roll,
    Remove,
    Reopen,
}

pub(super) const OPS: [Op; 8] =
    [Op::Small, Op::Large, Op::Vote, Op::Truncate, Op::Purge, Op::Roll, Op::Remove, Op::Reopen];

/// What a log should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) entries: BTreeMap<u64, Record>,
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<RecordId>,
    next: u64,
}

pub(super) struct Rig {
    pub(super) fs: SimFs,
    pub(super) log: Option<Log>,
    /// What was acknowledged.
    pub(super) before: State,
    /// What an unanswered request would make of it.
    pub(super) after: Option<State>,
    serial: u64,
}

pub(super) fn options() -> LogOptions {
    LogOptions { segment_bytes: 2_560, tail_cache_bytes: 300, reserve_bytes: 0, allocate_bytes: 1_024 }
}

pub(super) fn open(fs: &SimFs) -> Result<(Log, Recovered), StorageError> {
    let dir = DataDir::open(Arc::new(fs.clone()), PathBuf::from(ROOT))?;
    Log::open(&dir, options())
}

/// Waits for one answer.
pub(super) fn wait(
    ask: impl FnOnce(Box<dyn FnOnce(Result<(), StorageError>) + Send>),
) -> Result<(), StorageError> {
    let (sender, receiver) = mpsc::channel();
    ask(Box::new(move |result| drop(sender.send(result))));
    receiver.recv().unwrap_or(Err(StorageError::Closed))
}

impl Rig {
    pub(super) fn new(fs: SimFs) -> Rig {
        Rig { fs, log: None, before: State::default(), after: None, serial: 0 }
    }

    pub(super) fn open(&mut self) -> Result<Recovered, StorageError> {
        let (log, recovered) = open(&self.fs)?;
        self.log = Some(log);
        Ok(recovered)
    }

    pub(super) fn log(&self) -> &Log {
        self.log.as_ref().expect("the log is open")
    }

    fn record(&mut self, index: u64, body: usize) -> Record {
        self.serial += 1;
        let term = self.before.vote.map_or(0, |vote| vote.term);
        // No zero bytes and never the same twice.
        let body: Vec<u8> =
            (0..body as u64).map(|at| ((at * 31 + self.serial * 7) % 251 + 1) as u8).collect();
        let parts = vec![Bytes::from(format!("entry {index} try {}", self.serial)), Bytes::from(body)];
        Record { index, term, leader: 1, kind: RecordKind::Batch, parts }
    }

    pub(super) fn append(&mut self, bodies: &[usize]) -> Result<(), StorageError> {
        let mut after = self.before.clone();
        let start = after.next;
        let records: Vec<Record> =
            (start..).zip(bodies).map(|(index, body)| self.record(index, *body)).collect();
        for record in &records {
            after.entries.insert(record.index, record.clone());
        }
        after.next += bodies.len() as u64;
        let committed = self.before.next.saturating_sub(1);
        self.ask(after, |log, done| log.append(records, committed, done))
    }

    fn ask(
        &mut self,
        after: State,
        ask: impl FnOnce(&Log, Box<dyn FnOnce(Result<(), StorageError>) + Send>),
    ) -> Result<(), StorageError> {
        self.after = Some(after);
        let log = self.log.as_ref().ok_or(StorageError::Closed)?;
        wait(|done| ask(log, done))?;
        self.before = self.after.take().expect("set above");
        Ok(())
    }

    /// Does one operation; `Ok` means that it was acknowledged.
    pub(super) fn apply(&mut self, op: Op) -> Result<(), StorageError> {
        let mut after = self.before.clone();
        let last = after.entries.keys().next_back().copied();
        match op {
            Op::Small => self.append(&[20, 0, 90]),
            Op::Large => self.append(&[1_100]),
            Op::Roll => self.append(&[2_400]),
            Op::Vote => {
                let term = after.vote.map_or(0, |vote| vote.term) + 1;
                let vote = Vote { term, node: 1, committed: term.is_multiple_of(2) };
                after.vote = Some(vote);
                self.ask(after, |log, done| log.save_vote(vote, done))
            }
            Op::Truncate => {
                let purged = after.purged.map_or(0, |purged| purged.index + 1);
                let from = last.map_or(0, |last| last.saturating_sub(1)).max(purged);
                after.entries.split_off(&from);
                after.next = after.next.min(from);
                self.ask(after, |log, done| log.truncate_from(from, done))
            }
            Op::Purge => {
                let Some(id) =
                    last.and_then(|last| after.entries.get(&last.saturating_sub(1))).map(Record::id)
                else {
                    return Ok(());
                };
                if after.purged.is_none_or(|purged| purged.index < id.index) {
                    after.purged = Some(id);
                }
                self.ask(after, |log, done| log.purge(id, done))
            }
            Op::Remove => self.remove(after),
            Op::Reopen => {
                if let Some(log) = self.log.take() {
                    log.close();
                }
                self.open().map(|_| ())
            }
        }
    }

    fn remove(&mut self, mut after: State) -> Result<(), StorageError> {
        let purged = after.purged;
        let segments = self.log().segments();
        let oldest = segments.iter().find(|segment| {
            segment.sealed
                && segment.last_index.is_none_or(|last| purged.is_some_and(|purged| last <= purged.index))
        });
        let Some(oldest) = oldest else { return Ok(()) };
        let last = oldest.last_index.unwrap_or(0);
        after.entries.retain(|index, _| *index > last);
        let id = oldest.id;
        self.ask(after, |log, done| done(log.remove_segment(id)))
    }

    /// Compares the log with what may be true, and takes what is found as the truth from now on.
    pub(super) fn check(&mut self, recovered: &Recovered) -> Result<(), String> {
        let found = contents(self.log(), recovered)?;
        let after = self.after.take().unwrap_or_else(|| self.before.clone());
        let before = &self.before;
        if recovered.vote != before.vote && recovered.vote != after.vote {
            return Err(format!("vote {:?}, acknowledged {:?}", recovered.vote, before.vote));
        }
        if recovered.purged != before.purged && recovered.purged != after.purged {
            return Err(format!("purged {:?}, acknowledged {:?}", recovered.purged, before.purged));
        }
        for (index, record) in &before.entries {
            if after.entries.get(index) == Some(record) && found.get(index) != Some(record) {
                return Err(format!("acknowledged entry {index} is missing or different"));
            }
        }
        for (index, record) in &found {
            if before.entries.get(index) != Some(record) && after.entries.get(index) != Some(record) {
                return Err(format!("entry {index} was never written like this"));
            }
        }
        let next = recovered.last.map_or(0, |last| last.index + 1);
        self.before = State { entries: found, vote: recovered.vote, purged: recovered.purged, next };
        Ok(())
    }
}

/// Everything a log holds, read through its segments.
pub(super) fn contents(log: &Log, recovered: &Recovered) -> Result<BTreeMap<u64, Record>, String> {
    let mut found = BTreeMap::new();
    for segment in log.segments() {
        let Some(last) = segment.last_index else { continue };
        let mut at = segment.first_index;
        while at <= last {
            let records = log.read(at, last + 1, 700).map_err(|error| error.to_string())?;
            if records.is_empty() {
                return Err(format!("segment {} has no entry {at}", segment.id));
            }
            for record in records {
                if record.index != at {
                    return Err(format!("entry {} stands at {at}", record.index));
                }
                let part = log.part(at, 1).map_err(|error| error.to_string())?;
                if part.as_ref() != record.parts.get(1) {
                    return Err(format!("entry {at} reads differently by part"));
                }
                found.insert(at, record.as_ref().clone());
                at += 1;
            }
        }
    }
    let first_needed = recovered.purged.map_or(0, |purged| purged.index + 1);
    for index in first_needed..recovered.last.map_or(0, |last| last.index + 1) {
        if !found.contains_key(&index) {
            return Err(format!("entry {index} is missing although it is not purged"));
        }
    }
    Ok(found)
}
