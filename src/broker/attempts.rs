//! How often the messages that a group holds have failed.

use std::collections::BTreeMap;

use crate::model::GroupName;

use super::error::BrokerError;
use super::handle::Broker;
use super::look::find_group;

/// Most messages that one answer looks at.
const ITEMS_MAX: usize = 100_000;

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
}
