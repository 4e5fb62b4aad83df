//! Seeded bugs: deliberate faults that prove that the tests notice them (docs/TESTING.md, "The tester, tested"). Not a
//! word of the model, but every folder has some, and all of them may import from here.
//!
//! Without the feature `seeded-bugs` every question is answered `false` at compile time. With it, a bug is on for the
//! thread that switched it on and for the threads that inherit from it, so tests can run beside each other.

/// A bug that a test switches on. The numbers are those of docs/TESTING.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// Number 1: nothing is synced.
    FdatasyncSkipped,
    /// Number 2: a batch is answered when it was only handed in.
    AnsweredBeforeCommit,
    /// Number 3: every checksum matches.
    BadCrcAccepted,
    /// Number 4: damage in the middle of the log is taken for a torn tail.
    CutAtCorruption,
    /// Number 5: a new segment's name is not made durable.
    DirectoryFsyncSkipped,
    /// Number 6: an image forgets how often a message failed.
    AttemptReset,
    /// Number 7: a receipt settles whatever stands at its place, whoever holds it.
    StaleReceipt,
    /// Number 8: the log is purged before the image is durable.
    PurgedBeforeImage,
    /// Number 9: an index that is older than its mark is trusted.
    StaleIndexTrusted,
    /// Number 10: a message goes out while an earlier one of its lane is held.
    SuccessorEarly,
    /// Number 11: an image forgets the idempotency keys.
    KeysForgotten,
}

/// Whether this bug is on in this thread.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
#[must_use]
pub const fn active(_bug: SeededBug) -> bool {
    false
}

#[cfg(feature = "seeded-bugs")]
mod on {
    use std::cell::RefCell;

    use super::SeededBug;

    thread_local! {
        static BUGS: RefCell<Vec<SeededBug>> = const { RefCell::new(Vec::new()) };
    }

    /// Whether this bug is on in this thread.
    #[must_use]
    pub fn active(bug: SeededBug) -> bool {
        BUGS.with(|bugs| bugs.borrow().contains(&bug))
    }

    /// Switches a bug on for this thread until the guard is dropped.
    #[must_use]
    pub fn switch_on(bug: SeededBug) -> BugGuard {
        BUGS.with(|bugs| bugs.borrow_mut().push(bug));
        BugGuard(())
    }

    /// Ends [`switch_on`].
    #[derive(Debug)]
    pub struct BugGuard(());

    impl Drop for BugGuard {
        fn drop(&mut self) {
            BUGS.with(|bugs| bugs.borrow_mut().pop());
        }
    }

    /// The bugs of this thread, to hand to a thread it starts.
    #[must_use]
    pub fn inherited() -> Vec<SeededBug> {
        BUGS.with(|bugs| bugs.borrow().clone())
    }

    /// Takes over what [`inherited`] handed out.
    pub fn inherit(bugs: Vec<SeededBug>) {
        BUGS.with(|own| *own.borrow_mut() = bugs);
    }
}

#[cfg(feature = "seeded-bugs")]
pub use on::{BugGuard, active, inherit, inherited, switch_on};

/// Nothing to inherit without the feature.
#[cfg(not(feature = "seeded-bugs"))]
#[must_use]
pub fn inherited() -> Vec<SeededBug> {
    Vec::new()
}

/// Nothing to take over without the feature.
#[cfg(not(feature = "seeded-bugs"))]
pub fn inherit(_bugs: Vec<SeededBug>) {}
