//! The archive as bytes: POSIX ustar, so that any `tar` reads it, and stricter than that on the way back: every byte is
//! either covered by a checksum or known beforehand.

use std::fmt::Write as _;
use std::io::{self, Read};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::super::error::StorageError;
use super::super::wire::{narrow, wide};
use super::{BackupError, RestoreError, SUMS};

/// Everything in a tar file comes in blocks of this many bytes.
const BLOCK: usize = 512;
/// What is read in one go.
const PIECE_BYTES: usize = 1 << 20;
/// The longest list of sums that is read: of some 600,000 files.
const SUMS_BYTES_MAX: u64 = 64 << 20;

/// The bytes of a file and of the header before it.
pub(super) fn member_bytes(bytes: u64) -> u64 {
    wide(BLOCK) + bytes + wide(padding(bytes))
}

/// The bytes behind the last file.
pub(super) const END_BYTES: u64 = 1_024;

fn padding(bytes: u64) -> usize {
    let over = narrow(bytes % wide(BLOCK));
    if over == 0 { 0 } else { BLOCK - over }
}

fn header(path: &str, bytes: u64, time: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(bytes);
    header.set_mtime(time);
    header.set_cksum();
    Ok(header)
}

/// A line as `sha256sum` writes it.
pub(super) fn sum_line(path: &str, digest: &[u8]) -> String {
    let mut line = String::with_capacity(2 * digest.len() + path.len() + 3);
    for byte in digest {
        let _ = write!(line, "{byte:02x}");
    }
    let _ = writeln!(line, "  {path}");
    line
}

/// Puts files one behind the other.
pub(super) struct Writer<'a> {
    /// Takes the archive piece by piece; false when it is wanted no longer.
    give: &'a mut dyn FnMut(Bytes) -> bool,
    /// Of every file, in seconds.
    time: u64,
    sums: String,
}

impl<'a> Writer<'a> {
    pub(super) fn new(give: &'a mut dyn FnMut(Bytes) -> bool, time: u64) -> Writer<'a> {
        Writer { give, time, sums: String::new() }
    }

    /// Adds a file of `bytes` bytes; `read` gives what stands at an offset, at most so many bytes of it.
    pub(super) fn member(
        &mut self,
        path: &str,
        bytes: u64,
        read: &mut dyn FnMut(u64, usize) -> Result<Bytes, StorageError>,
    ) -> Result<(), BackupError> {
        let header = header(path, bytes, self.time).map_err(|error| StorageError::io("name", path, error))?;
        self.give(Bytes::copy_from_slice(header.as_bytes()))?;
        let mut digest = Sha256::new();
        let mut at = 0;
        while at < bytes {
            let piece = read(at, narrow(bytes - at).min(PIECE_BYTES))?;
            if piece.is_empty() {
                let what = format!("it ends here, but had {bytes} bytes");
                return Err(StorageError::damaged(path, at, what).into());
            }
            digest.update(&piece);
            at += wide(piece.len());
            self.give(piece)?;
        }
        let fill = padding(bytes);
        if fill > 0 {
            self.give(Bytes::copy_from_slice(ZEROS.get(..fill).unwrap_or_default()))?;
        }
        self.sums.push_str(&sum_line(path, &digest.finalize()));
        Ok(())
    }

    /// Adds a file that is in memory.
    pub(super) fn whole(&mut self, path: &str, content: &Bytes) -> Result<(), BackupError> {
        let mut read = |at: u64, most: usize| {
            let from = narrow(at);
            Ok(content.slice(from..content.len().min(from + most)))
        };
        self.member(path, wide(content.len()), &mut read)
    }

    /// Adds the sums of all files, and the end.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        let sums = Bytes::from(std::mem::take(&mut self.sums));
        self.whole(SUMS, &sums)?;
        self.give(Bytes::from_static(&[0; 2 * BLOCK]))
    }

    fn give(&mut self, piece: Bytes) -> Result<(), BackupError> {
        if (self.give)(piece) { Ok(()) } else { Err(BackupError::Unwanted) }
    }
}

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A file that comes next in an archive.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) bytes: u64,
}

