//! The writer thread's loop: takes what waits, turns it into as few flushes as possible, answers in order.

use std::{
    collections::VecDeque,
    sync::Arc,
    thread::{self, JoinHandle},
};

use crate::model::seeded;

use super::{
    engine::Engine,
    error::StorageError,
    log::LaterId,
    record::RecordId,
    shared::{Command, Shared},
    vote::Vote,
};

/// A flush is closed once it holds this much.
const FLUSH_BYTES: usize = 16 << 20;

/// Starts the writer thread.
pub(super) fn spawn(shared: Arc<Shared>, engine: Engine) -> Result<JoinHandle<()>, StorageError> {
    let path = shared.dir.path().to_owned();
    let bugs = seeded::inherited();
    thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(move || {
            seeded::inherit(bugs);
            let _guard = PanicGuard(Arc::clone(&shared));
            Writer { shared, engine }.run();
        })
        .map_err(|error| StorageError::io("start the log writer of", path, error))
}

/// A writer that panics must not leave callers waiting for ever.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        self.0.close();
        self.0.throw(StorageError::Refused("the log writer panicked".to_owned()));
        for command in self.0.take() {
            command.fail(StorageError::Closed);
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    engine: Engine,
}

impl Writer {
    fn run(mut self) {
        loop {
            let mut commands = self.shared.take();
            if commands.is_empty() {
                break;
            }
            self.work(&mut commands);
        }
        if self.shared.poison.fault().is_none()
            && let Err(error) = self.engine.finish(&self.shared)
        {
            self.shared.throw(error);
        }
    }

    fn work(&mut self, commands: &mut VecDeque<Command>) {
        while let Some(command) = commands.pop_front() {
            if let Some(refusal) = self.shared.poison.refusal() {
                command.fail(refusal);
                continue;
            }
            let result = match command {
                Command::Append { records, committed, bytes, done } => {
                    self.engine.append(&self.shared, super::engine::Batch { records, committed, bytes, done })
                }
                other => self.engine.flush(&self.shared).and_then(|()| self.change(other)),
            };
            let full = self.engine.buffered() >= FLUSH_BYTES;
            let result = match result {
                Ok(()) if full || commands.is_empty() => self.engine.flush(&self.shared),
                result => result,
            };
            if let Err(fault) = result {
                self.shared.throw(fault);
                self.engine.fail_waiting(&self.shared);
            }
        }
    }

    /// Does something other than an append, with everything before it durable.
    fn change(&mut self, command: Command) -> Result<(), StorageError> {
        let shared = Arc::clone(&self.shared);
        let (result, done) = match command {
            Command::Vote { vote, done } => (self.vote(vote), done),
            Command::Purge { up_to, done } => (self.purge(up_to), done),
            Command::Truncate { index, done } => (self.engine.truncate(&shared, index), done),
            Command::Append { done, .. } => (Err(StorageError::Closed), done),
        };
        match result {
            Ok(()) => done(Ok(())),
            Err(refused @ StorageError::Refused(_)) => done(Err(refused)),
            Err(fault) => {
                shared.throw(fault.clone());
                done(Err(fault));
            }
        }
        Ok(())
    }

    fn vote(&mut self, vote: Vote) -> Result<(), StorageError> {
        self.engine.marks.change(|marks| marks.vote = Some(vote))?;
        self.shared.core(|core| core.vote = Some(vote));
        Ok(())
    }

    fn purge(&mut self, up_to: RecordId) -> Result<(), StorageError> {
        if self.engine.marks.marks().purged.is_none_or(|purged| purged.index < up_to.index) {
            self.engine.marks.change(|marks| marks.purged = marks.purged.max_by_index(Some(up_to)))?;
            self.shared.core(|core| core.purged = core.purged.max_by_index(Some(up_to)));
        }
        Ok(())
    }
}

/// Deletes a segment that nothing can need any more; runs on the caller's thread.
pub(super) fn remove_segment(shared: &Shared, id: u64) -> Result<(), StorageError> {
    if let Some(refusal) = shared.poison.refusal() {
        return Err(refusal);
    }
    let purged = shared.core(|core| core.purged);
    let removed = shared.change_segments(|segments| {
        let Some(place) = segments.iter().position(|segment| segment.header.id == id) else {
            return Err(StorageError::Refused(format!("there is no segment {id}")));
        };
        let info = segments.get(place).map(|segment| segment.info());
        let newest = place + 1 == segments.len();
        let settled = info.is_some_and(|info| {
            info.sealed
                && info.last_index.is_none_or(|last| purged.is_some_and(|purged| last <= purged.index))
        });
        if newest || !settled {
            return Err(StorageError::Refused(format!("segment {id} is not sealed or not purged yet")));
        }
        if shared.held.holds_back(id) {
            return Err(StorageError::Refused(format!("segment {id} is still to be copied by a backup")));
        }
        Ok(segments.remove(place))
    })?;
    shared.places.clear();
    let vfs = shared.dir.vfs();
    let folder = shared.dir.log_path();
    let result = vfs
        .remove(&removed.path)
        .map_err(|error| StorageError::io("remove", &removed.path, error))
        .and_then(|()| vfs.sync_dir(&folder).map_err(|error| StorageError::io("sync", &folder, error)));
    result.inspect_err(|fault| shared.throw(fault.clone()))
}
