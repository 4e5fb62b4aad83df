//! Groups: making, changing, deleting, pausing, and where a subscription starts.

use std::sync::Arc;

use crate::model::{
    GROUPS_MAX, GroupId, GroupName, GroupSettings, QueueNo, Start, TOPICS_MAX, Timestamp, TopicId, TopicName,
    TopicSettings,
};

use super::apply::{Effects, Ended};
use super::draft::{Candidates, Draft};
use super::facts::Fact;
use super::jobs::JobEnd;
use super::progress::Where;
use super::refusal::Refusal;
use super::requests::{PutDone, PutMode};
use super::state::{Group, ItemState, Machine, Progress};

/// For each subscription, the first offset it reads in each queue.
type Starts = Vec<(TopicId, Vec<u64>)>;

impl Draft {
    /// Makes a group or replaces its settings (already checked against their ranges). Missing topics are made when
    /// `auto_create` says so, and only if everything else is in order.
    ///
    /// # Errors
    /// When it exists and was only to be made, there are too many groups or topics, a subscription names a topic that
    /// does not exist and may not be made, or `ordered` or `lane_batch` would change under leases or retries.
    pub fn put_group(
        &mut self,
        name: GroupName,
        settings: GroupSettings,
        (mode, auto_create): (PutMode, bool),
        candidates: &Candidates,
    ) -> Result<PutDone, Refusal> {
        let missing = self.missing_topics(&settings);
        if let Some(topic) = missing.first().filter(|_| !auto_create) {
            return Err(Refusal::SubscribedTopicNotFound(topic.clone()));
        }
        if self.machine.topics.len() + missing.len() > TOPICS_MAX {
            return Err(Refusal::TooManyTopics(TOPICS_MAX));
        }
        let Some(id) = self.machine.group_names.get(&name).copied() else {
            self.room_for_group()?;
            self.make_topics(missing)?;
            self.new_group(name, settings, candidates)?;
            return Ok(PutDone::Created);
        };
        if mode == PutMode::CreateOnly {
            return Err(Refusal::Exists(name.to_string()));
        }
        let Some(group) = self.machine.groups.get(&id) else { return Err(Refusal::GroupNotFound(name)) };
        if *group.settings == settings {
            return Ok(PutDone::Unchanged);
        }
        let lanes_change =
            group.settings.ordered != settings.ordered || group.settings.lane_batch != settings.lane_batch;
        if lanes_change && group.in_flight + group.retrying > 0 {
            return Err(Refusal::GroupBusy);
        }
        self.make_topics(missing)?;
        let starts = self.starts(&settings, self.machine.groups.get(&id), candidates);
        self.push(Fact::GroupChanged { id, settings, starts });
        Ok(PutDone::Changed)
    }

    /// Deletes a group with its progress and dead letters.
    ///
    /// # Errors
    /// When there is no such group, or it has lag or dead letters and `confirmed` is false.
    pub fn delete_group(&mut self, name: &GroupName, confirmed: bool) -> Result<(), Refusal> {
        let (id, group) = self.machine.find_group(name)?;
        let lag = self.machine.backlog(group, None);
        if !confirmed && (lag > 0 || !group.dead.is_empty()) {
            let what = format!("{lag} unsettled messages and {} dead letters", group.dead.len());
            return Err(Refusal::ConfirmNeeded { name: name.to_string(), what });
        }
        self.end_jobs(|job| job.group == id, JobEnd::GroupDeleted);
        self.push(Fact::GroupDeleted { id });
        Ok(())
    }

