//! Up to where the index can be trusted: a small file beside the sled directory, written only once everything it speaks
//! of is on disk. The same mark is in sled itself, written in the flush before; so a sled directory that is older than
//! the file (swapped, or shortened by its own recovery) gives itself away.
//!
//! | `index.mark` | as |
//! | --- | --- |
//! | magic | 4 bytes, `WIDX` |
//! | version | byte, 1 |
//! | epoch | fixed; the name of the sled directory, drawn when it is made |
//! | log | fixed; whose log it was fed from |
//! | sequence, up to, base | fixed; the sequence grows with every mark |
//! | checksum | 4 bytes little-endian: CRC-32C of all before |

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::model::wire::{DecodeError, Reader, put_fixed};

const MAGIC: &[u8; 4] = b"WIDX";
const VERSION: u8 = 1;

/// A mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: u64,
    pub(super) log: u64,
    pub(super) sequence: u64,
    pub(super) up_to: u64,
    pub(super) base: u64,
}

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Mark { epoch, log, sequence, up_to, base } = *self;
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        for number in [epoch, log, sequence, up_to, base] {
            put_fixed(&mut out, number);
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Mark, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(4)? != MAGIC || reader.byte()? != VERSION {
            return Err(DecodeError { at: 0, what: "not a mark of a known version" });
        }
        let mark = Mark {
            epoch: reader.fixed()?,
            log: reader.fixed()?,
            sequence: reader.fixed()?,
            up_to: reader.fixed()?,
            base: reader.fixed()?,
        };
        let checksum = crc32c::crc32c(bytes.get(..reader.at()).unwrap_or_default());
        if reader.bytes(4)? != checksum.to_le_bytes() {
            return Err(reader.error("a mark whose checksum is wrong"));
        }
        reader.finish()?;
        Ok(mark)
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("index.mark")
}

/// The sled directory of an epoch.
pub(super) fn blocks_dir(dir: &Path, epoch: u64) -> PathBuf {
    dir.join(format!("blocks-{epoch:016x}"))
}

/// Reads the mark file; the text says what is wrong with it.
pub(super) fn read(dir: &Path) -> Result<Mark, String> {
    let bytes = fs::read(path(dir)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no index.mark".to_owned(),
        _ => format!("index.mark cannot be read: {error}"),
    })?;
    Mark::decode(&bytes).map_err(|error| format!("index.mark holds {error}"))
}

/// Makes everything under the sled directory of this mark durable, then the mark.
pub(super) fn write(dir: &Path, mark: &Mark) -> io::Result<()> {
    sync_all(&blocks_dir(dir, mark.epoch))?;
    let fresh = dir.join("index.mark.new");
    let mut file = File::create(&fresh)?;
    file.write_all(&mark.encode())?;
    file.sync_all()?;
    fs::rename(&fresh, path(dir))?;
    File::open(dir)?.sync_all()
}

/// Takes the mark away: whatever is there is not to be trusted by any later start.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_file(path(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(dir)?.sync_all(),
    }
}

/// Removes every sled directory but that of `epoch`. What cannot be removed is left for the next time.
pub(super) fn sweep(dir: &Path, epoch: u64) {
    let keep = blocks_dir(dir, epoch);
    let Ok(found) = fs::read_dir(dir) else { return };
    for entry in found.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with("blocks-");
        if is_ours && entry.path() != keep && fs::remove_dir_all(entry.path()).is_err() {
            tracing::warn!(path = %entry.path().display(), "an old index directory could not be removed");
        }
    }
}

/// sled's own flush does not wait for the disk on Linux (sync_file_range): fsync every file ourselves.
fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let synced = if entry.file_type()?.is_dir() {
            sync_all(&entry.path())
        } else {
            File::open(entry.path()).and_then(|file| file.sync_all())
        };
        match synced {
            // sled replaces its snapshots: a file may be gone by now.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_every_flipped_bit_is_noticed() {
        let mark = Mark { epoch: u64::MAX, log: 5, sequence: 1, up_to: 1 << 40, base: 77 };
        let bytes = mark.encode();
        assert_eq!(Mark::decode(&bytes), Ok(mark));
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(Mark::decode(&wrong).is_err(), "bit {bit}");
        }
        assert!(Mark::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
