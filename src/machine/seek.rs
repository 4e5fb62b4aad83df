//! Seek: a group's reading place in one topic, moved by hand.

use crate::model::{GroupId, GroupName, Place, QueueNo, TopicId, TopicName};

use super::apply::Effects;
use super::draft::{Candidates, Draft};
use super::facts::Fact;
use super::progress::{OpenProgress, Where};
use super::refusal::Refusal;
use super::requests::{SeekCounts, SeekTo};
use super::state::{LastEnd, Machine, Progress, QueueState, VOID_RANGES_MAX};

/// In [`Fact::Sought`]: this queue is not touched.
const STAY: u64 = u64::MAX;

impl Draft {
    /// Moves the group's cursor, or with `dry_run` only says what that would do. Messages that a filter passes over are
    /// counted like acked ones.
    ///
    /// # Errors
    /// When group or topic is missing, the group does not subscribe, or there is no such queue.
    pub fn seek(
        &mut self,
        (group, topic): (&GroupName, &TopicName),
        to: SeekTo,
        dry_run: bool,
        candidates: &Candidates,
    ) -> Result<SeekCounts, Refusal> {
        let (group_id, found) = self.machine.find_group(group)?;
        let missing = || Refusal::TopicNotFound(topic.clone());
        let topic_id = self.machine.topic_names.get(topic).copied().ok_or_else(missing)?;
        if !found.progress.contains_key(&(topic_id, 0)) {
            return Err(Refusal::NotSubscribed { group: group.clone(), topic: topic.clone() });
        }
        let queues = &self.machine.topics.get(&topic_id).ok_or_else(missing)?.queues;
        if let SeekTo::Offset { queue, .. } = to
            && usize::from(queue) >= queues.len()
        {
            let queues = QueueNo::try_from(queues.len()).unwrap_or(QueueNo::MAX);
            return Err(Refusal::QueueNotFound { queue: queue.into(), queues });
        }
        let targets: Vec<u64> = (0..)
            .zip(queues)
            .map(|(queue, state)| target(to, queue, state, candidates.offsets.get(&(topic_id, queue))))
            .collect();
        let mut counts = SeekCounts::default();
        for (queue, target) in (0..).zip(&targets) {
            if let Some(progress) = found.progress.get(&(topic_id, queue))
                && *target != STAY
            {
                let dead = (topic_id, queue, *target)..(topic_id, queue, progress.next.max(*target));
                counts.add(progress, *target, found.dead_offsets.range(dead).count() as u64);
            }
        }
        if !dry_run {
            self.push(Fact::Sought { group: group_id, topic: topic_id, targets });
        }
        Ok(counts)
    }
}

fn target(to: SeekTo, queue: QueueNo, state: &QueueState, at_time: Option<&u64>) -> u64 {
    match to {
        SeekTo::Earliest => state.first_kept,
        SeekTo::Latest => state.next_offset,
        SeekTo::Time(_) => {
            at_time.map_or(state.next_offset, |offset| (*offset).clamp(state.first_kept, state.next_offset))
        }
        SeekTo::Offset { queue: only, offset } if only == queue => {
            offset.clamp(state.first_kept, state.next_offset)
        }
        SeekTo::Offset { .. } => STAY,
    }
}

impl SeekCounts {
    /// What moving `progress` to `target` does; `dead` are the dead letters between target and cursor.
    fn add(&mut self, progress: &Progress, target: u64, dead: u64) {
        let own_offset = |place: &Place| place.turn == 0;
        let below = progress.items.range(..Place::at(target)).filter(|(place, _)| own_offset(place)).count();
        let above = progress.items.range(Place::at(target)..).filter(|(place, _)| own_offset(place)).count();
        let settled_beyond: u64 =
            progress.beyond.iter().map(|(start, end)| end.min(target).saturating_sub(start)).sum();
        let unlooked = target.saturating_sub(progress.next).saturating_sub(settled_beyond);
        self.skipped += below as u64 + unlooked;
        let redriven = progress.redriven_within(target, progress.next).count() as u64;
        let reread = progress.next.saturating_sub(target);
        self.replayed += reread.saturating_sub(above as u64 + dead + redriven);
        self.leases_cancelled += progress.leased;
    }
}

impl Progress {
    /// The own offsets, within a range, of redriven messages that are not settled.
    fn redriven_within(&self, from: u64, to: u64) -> impl Iterator<Item = u64> + '_ {
        let redriven = self.redriven.values().filter_map(|place| Some(self.items.get(place)?.offset));
        redriven.filter(move |offset| (from..to).contains(offset))
    }
}

impl Machine {
    pub(super) fn apply_sought(
        &mut self,
        group: GroupId,
        topic: TopicId,
        targets: &[u64],
        effects: &mut Effects,
    ) {
        for (queue, target) in (0..).zip(targets) {
            if *target == STAY {
                continue;
            }
            if let Some(mut open) = self.open(Where { group, topic, queue }, effects) {
                open.move_to(*target);
            }
        }
    }
}

impl OpenProgress<'_> {
    fn move_to(&mut self, target: u64) {
        let Where { topic, queue, .. } = self.at;
        let cursor = self.progress.next;
        let places: Vec<Place> = self.progress.items.keys().copied().collect();
        for place in places.iter().filter(|place| place.turn == 0) {
            self.take(*place);
            if place.offset < target {
                self.progress.void.insert(place.offset, place.offset.saturating_add(1));
            }
        }
        if target < cursor {
            // What comes again must not seem to have failed less often than before.
            self.progress.round = self.progress.max_round.saturating_add(1);
            self.progress.max_round = self.progress.round;
            self.progress.void.remove(target, cursor);
        } else if self.progress.round > 1 {
            // What nobody looked at may have been leased before a seek brought it back.
            for (start, end) in self.progress.beyond.gaps(cursor, target) {
                self.progress.void.insert(start, end);
            }
        }
        self.progress.void.keep_highest(VOID_RANGES_MAX);
        self.progress.next = target;
        let dead = self.dead_offsets.range((topic, queue, target)..(topic, queue, cursor.max(target)));
        let mut settled: Vec<u64> = dead.map(|((_, _, offset), _)| *offset).collect();
        settled.extend(self.progress.redriven_within(target, cursor));
        self.progress.skip_settled();
        for offset in settled {
            self.progress.settle_beyond(offset);
        }
        for place in places.into_iter().filter(|place| place.turn > 0) {
            self.calm(place);
        }
        self.wake();
    }

    /// A redriven message stays, but its lease or pending retry is cancelled.
    fn calm(&mut self, place: Place) {
        let Some(item) = self.progress.items.get(&place) else { return };
        let lane = item.lane;
        let rest = self.at_rest(place, lane);
        self.change(place, |item| {
            item.last = LastEnd::None;
            item.state = rest;
        });
    }
}