    /// Stops or resumes handing out messages. Saying it twice changes nothing.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn pause_group(&mut self, name: &GroupName, paused: bool) -> Result<(), Refusal> {
        let (id, group) = self.machine.find_group(name)?;
        if group.paused != paused {
            self.push(Fact::GroupPaused { id, paused });
        }
        Ok(())
    }

    pub(super) fn new_group(
        &mut self,
        name: GroupName,
        settings: GroupSettings,
        candidates: &Candidates,
    ) -> Result<GroupId, Refusal> {
        self.room_for_group()?;
        let id = GroupId(self.machine.next_group);
        let starts = self.starts(&settings, None, candidates);
        self.push(Fact::GroupMade { id, name, settings, starts });
        Ok(id)
    }

    pub(super) fn room_for_group(&self) -> Result<(), Refusal> {
        let full = self.machine.groups.len() >= GROUPS_MAX;
        if full { Err(Refusal::TooManyGroups(GROUPS_MAX)) } else { Ok(()) }
    }

    fn missing_topics(&self, settings: &GroupSettings) -> Vec<TopicName> {
        let named = settings.subscriptions.iter().map(|subscription| &subscription.topic);
        named.filter(|topic| !self.machine.topic_names.contains_key(*topic)).cloned().collect()
    }

    fn make_topics(&mut self, names: Vec<TopicName>) -> Result<(), Refusal> {
        for name in names {
            self.new_topic(name, TopicSettings::default())?;
        }
        Ok(())
    }

    /// Where the subscriptions that `group` does not have yet begin.
    fn starts(
        &self,
        settings: &GroupSettings,
        group: Option<&Arc<Group>>,
        candidates: &Candidates,
    ) -> Starts {
        let ids =
            settings.subscriptions.iter().filter_map(|new| self.machine.topic_names.get(&new.topic).copied());
        let known = |id: TopicId| group.is_some_and(|group| group.progress.contains_key(&(id, 0)));
        ids.filter(|id| !known(*id)).map(|id| (id, self.start_in(id, settings.start, candidates))).collect()
    }

    fn start_in(&self, id: TopicId, start: Start, candidates: &Candidates) -> Vec<u64> {
        let Some(topic) = self.machine.topics.get(&id) else { return Vec::new() };
        (0..)
            .zip(&topic.queues)
            .map(|(queue, state)| match start {
                Start::Earliest => state.first_kept,
                Start::Latest => state.next_offset,
                Start::Time(_) => candidates
                    .offsets
                    .get(&(id, queue))
                    .map_or(state.next_offset, |offset| (*offset).clamp(state.first_kept, state.next_offset)),
            })
            .collect()
    }
}

impl Machine {
    pub(super) fn find_group(&self, name: &GroupName) -> Result<(GroupId, &Arc<Group>), Refusal> {
        let id = self.group_names.get(name).copied();
        let found = id.and_then(|id| self.groups.get(&id).map(|group| (id, group)));
        found.ok_or_else(|| Refusal::GroupNotFound(name.clone()))
    }

    /// Unsettled messages of a group, in one topic or in all, those that its filter would pass over included.
    pub(super) fn backlog(&self, group: &Group, only: Option<TopicId>) -> u64 {
        let within = group.progress.iter().filter(|((topic, _), _)| only.is_none_or(|only| only == *topic));
        within
            .map(|((topic, queue), progress)| {
                progress.items.len() as u64 + progress.unlooked(self.next_offset(*topic, *queue))
            })
            .sum()
    }

    pub(super) fn make_group(
        &mut self,
        id: GroupId,
        name: &GroupName,
        settings: &GroupSettings,
        time: Timestamp,
    ) {
        self.next_group = self.next_group.max(id.0.saturating_add(1));
        let group = Group {
            name: name.clone(),
            settings: Arc::new(settings.clone()),
            made_at: time,
            paused: false,
            progress: imbl::OrdMap::new(),
            in_flight: 0,
            retrying: 0,
            dead: imbl::OrdMap::new(),
            dead_offsets: imbl::OrdMap::new(),
        };
        self.groups.insert(id, Arc::new(group));
        self.group_names.insert(name.clone(), id);
    }

