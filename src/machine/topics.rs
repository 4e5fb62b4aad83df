//! Topics: making, changing, deleting.

use std::sync::Arc;

use imbl::{OrdSet, Vector};

use crate::model::{TOPICS_MAX, Timestamp, TopicId, TopicName, TopicSettings};

use super::apply::Effects;
use super::draft::Draft;
use super::facts::Fact;
use super::jobs::{Job, JobEnd};
use super::progress::Where;
use super::refusal::Refusal;
use super::requests::{PutDone, PutMode};
use super::state::{Machine, Progress, QueueState, Schedule, Topic};

impl Draft {
    /// Makes a topic or replaces its settings (already checked against their ranges).
    ///
    /// # Errors
    /// When it exists and was only to be made, there are too many, or `queues` would shrink, or grow under an ordered
    /// group with backlog.
    pub fn put_topic(
        &mut self,
        name: TopicName,
        settings: TopicSettings,
        mode: PutMode,
    ) -> Result<PutDone, Refusal> {
        let Some(id) = self.machine.topic_names.get(&name).copied() else {
            self.new_topic(name, settings)?;
            return Ok(PutDone::Created);
        };
        if mode == PutMode::CreateOnly {
            return Err(Refusal::Exists(name.to_string()));
        }
        let Some(topic) = self.machine.topics.get(&id) else { return Err(Refusal::TopicNotFound(name)) };
        if topic.settings == settings {
            return Ok(PutDone::Unchanged);
        }
        if settings.queues < topic.settings.queues {
            return Err(Refusal::QueuesShrink(topic.settings.queues));
        }
        if settings.queues > topic.settings.queues {
            // A key's messages would go to another queue while earlier ones still wait in the old one.
            let ordered = topic
                .groups
                .iter()
                .filter_map(|group| self.machine.groups.get(group))
                .find(|group| group.settings.ordered && self.machine.backlog(group, Some(id)) > 0);
            if let Some(group) = ordered {
                return Err(Refusal::QueuesOrdered(group.name.clone()));
            }
        }
        self.push(Fact::TopicChanged { id, settings });
        Ok(PutDone::Changed)
    }

    /// Deletes a topic with everything that waits in it; dead letters stay.
    ///
    /// # Errors
    /// When there is no such topic, or it holds messages and `confirmed` is false.
    pub fn delete_topic(&mut self, name: &TopicName, confirmed: bool) -> Result<(), Refusal> {
        let missing = || Refusal::TopicNotFound(name.clone());
        let id = self.machine.topic_names.get(name).copied().ok_or_else(missing)?;
        let topic = self.machine.topics.get(&id).ok_or_else(missing)?;
        let kept: u64 = topic.queues.iter().map(|queue| queue.next_offset - queue.first_kept).sum();
        let scheduled = topic.schedule.len();
        if !confirmed && (kept > 0 || scheduled > 0) {
            let what = format!("{kept} messages and {scheduled} scheduled ones");
            return Err(Refusal::ConfirmNeeded { name: name.to_string(), what });
        }
        let meant = |job: &Job| job.to.as_ref().is_some_and(|(topic, _)| *topic == id);
        self.end_jobs(meant, JobEnd::TopicDeleted);
        self.push(Fact::TopicDeleted { id });
        Ok(())
    }

    pub(super) fn new_topic(&mut self, name: TopicName, settings: TopicSettings) -> Result<TopicId, Refusal> {
        if self.machine.topics.len() >= TOPICS_MAX {
            return Err(Refusal::TooManyTopics(TOPICS_MAX));
        }
        let id = TopicId(self.machine.next_topic);
        self.push(Fact::TopicMade { id, name, settings });
        Ok(id)
    }
}

impl Machine {
    pub(super) fn make_topic(
        &mut self,
        id: TopicId,
        name: &TopicName,
        settings: &TopicSettings,
        time: Timestamp,
    ) {
        self.next_topic = self.next_topic.max(id.0.saturating_add(1));
        let topic = Topic {
            name: name.clone(),
            settings: settings.clone(),
            made_at: time,
            queues: std::iter::repeat_n(QueueState::default(), settings.queues.into()).collect::<Vector<_>>(),
            next_queue: 0,
            schedule: Schedule::new(),
            groups: OrdSet::new(),
        };
        self.topics.insert(id, Arc::new(topic));
        self.topic_names.insert(name.clone(), id);
    }

    pub(super) fn change_topic(&mut self, id: TopicId, settings: &TopicSettings, effects: &mut Effects) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let topic = Arc::make_mut(topic);
        let before = topic.settings.queues;
        topic.settings = settings.clone();
        for queue in before..settings.queues {
            topic.queues.push_back(QueueState::default());
            for group in &topic.groups {
                if let Some(group) = self.groups.get_mut(group) {
                    Arc::make_mut(group).progress.insert((id, queue), Arc::new(Progress::starting_at(0)));
                }
            }
        }
        effects.woken.extend(topic.groups.iter().copied());
    }

    pub(super) fn drop_topic(&mut self, id: TopicId, effects: &mut Effects) {
        let Some(topic) = self.topics.remove(&id) else { return };
        self.forget_topic(id, effects);
        self.topic_names.remove(&topic.name);
        self.drop_schedule(id, topic.schedule.clone());
        for group_id in &topic.groups {
            for (queue, _) in (0..).zip(&topic.queues) {
                self.drop_progress(Where { group: *group_id, topic: id, queue }, effects);
            }
            let Some(group) = self.groups.get_mut(group_id) else { continue };
            let group = Arc::make_mut(group);
            Arc::make_mut(&mut group.settings).subscriptions.retain(|kept| kept.topic != topic.name);
        }
    }
}
