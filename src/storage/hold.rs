//! What keeps segments from being removed while a backup still has to copy them. It lives in memory only, so a process
//! that dies holds nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::error::StorageError;
use super::shared::Shared;

/// No segment has this id.
const NOTHING: u64 = u64::MAX;

/// Which segments are held: all from an id on, or none.
#[derive(Debug)]
pub(super) struct Held {
    from: AtomicU64,
    /// Whether somebody would have removed a held one.
    wanted: AtomicBool,
}

impl Default for Held {
    fn default() -> Held {
        Held { from: AtomicU64::new(NOTHING), wanted: AtomicBool::new(false) }
    }
}

impl Held {
    /// Whether this segment is held; notes that somebody would rather remove it. To be asked under the lock of the
    /// segments.
    pub(super) fn holds_back(&self, id: u64) -> bool {
        let held = id >= self.from.load(Ordering::Acquire);
        if held {
            self.wanted.store(true, Ordering::Release);
        }
        held
    }
}

/// Holds every segment there is. Dropping it lets go of all.
#[derive(Debug)]
pub(super) struct Hold {
    shared: Arc<Shared>,
}

impl Hold {
    /// Begins to hold. Refused while another does.
    pub(super) fn all(shared: &Arc<Shared>) -> Result<Hold, StorageError> {
        // Under the lock of the segments, so that none is on its way out.
        let held = &shared.held;
        let free = shared.change_segments(|_| {
            held.wanted.store(false, Ordering::Release);
            held.from.compare_exchange(NOTHING, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
        });
        match free {
            true => Ok(Hold { shared: Arc::clone(shared) }),
            false => Err(StorageError::Refused("the segments are held already".to_owned())),
        }
    }

    /// Lets go of the segments up to this one.
    pub(super) fn done_with(&self, id: u64) {
        self.shared.held.from.store(id + 1, Ordering::Release);
    }

    /// Whether somebody would have removed a held segment.
    pub(super) fn is_wanted(&self) -> bool {
        self.shared.held.wanted.load(Ordering::Acquire)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.held.from.store(NOTHING, Ordering::Release);
    }
}
