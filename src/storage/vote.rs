//! The `vote` file: the Raft vote and the marks that must never go back.
//!
//! Two equal copies, each in its own 4 KiB block, each with a checksum. A change writes copy A, syncs, writes copy B,
//! syncs, and only then is it reported: so a torn write or a damaged copy always leaves one whole copy that is at least
//! as new as anything that was reported. Both copies bad is damage.

use std::{path::PathBuf, sync::Arc};

use crc32c::crc32c;

use crate::model::seeded::{self, SeededBug};

use super::{
    error::StorageError,
    record::RecordId,
    vfs::{OpenMode, Vfs, VfsFile, read_up_to, write_all},
    wire::{narrow, put_at, u32_at, u64_at},
};

const MAGIC: u32 = u32::from_le_bytes(*b"WVOT");
const VERSION: u32 = 1;
const COPY_BYTES: usize = 128;
const COPIES_AT: [u64; 2] = [0, 4096];
const FILE_BYTES: u64 = 8192;

/// Whom this node votes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The term of the vote.
    pub term: u64,
    /// The candidate.
    pub node: u64,
    /// Whether the candidate is known to have won.
    pub committed: bool,
}

/// What the vote file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks {
    pub(super) sequence: u64,
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<RecordId>,
    /// The newest segment that must exist; 0 before the first.
    pub(super) newest: u64,
    /// The id the next segment gets; never used before.
    pub(super) next: u64,
    /// Everything before this (segment, offset) was durable when the log was last cut there.
    pub(super) floor: (u64, u64),
}

impl Marks {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; COPY_BYTES];
        let flags = u32::from(self.vote.is_some())
            | u32::from(self.vote.is_some_and(|vote| vote.committed)) << 1
            | u32::from(self.purged.is_some()) << 2;
        let vote = self.vote.unwrap_or(Vote { term: 0, node: 0, committed: false });
        let purged = self.purged.unwrap_or(RecordId { index: 0, term: 0, leader: 0 });
        put_at(&mut bytes, 0, &MAGIC.to_le_bytes());
        put_at(&mut bytes, 8, &VERSION.to_le_bytes());
        put_at(&mut bytes, 12, &flags.to_le_bytes());
        let fields = [
            self.sequence,
            vote.term,
            vote.node,
            purged.index,
            purged.term,
            purged.leader,
            self.newest,
            self.next,
            self.floor.0,
            self.floor.1,
        ];
        for (number, field) in fields.iter().enumerate() {
            put_at(&mut bytes, 16 + number * 8, &field.to_le_bytes());
        }
        let crc = crc32c(bytes.get(8..).unwrap_or_default());
        put_at(&mut bytes, 4, &crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Marks> {
        let bytes = bytes.get(..COPY_BYTES)?;
        let intact = u32_at(bytes, 4)? == crc32c(bytes.get(8..)?);
        if !intact || u32_at(bytes, 0)? != MAGIC || u32_at(bytes, 8)? != VERSION {
            return None;
        }
        let flags = u32_at(bytes, 12)?;
        let field = |number: usize| u64_at(bytes, 16 + number * 8);
        let vote = Vote { term: field(1)?, node: field(2)?, committed: flags & 2 != 0 };
        let purged = RecordId { index: field(3)?, term: field(4)?, leader: field(5)? };
        Some(Marks {
            sequence: field(0)?,
            vote: (flags & 1 != 0).then_some(vote),
            purged: (flags & 4 != 0).then_some(purged),
            newest: field(6)?,
            next: field(7)?,
            floor: (field(8)?, field(9)?),
        })
    }
}

/// A whole vote file that says this.
pub(super) fn vote_file(marks: Marks) -> Vec<u8> {
    let mut file = vec![0u8; narrow(FILE_BYTES)];
    let copy = marks.encode();
    for at in COPIES_AT {
        put_at(&mut file, narrow(at), &copy);
    }
    file
}

/// The open vote file.
#[derive(Debug)]
pub(super) struct MarksFile {
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    marks: Marks,
    /// How the copies stood to each other when the file was opened.
    pub(super) found: Copies,
}

/// How the two copies stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copies {
    /// Both whole and equal, or the file is new.
    Equal,
    /// Both whole, one older: the process ended between the two writes of a change that was never reported.
    Apart,
    /// One is missing or harmed.
    Harmed,
}

impl Copies {
    fn of(copies: &[Option<Marks>]) -> Copies {
        match copies {
            [Some(first), Some(second)] if first == second => Copies::Equal,
            [Some(_), Some(_)] => Copies::Apart,
            [] => Copies::Equal,
            _ => Copies::Harmed,
        }
    }

    /// What a start says of it, when there is something to say.
    pub(super) fn note(self) -> Option<&'static str> {
        match self {
            Copies::Equal => None,
            Copies::Apart => {
                Some("a change of vote and marks was cut short between its two copies; the newer one is kept")
            }
            Copies::Harmed => Some("one copy of vote and marks was torn or damaged; it is written anew"),
        }
    }
}

impl MarksFile {
    /// Opens the file, or makes it when `fresh` says that there is no log yet. The directory is not synced here.
    pub(super) fn open(vfs: &dyn Vfs, path: PathBuf, fresh: bool) -> Result<MarksFile, StorageError> {
        let io = |action| {
            let path = path.clone();
            move |error| StorageError::io(action, path, error)
        };
        let (file, mut copies) = match vfs.open(&path, OpenMode::Write) {
            Ok(file) => {
                let mut copies = Vec::new();
                for at in COPIES_AT {
                    let bytes = read_up_to(file.as_ref(), at, COPY_BYTES).map_err(io("read"))?;
                    copies.push(Marks::decode(&bytes));
                }
                (file, copies)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && fresh => {
                (vfs.open(&path, OpenMode::CreateNew).map_err(io("create"))?, Vec::new())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("there are log segments, but {} is missing", path.display());
                return Err(StorageError::LostLog { what });
            }
            Err(error) => return Err(io("open")(error)),
        };
        let found = Copies::of(&copies);
        copies.retain(Option::is_some);
        let newest = copies.into_iter().flatten().max_by_key(|marks| marks.sequence);
        let marks = match newest {
            Some(marks) => marks,
            None if fresh => Marks { next: 1, ..Marks::default() },
            None => return Err(StorageError::damaged(path, 0, "both copies of vote and marks are damaged")),
        };
        Ok(MarksFile { file, path, marks, found })
    }

    pub(super) fn marks(&self) -> Marks {
        self.marks
    }

    /// Writes both copies anew, so that what is reported is on the disk and not in the page cache alone.
    pub(super) fn settle(&mut self) -> Result<(), StorageError> {
        let length = self.file.len().map_err(|error| StorageError::io("read", &self.path, error))?;
        if length < FILE_BYTES {
            self.file
                .allocate(0, FILE_BYTES)
                .map_err(|error| StorageError::io("allocate", &self.path, error))?;
        }
        self.write(self.marks)
    }

    /// Makes a change durable in both copies.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Marks)) -> Result<(), StorageError> {
        let mut marks = self.marks;
        change(&mut marks);
        marks.sequence += 1;
        self.write(marks)
    }

    fn write(&mut self, marks: Marks) -> Result<(), StorageError> {
        let bytes = marks.encode();
        for at in COPIES_AT {
            write_all(self.file.as_ref(), &bytes, at)
                .map_err(|error| StorageError::io("write", &self.path, error))?;
            if !seeded::active(SeededBug::FdatasyncSkipped) {
                self.file.sync_data().map_err(|error| StorageError::io("sync", &self.path, error))?;
            }
        }
        self.marks = marks;
        Ok(())
    }
}
