//! What callers rely on: one sync for everything that waits, order, full disks, poison, removal, restarts after a gap.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;

use super::rig::{contents, open, options, wait};
use crate::storage::{
    DataDir, Log, LogOptions, Record, RecordId, RecordKind, Space, StorageError, Vote,
    vfs::sim::{Crash, Fault, SimFs},
};

fn record(index: u64, size: usize) -> Record {
    let body = vec![(index % 255 + 1) as u8; size];
    Record { index, term: 0, leader: 1, kind: RecordKind::Batch, parts: vec![Bytes::from(body)] }
}

fn append(log: &Log, index: u64, size: usize) -> Result<(), StorageError> {
    wait(|done| log.append(vec![record(index, size)], index.saturating_sub(1), done))
}

fn id(index: u64) -> RecordId {
    RecordId { index, term: 0, leader: 1 }
}

#[test]
fn what_waits_is_synced_together_and_answered_in_order() {
    let fs = SimFs::new(1);
    let dir = DataDir::open(Arc::new(fs.clone()), PathBuf::from("/data")).unwrap();
    let (log, _) = Log::open(&dir, LogOptions { allocate_bytes: 8 << 10, ..options() }).unwrap();
    let (enter, entered) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(Some(gate));
    let syncs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&syncs);
    // The first sync is held until ten more appends wait.
    fs.set_hook(Some(Arc::new(move |_, name| {
        if name == "sync" {
            counted.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = gate.lock().unwrap().take() {
                enter.send(()).unwrap();
                gate.recv().unwrap();
            }
        }
    })));
    let (sender, answers) = mpsc::channel();
    let send = |index: u64| {
        let sender = sender.clone();
        log.append(
            vec![record(index, 10)],
            0,
            Box::new(move |result| sender.send((index, result.is_ok())).unwrap()),
        );
    };
    send(0);
    entered.recv().unwrap();
    (1..=10).for_each(send);
    assert_eq!(log.read(10, 11, 1).unwrap().len(), 1, "readable before it is durable");
    assert_eq!(log.last(), Some(id(10)));
    assert!(answers.try_recv().is_err(), "answered before the sync returned");
    release.send(()).unwrap();
    let order: Vec<(u64, bool)> = answers.iter().take(11).collect();
    assert_eq!(order, (0..=10).map(|index| (index, true)).collect::<Vec<_>>());
    assert_eq!(syncs.load(Ordering::SeqCst), 2, "ten appends, one sync");
    fs.set_hook(None);
}

/// How many operations of each name `work` makes.
fn counted(fs: &SimFs, work: impl FnOnce()) -> BTreeMap<String, u64> {
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let counting = Arc::clone(&counts);
    fs.set_hook(Some(Arc::new(move |_, name| {
        *counting.lock().unwrap().entry(name.to_owned()).or_insert(0) += 1;
    })));
    work();
    fs.set_hook(None);
    std::mem::take(&mut *counts.lock().unwrap())
}

#[test]
fn reserving_ahead_costs_no_sync_unless_one_flush_outruns_it() {
    let fs = SimFs::new(1);
    let dir = DataDir::open(Arc::new(fs.clone()), PathBuf::from("/data")).unwrap();
    let sizes = LogOptions { segment_bytes: 1 << 20, allocate_bytes: 16 << 10, ..options() };
    let (log, _) = Log::open(&dir, sizes).unwrap();
    let counts = counted(&fs, || (0..200).for_each(|index| append(&log, index, 1_000).unwrap()));
    assert_eq!(counts["sync"], 200, "{counts:?}");
    assert!(counts["allocate"] > 10, "{counts:?}");
    let counts = counted(&fs, || append(&log, 200, 100_000).unwrap());
    assert_eq!(counts["sync"], 2, "its space is durable before it: {counts:?}");
}

#[test]
fn an_idle_log_writes_nothing() {
    let fs = SimFs::new(1);
    let (log, _) = open(&fs).unwrap();
    append(&log, 0, 10).unwrap();
    let before = fs.operations();
    assert_eq!(log.read(0, 1, 10).unwrap().len(), 1);
    log.measure_space().unwrap();
    wait(|done| log.append(Vec::new(), 0, done)).unwrap();
    log.close();
    assert_eq!(fs.operations(), before);
}

