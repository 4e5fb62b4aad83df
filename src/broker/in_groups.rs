//! One message as its groups see it: for each group of its topic, what it is doing with it now.

use std::sync::Arc;

use crate::machine::{Group, Item, ItemState, Topic};
use crate::model::{
    Attributes, DeadReason, Filter, GroupName, MESSAGE_GROUPS_MAX, Place, Position, QueueNo, Timestamp,
    TopicId,
};

use super::error::BrokerError;
use super::handle::Broker;
use super::look::find_topic;
use super::read::StoredMessage;

/// A message in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InGroup {
    /// The group.
    pub group: GroupName,
    /// What it is doing with the message.
    pub state: StateInGroup,
    /// The attempt that runs or comes next, counted from 1; for a dead letter the failed ones.
    pub attempt: Option<u32>,
    /// The round of it, counted from 1.
    pub round: Option<u32>,
    /// Who holds it.
    pub client: Option<Arc<str>>,
    /// When its lease runs out, or its retry is due; when it died.
    pub at: Option<Timestamp>,
    /// Why it is a dead letter.
    pub reason: Option<DeadReason>,
}

/// What a group can be doing with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateInGroup {
    /// It is not in a queue yet, so no group can see it.
    NotYet,
    /// The group has not come to it.
    Waiting,
    /// The group has not come to it, and its filter as it stands will not take it.
    WillPassOver,
    /// It may be leased now.
    Ready,
    /// It waits behind another message of its lane.
    Parked,
    /// A consumer holds it.
    Leased,
    /// It waits after a failure.
    Retrying,
    /// It is a dead letter.
    Dead,
    /// The group is done with it: acked, expired, skipped, passed over, or from before the group began.
    Done,
}

impl StateInGroup {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StateInGroup::NotYet => "not_yet",
            StateInGroup::Waiting => "waiting",
            StateInGroup::WillPassOver => "will_pass_over",
            StateInGroup::Ready => "ready",
            StateInGroup::Parked => "parked",
            StateInGroup::Leased => "leased",
            StateInGroup::Retrying => "retrying",
            StateInGroup::Dead => "dead",
            StateInGroup::Done => "done",
        }
    }
}

impl Broker {
    /// What every group of the message's topic is doing with it, by name, at most [`MESSAGE_GROUPS_MAX`]; whether there
    /// are more.
    ///
    /// # Errors
    /// The topic is deleted.
    pub fn in_groups(&self, message: &StoredMessage) -> Result<(Vec<InGroup>, bool), BrokerError> {
        let machine = self.core.machine.snapshot();
        let (topic_id, topic) = find_topic(&machine, &message.topic)?;
        let mut groups: Vec<&Group> = topic.groups.iter().filter_map(|id| machine.group_by_id(*id)).collect();
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        let are_more = groups.len() > MESSAGE_GROUPS_MAX;
        groups.truncate(MESSAGE_GROUPS_MAX);
        let seen = Seen { topic, id: topic_id, message };
        Ok((groups.into_iter().map(|group| seen.by(group)).collect(), are_more))
    }
}

/// A message that is looked at from its groups.
struct Seen<'a> {
    topic: &'a Topic,
    id: TopicId,
    message: &'a StoredMessage,
}

impl Seen<'_> {
    fn by(&self, group: &Group) -> InGroup {
        let position = self.message.id.position;
        if let Some(dead) = group.dead.get(&position) {
            return InGroup {
                attempt: Some(dead.failures),
                round: Some(dead.round),
                at: Some(dead.at),
                reason: Some(dead.reason),
                ..plain(group, StateInGroup::Dead)
            };
        }
        let Some(offset) = self.message.offset else { return plain(group, StateInGroup::NotYet) };
        if let Some(item) = self.item(group, self.message.queue, (offset, position)) {
            return held(group, item);
        }
        let Some(progress) = group.progress(self.id, self.message.queue) else {
            return plain(group, StateInGroup::Done);
        };
        if offset < progress.next || progress.beyond.contains(offset) {
            return plain(group, StateInGroup::Done);
        }
        let attributes: &Attributes = &self.message.message.attributes;
        let filter = group.settings.subscriptions.iter().find(|of| of.topic == self.topic.name);
        let filter = filter.map_or(&Filter::All, |subscription| &subscription.filter);
        let passes = filter.matches(attributes.tag.as_deref(), || Some(attributes)) != Some(false);
        plain(group, if passes { StateInGroup::Waiting } else { StateInGroup::WillPassOver })
    }

    /// What the group holds of it: at its own place, or where a redrive put it.
    fn item<'g>(
        &self,
        group: &'g Group,
        queue: QueueNo,
        (offset, position): (u64, Position),
    ) -> Option<&'g Item> {
        let redriven = group.progress(self.id, queue)?.redriven.get(&position).copied();
        let item = group.item(self.id, queue, redriven.unwrap_or(Place::at(offset)))?;
        (item.position == position).then_some(item)
    }
}

fn plain(group: &Group, state: StateInGroup) -> InGroup {
    InGroup {
        group: group.name.clone(),
        state,
        attempt: None,
        round: None,
        client: None,
        at: None,
        reason: None,
    }
}

fn held(group: &Group, item: &Item) -> InGroup {
    let (state, client, at) = match &item.state {
        ItemState::Parked => (StateInGroup::Parked, None, None),
        ItemState::Ready => (StateInGroup::Ready, None, None),
        ItemState::Leased(lease) => {
            (StateInGroup::Leased, Some(Arc::clone(&lease.client)), Some(lease.until))
        }
        ItemState::Retrying { due } => (StateInGroup::Retrying, None, Some(*due)),
    };
    InGroup { attempt: Some(item.attempt()), round: Some(item.round), client, at, ..plain(group, state) }
}
