//! What a group's filter lets pass. Only deciding asks; what came of it is in the facts, and applying never asks again.

use crate::model::{Attributes, Filter, GroupId, GroupSettings, Position, QueueEntry, TopicId, TopicName};

use super::draft::Candidates;
use super::facts::{Fact, OWN_ENTRY};
use super::state::Machine;

/// A filter, and where it finds what it is asked about.
pub(super) struct Sieve<'a> {
    pub(super) filter: &'a Filter,
    pub(super) candidates: &'a Candidates,
    /// What the batch holds so far, for the messages it makes.
    pub(super) facts: &'a [Fact],
}

impl Sieve<'_> {
    /// Whether the message passes; none when that needs attributes that are not at hand. A message that cannot be read
    /// passes: whoever gets it finds the damage, instead of nobody ever hearing of it.
    pub(super) fn passes(&self, entry: &QueueEntry) -> Option<bool> {
        let mut damaged = false;
        let passes = self.filter.matches(entry.tag.as_deref(), || {
            self.made_now(entry.position).or_else(|| {
                let known = self.candidates.attributes.get(&entry.position)?;
                damaged = known.is_none();
                known.as_deref()
            })
        });
        if damaged { Some(true) } else { passes }
    }

    /// The attributes of a message of this very batch.
    fn made_now(&self, position: Position) -> Option<&Attributes> {
        if position.index != OWN_ENTRY {
            return None;
        }
        match self.facts.get(usize::from(position.slot))? {
            Fact::Produced(produced) => Some(&produced.message.attributes),
            _ => None,
        }
    }
}

/// The group's filter on a topic.
pub(super) fn filter_of<'a>(settings: &'a GroupSettings, topic: &TopicName) -> &'a Filter {
    let found = settings.subscriptions.iter().find(|subscription| subscription.topic == *topic);
    found.map_or(&Filter::All, |subscription| &subscription.filter)
}

impl Machine {
    /// Whether this group has a filter on this topic that [needs attributes](Filter::needs_attributes).
    #[must_use]
    pub fn filter_needs_attributes(&self, group: GroupId, topic: TopicId) -> bool {
        let (Some(group), Some(topic)) = (self.groups.get(&group), self.topics.get(&topic)) else {
            return false;
        };
        filter_of(&group.settings, &topic.name).needs_attributes()
    }

    /// Whether some group has such a filter on this topic.
    #[must_use]
    pub fn some_filter_needs_attributes(&self, topic: TopicId) -> bool {
        let groups = self.topics.get(&topic).map(|topic| &topic.groups);
        groups.into_iter().flatten().any(|group| self.filter_needs_attributes(*group, topic))
    }
}
