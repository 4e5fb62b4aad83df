//! Backups: what comes back is what was durable when it was begun, and an archive that was changed or cut anywhere is
//! refused.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::rig::{Op, ROOT, Rig, options};
use crate::model::Timestamp;
use crate::storage::{
    DataDir, ImageMeta, Images, Log, Recovered, Space, StorageError,
    backup::{Backup, BackupError, RestoreError, check, restore},
    vfs::{
        Vfs,
        sim::{Crash, Fault, SimFs},
    },
};

const COPY: &str = "/copy/data";

fn images(rig: &Rig) -> Images {
    Images::open(rig.log().dir()).unwrap()
}

fn begin(rig: &Rig) -> Result<Backup, StorageError> {
    rig.log().backup(&images(rig), Timestamp(1_700_000_000_123))
}

fn write(backup: Backup) -> Result<Vec<u8>, BackupError> {
    let expected = backup.archive_bytes();
    let mut archive = Vec::new();
    backup.write(&mut |piece: Bytes| {
        assert!(piece.len() <= 1 << 20);
        archive.extend_from_slice(&piece);
        true
    })?;
    assert_eq!(archive.len() as u64, expected, "the length is known beforehand");
    Ok(archive)
}

/// A log with several segments, a purged beginning and an image.
fn rig() -> Rig {
    let mut rig = Rig::new(SimFs::new(7));
    rig.open().unwrap();
    for op in
        [Op::Vote, Op::Large, Op::Small, Op::Roll, Op::Large, Op::Purge, Op::Remove, Op::Roll, Op::Small]
    {
        rig.apply(op).unwrap();
    }
    let last = rig.log().last().unwrap();
    let meta = ImageMeta { index: last.index, term: last.term, leader: last.leader, extra: Bytes::new() };
    let chunk = Bytes::from(vec![5; 300]);
    images(&rig).write(&meta, std::iter::once(chunk)).unwrap();
    rig.append(&[40, 700, 3]).unwrap();
    rig
}

fn vfs(fs: &SimFs) -> Arc<dyn Vfs> {
    Arc::new(fs.clone())
}

fn open_copy(fs: &SimFs) -> Result<(Log, Recovered), StorageError> {
    Log::open(&DataDir::open(Arc::new(fs.clone()), COPY)?, options())
}

/// What a restored copy holds must be what the rig was told is there.
fn assert_same(rig: &Rig, copy: &SimFs) {
    let (log, recovered) = open_copy(copy).unwrap();
    assert_eq!(recovered.torn, None);
    assert_eq!((log.vote(), log.purged()), (rig.before.vote, rig.before.purged));
    assert_eq!(log.last(), rig.log().last());
    let first = log.first_kept().unwrap();
    assert_eq!(Some(first), rig.log().first_kept());
    for (index, record) in rig.before.entries.range(first..) {
        let read = log.read(*index, index + 1, 1).unwrap();
        assert_eq!(read.first().map(|read| read.as_ref()), Some(record), "entry {index}");
    }
}

#[test]
fn what_comes_back_is_what_was_durable_when_it_began() {
    let mut rig = rig();
    let backup = begin(&rig).unwrap();
    let archive = write(backup).unwrap();
    let contents = check(archive.as_slice()).unwrap();
    assert_eq!(contents.last_index, rig.log().last().map(|last| last.index));
    assert_eq!(contents.taken_at, "2023-11-14T22:13:20.123Z");
    let copy = SimFs::new(1);
    assert_eq!(restore(&vfs(&copy), Path::new(COPY), archive.as_slice()).unwrap(), contents);
    copy.restart(Crash::Power(3));
    assert_same(&rig, &copy);
    // It is a node of its own, which says where it comes from, and can be backed up itself.
    let dir = DataDir::open(Arc::new(copy), COPY).unwrap();
    let identity = dir.identity().clone();
    assert_ne!(identity.cluster_id, contents.cluster_id);
    assert!(identity.restored_from.unwrap().contains(&contents.cluster_id));
    let (log, _) = Log::open(&dir, options()).unwrap();
    let found = Images::open(&dir).unwrap().newest().unwrap().unwrap();
    assert!(found.damaged.is_empty() && Some(found.image.meta.index) < contents.last_index);
    let again = log.backup(&Images::open(&dir).unwrap(), Timestamp(1)).unwrap();
    assert!(check(write(again).unwrap().as_slice()).is_ok());
    // What is written while it is taken is not in it.
    let backup = begin(&rig).unwrap();
    let before = rig.log().last();
    rig.append(&[2_000, 9]).unwrap();
    let contents = check(write(backup).unwrap().as_slice()).unwrap();
    assert_eq!(contents.last_index, before.map(|last| last.index));
}

