//! The few file operations the store needs, behind one small trait so that tests can lose, tear, reorder and fail them.

mod real;
#[doc(hidden)]
pub mod sim;

use std::{any::Any, fmt::Debug, io, path::Path, sync::Arc};

pub use real::RealFs;

/// How [`Vfs::open`] treats a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reading only.
    Read,
    /// Must exist; reading and writing.
    Write,
    /// Must not exist; reading and writing.
    CreateNew,
    /// Made when missing, emptied when not.
    Replace,
}

/// A directory tree. Nothing is durable before the matching `sync_data` or [`Vfs::sync_dir`] returned.
pub trait Vfs: Debug + Send + Sync {
    /// Makes a directory and its parents; an existing one is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>>;
    /// Replaces `to` by `from` in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a directory, sorted; sub-directories are left out.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes creates, renames and removes in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes this process may still write on the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Bytes of the whole file system of `path`; none when there is no such number.
    fn total_bytes(&self, _path: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }
    /// Takes an exclusive lock that ends when the returned guard is dropped or the process dies; `WouldBlock` if taken.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// An open file. Positions are explicit, so any thread may use it.
pub trait VfsFile: Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes; 0 means end of file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of the bytes and says how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Grows the file with zeros whose space is really reserved; `StorageFull` changes nothing.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Cuts or grows the file; a grown part reads as zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// fdatasync: contents and the length needed to read them back are durable when it returns `Ok`.
    fn sync_data(&self) -> io::Result<()>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Whether an operation failed only because the file system, or this user's share of it, is full.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes all of `bytes`, however short the single writes are.
pub(super) fn write_all(file: &dyn VfsFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0usize;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, offset + super::wire::wide(done)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads up to `length` bytes at `offset`; fewer only at the end of the file.
pub(super) fn read_up_to(file: &dyn VfsFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0u8; length];
    let mut done = 0usize;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + super::wire::wide(done)) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(done);
    Ok(buffer)
}
