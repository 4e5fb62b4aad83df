//! The files of the simulated disk: contents as seen, contents as durable, and what lies between.

use std::{collections::BTreeSet, io};

use rand::{Rng, RngExt, rngs::SmallRng};

use super::{SECTOR, SimFs, Went, failed, gone};
use crate::storage::{
    vfs::VfsFile,
    wire::{lock, narrow, wide},
};

#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    lost_length: bool,
}

impl Contents {
    /// Contents that are durable already.
    pub(super) fn stored(bytes: &[u8]) -> Contents {
        Contents { live: bytes.to_vec(), durable: bytes.to_vec(), ..Contents::default() }
    }

    pub(super) fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / SECTOR..to.div_ceil(SECTOR));
    }

    pub(super) fn resize(&mut self, length: usize) {
        let before = self.live.len();
        self.touch(length.min(before), length.max(before));
        self.live.resize(length, 0);
    }

    pub(super) fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
        self.durable.resize(self.live.len(), 0);
        self.lost_length = false;
    }

    /// Makes one sector durable as it is now.
    pub(super) fn keep(&mut self, sector: usize) {
        let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.live.len()));
        let Some(new) = self.live.get(from..to) else { return };
        if self.durable.len() < to {
            self.durable.resize(to, 0);
        }
        if let Some(old) = self.durable.get_mut(from..to) {
            old.copy_from_slice(new);
        }
    }

    /// A sync that failed: some sectors arrived, the others are no longer dirty and so never will.
    pub(super) fn fail_sync(&mut self, random: &mut SmallRng) {
        for sector in std::mem::take(&mut self.dirty) {
            if random.random_bool(0.5) {
                self.keep(sector);
            }
        }
        self.lost_length = true;
    }

    pub(super) fn cut_power(&mut self, random: &mut SmallRng) {
        let changed = self.live.len() != self.durable.len();
        let takes_length = changed && !self.lost_length && random.random_bool(0.5);
        let (before, after) = (self.durable.len(), self.live.len());
        for sector in std::mem::take(&mut self.dirty) {
            if random.random_bool(0.5) {
                self.keep(sector);
            }
        }
        self.durable.resize(if takes_length { after } else { before }, 0);
        self.live = self.durable.clone();
        self.lost_length = false;
    }
}

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) fs: SimFs,
    pub(super) file: u64,
    pub(super) boot: u64,
}

impl SimFile {
    /// Counts the operation, then lets `work` do it, as well as it goes.
    fn work<T>(
        &self,
        name: &str,
        work: impl FnOnce(&mut Contents, &mut SmallRng, Went) -> io::Result<T>,
    ) -> io::Result<T> {
        self.fs.hooked(name);
        let disk = &mut *lock(&self.fs.disk);
        let went = disk.count(self.boot)?;
        let contents = disk.files.get_mut(&self.file).ok_or_else(gone)?;
        work(contents, &mut disk.random, went)
    }
}

impl SimFile {
    /// Fails when the file has to grow to `end` and the disk has no space for that.
    fn room_up_to(&self, end: u64) -> io::Result<()> {
        let disk = lock(&self.fs.disk);
        disk.alive(self.boot)?;
        let own = disk.files.get(&self.file).map_or(0, |contents| wide(contents.live.len()));
        let grows = own < end && disk.used() - own + end > disk.capacity;
        if grows { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl VfsFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = lock(&self.fs.disk);
        disk.alive(self.boot)?;
        let contents = disk.files.get(&self.file).ok_or_else(gone)?;
        let bytes = contents.live.get(narrow(offset)..).unwrap_or_default();
        let length = bytes.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), bytes.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.room_up_to(offset + wide(bytes.len()))?;
        self.work("write", |contents, random, went| {
            let good = went == Went::Well;
            let length = if good { bytes.len() } else { narrow(random.next_u64()) % (bytes.len() + 1) };
            let (from, to) = (narrow(offset), narrow(offset) + length);
            if contents.live.len() < to {
                contents.resize(to);
            }
            contents.touch(from, to);
            if let (Some(place), Some(new)) = (contents.live.get_mut(from..to), bytes.get(..length)) {
                place.copy_from_slice(new);
            }
            if good { Ok(length) } else { Err(failed()) }
        })
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.room_up_to(offset + length)?;
        self.work("allocate", |contents, _, went| {
            if went != Went::Well {
                return Err(failed());
            }
            let end = narrow(offset + length);
            if contents.live.len() < end {
                contents.resize(end);
            }
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.work("set_len", |contents, _, went| {
            if went != Went::Well {
                return Err(failed());
            }
            contents.resize(narrow(length));
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        let disk = lock(&self.fs.disk);
        disk.alive(self.boot)?;
        Ok(wide(disk.files.get(&self.file).ok_or_else(gone)?.live.len()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.work("sync", |contents, random, went| {
            match went {
                Went::Well => {
                    contents.sync();
                    return Ok(());
                }
                Went::Wrong => contents.fail_sync(random),
                // What of it was under way is for the power cut to say: sectors and length, each kept or lost.
                Went::Dark => {}
            }
            Err(failed())
        })
    }
}
