//! A disk without space: appends are refused as a whole, and neither the log nor what callers see of it is harmed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
};

use bytes::Bytes;

use super::rig::{contents, open, wait};
use crate::storage::{
    Log, Record, RecordKind, StorageError,
    vfs::sim::{Crash, SimFs},
};

fn record(index: u64, size: usize) -> Record {
    let body = vec![(index % 255 + 1) as u8; size];
    Record { index, term: 0, leader: 1, kind: RecordKind::Batch, parts: vec![Bytes::from(body)] }
}

fn append(log: &Log, index: u64, size: usize) -> Result<(), StorageError> {
    wait(|done| log.append(vec![record(index, size)], 0, done))
}

/// Holds the writer in its next sync until the answer is dropped or told.
fn hold_next_sync(fs: &SimFs) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (enter, entered) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(Some(gate));
    fs.set_hook(Some(Arc::new(move |_, name| {
        if name == "sync"
            && let Some(gate) = gate.lock().unwrap().take()
        {
            enter.send(()).unwrap();
            let _ = gate.recv();
        }
    })));
    (entered, release)
}

/// Once a gap came into the log: what was buffered found no space, the segment was closed, which made some, and the
/// append behind it was written.
#[test]
fn what_waits_behind_a_refused_append_is_refused_too() {
    let fs = SimFs::new(1);
    let (log, _) = open(&fs).unwrap();
    // Nothing is reserved ahead of need.
    fs.set_capacity(fs.used());
    append(&log, 0, 100).unwrap();
    let (entered, release) = hold_next_sync(&fs);
    let (sender, answers) = mpsc::channel();
    let send = |index: u64, size: usize| {
        let sender = sender.clone();
        let done = move |result: Result<(), StorageError>| sender.send((index, result)).unwrap();
        log.append(vec![record(index, size)], 0, Box::new(done));
    };
    send(1, 10);
    entered.recv().unwrap();
    // The first does not fit what is reserved; the second needs another segment, and closing this one frees enough.
    send(2, 700);
    send(3, 1_900);
    fs.set_capacity(fs.used() + 700);
    release.send(()).unwrap();
    let answers: Vec<(u64, Result<(), StorageError>)> = answers.iter().take(3).collect();
    fs.set_hook(None);
    assert!(matches!(&answers[0], (1, Ok(()))), "{answers:?}");
    assert!(matches!(&answers[1], (2, Err(error)) if error.is_full()), "{answers:?}");
    assert!(matches!(&answers[2], (3, Err(error)) if error.is_full()), "{answers:?}");
    fs.set_capacity(u64::MAX);
    append(&log, 2, 50).unwrap();
    drop(log);
    fs.restart(Crash::Power(4));
    let (log, recovered) = open(&fs).unwrap();
    assert_eq!(recovered.last.map(|last| last.index), Some(2));
    assert_eq!(contents(&log, &recovered).unwrap().len(), 3);
}

/// Once an append that came after a refusal was out of sight, although it was acknowledged: the refusal of one that was
/// queued before it cut it off.
#[test]
fn an_append_after_a_refusal_stays_in_sight() {
    let fs = SimFs::new(1);
    let (log, _) = open(&fs).unwrap();
    append(&log, 0, 100).unwrap();
    let (entered, release) = hold_next_sync(&fs);
    let (sender, answers) = mpsc::channel();
    let tell = |name: &'static str| {
        let sender = sender.clone();
        move |result: Result<(), StorageError>| sender.send((name, result.is_ok())).unwrap()
    };
    log.append(vec![record(1, 10)], 0, Box::new(tell("held")));
    entered.recv().unwrap();
    let (again, told, small) = (log.clone(), tell("refused"), tell("small"));
    // Too large for the disk. Its caller goes on at once with something smaller.
    let refused = Box::new(move |result: Result<(), StorageError>| {
        told(result);
        again.append(vec![record(2, 20)], 0, Box::new(small));
    });
    log.append(vec![record(2, 2_400)], 0, refused);
    log.append(vec![record(3, 10)], 0, Box::new(tell("behind it")));
    fs.set_capacity(fs.used());
    release.send(()).unwrap();
    let mut answers: Vec<(&str, bool)> = answers.iter().take(4).collect();
    answers.sort_unstable();
    assert_eq!(answers, [("behind it", false), ("held", true), ("refused", false), ("small", true)]);
    fs.set_hook(None);
    assert_eq!(log.last().map(|last| last.index), Some(2));
    assert_eq!(*log.read(2, 3, 1_000).unwrap()[0], record(2, 20));
    fs.set_capacity(u64::MAX);
    append(&log, 3, 10).unwrap();
}

/// Once this was a fault: right after a start nothing is reserved, and closing a segment wrote its footer all the same.
#[test]
fn a_full_disk_at_the_end_of_a_segment_is_no_fault_after_a_start() {
    let fs = SimFs::new(1);
    let (log, _) = open(&fs).unwrap();
    append(&log, 0, 1_500).unwrap();
    log.close();
    let (log, _) = open(&fs).unwrap();
    fs.set_capacity(fs.used());
    let refusal = append(&log, 1, 1_500).unwrap_err();
    assert!(refusal.is_full(), "{refusal}");
    assert!(log.poisoned().is_none());
    fs.set_capacity(u64::MAX);
    append(&log, 1, 1_500).unwrap();
    log.close();
    let (log, recovered) = open(&fs).unwrap();
    assert_eq!(contents(&log, &recovered).unwrap().len(), 2);
}

#[test]
fn an_entry_that_can_never_be_written_is_refused_and_harms_nothing() {
    let fs = SimFs::new(1);
    let (log, _) = open(&fs).unwrap();
    let huge = append(&log, 0, 64 << 20);
    assert!(matches!(huge, Err(StorageError::Refused(_))), "{huge:?}");
    assert!(log.poisoned().is_none());
    append(&log, 0, 10).unwrap();
    assert!(fs.names().contains(&PathBuf::from("/data/log/000000000001.log")));
}
