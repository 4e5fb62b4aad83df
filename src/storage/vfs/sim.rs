//! A disk in memory for tests: what was synced is kept apart from what was only written, power can be cut, and every
//! operation can be made to fail.
//!
//! A power cut keeps a seeded random subset of the 512-byte sectors and of the directory operations that were not
//! synced. A failed sync forgets that the sectors were dirty, as Linux does, so that a later sync does not save them.

mod file;

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use file::{Contents, SimFile};

use super::{OpenMode, Vfs, VfsFile};
use crate::storage::wire::{lock, wide};

const SECTOR: usize = 512;

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with an input/output error; a write may have been done in part.
    Io,
    /// It fails for lack of space and changes nothing.
    NoSpace,
    /// The power goes off: it and everything after it fails until [`SimFs::restart`].
    PowerOff,
}

/// What is left after [`SimFs::restart`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process died; the system still holds everything written.
    Process,
    /// The power was cut: of what was not synced, the subset this seed chooses is kept.
    Power(u64),
}

/// A file system in memory. Clones share the same disk.
#[derive(Debug, Clone)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
}

/// Called with the number and name of every counted operation, before it happens; may sleep.
pub type Hook = Arc<dyn Fn(u64, &str) + Send + Sync>;

struct Disk {
    files: BTreeMap<u64, Contents>,
    next_file: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending: Vec<NameChange>,
    locked: BTreeMap<PathBuf, Arc<AtomicBool>>,
    boot: u64,
    off: bool,
    operations: u64,
    fault: Option<(u64, Fault)>,
    fired: u64,
    capacity: u64,
    random: SmallRng,
    hook: Option<Hook>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("names", &self.names)
            .field("operations", &self.operations)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            NameChange::Link(path, _) | NameChange::Unlink(path) | NameChange::Rename(_, path, _) => {
                path.parent()
            }
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Link(path, file) => {
                names.insert(path, file);
            }
            NameChange::Unlink(path) => {
                names.remove(&path);
            }
            NameChange::Rename(from, to, file) => {
                names.remove(&from);
                names.insert(to, file);
            }
        }
    }
}

impl SimFs {
    /// An empty disk. The seed chooses how much of a failed write or sync arrives.
    pub fn new(seed: u64) -> SimFs {
        let disk = Disk {
            files: BTreeMap::new(),
            next_file: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            locked: BTreeMap::new(),
            boot: 0,
            off: false,
            operations: 0,
            fault: None,
            fired: 0,
            capacity: u64::MAX,
            random: SmallRng::seed_from_u64(seed),
            hook: None,
        };
        SimFs { disk: Arc::new(Mutex::new(disk)) }
    }

    /// A separate disk with the same contents, durable and pending; no fault is set, nothing is locked.
    pub fn fork(&self, seed: u64) -> SimFs {
        let disk = lock(&self.disk);
        let copy = SimFs::new(seed);
        let mut other = lock(&copy.disk);
        other.files = disk.files.clone();
        other.next_file = disk.next_file;
        other.names = disk.names.clone();
        other.durable_names = disk.durable_names.clone();
        other.pending = disk.pending.clone();
        other.capacity = disk.capacity;
        drop(other);
        copy
    }

    /// Changing operations so far: writes, syncs, allocations, creates, renames, removes.
    pub fn operations(&self) -> u64 {
        lock(&self.disk).operations
    }

    /// The operation with this number (counted from 0 over the disk's life) meets the fault.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        lock(&self.disk).fault = Some((operation, fault));
    }

    /// How often a fault was really met.
    pub fn fired(&self) -> u64 {
        lock(&self.disk).fired
    }

    /// Bytes all files together may have.
    pub fn set_capacity(&self, bytes: u64) {
        lock(&self.disk).capacity = bytes;
    }

    /// Bytes all files together have.
    pub fn used(&self) -> u64 {
        lock(&self.disk).used()
    }

    /// Calls `hook` before every changing operation.
    pub fn set_hook(&self, hook: Option<Hook>) {
        lock(&self.disk).hook = hook;
    }

    /// Ends every open handle and lock, and starts again with what the crash left.
    pub fn restart(&self, crash: Crash) {
        let disk = &mut *lock(&self.disk);
        disk.boot += 1;
        disk.off = false;
        disk.fault = None;
        disk.locked.clear();
        if let Crash::Power(seed) = crash {
            let mut random = SmallRng::seed_from_u64(seed);
            for change in std::mem::take(&mut disk.pending) {
                if random.random_bool(0.5) {
                    change.apply(&mut disk.durable_names);
                }
            }
            disk.names = disk.durable_names.clone();
            for contents in disk.files.values_mut() {
                contents.cut_power(&mut random);
            }
        }
        let Disk { files, names, durable_names, pending, .. } = disk;
        let pending: BTreeSet<u64> = pending
            .iter()
            .filter_map(|change| match change {
                NameChange::Link(_, file) | NameChange::Rename(_, _, file) => Some(*file),
                NameChange::Unlink(_) => None,
            })
            .collect();
        let used: BTreeSet<u64> = names.values().chain(durable_names.values()).copied().collect();
        files.retain(|file, _| used.contains(file) || pending.contains(file));
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<PathBuf> {
        lock(&self.disk).names.keys().cloned().collect()
    }

    /// The bytes of a file as a process sees them.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = lock(&self.disk);
        Some(disk.files.get(disk.names.get(path)?)?.live.clone())
    }

    /// Replaces the bytes of a file, durably and without counting: damage done from outside.
    pub fn damage(&self, path: &Path, bytes: &[u8]) {
        let disk = &mut *lock(&self.disk);
        if let Some(contents) = disk.names.get(path).and_then(|file| disk.files.get_mut(file)) {
            *contents = Contents::stored(bytes);
        }
    }

    /// Removes a file, durably and without counting.
    pub fn lose(&self, path: &Path) {
        let mut disk = lock(&self.disk);
        disk.names.remove(path);
        disk.durable_names.remove(path);
    }
}

