//! From an archive to a data directory.
//!
//! The directory is marked as unfinished first, durably, and the mark goes last: no broker starts on half of a copy,
//! and an interrupted restore is simply run again. The copy is a node of its own: it gets a new cluster id, so that two
//! brokers of one origin are never taken for one.

use std::any::Any;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::{
    error::StorageError,
    node,
    vfs::{OpenMode, Vfs, VfsFile, write_all},
    wire::wide,
};
use super::archive::{Found, Reader};
use super::{BACKUP_FORMAT, MANIFEST, Manifest, NODE, RestoreError, SUMS, UNFINISHED, VOTE, is_known};

/// The longest small file that is kept in memory.
const SMALL_BYTES_MAX: u64 = 64 << 10;
/// What a fresh file system may hold, and a broker leaves behind.
const IGNORED: [&str; 1] = ["lock"];

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The cluster it was taken of.
    pub cluster_id: String,
    /// When it was begun, as RFC 3339.
    pub taken_at: String,
    /// The last entry of its log; none when there was none yet.
    pub last_index: Option<u64>,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Reads an archive to its end and checks all of it; writes nothing.
///
/// # Errors
/// See [`RestoreError`].
pub fn check(input: impl Read) -> Result<Contents, RestoreError> {
    Ok(read(input, &mut Nowhere)?.contents)
}

/// Fills a directory, made when missing, from an archive. Everything is on the disk when this returns.
///
/// # Errors
/// See [`RestoreError`]; then nothing of the archive is left in the directory, or the mark of an unfinished restore is,
/// with which no broker starts and after which this can be run again.
pub fn restore(vfs: &Arc<dyn Vfs>, root: &Path, input: impl Read) -> Result<Contents, RestoreError> {
    let mut folder = Folder::begin(Arc::clone(vfs), root)?;
    match read(input, &mut folder) {
        Ok(archive) => {
            folder.finish(&archive)?;
            Ok(archive.contents)
        }
        Err(error) => {
            if let Err(left) = folder.give_up() {
                tracing::warn!(error = %left, "what was restored so far could not be removed");
            }
            Err(error)
        }
    }
}

/// Where files go.
trait Keep {
    fn begin(&mut self, found: &Found) -> Result<(), RestoreError>;
    fn piece(&mut self, offset: u64, piece: &[u8]) -> Result<(), RestoreError>;
    fn end(&mut self) -> Result<(), RestoreError>;
}

struct Nowhere;

impl Keep for Nowhere {
    fn begin(&mut self, _: &Found) -> Result<(), RestoreError> {
        Ok(())
    }