/// Takes an archive apart, in one pass.
pub(super) struct Reader<R> {
    input: R,
    /// Bytes read so far.
    at: u64,
    sums: String,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Reader<R> {
        Reader { input, at: 0, sums: String::new() }
    }

    /// Something wrong at the place that was read last.
    pub(super) fn wrong(&self, what: impl Into<String>) -> RestoreError {
        RestoreError::Archive { at: self.at, what: what.into() }
    }

    /// The next file; none at the proper end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Found>, RestoreError> {
        let mut block = [0; BLOCK];
        self.fill(&mut block, "it ends before its SHA256SUMS, so it was cut off")?;
        if block == ZEROS {
            self.fill(&mut block, "its last bytes are missing")?;
            let more = self.some(&mut [0])?;
            return match block == ZEROS && more == 0 {
                true => Ok(None),
                false => Err(self.wrong("something follows its end")),
            };
        }
        let header = Header::from_byte_slice(&block);
        let path = String::from_utf8(header.path_bytes().into_owned()).ok();
        let found = path.zip(header.size().ok()).zip(header.mtime().ok());
        let same = |path: &str, bytes, time| {
            self::header(path, bytes, time).is_ok_and(|expected| expected.as_bytes() == &block)
        };
        match found {
            Some(((path, bytes), time)) if same(&path, bytes, time) => Ok(Some(Found { path, bytes })),
            _ => Err(self.wrong("this is not the header of a file as a backup has it")),
        }
    }

    /// Reads a file and hands it on in pieces.
    pub(super) fn body(
        &mut self,
        found: &Found,
        mut take: impl FnMut(&[u8]) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        let cut = |left: u64| format!("it ends inside {}, {left} bytes of that are missing", found.path);
        let mut buffer = vec![0; PIECE_BYTES.min(narrow(found.bytes.max(1)))];
        let mut digest = Sha256::new();
        let mut left = found.bytes;
        while left > 0 {
            let most = narrow(left).min(buffer.len());
            let got = self.some(buffer.get_mut(..most).unwrap_or_default())?;
            let piece = buffer.get(..got).unwrap_or_default();
            if piece.is_empty() {
                return Err(self.wrong(cut(left)));
            }
            digest.update(piece);
            take(piece)?;
            left -= wide(got);
        }
        let mut fill = [0; BLOCK];
        let fill = fill.get_mut(..padding(found.bytes)).unwrap_or_default();
        self.fill(fill, &cut(0))?;
        if fill.iter().any(|byte| *byte != 0) {
            return Err(self.wrong(format!("what fills up {} is not zero", found.path)));
        }
        self.sums.push_str(&sum_line(&found.path, &digest.finalize()));
        Ok(())
    }

    /// Reads the sums and holds them against what was read.
    pub(super) fn compare(&mut self, found: &Found) -> Result<(), RestoreError> {
        let expected = std::mem::take(&mut self.sums);
        if found.bytes > SUMS_BYTES_MAX {
            return Err(self.wrong("SHA256SUMS is longer than any"));
        }
        let mut given = Vec::new();
        self.body(found, |piece| {
            given.extend_from_slice(piece);
            Ok(())
        })?;
        if given == expected.as_bytes() {
            return Ok(());
        }
        let given = String::from_utf8_lossy(&given);
        let odd = expected.lines().zip(given.lines().map(Some).chain(std::iter::repeat(None)));
        let odd = odd.into_iter().find(|(read, said)| Some(*read) != *said).map(|(read, _)| read);
        let what = match odd.and_then(|line| line.split_once("  ")) {
            Some((_, path)) => format!("{path} is not as SHA256SUMS says"),
            None => "SHA256SUMS names files that are missing".to_owned(),
        };
        Err(self.wrong(what))
    }

    fn fill(&mut self, buffer: &mut [u8], cut: &str) -> Result<(), RestoreError> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let got = self.some(rest)?;
            if got == 0 {
                return Err(self.wrong(cut));
            }
            rest = rest.get_mut(got..).unwrap_or_default();
        }
        Ok(())
    }

    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, RestoreError> {
        loop {
            match self.input.read(buffer) {
                Ok(got) => {
                    self.at += wide(got);
                    return Ok(got);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(RestoreError::Unreadable { at: self.at, source }),
            }
        }
    }
}