#[test]
fn every_state_of_a_log_can_be_backed_up() {
    for sequence in super::crash::sequences(3).step_by(3) {
        let mut rig = Rig::new(SimFs::new(1));
        rig.open().unwrap();
        sequence.iter().for_each(|op| rig.apply(*op).unwrap());
        let archive = write(begin(&rig).unwrap()).unwrap();
        let copy = SimFs::new(2);
        restore(&vfs(&copy), Path::new(COPY), archive.as_slice()).unwrap();
        let (log, recovered) = open_copy(&copy).unwrap_or_else(|error| panic!("{sequence:?}: {error}"));
        assert_eq!((log.last(), log.vote()), (rig.log().last(), rig.before.vote), "{sequence:?}");
        assert_eq!(recovered.torn, None, "{sequence:?}");
    }
}

#[test]
fn an_archive_that_was_changed_or_cut_anywhere_is_refused() {
    let archive = write(begin(&rig()).unwrap()).unwrap();
    for byte in 0..archive.len() {
        let mut bytes = archive.clone();
        bytes[byte] ^= 1 << (byte % 8);
        assert!(check(bytes.as_slice()).is_err(), "byte {byte} of {}", archive.len());
    }
    for length in 0..archive.len() {
        let error = check(&archive[..length]).unwrap_err().to_string();
        assert!(error.contains("cut off") || error.contains("missing"), "{length}: {error}");
    }
    assert!(check(archive.as_slice().chain([0].as_slice())).unwrap_err().to_string().contains("follows"));
    let named = |from: &[u8]| {
        let place = archive.windows(from.len()).position(|window| window == from).unwrap();
        let mut bytes = archive.clone();
        bytes[place] ^= 1;
        check(bytes.as_slice()).unwrap_err().to_string()
    };
    assert!(named(b"WHIMIMAG").contains(".image is not as SHA256SUMS says"), "{}", named(b"WHIMIMAG"));
    assert!(named(b"WVOT").contains("vote is not as SHA256SUMS says"), "{}", named(b"WVOT"));
}

