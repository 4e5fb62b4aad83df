//! What became of notifications since the start of the process, by receiver.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a try to deliver a notification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it.
    Delivered,
    /// It did not, and is tried again later.
    Failed,
    /// It did not, and is not tried again.
    GivenUp,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 3] = [Outcome::Delivered, Outcome::Failed, Outcome::GivenUp];

    /// Its name in the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Failed => "failed",
            Outcome::GivenUp => "given_up",
        }
    }
}

/// How often tries ended how. There are few receivers, and a notification is rare, so a lock is enough.
#[derive(Debug, Default)]
pub struct NotificationCounts(Mutex<BTreeMap<String, [u64; 3]>>);

impl NotificationCounts {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, [u64; 3]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a try.
    pub fn count(&self, receiver: &str, outcome: Outcome) {
        let mut rows = self.rows();
        if let Some(count) = rows.entry(receiver.to_owned()).or_default().get_mut(outcome as usize) {
            *count += 1;
        }
    }

    /// What was counted of a receiver.
    #[must_use]
    pub fn of(&self, receiver: &str, outcome: Outcome) -> u64 {
        self.rows().get(receiver).and_then(|row| row.get(outcome as usize)).copied().unwrap_or(0)
    }

    /// Drops the counters of receivers that are gone.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.rows().retain(|receiver, _| is_there(receiver));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_by_receiver_and_end() {
        let counts = NotificationCounts::default();
        counts.count("a", Outcome::Failed);
        counts.count("a", Outcome::Failed);
        counts.count("a", Outcome::Delivered);
        counts.count("b", Outcome::GivenUp);
        let of = |receiver| Outcome::ALL.map(|outcome| counts.of(receiver, outcome));
        assert_eq!([of("a"), of("b"), of("c")], [[1, 2, 0], [0, 0, 1], [0, 0, 0]]);
        counts.keep(|receiver| receiver == "b");
        assert_eq!([of("a"), of("b")], [[0, 0, 0], [0, 0, 1]]);
    }
}
