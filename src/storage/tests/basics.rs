//! The thin path on the real file system.

use std::sync::{Arc, mpsc};

use bytes::Bytes;

use crate::storage::{DataDir, Log, LogOptions, Record, RecordKind, StorageError, vfs::RealFs};

fn record(index: u64) -> Record {
    let parts = vec![Bytes::from(format!("head {index}")), Bytes::from(vec![b'x'; (index % 97) as usize])];
    Record { index, term: 0, leader: 1, kind: RecordKind::Batch, parts }
}

fn append(log: &Log, records: Vec<Record>) -> Result<(), StorageError> {
    let (sender, receiver) = mpsc::channel();
    log.append(records, 0, Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap()
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 16 << 10,
        tail_cache_bytes: 4 << 10,
        allocate_bytes: 4 << 10,
        ..LogOptions::default()
    }
}

#[test]
fn entries_survive_a_reopen_and_are_read_from_cache_and_disk() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(Arc::new(RealFs), folder.path()).unwrap();
    let (log, recovered) = Log::open(&dir, options()).unwrap();
    assert_eq!((recovered.first, recovered.last), (None, None));
    for batch in 0..100u64 {
        append(&log, (batch * 5..batch * 5 + 5).map(record).collect()).unwrap();
    }
    assert!(log.segments().len() > 3, "the log rolls over: {:?}", log.segments());
    check(&log);
    log.close();
    let (log, recovered) = Log::open(&dir, options()).unwrap();
    assert_eq!(recovered.last.unwrap().index, 499);
    assert_eq!(recovered.first, Some(0));
    assert_eq!(recovered.torn, None);
    check(&log);
    append(&log, vec![record(500)]).unwrap();
}

fn check(log: &Log) {
    let mut from = 0;
    while from < 500 {
        let got = log.read(from, 500, 3_000).unwrap();
        assert!(!got.is_empty(), "nothing at {from}");
        for found in &got {
            assert_eq!(**found, record(from));
            from += 1;
        }
    }
    for index in 0..500 {
        assert_eq!(log.part(index, 1).unwrap().unwrap(), record(index).parts[1]);
    }
    assert_eq!(log.part(500, 0).unwrap(), None);
    for segment in log.segments() {
        log.scrub_segment(segment.id, &mut |_| true).unwrap();
    }
}

/// Files of this folder that this process has open.
fn open_files(folder: &std::path::Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    links.filter(|link| std::fs::read_link(link.path()).is_ok_and(|file| file.starts_with(folder))).count()
}

#[test]
fn reading_many_segments_keeps_few_files_open() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(Arc::new(RealFs), folder.path()).unwrap();
    let sizes = LogOptions { segment_bytes: 1 << 10, tail_cache_bytes: 0, ..options() };
    let (log, _) = Log::open(&dir, sizes).unwrap();
    for index in 0..200 {
        let parts = vec![Bytes::from(vec![b'x'; 250])];
        append(&log, vec![Record { index, term: 0, leader: 1, kind: RecordKind::Batch, parts }]).unwrap();
    }
    let segments = log.segments();
    assert!(segments.len() >= 100, "{} segments", segments.len());
    assert!(segments.iter().rev().skip(1).all(|segment| segment.last_index > Some(segment.first_index)));
    let before = open_files(&folder.path().join("log"));
    // The first entry of each segment, then the second, which is found without the marks.
    for step in 0..2 {
        for segment in &segments {
            log.part(segment.first_index + step, 0).unwrap();
        }
    }
    let opened = open_files(&folder.path().join("log")) - before;
    assert!(opened <= 64, "{opened} files are open");
}

#[test]
fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _dir = DataDir::open(Arc::new(RealFs), folder.path()).unwrap();
    let second = DataDir::open(Arc::new(RealFs), folder.path());
    assert!(matches!(second, Err(StorageError::Locked { .. })), "{second:?}");
}

#[test]
fn a_directory_keeps_one_secret_and_makes_another_when_it_is_harmed() {
    let folder = tempfile::tempdir().unwrap();
    let secret = || DataDir::open(Arc::new(RealFs), folder.path()).unwrap().secret().unwrap();
    let first = secret();
    assert_eq!(secret(), first, "after a restart");
    for harmed in [&first[..31], b"", &[7; 33]] {
        std::fs::write(folder.path().join("forms.secret"), harmed).unwrap();
        let next = secret();
        assert!(next != first && secret() == next);
    }
}
