//! The groups of one topic, and where each stands in it.

use crate::model::{GroupName, TopicName};

use super::error::BrokerError;
use super::handle::Broker;
use super::look::find_topic;
use super::tally::Budget;
use super::views::{GroupTopicView, Page};

/// A group of a topic.
#[derive(Clone, Debug)]
pub struct SubscriberView {
    /// The group.
    pub name: GroupName,
    /// Whether it is paused.
    pub paused: bool,
    /// Where it stands in this topic.
    pub here: GroupTopicView,
}

impl Broker {
    /// The groups that subscribe to a topic, in the order in which they were made, behind `after`; from the first again
    /// when there is no such group any more. What a group has in other topics is not counted. Reads the index, so not
    /// for async threads.
    ///
    /// # Errors
    /// `TopicNotFound`.
    pub fn subscribers(
        &self,
        topic: &TopicName,
        after: Option<&GroupName>,
        limit: usize,
    ) -> Result<Page<SubscriberView>, BrokerError> {
        let machine = self.core.machine.snapshot();
        let found = find_topic(&machine, topic)?;
        let after = after.and_then(|name| machine.group(name)).map(|(id, _)| id);
        let ids = found.1.groups.iter().copied().filter(|id| after.is_none_or(|after| *id > after));
        let rows = ids.filter_map(|id| {
            let group = machine.group_by_id(id)?;
            let subscription = group.settings.subscriptions.iter().find(|one| one.topic == *topic)?;
            Some((id, group, &subscription.filter))
        });
        let now = self.core.clock.now(machine.now());
        let mut budget = Budget::for_a_look();
        Ok(Page::of(
            rows,
            limit,
            |(_, group, _)| group.name.to_string(),
            |(id, group, filter)| SubscriberView {
                name: group.name.clone(),
                paused: group.paused,
                here: self.group_topic_view((id, group), found, filter, (now, &mut budget)),
            },
        ))
    }
}
