//! A file that may be lost at any time: what the node remembers of its recent past. It is there whole or not at all in
//! ordinary life; nothing is flushed for it, so after a power cut it may hold anything, and whoever reads it has to
//! check.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::{
    error::StorageError,
    shared::Shared,
    vfs::{OpenMode, read_up_to, write_all},
    wire::wide,
};

const FOLDER: &str = "history";
const FILE: &str = "curves";

impl Shared {
    fn history_path(&self) -> PathBuf {
        self.dir.path().join(FOLDER)
    }

    /// What [`Shared::keep_history`] wrote last; none when there is nothing, or more than `most` bytes.
    pub(super) fn kept_history(&self, most: usize) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.history_path().join(FILE);
        let file = match self.dir.vfs().open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", path, error)),
        };
        let read = || {
            let length = file.len()?;
            if length > wide(most) {
                return Ok(None);
            }
            read_up_to(file.as_ref(), 0, usize::try_from(length).unwrap_or(most)).map(Some)
        };
        read().map_err(|error| StorageError::io("read", &path, error))
    }

    pub(super) fn keep_history(&self, bytes: &[u8]) -> Result<(), StorageError> {
        let (folder, vfs) = (self.history_path(), self.dir.vfs());
        vfs.create_dir(&folder).map_err(|error| StorageError::io("make the directory", &folder, error))?;
        let (path, temporary) = (folder.join(FILE), folder.join(format!("{FILE}.tmp")));
        let file = vfs
            .open(&temporary, OpenMode::Replace)
            .map_err(|error| StorageError::io("create", &temporary, error))?;
        write_all(file.as_ref(), bytes, 0).map_err(|error| StorageError::io("write", &temporary, error))?;
        vfs.rename(&temporary, &path).map_err(|error| StorageError::io("rename", &path, error))
    }
}