    fn piece(&mut self, _: u64, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// An archive that was read to its end and is whole.
struct Archive {
    contents: Contents,
    identity: node::NodeIdentity,
}

fn read(input: impl Read, keep: &mut dyn Keep) -> Result<Archive, RestoreError> {
    let mut reader = Reader::new(input);
    let mut seen = BTreeSet::new();
    let (mut node_file, mut manifest_file, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(found) = reader.next()? {
        if seen.contains(SUMS) || seen.contains(&found.path) || !is_known(&found.path) {
            return Err(reader.wrong(format!("{} does not belong here", visible(&found.path))));
        }
        let small = matches!(found.path.as_str(), NODE | MANIFEST);
        if small && found.bytes > SMALL_BYTES_MAX {
            return Err(reader.wrong(format!("{} is longer than any", found.path)));
        }
        match found.path.as_str() {
            SUMS => reader.compare(&found)?,
            NODE | MANIFEST => {
                let file = if found.path == NODE { &mut node_file } else { &mut manifest_file };
                reader.body(&found, |piece| {
                    file.extend_from_slice(piece);
                    Ok(())
                })?;
                if found.path == NODE {
                    // It comes first, so that another format is refused before anything large is written.
                    node::decode(&node_file, Path::new(NODE))?;
                }
            }
            _ => {
                keep.begin(&found)?;
                let mut at = 0;
                reader.body(&found, |piece| {
                    keep.piece(at, piece)?;
                    at += wide(piece.len());
                    Ok(())
                })?;
                keep.end()?;
            }
        }
        if !matches!(found.path.as_str(), MANIFEST | SUMS) {
            bytes += found.bytes;
        }
        seen.insert(found.path);
    }
    for needed in [NODE, VOTE, MANIFEST, SUMS] {
        if !seen.contains(needed) {
            return Err(reader.wrong(format!("it has no {needed}")));
        }
    }
    let files = wide(seen.len()).saturating_sub(2);
    let manifest: Manifest = serde_json::from_slice(&manifest_file)
        .map_err(|error| reader.wrong(format!("manifest.json is not the JSON of a backup: {error}")))?;
    if manifest.backup_format != BACKUP_FORMAT {
        let found = manifest.backup_format;
        let what = format!("it has backup format {found}, this program reads {BACKUP_FORMAT}");
        return Err(reader.wrong(what));
    }
    if (manifest.files, manifest.bytes) != (files, bytes) {
        return Err(reader.wrong("manifest.json counts other files"));
    }
    let identity = node::decode(&node_file, Path::new(NODE))?;
    let Manifest { cluster_id, taken_at, last_index, .. } = manifest;
    Ok(Archive { contents: Contents { cluster_id, taken_at, last_index, files, bytes }, identity })
}

/// A name out of an archive, for a terminal.
fn visible(path: &str) -> String {
    path.chars().take(100).flat_map(char::escape_default).collect()
}

/// A directory that is being filled.
struct Folder {
    vfs: Arc<dyn Vfs>,
    root: PathBuf,
    open: Option<(PathBuf, Arc<dyn VfsFile>)>,
    _lock: Box<dyn Any + Send + Sync>,
}

impl Folder {
    fn begin(vfs: Arc<dyn Vfs>, root: &Path) -> Result<Folder, RestoreError> {
        let folders = [root.to_owned(), root.join("log"), root.join("images")];
        for path in &folders {
            vfs.create_dir(path).map_err(|error| StorageError::io("make the directory", path, error))?;
        }
        let lock_path = root.join("lock");
        let lock = vfs.lock(&lock_path).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => StorageError::Locked { path: lock_path.clone() },
            _ => StorageError::io("lock", &lock_path, error),
        })?;
        let folder = Folder { vfs, root: root.to_owned(), open: None, _lock: lock };
        let mut unfinished = false;
        let mut used = false;
        for path in &folders {
            for name in folder.names(path)? {
                unfinished |= name == UNFINISHED;
                used |= !IGNORED.contains(&name.as_str());
            }
        }
        if unfinished {
            folder.clear()?;
        } else if used {
            return Err(RestoreError::NotEmpty(root.to_owned()));
        }
        let mark = root.join(UNFINISHED);
        let file = folder
            .vfs
            .open(&mark, OpenMode::Replace)
            .map_err(|error| StorageError::io("create", &mark, error))?;
        file.sync_data().map_err(|error| StorageError::io("sync", &mark, error))?;
        folder.sync(root)?;
        let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
        folder.sync(parent.unwrap_or(Path::new(".")))?;
        Ok(folder)
    }

    fn names(&self, path: &Path) -> Result<Vec<String>, StorageError> {
        self.vfs.list(path).map_err(|error| StorageError::io("list", path, error))
    }

    fn sync(&self, path: &Path) -> Result<(), StorageError> {
        self.vfs.sync_dir(path).map_err(|error| StorageError::io("sync", path, error))
    }

    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        self.vfs.remove(path).map_err(|error| StorageError::io("remove", path, error))
    }

    /// Removes what a restore writes, but its mark.
    fn clear(&self) -> Result<(), StorageError> {
        for sub in ["", "log", "images"] {
            let path = self.root.join(sub);
            for name in self.names(&path)? {
                let whole = if sub.is_empty() { name.clone() } else { format!("{sub}/{name}") };
                let known = whole.strip_suffix(".tmp").unwrap_or(&whole);
                if is_known(known) {
                    self.remove(&path.join(name))?;
                }
            }
            self.sync(&path)?;
        }
        Ok(())
    }

    fn give_up(mut self) -> Result<(), StorageError> {
        self.open = None;
        self.clear()?;
        self.remove(&self.root.join(UNFINISHED))?;
        self.sync(&self.root)
    }

    fn finish(&self, archive: &Archive) -> Result<(), StorageError> {
        self.sync(&self.root.join("log"))?;
        self.sync(&self.root.join("images"))?;
        let Contents { cluster_id, taken_at, last_index, .. } = &archive.contents;
        let last = last_index.map_or("before its first entry".to_owned(), |last| format!("at entry {last}"));
        let origin = format!("cluster {cluster_id} {last}, {taken_at}");
        node::write_restored(self.vfs.as_ref(), &self.root, &archive.identity, origin)?;
        self.remove(&self.root.join(UNFINISHED))?;
        self.sync(&self.root)
    }
}

impl Keep for Folder {
    fn begin(&mut self, found: &Found) -> Result<(), RestoreError> {
        let path = self.root.join(&found.path);
        let file = self
            .vfs
            .open(&path, OpenMode::CreateNew)
            .map_err(|error| StorageError::io("create", &path, error))?;
        self.open = Some((path, file));
        Ok(())
    }

    fn piece(&mut self, offset: u64, piece: &[u8]) -> Result<(), RestoreError> {
        if let Some((path, file)) = &self.open {
            write_all(file.as_ref(), piece, offset)
                .map_err(|error| StorageError::io("write", path, error))?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), RestoreError> {
        if let Some((path, file)) = self.open.take() {
            file.sync_data().map_err(|error| StorageError::io("sync", path, error))?;
        }
        Ok(())
    }
}
