//! How many connections came, were refused, and are gone again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::{Exposition, series};

/// Counts connections. The accept loop writes it, `/metrics` reads it.
#[derive(Debug, Default)]
pub struct Door {
    accepted: AtomicU64,
    ended: AtomicU64,
    refused: AtomicU64,
}

/// A connection that was let in; gone when this is dropped.
pub(super) struct Inside(Arc<Door>);

impl Door {
    pub(super) fn enter(self: &Arc<Door>) -> Inside {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Inside(self.clone())
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many are inside.
    pub(super) fn open(&self) -> u64 {
        // The ended first: between the two more may come, and fewer than none are never open.
        let ended = self.ended.load(Ordering::Relaxed);
        self.accepted.load(Ordering::Relaxed).saturating_sub(ended)
    }

    pub(super) fn add(&self, out: &mut Exposition) {
        out.count(&series::CONNECTIONS, &[], self.open());
        out.count(&series::CONNECTIONS_ACCEPTED, &[], self.accepted.load(Ordering::Relaxed));
        out.count(&series::CONNECTIONS_REFUSED, &[], self.refused.load(Ordering::Relaxed));
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
