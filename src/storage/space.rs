//! How much room is left, in the four steps the broker's rules speak of.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How much of the disk reserve is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// More than the reserve is free.
    Open,
    /// Less than the reserve is free: producers are refused; leases, retries and schedules may go on.
    Low,
    /// Less than half of the reserve is free: only settle, seek, delete, retention and images write.
    Tight,
    /// The file system refused to reserve more space: appends that do not fit the space already reserved fail.
    Full,
}

/// The gauge the writer feeds and everybody reads.
#[derive(Debug)]
pub(super) struct Gauge {
    reserve: AtomicU64,
    free: AtomicU64,
    state: AtomicU8,
}

impl Gauge {
    pub(super) fn new(reserve: u64, free: u64) -> Gauge {
        let reserve = AtomicU64::new(reserve);
        let gauge = Gauge { reserve, free: AtomicU64::new(0), state: AtomicU8::new(0) };
        gauge.measured(free);
        gauge
    }

    /// Takes a fresh figure of the free bytes.
    pub(super) fn measured(&self, free: u64) {
        self.free.store(free, Ordering::Relaxed);
        let reserve = self.reserve.load(Ordering::Relaxed);
        let state = match free {
            free if free >= reserve => 0,
            free if free >= reserve / 2 => 1,
            _ => 2,
        };
        self.state.store(state, Ordering::Relaxed);
    }

    /// Changes the reserve; what is measured next is compared with it.
    pub(super) fn set_reserve(&self, bytes: u64) {
        self.reserve.store(bytes, Ordering::Relaxed);
        if self.state() != Space::Full {
            self.measured(self.free());
        }
    }

    /// Space could not be reserved.
    pub(super) fn full(&self) {
        self.state.store(3, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> Space {
        match self.state.load(Ordering::Relaxed) {
            0 => Space::Open,
            1 => Space::Low,
            2 => Space::Tight,
            _ => Space::Full,
        }
    }

    pub(super) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }
}