    pub(super) fn start_subscriptions(&mut self, id: GroupId, starts: &Starts, effects: &mut Effects) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let group = Arc::make_mut(group);
        for (topic_id, offsets) in starts {
            let Some(topic) = self.topics.get_mut(topic_id) else { continue };
            Arc::make_mut(topic).groups.insert(id);
            for (queue, start) in (0..).zip(offsets) {
                let mut progress = Progress::starting_at(*start);
                // An earlier subscription may have left dead letters: no message is twice in one group.
                let dead = (*topic_id, queue, *start)..=(*topic_id, queue, u64::MAX);
                for ((_, _, offset), _) in group.dead_offsets.range(dead) {
                    progress.settle_beyond(*offset);
                }
                group.progress.insert((*topic_id, queue), Arc::new(progress));
            }
        }
        effects.woken.insert(id);
    }

    pub(super) fn change_group(&mut self, id: GroupId, settings: &GroupSettings, effects: &mut Effects) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let group = Arc::make_mut(group);
        let reorder = group.settings.ordered != settings.ordered;
        let gone: Vec<TopicName> = group
            .settings
            .subscriptions
            .iter()
            .map(|subscription| &subscription.topic)
            .filter(|topic| settings.subscriptions.iter().all(|kept| kept.topic != **topic))
            .cloned()
            .collect();
        group.settings = Arc::new(settings.clone());
        for topic in gone {
            let Some(topic) = self.topic_names.get(&topic).copied() else { continue };
            self.drop_subscription(id, topic, effects);
        }
        if reorder {
            self.reorder(id, settings.ordered, effects);
        }
        effects.woken.insert(id);
    }

    fn drop_subscription(&mut self, id: GroupId, topic: TopicId, effects: &mut Effects) {
        let Some(found) = self.topics.get_mut(&topic) else { return };
        let found = Arc::make_mut(found);
        found.groups.remove(&id);
        let queues = QueueNo::try_from(found.queues.len()).unwrap_or(QueueNo::MAX);
        for queue in 0..queues {
            self.drop_progress(Where { group: id, topic, queue }, effects);
        }
    }

    /// Sets up or takes down the lanes of everything that was looked at already. Nothing is leased or retrying.
    fn reorder(&mut self, id: GroupId, ordered: bool, effects: &mut Effects) {
        let Some(group) = self.groups.get(&id) else { return };
        let keys: Vec<(TopicId, QueueNo)> = group.progress.keys().copied().collect();
        for (topic, queue) in keys {
            let Some(mut open) = self.open(Where { group: id, topic, queue }, effects) else { continue };
            let items: Vec<_> = open.progress.items.iter().map(|(place, item)| (*place, item.lane)).collect();
            open.progress.lanes = if ordered {
                items.iter().map(|(place, lane)| (*lane, *place)).collect()
            } else {
                imbl::OrdSet::new()
            };
            for (place, lane) in items {
                let state = open.at_rest(place, lane);
                open.change(place, |item| {
                    if matches!(item.state, ItemState::Ready | ItemState::Parked) {
                        item.state = state;
                    }
                });
            }
        }
    }

    /// Puts a progress into the trash; its leases end.
    pub(super) fn drop_progress(&mut self, at: Where, effects: &mut Effects) {
        let Some(group) = self.groups.get_mut(&at.group) else { return };
        let group = Arc::make_mut(group);
        let Some(progress) = group.progress.remove(&(at.topic, at.queue)) else { return };
        group.in_flight = group.in_flight.saturating_sub(progress.leased);
        group.retrying = group.retrying.saturating_sub(progress.retrying);
        self.held = self.held.saturating_sub(progress.items.len() as u64);
        end_leases(&progress, effects);
        effects.woken.insert(at.group);
        if !progress.items.is_empty() {
            self.trash.push_back(progress);
        }
    }

    pub(super) fn drop_group(&mut self, id: GroupId, effects: &mut Effects) {
        let Some(group) = self.groups.remove(&id) else { return };
        self.group_names.remove(&group.name);
        for ((topic, _), progress) in &group.progress {
            if let Some(topic) = self.topics.get_mut(topic)
                && topic.groups.contains(&id)
            {
                Arc::make_mut(topic).groups.remove(&id);
            }
            self.held = self.held.saturating_sub(progress.items.len() as u64);
            end_leases(progress, effects);
            if !progress.items.is_empty() {
                self.trash.push_back(Arc::clone(progress));
            }
        }
        self.held = self.held.saturating_sub(group.dead.len() as u64);
        if !group.dead.is_empty() {
            self.dead_trash.push_back(group.dead.clone());
        }
        // Who waits for this group must hear that it is gone.
        effects.woken.insert(id);
    }

    pub(super) fn apply_paused(&mut self, id: GroupId, paused: bool, effects: &mut Effects) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        Arc::make_mut(group).paused = paused;
        effects.woken.insert(id);
    }
}

fn end_leases(progress: &Progress, effects: &mut Effects) {
    if progress.leased == 0 {
        return;
    }
    let leases = progress.items.values().filter_map(|item| item.lease());
    let ended = leases.filter(|lease| lease.session != 0);
    effects.ended.extend(ended.map(|lease| Ended { session: lease.session, nonce: lease.nonce }));
}
