//! Seeded bugs: deliberate faults that prove that the tests notice them (docs/TESTING.md, "test the tester").
//!
//! Without the feature `seeded-bugs` every question is answered `false` at compile time. With it, a bug is on for the
//! thread that switched it on and for the threads that inherit from it, so tests can run beside each other.

/// Whether the bug of this name is on in this thread.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
pub fn active(_name: &str) -> bool {
    false
}

#[cfg(feature = "seeded-bugs")]
mod on {
    use std::cell::RefCell;

    thread_local! {
        static BUGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// Whether the bug of this name is on in this thread.
    pub fn active(name: &str) -> bool {
        BUGS.with(|bugs| bugs.borrow().iter().any(|bug| bug == name))
    }

    /// Switches a bug on for this thread until the guard is dropped.
    #[must_use]
    pub fn switch_on(name: &str) -> BugGuard {
        BUGS.with(|bugs| bugs.borrow_mut().push(name.to_owned()));
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
    pub fn inherited() -> Vec<String> {
        BUGS.with(|bugs| bugs.borrow().clone())
    }

    /// Takes over what [`inherited`] handed out.
    pub fn inherit(bugs: Vec<String>) {
        BUGS.with(|own| *own.borrow_mut() = bugs);
    }
}

#[cfg(feature = "seeded-bugs")]
pub use on::{BugGuard, active, inherit, inherited, switch_on};

/// Nothing to inherit without the feature.
#[cfg(not(feature = "seeded-bugs"))]
pub fn inherited() -> Vec<String> {
    Vec::new()
}

/// Nothing to take over without the feature.
#[cfg(not(feature = "seeded-bugs"))]
pub fn inherit(_bugs: Vec<String>) {}
