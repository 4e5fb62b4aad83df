//! Backups: a tar archive of what a `kill -9` at one instant would leave of the data directory, taken while the log
//! goes on, and the way back from it (docs/BACKUP.md).
//!
//! ```text
//! node.json · vote · images/NNN.image · log/NNN.log … · manifest.json · SHA256SUMS
//! ```
//!
//! `SHA256SUMS` names every file before it and comes last: an archive without it was cut off.

mod archive;
mod restore;
mod take;

pub use restore::{Contents, check, restore};
pub use take::Backup;

use serde::{Deserialize, Serialize};

use super::error::StorageError;
use super::segment;

/// The form of the archive that this program writes and reads.
const BACKUP_FORMAT: u32 = 1;
/// Written while a directory is being filled from an archive; with it no broker starts there.
pub(super) const UNFINISHED: &str = "restoring";
const NODE: &str = "node.json";
const VOTE: &str = "vote";
const MANIFEST: &str = "manifest.json";
const SUMS: &str = "SHA256SUMS";

/// Why a backup ended early. What was handed out of it is no backup: its end is missing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    /// A file is damaged or cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Nobody takes the archive any more.
    #[error("nobody takes the archive any more")]
    Unwanted,
    /// The log was cut while it was copied, so what was copied does not belong together.
    #[error("the log was cut back while it was copied; take the backup again")]
    Cut,
    /// Segments that were still to be copied are wanted for their space.
    #[error("the disk runs full and the segments that the backup still holds could go; it gives way")]
    GivesWay,
}

/// Why an archive cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The archive is not what was written: cut off, or changed.
    #[error("the archive cannot be used: {what} (at byte {at})")]
    Archive {
        /// Where, in bytes from its start.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive at byte {at}: {source}")]
    Unreadable {
        /// Where, in bytes from its start.
        at: u64,
        /// The system's words.
        source: std::io::Error,
    },
    /// There is something in the directory already.
    #[error("{0} is not empty; name a directory that is, or one that does not exist")]
    NotEmpty(std::path::PathBuf),
    /// The directory cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What `manifest.json` says of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    /// [`BACKUP_FORMAT`].
    backup_format: u32,
    /// What wrote it.
    program: String,
    /// The format of the files.
    format_version: u32,
    node_id: u64,
    cluster_id: String,
    /// When it was begun. Everything acknowledged before is in it.
    taken_at: String,
    /// The last entry of the log; none when there was none yet.
    last_index: Option<u64>,
    /// The entry the image was taken at; none without an image.
    image_index: Option<u64>,
    /// Files before this one.
    files: u64,
    /// Bytes of those files.
    bytes: u64,
}

/// Whether a file of this name belongs into an archive and from there into a data directory.
fn is_known(path: &str) -> bool {
    let digits = |name: &str, suffix: &str, count: usize| {
        name.strip_suffix(suffix)
            .is_some_and(|digits| digits.len() == count && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match path.split_once('/') {
        None => matches!(path, NODE | VOTE | MANIFEST | SUMS),
        Some(("images", name)) => digits(name, ".image", 20),
        Some(("log", name)) => segment::id_of(name).is_some(),
        Some(_) => false,
    }
}
