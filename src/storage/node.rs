//! The data directory: who this node is, which format its files have, and the lock that keeps a second process out.

use std::{
    any::Any,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    backup::UNFINISHED,
    error::StorageError,
    vfs::{OpenMode, Vfs, VfsFile, read_up_to, write_all},
};

/// The format version this program reads and writes. Version 1 did not say in a segment how long its file is.
pub const FORMAT_VERSION: u32 = 2;
const NODE_FILE: &str = "node.json";
const NODE_FILE_BYTES_MAX: usize = 64 << 10;

/// What `node.json` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// This node's number in its cluster.
    pub node_id: u64,
    /// The cluster, chosen at random at first start.
    pub cluster_id: String,
    /// The format version of all files of the directory.
    pub format_version: u32,
    /// Of which cluster, when and at which entry the directory is a restored copy; none of an original.
    pub restored_from: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct NodeFile {
    node_id: u64,
    cluster_id: String,
    format_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored_from: Option<String>,
    checksum: String,
}

/// An opened, locked data directory. The lock ends when the last clone is dropped.
#[derive(Clone)]
pub struct DataDir {
    inner: Arc<Inner>,
}

struct Inner {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    identity: NodeIdentity,
    _lock: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for DataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataDir").field("path", &self.inner.path).field("node", &self.inner.identity).finish()
    }
}

impl DataDir {
    /// Opens the directory, makes it when missing, and takes its lock.
    ///
    /// Errors: `Locked` when another process has it, `Format` when another version of the program wrote it, `Damaged`
    /// or `LostLog` when `node.json` is harmed or missing beside a log.
    pub fn open(vfs: Arc<dyn Vfs>, path: impl Into<PathBuf>) -> Result<DataDir, StorageError> {
        let path = path.into();
        for folder in [path.clone(), path.join("log"), path.join("images")] {
            vfs.create_dir(&folder)
                .map_err(|error| StorageError::io("make the directory", &folder, error))?;
        }
        let lock_path = path.join("lock");
        let lock = vfs.lock(&lock_path).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => StorageError::Locked { path: lock_path.clone() },
            _ => StorageError::io("lock", &lock_path, error),
        })?;
        let identity = match read_identity(vfs.as_ref(), &path)? {
            Some(identity) => identity,
            None => {
                let identity = create_identity(vfs.as_ref(), &path)?;
                // The directory itself may be new.
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new("."));
                vfs.sync_dir(parent).map_err(|error| StorageError::io("sync", parent, error))?;
                identity
            }
        };
        Ok(DataDir { inner: Arc::new(Inner { vfs, path, identity, _lock: lock }) })
    }

    /// Who the node of a directory is, without opening, making or locking anything; none when no broker has used it.
    ///
    /// Errors: as [`DataDir::open`], except `Locked`.
    pub fn peek(vfs: &dyn Vfs, path: &Path) -> Result<Option<NodeIdentity>, StorageError> {
        read_identity(vfs, path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Who this node is.
    pub fn identity(&self) -> &NodeIdentity {
        &self.inner.identity
    }

    /// The files.
    pub fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.inner.vfs
    }

    /// Where the segments are.
    pub(super) fn log_path(&self) -> PathBuf {
        self.inner.path.join("log")
    }
}

fn read_identity(vfs: &dyn Vfs, root: &Path) -> Result<Option<NodeIdentity>, StorageError> {
    let mark = root.join(UNFINISHED);
    if present(vfs, &mark)?.is_some() {
        let what = format!("{} says that a restore was not finished; run it again", mark.display());
        return Err(StorageError::Refused(what));
    }
    let path = root.join(NODE_FILE);
    let Some(file) = present(vfs, &path)? else { return Ok(None) };
    decode(&read_file(file.as_ref(), &path)?, &path).map(Some)
}

/// Opens a file, if it is there.
pub(super) fn present(vfs: &dyn Vfs, path: &Path) -> Result<Option<Arc<dyn VfsFile>>, StorageError> {
    match vfs.open(path, OpenMode::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("open", path, error)),
    }
}

fn read_file(file: &dyn VfsFile, path: &Path) -> Result<Vec<u8>, StorageError> {
    read_up_to(file, 0, NODE_FILE_BYTES_MAX).map_err(|error| StorageError::io("read", path, error))
}

/// `node.json` as it is, and what it says.
pub(super) fn whole_file(vfs: &dyn Vfs, root: &Path) -> Result<(NodeIdentity, Vec<u8>), StorageError> {
    let path = root.join(NODE_FILE);
    let file = vfs.open(&path, OpenMode::Read).map_err(|error| StorageError::io("open", &path, error))?;
    let bytes = read_file(file.as_ref(), &path)?;
    Ok((decode(&bytes, &path)?, bytes))
}

