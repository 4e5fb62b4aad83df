//! Seeded bugs, to test the tests: without the feature `seeded-bugs` none of this is compiled in.

/// A bug that can be switched on for the running thread.
#[cfg(feature = "seeded-bugs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// Number 6: an image forgets how often a message failed.
    AttemptReset,
    /// Number 7: a receipt settles whatever stands at its place, whoever holds it.
    StaleReceipt,
    /// Number 10: a message goes out while an earlier one of its lane is held.
    SuccessorEarly,
}

#[cfg(feature = "seeded-bugs")]
thread_local! {
    static BUG: std::cell::Cell<Option<SeededBug>> = const { std::cell::Cell::new(None) };
}

/// Switches a bug on, or all off, for this thread.
#[cfg(feature = "seeded-bugs")]
pub fn seed_bug(bug: Option<SeededBug>) {
    BUG.set(bug);
}

#[cfg(feature = "seeded-bugs")]
pub(super) fn stale_receipt() -> bool {
    BUG.get() == Some(SeededBug::StaleReceipt)
}

#[cfg(feature = "seeded-bugs")]
pub(super) fn successor_early() -> bool {
    BUG.get() == Some(SeededBug::SuccessorEarly)
}

#[cfg(feature = "seeded-bugs")]
pub(super) fn attempt_reset() -> bool {
    BUG.get() == Some(SeededBug::AttemptReset)
}

#[cfg(not(feature = "seeded-bugs"))]
pub(super) const fn attempt_reset() -> bool {
    false
}

#[cfg(not(feature = "seeded-bugs"))]
pub(super) const fn stale_receipt() -> bool {
    false
}

#[cfg(not(feature = "seeded-bugs"))]
pub(super) const fn successor_early() -> bool {
    false
}
