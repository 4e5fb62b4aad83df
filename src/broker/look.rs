//! Looking without changing: topics, groups, messages, dead letters, the node.

use std::collections::BTreeMap;

use crate::machine::{Dead, Group, Machine, ProducedAs, Topic};
use crate::model::{GroupId, GroupName, MessageId, Position, TopicId, TopicName};

use super::clients::Members;
use super::error::BrokerError;
use super::handle::Broker;
use super::read::{self, Browsed, Logged, StoredMessage};
use super::scheduled::Standing;
use super::tally::Budget;
use super::views::{DeadLetterView, FailureView, GroupView, Page, QueueView, TopicView};

/// Most body bytes of one answer that holds a page of messages; the next page goes on.
pub(super) const BROWSE_BYTES_MAX: usize = 8 << 20;

impl Broker {
    /// One topic.
    ///
    /// # Errors
    /// `TopicNotFound`.
    pub fn topic(&self, name: &TopicName) -> Result<TopicView, BrokerError> {
        let machine = self.core.machine.snapshot();
        Ok(topic_view(&machine, find_topic(&machine, name)?))
    }

    /// Topics in name order, after `cursor` (a name).
    #[must_use]
    pub fn topics(&self, cursor: Option<&str>, limit: usize) -> Page<TopicView> {
        let machine = self.core.machine.snapshot();
        let after = cursor.and_then(|name| name.parse().ok());
        let rows = machine.topics_after(after.as_ref());
        Page::of(rows, limit, |(_, topic)| topic.name.to_string(), |row| topic_view(&machine, row))
    }

    /// The first topics in name order, by name only.
    #[must_use]
    pub fn topic_names(&self, limit: usize) -> Vec<TopicName> {
        self.core
            .machine
            .read(|machine| machine.topics().take(limit).map(|(_, topic)| topic.name.clone()).collect())
    }

    /// Groups in name order, by name only.
    #[must_use]
    pub fn group_names(&self, limit: usize) -> Vec<GroupName> {
        self.core
            .machine
            .read(|machine| machine.groups().take(limit).map(|(_, group)| group.name.clone()).collect())
    }

