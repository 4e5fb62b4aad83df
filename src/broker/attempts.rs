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
    /// By the number of failed deliveries in their round: how many of the messages that a group has looked at and not
    /// settled have so many. Looks at the first 100,000; changes nothing.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn attempts(&self, name: &GroupName) -> Result<Vec<(u32, u64)>, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, name)?;
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        let items = group.progress.values().flat_map(|progress| progress.items.values());
        items.take(ITEMS_MAX).for_each(|item| *counts.entry(item.failures).or_default() += 1);
        Ok(counts.into_iter().collect())
    }

    /// How the messages that a group has looked at and not settled last failed, the most frequent kind first: as many
    /// messages as a bounded look comes to, and at most 50 kinds. What cannot be read is left out.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn failures(&self, name: &GroupName) -> Result<Vec<FailureKind>, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, name)?;
        let mut look = Look::begin();
        let mut kinds: BTreeMap<(&'static str, Option<String>), u64> = BTreeMap::new();
        let items = group.progress.values().flat_map(|progress| progress.items.values()).take(ITEMS_MAX);
        for item in items.filter(|item| item.failures > 0) {
            if look.is_over() {
                break;
            }
            look.reads += 1;
            let Some(failure) = self.last_failure(item.history.as_deref()) else { continue };
            let words = failure.reason.map(|words| beginning(&words, WORDS_BYTES).to_owned());
            *kinds.entry((failure.cause, words)).or_default() += 1;
        }
        let kind = |((cause, words), count)| FailureKind { cause, words, count };
        let mut kinds: Vec<FailureKind> = kinds.into_iter().map(kind).collect();
        kinds.sort_by_key(|kind| Reverse(kind.count));
        kinds.truncate(KINDS_MAX);
        Ok(kinds)
    }
}
