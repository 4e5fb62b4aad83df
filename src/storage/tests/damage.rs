//! One flipped bit anywhere is refused, repaired or read as an error; never served, never a silent loss.

use std::path::{Path, PathBuf};

use super::rig::{Op, Rig, contents, open};
use crate::storage::{
    FORMAT_VERSION, StorageError,
    vfs::sim::{Crash, SimFs},
};

/// A log with two sealed segments, a vote, a purge, a truncation inside a flush and a few flushes in the open segment.
fn sample() -> Rig {
    let mut rig = Rig::new(SimFs::new(5));
    rig.open().unwrap();
    for op in
        [Op::Small, Op::Vote, Op::Large, Op::Large, Op::Purge, Op::Roll, Op::Small, Op::Truncate, Op::Small]
    {
        rig.apply(op).unwrap();
    }
    rig.append(&[40]).unwrap();
    rig.append(&[700, 60]).unwrap();
    rig.log.take().unwrap().close();
    rig.fs.restart(Crash::Process);
    rig
}

/// What became of one flipped bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Refused,
    Unharmed,
    FoundByReading,
}

fn flip(rig: &Rig, path: &Path, byte: usize, bit: u32) -> Result<Fate, String> {
    let fs = rig.fs.fork(1);
    let mut bytes = fs.contents(path).unwrap();
    bytes[byte] ^= 1 << bit;
    fs.damage(path, &bytes);
    let (log, recovered) = match open(&fs) {
        Ok(opened) => opened,
        Err(
            error @ (StorageError::Damaged { .. }
            | StorageError::LostLog { .. }
            | StorageError::Format { .. }),
        ) => {
            let named = error.to_string().contains(&path.file_stem().unwrap().to_string_lossy().into_owned());
            return if named {
                Ok(Fate::Refused)
            } else {
                Err(format!("the refusal names no file: {error}"))
            };
        }
        Err(error) => return Err(format!("an odd refusal: {error}")),
    };
    if (recovered.vote, recovered.purged) != (rig.before.vote, rig.before.purged) {
        return Err("another vote or purge".to_owned());
    }
    match contents(&log, &recovered) {
        Ok(found) if found == rig.before.entries => Ok(Fate::Unharmed),
        Ok(_) => Err("entries are lost or changed".to_owned()),
        Err(error) if error.contains("damaged") => Ok(Fate::FoundByReading),
        Err(error) => Err(error),
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let rig = sample();
    let (mut refused, mut unharmed, mut read) = (0, 0, 0);
    for path in rig.fs.names() {
        let length = rig.fs.contents(&path).unwrap().len();
        for byte in 0..length {
            // One bit of each byte, all bits where it is cheap; single bits are alike to a checksum.
            for bit in
                (0..8u32).filter(|bit| byte as u32 % 8 == *bit || (byte < 256 && path.ends_with("vote")))
            {
                match flip(&rig, &path, byte, bit) {
                    Ok(Fate::Refused) => refused += 1,
                    Ok(Fate::Unharmed) => unharmed += 1,
                    Ok(Fate::FoundByReading) => read += 1,
                    Err(error) => panic!("{} byte {byte} bit {bit}: {error}", path.display()),
                }
            }
        }
    }
    println!("{refused} refused, {unharmed} unharmed or repaired, {read} found by reading");
    assert!(refused > 2_000 && unharmed > 1_000 && read > 1_000, "{refused} {unharmed} {read}");
}

#[test]
fn a_missing_file_is_refused() {
    let rig = sample();
    for path in rig.fs.names().into_iter().filter(|path| !path.ends_with("lock")) {
        let fs = rig.fs.fork(1);
        fs.lose(&path);
        let missing = open(&fs);
        // A purged segment may be gone: that is how segments are removed.
        let removable = path.ends_with("000000000001.log");
        assert!(missing.is_err() || removable, "{} was lost and nobody noticed", path.display());
    }
}

#[test]
fn a_vote_behind_the_log_and_an_image_ahead_of_it_are_refused() {
    let mut rig = Rig::new(SimFs::new(1));
    rig.open().unwrap();
    let vote = Path::new("/data/vote");
    let old = rig.fs.contents(vote).unwrap();
    rig.apply(Op::Vote).unwrap();
    rig.apply(Op::Small).unwrap();
    rig.log.take().unwrap().close();
    let fs = rig.fs.fork(1);
    fs.damage(vote, &old);
    let refusal = open(&fs).unwrap_err();
    assert!(matches!(refusal, StorageError::LostLog { .. }), "{refusal}");
    let (_log, recovered) = open(&rig.fs.fork(2)).unwrap();
    recovered.check_image(2).unwrap();
    assert!(matches!(recovered.check_image(3), Err(StorageError::LostLog { .. })));
}

#[test]
fn another_format_is_refused() {
    let fs = SimFs::new(1);
    drop(open(&fs).unwrap());
    let path = PathBuf::from("/data/node.json");
    let text = String::from_utf8(fs.contents(&path).unwrap()).unwrap();
    let cluster = text.split('"').nth(5).unwrap();
    for other in [FORMAT_VERSION - 1, FORMAT_VERSION + 1] {
        let checksum = format!("{:08x}", crc32c::crc32c(format!("1\n{cluster}\n{other}").as_bytes()));
        let file = format!(
            r#"{{"node_id":1,"cluster_id":"{cluster}","format_version":{other},"checksum":"{checksum}"}}"#
        );
        fs.damage(&path, file.as_bytes());
        let refusal = open(&fs).unwrap_err();
        assert!(matches!(refusal, StorageError::Format { found, .. } if found == other), "{refusal}");
    }
}

#[test]
fn a_change_cut_short_between_its_copies_is_no_damage() {
    let mut rig = Rig::new(SimFs::new(5));
    rig.open().unwrap();
    rig.apply(Op::Vote).unwrap();
    let path = Path::new("/data/vote");
    let before = rig.fs.contents(path).unwrap();
    rig.apply(Op::Vote).unwrap();
    rig.log.take().unwrap().close();
    rig.fs.restart(Crash::Process);
    let after = rig.fs.contents(path).unwrap();
    let second = after.len() / 2;
    let started = |second_copy: &[u8]| {
        let fs = rig.fs.fork(1);
        fs.damage(path, &[&after[..second], second_copy].concat());
        let (_log, recovered) = open(&fs).unwrap();
        assert_eq!(recovered.vote, rig.before.vote);
        recovered.notes
    };
    assert_eq!(started(&after[second..]), Vec::<String>::new());
    let notes = started(&before[second..]);
    assert!(notes.len() == 1 && notes[0].contains("cut short between its two copies"), "{notes:?}");
    let notes = started(&vec![0; second]);
    assert!(notes.len() == 1 && notes[0].contains("torn or damaged"), "{notes:?}");
}