#[test]
fn a_fault_poisons_everything_that_follows() {
    let fs = SimFs::new(1);
    let (log, _) = open(&fs).unwrap();
    append(&log, 0, 10).unwrap();
    let (sender, told) = mpsc::channel();
    log.on_poison(move |fault| sender.send(fault.to_string()).unwrap());
    fs.fail_at(fs.operations() + 1, Fault::Io);
    assert!(append(&log, 1, 10).is_err());
    assert!(told.recv_timeout(Duration::from_secs(10)).unwrap().contains("sync"));
    assert!(matches!(append(&log, 2, 10), Err(StorageError::Poisoned(_))));
    let vote = Vote { term: 1, node: 1, committed: false };
    assert!(matches!(wait(|done| log.save_vote(vote, done)), Err(StorageError::Poisoned(_))));
    assert!(matches!(wait(|done| log.purge(id(0), done)), Err(StorageError::Poisoned(_))));
    assert!(matches!(wait(|done| log.truncate_from(1, done)), Err(StorageError::Poisoned(_))));
    assert!(log.poisoned().is_some());
    let (sender, told) = mpsc::channel();
    log.on_poison(move |_| sender.send(()).unwrap());
    told.recv().unwrap();
    assert_eq!(log.read(0, 1, 10).unwrap().len(), 1, "reading goes on");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let fs = SimFs::new(1);
    let dir = DataDir::open(Arc::new(fs.clone()), PathBuf::from("/data")).unwrap();
    let (log, _) = Log::open(&dir, LogOptions { reserve_bytes: 4_000, ..options() }).unwrap();
    assert_eq!(log.space(), Space::Open);
    fs.set_capacity(24_000);
    let (mut index, mut seen) = (0, vec![]);
    let refusal = loop {
        match append(&log, index, 400) {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
        seen.push(log.space());
    };
    seen.dedup();
    assert_eq!(seen.first(), Some(&Space::Open));
    assert!(seen.contains(&Space::Low) && seen.contains(&Space::Tight), "{seen:?}");
    assert!(refusal.is_full(), "{refusal}");
    assert_eq!(log.space(), Space::Full);
    assert!(log.poisoned().is_none());
    assert_eq!(log.last(), Some(id(index - 1)));
    // Votes and purges need no new space, and removing a segment makes some.
    wait(|done| log.save_vote(Vote { term: 0, node: 1, committed: true }, done)).unwrap();
    wait(|done| log.purge(id(20), done)).unwrap();
    for segment in log.segments().iter().filter(|segment| segment.sealed && segment.last_index <= Some(20)) {
        log.remove_segment(segment.id).unwrap();
    }
    fs.restart(Crash::Process);
    drop(log);
    drop(dir);
    let (log, recovered) = open(&fs).unwrap();
    assert_eq!(recovered.last, Some(id(index - 1)));
    append(&log, index, 400).unwrap();
}

#[test]
fn segments_are_removed_only_below_the_purge_and_gaps_are_fine() {
    let fs = SimFs::new(1);
    let (log, _) = open(&fs).unwrap();
    for index in 0..40 {
        append(&log, index, 300).unwrap();
    }
    let segments = log.segments();
    assert!(segments.len() > 5);
    assert!(matches!(log.remove_segment(segments[1].id), Err(StorageError::Refused(_))), "not purged");
    wait(|done| log.purge(id(20), done)).unwrap();
    wait(|done| log.purge(id(10), done)).unwrap();
    assert_eq!(log.purged(), Some(id(20)), "a purge never goes back");
    log.remove_segment(segments[1].id).unwrap();
    assert!(matches!(log.remove_segment(segments[1].id), Err(StorageError::Refused(_))));
    let open_one = segments.last().unwrap().id;
    assert!(matches!(log.remove_segment(open_one), Err(StorageError::Refused(_))), "still open");
    let gone = segments[1].first_index;
    let check = |log: &Log| {
        assert_eq!(log.part(gone, 0).unwrap(), None);
        assert!(log.read(gone, gone + 3, 100).unwrap().is_empty());
        assert_eq!(log.part(gone - 1, 0).unwrap().unwrap(), record(gone - 1, 300).parts[0]);
        assert_eq!(*log.read(30, 33, 10_000).unwrap()[0], record(30, 300));
    };
    check(&log);
    log.close();
    let (log, recovered) = open(&fs).unwrap();
    assert_eq!((recovered.first, recovered.purged, recovered.last), (Some(0), Some(id(20)), Some(id(39))));
    check(&log);
    assert!(matches!(wait(|done| log.truncate_from(20, done)), Err(StorageError::Refused(_))));
}

#[test]
fn a_truncation_crosses_segments_and_is_seen_at_once() {
    let fs = SimFs::new(1);
    let (log, _) = open(&fs).unwrap();
    for index in 0..40 {
        append(&log, index, 300).unwrap();
    }
    let (sender, receiver) = mpsc::channel();
    log.truncate_from(9, Box::new(move |result| sender.send(result).unwrap()));
    assert_eq!(log.last(), Some(id(8)));
    assert!(log.read(9, 10, 100).unwrap().is_empty());
    assert_eq!(log.part(30, 0).unwrap(), None);
    let mut other = record(9, 50);
    other.term = 1;
    wait(|done| log.save_vote(Vote { term: 1, node: 1, committed: true }, done)).unwrap();
    wait(|done| log.append(vec![other.clone()], 8, done)).unwrap();
    receiver.recv().unwrap().unwrap();
    wait(|done| log.truncate_from(77, done)).unwrap();
    log.close();
    let (log, recovered) = open(&fs).unwrap();
    assert_eq!(recovered.last, Some(other.id()));
    assert_eq!(recovered.committed, Some(8));
    assert_eq!(*log.read(9, 10, 1).unwrap()[0], other);
    assert_eq!(contents(&log, &recovered).unwrap().len(), 10);
}

#[test]
fn a_purge_beyond_the_end_restarts_the_log_behind_it() {
    let fs = SimFs::new(1);
    let (log, _) = open(&fs).unwrap();
    append(&log, 0, 10).unwrap();
    append(&log, 1, 10).unwrap();
    wait(|done| log.purge(id(100), done)).unwrap();
    assert_eq!(log.last(), Some(id(100)));
    assert!(matches!(append(&log, 2, 10), Err(StorageError::OutOfOrder { expected: 101, given: 2 })));
    let (kept, recovered) = {
        log.close();
        open(&fs).unwrap()
    };
    assert_eq!(recovered.last, Some(id(100)));
    append(&kept, 101, 10).unwrap();
    append(&kept, 102, 10).unwrap();
    assert_eq!(kept.read(101, 200, 1_000).unwrap().len(), 2);
    kept.close();
    fs.restart(Crash::Power(3));
    let (log, recovered) = open(&fs).unwrap();
    assert_eq!((recovered.first, recovered.last), (Some(0), Some(id(102))));
    assert_eq!(log.part(1, 0).unwrap().unwrap(), record(1, 10).parts[0]);
    assert_eq!(log.part(50, 0).unwrap(), None);
    assert_eq!(log.part(102, 0).unwrap().unwrap(), record(102, 10).parts[0]);
}