/// Reads what `node.json` says; `path` is for the error.
pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<NodeIdentity, StorageError> {
    let path = path.to_owned();
    let Ok(found) = serde_json::from_slice::<NodeFile>(bytes) else {
        return Err(StorageError::damaged(path, 0, "not the JSON this program wrote"));
    };
    let identity = NodeIdentity {
        node_id: found.node_id,
        cluster_id: found.cluster_id,
        format_version: found.format_version,
        restored_from: found.restored_from,
    };
    if found.checksum != checksum(&identity) {
        return Err(StorageError::damaged(path, 0, "the checksum does not match"));
    }
    if identity.format_version != FORMAT_VERSION {
        return Err(StorageError::Format { path, found: identity.format_version, known: FORMAT_VERSION });
    }
    Ok(identity)
}

fn create_identity(vfs: &dyn Vfs, root: &Path) -> Result<NodeIdentity, StorageError> {
    let path = root.join(NODE_FILE);
    let has_log =
        vfs.list(&root.join("log")).map_err(|error| StorageError::io("list", root.join("log"), error))?;
    if !has_log.is_empty() {
        let what = format!("there are log segments, but {} is missing", path.display());
        return Err(StorageError::LostLog { what });
    }
    let identity = NodeIdentity {
        node_id: 1,
        cluster_id: new_cluster_id(),
        format_version: FORMAT_VERSION,
        restored_from: None,
    };
    write_identity(vfs, root, &identity)?;
    Ok(identity)
}

fn new_cluster_id() -> String {
    uuid::Uuid::from_u128(rand::random::<u128>()).simple().to_string()
}

/// Makes a restored directory that of a node of its own, which says where it comes from.
pub(super) fn write_restored(
    vfs: &dyn Vfs,
    root: &Path,
    identity: &NodeIdentity,
    origin: String,
) -> Result<(), StorageError> {
    let restored_from = Some(origin);
    let identity = NodeIdentity { cluster_id: new_cluster_id(), restored_from, ..identity.clone() };
    write_identity(vfs, root, &identity)
}

fn write_identity(vfs: &dyn Vfs, root: &Path, identity: &NodeIdentity) -> Result<(), StorageError> {
    let bytes = encode(identity)?;
    replace_file(vfs, root, NODE_FILE, &bytes)
}

/// `node.json` that says this.
pub(super) fn encode(identity: &NodeIdentity) -> Result<Vec<u8>, StorageError> {
    let content = NodeFile {
        node_id: identity.node_id,
        cluster_id: identity.cluster_id.clone(),
        format_version: identity.format_version,
        restored_from: identity.restored_from.clone(),
        checksum: checksum(identity),
    };
    let mut bytes =
        serde_json::to_vec_pretty(&content).map_err(|error| StorageError::Refused(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What a file says, signed anew: past the checksum, for tests.
#[cfg(test)]
pub(super) fn signed(bytes: &[u8]) -> Option<Vec<u8>> {
    let found = serde_json::from_slice::<NodeFile>(bytes).ok()?;
    let NodeFile { node_id, cluster_id, format_version, restored_from, checksum: _ } = found;
    encode(&NodeIdentity { node_id, cluster_id, format_version, restored_from }).ok()
}

/// CRC-32C over the fields, so that a flipped bit in a name or number is noticed.
fn checksum(identity: &NodeIdentity) -> String {
    let mut text = format!("{}\n{}\n{}", identity.node_id, identity.cluster_id, identity.format_version);
    if let Some(origin) = &identity.restored_from {
        text.push('\n');
        text.push_str(origin);
    }
    format!("{:08x}", crc32c::crc32c(text.as_bytes()))
}

/// Writes a small file so that it is there whole or not at all.
pub(super) fn replace_file(
    vfs: &dyn Vfs,
    folder: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), StorageError> {
    let (path, temporary) = (folder.join(name), folder.join(format!("{name}.tmp")));
    let file = vfs
        .open(&temporary, OpenMode::Replace)
        .map_err(|error| StorageError::io("create", &temporary, error))?;
    write_all(file.as_ref(), bytes, 0).map_err(|error| StorageError::io("write", &temporary, error))?;
    file.sync_data().map_err(|error| StorageError::io("sync", &temporary, error))?;
    vfs.rename(&temporary, &path).map_err(|error| StorageError::io("rename", &path, error))?;
    vfs.sync_dir(folder).map_err(|error| StorageError::io("sync", folder, error))
}