#[test]
fn a_refused_archive_leaves_an_empty_directory_and_a_used_one_is_left_alone() {
    let archive = write(begin(&rig()).unwrap()).unwrap();
    let copy = SimFs::new(1);
    let cut = &archive[..archive.len() - 2_000];
    assert!(restore(&vfs(&copy), Path::new(COPY), cut).is_err());
    for folder in ["", "log", "images"] {
        let left = copy.list(&Path::new(COPY).join(folder)).unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
    restore(&vfs(&copy), Path::new(COPY), archive.as_slice()).unwrap();
    let again = restore(&vfs(&copy), Path::new(COPY), archive.as_slice());
    assert!(matches!(again, Err(RestoreError::NotEmpty(_))), "{again:?}");
    let held = open_copy(&copy).unwrap();
    let locked = restore(&vfs(&copy), Path::new(COPY), archive.as_slice());
    assert!(matches!(locked, Err(RestoreError::Storage(StorageError::Locked { .. }))), "{locked:?}");
    drop(held);
}

#[test]
fn a_restore_that_is_cut_short_anywhere_is_not_taken_for_a_copy_and_can_be_run_again() {
    let rig = rig();
    let archive = write(begin(&rig).unwrap()).unwrap();
    let mut cuts = 0;
    for point in 0.. {
        let copy = SimFs::new(point);
        copy.fail_at(copy.operations() + point, Fault::PowerOff);
        let done = restore(&vfs(&copy), Path::new(COPY), archive.as_slice());
        if copy.fired() == 0 {
            done.unwrap();
            break;
        }
        cuts += 1;
        copy.restart(if point % 2 == 0 { Crash::Process } else { Crash::Power(point) });
        match DataDir::peek(&copy, Path::new(COPY)) {
            // Nothing of it is there, or it is whole but for the last word of the caller's.
            Ok(None) => assert!(copy.list(&Path::new(COPY).join("log")).unwrap_or_default().is_empty()),
            Ok(Some(_)) => {
                assert_same(&rig, &copy);
                continue;
            }
            Err(error) => assert!(error.to_string().contains("not finished"), "point {point}: {error}"),
        }
        restore(&vfs(&copy), Path::new(COPY), archive.as_slice())
            .unwrap_or_else(|error| panic!("point {point}: {error}"));
        assert_same(&rig, &copy);
    }
    assert!(cuts > 20, "only {cuts} places to cut at");
}

#[test]
fn segments_are_held_until_they_are_copied_and_no_longer() {
    let mut rig = rig();
    let purged = rig.log().last().unwrap();
    super::rig::wait(|done| rig.log().purge(purged, done)).unwrap();
    rig.before.purged = Some(purged);
    for op in [Op::Roll, Op::Small] {
        rig.apply(op).unwrap();
    }
    let ids: Vec<u64> = rig.log().segments().iter().map(|segment| segment.id).collect();
    assert!(ids.len() > 2, "{ids:?}");
    let backup = begin(&rig).unwrap();
    assert!(matches!(begin(&rig), Err(StorageError::Refused(_))), "one at a time");
    let refused = rig.log().remove_segment(ids[0]).unwrap_err().to_string();
    assert!(refused.contains("still to be copied"), "{refused}");
    // Each may go as soon as it is copied: its header is out, then its bytes, then the header of the next one.
    let log = rig.log().clone();
    let mut seen = Vec::new();
    let mut archive = Vec::new();
    backup
        .write(&mut |piece| {
            archive.extend_from_slice(&piece);
            seen.push(log.holds_back(ids[0]));
            if !log.holds_back(ids[0]) && log.segments().iter().any(|segment| segment.id == ids[0]) {
                log.remove_segment(ids[0]).unwrap();
            }
            true
        })
        .unwrap();
    assert!(seen.contains(&true) && seen.last() == Some(&false));
    assert_ne!(log.segments().first().map(|segment| segment.id), Some(ids[0]));
    assert!(check(archive.as_slice()).is_ok());
    let dropped = begin(&rig).unwrap();
    assert!(rig.log().holds_back(ids[1]));
    drop(dropped);
    assert!(!rig.log().holds_back(ids[1]), "nothing is held for ever");
    // On a disk that runs full it gives way to the cleaner.
    let backup = begin(&rig).unwrap();
    rig.fs.set_capacity(1 << 30);
    rig.log().reserve_for_images(1 << 30);
    assert_ne!(rig.log().measure_space().unwrap(), Space::Open);
    assert!(rig.log().holds_back(ids[1]));
    assert!(matches!(write(backup), Err(BackupError::GivesWay)));
    rig.log().reserve_for_images(0);
    let unwanted = begin(&rig).unwrap().write(&mut |_| false);
    assert!(matches!(unwanted, Err(BackupError::Unwanted)));
    assert!(!rig.log().holds_back(ids[1]));
}

#[test]
fn damage_ends_a_backup_and_a_cut_log_voids_it() {
    let mut rig = rig();
    let backup = begin(&rig).unwrap();
    rig.apply(Op::Truncate).unwrap();
    assert!(matches!(write(backup), Err(BackupError::Cut | BackupError::Storage(_))));
    let sealed = rig.log().segments()[0];
    assert!(sealed.sealed);
    let path = Path::new(ROOT).join("log").join(format!("{:012}.log", sealed.id));
    let good = rig.fs.contents(&path).unwrap();
    // A record and the footer: both are looked at before they are copied.
    for byte in [300, good.len() - 20] {
        let mut bytes = good.clone();
        bytes[byte] ^= 4;
        rig.fs.damage(&path, &bytes);
        let failed = write(begin(&rig).unwrap());
        let named = matches!(&failed, Err(BackupError::Storage(StorageError::Damaged { path: at, .. })) if *at == path);
        assert!(named, "{failed:?}");
    }
    rig.fs.damage(&path, &good);
    write(begin(&rig).unwrap()).unwrap();
}
