//! The files of a stopped broker: finding them, and harming them.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;

/// Every file below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The segments of the log, oldest first.
pub(crate) fn segments(data: &Path) -> Vec<PathBuf> {
    let mut found = files(&data.join("log"));
    found.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    found
}

/// The segment that is written.
pub(crate) fn newest_segment(data: &Path) -> PathBuf {
    segments(data).pop().expect("a segment")
}

/// Where the records of a segment end: space is allocated ahead as zeros, and a whole record never ends in a zero
/// (docs/STORAGE.md).
pub(crate) fn records_end(segment: &Path) -> u64 {
    let bytes = fs::read(segment).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

/// Where each record of a segment begins (docs/STORAGE.md): the first is behind the header and its slots, and each says
/// how long it is.
pub(crate) fn record_starts(segment: &Path) -> Vec<u64> {
    let bytes = fs::read(segment).unwrap();
    let (mut starts, mut at) = (Vec::new(), 192usize);
    while let Some(length) = bytes.get(at..at + 4).map(|four| u32::from_le_bytes(four.try_into().unwrap()))
        && length > 0
    {
        starts.push(at as u64);
        at += length as usize;
    }
    assert!(!starts.is_empty(), "{} holds no record", segment.display());
    starts
}

/// What a power cut may leave behind the last record, of one that was never acknowledged: the sector with its head was
/// lost, some later ones were written. (Rubbish directly behind the last record is no torn write but damage: it could be
/// what is left of an acknowledged one.)
pub(crate) fn scribble(data: &Path, dice: &mut Dice) {
    const SECTOR: u64 = 512;
    let segment = newest_segment(data);
    let start = (records_end(&segment) / SECTOR + 1) * SECTOR;
    let rubbish: Vec<u8> = (0..1 + dice.below(3_000)).map(|_| dice.roll().to_le_bytes()[0]).collect();
    write_at(&segment, start, &rubbish);
}

/// Cuts what lies behind `length` and keeps the size of the file, as zeros: what was never written.
pub(crate) fn tear(segment: &Path, length: u64) {
    let size = fs::metadata(segment).unwrap().len();
    let file = OpenOptions::new().write(true).open(segment).unwrap();
    file.set_len(length).unwrap();
    file.set_len(size).unwrap();
}

/// Overwrites bytes in the middle of a file, or appends them.
pub(crate) fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

/// Turns one bit around.
pub(crate) fn flip_bit(path: &Path, offset: u64, bit: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0u8];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, offset).unwrap();
}

/// Cuts a file short.
pub(crate) fn truncate(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, &target).unwrap();
    }
}