fn gone() -> io::Error {
    io::Error::other("the power is off")
}

/// How an operation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    Well,
    /// It fails with an I/O error; of a write, a part may be done.
    Wrong,
    /// The power goes off under it: it may be done in part, and what was not synced stays unsynced.
    Dark,
}

impl Disk {
    /// Counts an operation and says how it goes.
    fn count(&mut self, boot: u64) -> io::Result<Went> {
        if self.off || boot != self.boot {
            return Err(gone());
        }
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at == number => {
                self.fired += 1;
                match fault {
                    Fault::Io => Ok(Went::Wrong),
                    Fault::NoSpace => Err(io::ErrorKind::StorageFull.into()),
                    Fault::PowerOff => {
                        self.off = true;
                        Ok(Went::Dark)
                    }
                }
            }
            _ => Ok(Went::Well),
        }
    }

    fn alive(&self, boot: u64) -> io::Result<()> {
        if self.off || boot != self.boot { Err(gone()) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.files.values().map(|contents| wide(contents.live.len())).sum()
    }
}

fn failed() -> io::Error {
    io::Error::other("injected input/output error")
}

impl SimFs {
    fn hooked(&self, name: &str) -> u64 {
        let (hook, number, boot) = {
            let disk = lock(&self.disk);
            (disk.hook.clone(), disk.operations, disk.boot)
        };
        if let Some(hook) = hook {
            hook(number, name);
        }
        boot
    }

    /// A change of names: done or failed as a whole.
    fn rename_or<T>(&self, name: &str, change: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let boot = self.hooked(name);
        let mut disk = lock(&self.disk);
        if disk.count(boot)? == Went::Well { change(&mut disk) } else { Err(failed()) }
    }
}

impl Vfs for SimFs {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        let disk = lock(&self.disk);
        disk.alive(disk.boot)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let existing = {
            let disk = lock(&self.disk);
            disk.alive(disk.boot)?;
            disk.names.get(path).copied()
        };
        let file = match (existing, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, OpenMode::Read | OpenMode::Write) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), OpenMode::Replace) => self.rename_or("truncate", |disk| {
                if let Some(contents) = disk.files.get_mut(&file) {
                    contents.resize(0);
                }
                Ok(file)
            })?,
            (Some(file), _) => file,
            (None, _) => self.rename_or("create", |disk| {
                let file = disk.next_file;
                disk.next_file += 1;
                disk.files.insert(file, Contents::default());
                disk.names.insert(path.to_owned(), file);
                disk.pending.push(NameChange::Link(path.to_owned(), file));
                Ok(file)
            })?,
        };
        let boot = lock(&self.disk).boot;
        Ok(Arc::new(SimFile { fs: self.clone(), file, boot }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_or("rename", |disk| {
            let file = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            disk.names.insert(to.to_owned(), file);
            disk.pending.push(NameChange::Rename(from.to_owned(), to.to_owned(), file));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.rename_or("remove", |disk| {
            disk.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
            disk.pending.push(NameChange::Unlink(path.to_owned()));
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let disk = lock(&self.disk);
        disk.alive(disk.boot)?;
        let inside = disk.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| Some(name.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.rename_or("sync_dir", |disk| {
            let (now, later) = std::mem::take(&mut disk.pending)
                .into_iter()
                .partition(|change| change.folder() == Some(path));
            disk.pending = later;
            let now: Vec<NameChange> = now;
            now.into_iter().for_each(|change| change.apply(&mut disk.durable_names));
            Ok(())
        })
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let disk = lock(&self.disk);
        disk.alive(disk.boot)?;
        Ok(disk.capacity.saturating_sub(disk.used()))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut disk = lock(&self.disk);
        disk.alive(disk.boot)?;
        if disk.locked.get(path).is_some_and(|taken| taken.load(Ordering::SeqCst)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = Arc::new(AtomicBool::new(true));
        disk.locked.insert(path.to_owned(), Arc::clone(&taken));
        Ok(Box::new(SimLock(taken)))
    }
}

struct SimLock(Arc<AtomicBool>);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
