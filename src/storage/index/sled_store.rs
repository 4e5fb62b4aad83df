//! sled: opening it without trusting it, and its trees.
//!
//! | tree | key | value |
//! | --- | --- | --- |
//! | `blocks` | block key | a block (`block.rs`) |
//! | `deadlines` | block key, only of blocks with a TTL | earliest deadline, 8 bytes little-endian |
//! | `pins` | first index of a segment, 8 bytes big-endian | its pins (`pins.rs`) |
//! | `keys`, `runs` | | search by key (`keys.rs`) |
//! | default | `mark` | the mark of the flush before the mark file |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use crate::model::seeded::{self, SeededBug};

use super::mark::{self, Mark};
use super::{IndexError, IndexOptions};

/// An open sled.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    pub(super) db: sled::Db,
    pub(super) blocks: sled::Tree,
    pub(super) deadlines: sled::Tree,
    pub(super) pins: sled::Tree,
    pub(super) keys: sled::Tree,
    pub(super) runs: sled::Tree,
}

const MARK_KEY: &[u8] = b"mark";

/// Runs a call into sled; a panic inside it is an error like any other.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("sled: {error}")),
        Err(_) => Err("sled panicked".to_owned()),
    }
}

impl Trees {
    /// Opens sled in its own thread, because a damaged directory can make it panic or never come back; then the thread
    /// is left behind.
    fn open(dir: PathBuf, options: &IndexOptions) -> Result<Trees, String> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(options.cache_bytes)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None);
        let (answer, opened) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("index-open".to_owned())
            .spawn(move || {
                let trees = guarded(|| {
                    let db = config.open()?;
                    let blocks = db.open_tree("blocks")?;
                    let deadlines = db.open_tree("deadlines")?;
                    let pins = db.open_tree("pins")?;
                    let keys = db.open_tree("keys")?;
                    let runs = db.open_tree("runs")?;
                    Ok(Trees { db, blocks, deadlines, pins, keys, runs })
                });
                let _ = answer.send(trees);
            })
            .map_err(|error| error.to_string())?;
        opened
            .recv_timeout(options.open_limit)
            .unwrap_or_else(|_| Err(format!("sled did not open within {:?}", options.open_limit)))
    }

    fn mark(&self) -> Result<Mark, String> {
        let value = guarded(|| self.db.get(MARK_KEY))?.ok_or("sled holds no mark")?;
        Mark::decode(&value).map_err(|error| format!("sled's mark holds {error}"))
    }

    /// Puts the mark into sled and flushes it.
    pub(super) fn put_mark(&self, mark: &Mark) -> Result<(), String> {
        guarded(|| {
            self.db.insert(MARK_KEY, mark.encode())?;
            self.db.flush().map(|_| ())
        })
    }
}

/// Opens what is there if it can be trusted; the text says why not.
pub(super) fn open_trusted(dir: &Path, options: &IndexOptions) -> Result<(Trees, Mark), String> {
    let mark = mark::read(dir)?;
    if mark.log != options.log {
        return Err("it was made from another log".to_owned());
    }
    if mark.up_to > options.log_last {
        return Err(format!("it is ahead of the log ({} > {})", mark.up_to, options.log_last));
    }
    let path = mark::blocks_dir(dir, mark.epoch);
    if !path.is_dir() {
        return Err(format!("{} is missing", path.display()));
    }
    let trees = Trees::open(path, options)?;
    let own = trees.mark();
    if seeded::active(SeededBug::StaleIndexTrusted) {
        return Ok((trees, mark));
    }
    let own = own?;
    if own.epoch != mark.epoch || own.log != mark.log {
        return Err("sled and the mark do not belong together".to_owned());
    }
    if own.sequence < mark.sequence {
        return Err(format!("sled is older than its mark ({} < {})", own.sequence, mark.sequence));
    }
    // A crash between sled's flush and the mark leaves sled ahead; the next mark must be above both.
    Ok((trees, Mark { sequence: own.sequence, ..mark }))
}

/// Makes an empty one under a name that was never used. It has no mark yet, so a crash before the first one starts
/// over.
pub(super) fn make(dir: &Path, options: &IndexOptions) -> Result<(Trees, Mark), IndexError> {
    mark::remove(dir).map_err(|error| IndexError::Directory(error.to_string()))?;
    let epoch = rand::random();
    let trees = Trees::open(mark::blocks_dir(dir, epoch), options).map_err(IndexError::Directory)?;
    Ok((trees, Mark { epoch, log: options.log, ..Mark::default() }))
}