    /// One group.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn group(&self, name: &GroupName) -> Result<GroupView, BrokerError> {
        let machine = self.core.machine.snapshot();
        let looking = &mut (Budget::for_a_look(), self.core.clients.members());
        Ok(self.group_view(&machine, find_group(&machine, name)?, looking))
    }

    /// The name of a group by its incarnation, for receipts that come without it; none when it is deleted.
    #[must_use]
    pub fn group_name(&self, id: GroupId) -> Option<GroupName> {
        self.core.machine.read(|machine| machine.group_by_id(id).map(|group| group.name.clone()))
    }

    /// Groups in name order, after `cursor` (a name).
    #[must_use]
    pub fn groups(&self, cursor: Option<&str>, limit: usize) -> Page<GroupView> {
        let machine = self.core.machine.snapshot();
        let after = cursor.and_then(|name| name.parse().ok());
        let rows = machine.groups_after(after.as_ref());
        let mut looking = (Budget::for_a_look(), self.core.clients.members());
        let view = |row| self.group_view(&machine, row, &mut looking);
        Page::of(rows, limit, |(_, group)| group.name.to_string(), view)
    }

    fn group_view(
        &self,
        machine: &Machine,
        (id, group): (GroupId, &Group),
        (budget, members): &mut (Budget, BTreeMap<GroupName, Members>),
    ) -> GroupView {
        let mut settings = (*group.settings).clone();
        settings.retry = Some(settings.retry());
        let now = self.core.clock.now(machine.now());
        let topics = group
            .settings
            .subscriptions
            .iter()
            .filter_map(|subscription| {
                let found = machine.topic(&subscription.topic)?;
                Some(self.group_topic_view((id, group), found, &subscription.filter, (now, &mut *budget)))
            })
            .collect();
        GroupView {
            name: group.name.clone(),
            version: group.version(id),
            settings,
            paused: group.paused,
            dead_letters: group.dead.len() as u64,
            in_flight: group.in_flight,
            members: members.get(&group.name).map_or(0, |members| members.count),
            made_at: group.made_at,
            topics,
        }
    }

    /// One message by id.
    ///
    /// # Errors
    /// `NotFound`, `Gone`, or a fault of the disk.
    pub fn message(&self, id: MessageId) -> Result<StoredMessage, BrokerError> {
        let machine = self.core.machine.snapshot();
        self.stored(&machine, id.position, None)
    }

    pub(super) fn stored(
        &self,
        machine: &Machine,
        position: Position,
        offset: Option<u64>,
    ) -> Result<StoredMessage, BrokerError> {
        let logged = read::logged(&self.core, position)?;
        self.shown(machine, position, logged, offset)
    }

    /// A message that was read, as it is shown; `offset` when the caller knows it.
    pub(super) fn shown(
        &self,
        machine: &Machine,
        position: Position,
        logged: Logged,
        offset: Option<u64>,
    ) -> Result<StoredMessage, BrokerError> {
        let gone = || {
            BrokerError::NotFound(format!(
                "message {} belongs to a topic that is deleted",
                MessageId::new(position)
            ))
        };
        let topic = machine.topic_by_id(logged.meta.topic).ok_or_else(gone)?;
        let queue = logged.meta.queue;
        let (standing, offset) = match (offset, logged.meta.state) {
            (Some(offset), _) | (None, ProducedAs::Ready { offset }) => (Standing::Ready, Some(offset)),
            (None, ProducedAs::Scheduled { due }) => {
                self.core.standing(machine, (logged.meta.topic, queue), (due, position))
            }
        };
        let due = match logged.meta.state {
            ProducedAs::Scheduled { due } if standing != Standing::Ready => Some(due),
            _ => None,
        };
        let kept = topic.queues.get(usize::from(queue)).map_or(0, |queue| queue.first_kept);
        let is_held = || machine.is_held(logged.meta.topic, queue, position);
        if offset.is_some_and(|offset| offset < kept) && !is_held() {
            return Err(BrokerError::Gone(format!(
                "message {} is gone: retention removed it",
                MessageId::new(position)
            )));
        }
        Ok(StoredMessage {
            id: MessageId::new(position),
            topic: topic.name.clone(),
            queue,
            offset,
            standing,
            accepted_at: logged.accepted_at,
            due,
            message: logged.message,
        })
    }

    /// A queue from `offset` on (none: the first kept).
    ///
    /// # Errors
    /// `TopicNotFound`, `QueueNotFound`, `Gone` below the first kept offset, or a fault of the disk.
    pub fn browse(
        &self,
        topic: &TopicName,
        queue: u64,
        offset: Option<u64>,
        limit: usize,
    ) -> Result<Browsed, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (id, found) = find_topic(&machine, topic)?;
        let queues = u16::try_from(found.queues.len()).unwrap_or(u16::MAX);
        let missing = || crate::machine::Refusal::QueueNotFound { queue, queues };
        let state =
            usize::try_from(queue).ok().and_then(|queue| found.queues.get(queue)).ok_or_else(missing)?;
        let from = offset.unwrap_or(state.first_kept);
        if from < state.first_kept {
            let text = format!(
                "offset {from} is gone: queue {queue} keeps messages from offset {} on",
                state.first_kept
            );
            return Err(BrokerError::Gone(text));
        }
        let queue = u16::try_from(queue).unwrap_or(u16::MAX);
        let entries = self.core.entries(id, queue, from, limit);
        let mut messages = Vec::with_capacity(entries.len());
        let mut next = from;
        let mut bytes = 0;
        let mut truncated = false;
        for entry in &entries {
            if bytes > BROWSE_BYTES_MAX {
                break;
            }
            bytes += entry.body_bytes as usize;
            messages.push(self.stored(&machine, entry.position, Some(entry.offset))?);
            // Offsets have no gaps: what is passed over here is not in the index yet.
            truncated |= entry.offset != next;
            next = entry.offset + 1;
        }
        let is_full = messages.len() == limit || bytes > BROWSE_BYTES_MAX;
        truncated |= !is_full && next < state.next_offset;
        Ok(Browsed {
            scanned: messages.len() as u64,
            messages,
            next_offset: (next < state.next_offset).then_some(next),
            truncated,
        })
    }

    /// Dead letters in message order, after `cursor`.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn dead_letters(
        &self,
        group: &GroupName,
        cursor: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<DeadLetterView>, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, group)?;
        let after = cursor.map(|id| id.position);
        let rows = group
            .dead
            .range((
                after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded),
                std::ops::Bound::Unbounded,
            ))
            .map(|(position, dead)| (*position, dead));
        Ok(Page::of(
            rows,
            limit,
            |(position, _)| MessageId::new(*position).to_string(),
            |(position, dead)| {
                // The list is for finding; reasons are read for one dead letter at a time.
                dead_letter_view(position, dead, Vec::new())
            },
        ))
    }

    /// One dead letter with its history and its message.
    ///
    /// # Errors
    /// `GroupNotFound`, `NotFound`, or a fault of the disk.
    pub fn dead_letter(
        &self,
        group: &GroupName,
        id: MessageId,
    ) -> Result<(DeadLetterView, StoredMessage), BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, group) = find_group(&machine, group)?;
        let missing = || BrokerError::NotFound(format!("group '{}' has no dead letter {id}", group.name));
        let dead = group.dead.get(&id.position).ok_or_else(missing)?;
        self.shown_letter(id.position, dead)
    }

    /// A dead letter with its history and its message, read from the log.
    pub(super) fn shown_letter(
        &self,
        position: Position,
        dead: &Dead,
    ) -> Result<(DeadLetterView, StoredMessage), BrokerError> {
        let history = dead.history.as_deref();
        let positions = history.into_iter().flat_map(|history| history.first.iter().chain(&history.last));
        let failures =
            positions.map(|position| read::failure(&self.core, *position)).collect::<Result<Vec<_>, _>>()?;
        let logged = read::logged(&self.core, position)?;
        let message = StoredMessage {
            id: MessageId::new(position),
            topic: dead.topic_name.clone(),
            queue: dead.queue,
            offset: Some(dead.offset),
            standing: Standing::Ready,
            accepted_at: logged.accepted_at,
            due: None,
            message: logged.message,
        };
        Ok((dead_letter_view(position, dead, failures), message))
    }
}

