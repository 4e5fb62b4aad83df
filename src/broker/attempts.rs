//! How often the messages that a group holds have failed, and why.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::model::{GroupName, beginning};

use super::error::BrokerError;
use super::handle::Broker;
use super::letters::{KINDS_MAX, Look, WORDS_BYTES};
use super::look::find_group;

/// Most messages that one answer looks at.
const ITEMS_MAX: usize = 100_000;

/// The failed deliveries of the messages that a group has looked at and not settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many failed deliveries a message has in its round, and how many messages have so many.
    pub attempts: Vec<(u32, u64)>,
    /// How those that have any last failed, the most frequent kind first; at most 50 kinds.
    pub kinds: Vec<FailureKind>,
    /// How many messages the group holds so.
    pub held: u64,
    /// At how many of them this looked: at most 100,000.
    pub looked: u64,
    /// How many of those have failed deliveries.
    pub failed: u64,
    /// Of how many of those the last one was read from the log, within the bounds of one look.
    pub read: u64,
}

/// Failed deliveries of the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureKind {
    /// `lease_expired`, `connection_lost` or `nack`.
    pub cause: &'static str,
    /// How the consumer's words begin, at most 80 bytes; none when it said none.
    pub words: Option<String>,
    /// How many messages failed so when they last did.
    pub count: u64,
}

impl Broker {
    /// How often the messages that a group holds have failed, and how they last did. What cannot be read of the log is
    /// left out of the kinds. Changes nothing.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn failures(&self, name: &GroupName) -> Result<Failures, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, name)?;
        let held = group.progress.values().map(|progress| progress.items.len() as u64).sum();
        let mut found = Failures { held, ..Failures::default() };
        let mut look = Look::begin();
        let mut attempts: BTreeMap<u32, u64> = BTreeMap::new();
        let mut kinds: BTreeMap<(&'static str, Option<String>), u64> = BTreeMap::new();
        let items = group.progress.values().flat_map(|progress| progress.items.values());
        for item in items.take(ITEMS_MAX) {
            found.looked += 1;
            *attempts.entry(item.failures).or_default() += 1;
            if item.failures == 0 {
                continue;
            }
            found.failed += 1;
            if look.is_over() {
                continue;
            }
            look.reads += 1;
            let Some(failure) = self.last_failure(item.history.as_deref()) else { continue };
            found.read += 1;
            let words = failure.reason.map(|words| beginning(&words, WORDS_BYTES).to_owned());
            *kinds.entry((failure.cause, words)).or_default() += 1;
        }
        let kind = |((cause, words), count)| FailureKind { cause, words, count };
        found.attempts = attempts.into_iter().collect();
        found.kinds = kinds.into_iter().map(kind).collect();
        found.kinds.sort_by_key(|kind| Reverse(kind.count));
        found.kinds.truncate(KINDS_MAX);
        Ok(found)
    }
}