pub(super) fn find_topic<'a>(
    machine: &'a Machine,
    name: &TopicName,
) -> Result<(TopicId, &'a Topic), BrokerError> {
    let missing = || BrokerError::Refused(crate::machine::Refusal::TopicNotFound(name.clone()));
    machine.topic(name).ok_or_else(missing)
}

pub(super) fn find_group<'a>(
    machine: &'a Machine,
    name: &GroupName,
) -> Result<(GroupId, &'a Group), BrokerError> {
    let missing = || BrokerError::Refused(crate::machine::Refusal::GroupNotFound(name.clone()));
    machine.group(name).ok_or_else(missing)
}

fn topic_view(machine: &Machine, (id, topic): (TopicId, &Topic)) -> TopicView {
    let queues = (0..).zip(topic.queues.iter());
    TopicView {
        name: topic.name.clone(),
        version: topic.version(id),
        settings: topic.settings.clone(),
        queues: queues
            .map(|(queue, state)| QueueView {
                queue,
                first_kept: state.first_kept,
                next_offset: state.next_offset,
            })
            .collect(),
        scheduled: topic.schedule.len() as u64,
        groups: topic
            .groups
            .iter()
            .filter_map(|id| machine.group_by_id(*id))
            .map(|group| group.name.clone())
            .collect(),
        made_at: topic.made_at,
    }
}

pub(super) fn dead_letter_view(
    position: Position,
    dead: &Dead,
    failures: Vec<FailureView>,
) -> DeadLetterView {
    DeadLetterView {
        id: MessageId::new(position),
        topic: dead.topic_name.clone(),
        queue: dead.queue,
        offset: dead.offset,
        reason: dead.reason,
        dead_at: dead.at,
        round: dead.round,
        attempts: dead.failures,
        failures,
        failures_total: dead.history.as_deref().map_or(0, |history| history.total),
    }
}
