//! Lag: what a group has not settled of a topic. What its filter passes over does not count.

use crate::machine::{Group, Progress, Topic};
use crate::model::{Filter, GroupId, QueueNo, Timestamp, TopicId};

use super::handle::Broker;
use super::tally::{Budget, Tally};
use super::views::GroupTopicView;

impl Broker {
    /// A group in one of its topics, in numbers. For a filtered group this counts on where the last look or the
    /// observer stopped, a bounded stretch; what is left counts as matching, and the view says that it is still
    /// counting.
    pub(super) fn group_topic_view(
        &self,
        (group_id, group): (GroupId, &Group),
        (id, topic): (TopicId, &Topic),
        filter: &Filter,
        (now, budget): (Timestamp, &mut Budget),
    ) -> GroupTopicView {
        let mut view = GroupTopicView {
            topic: topic.name.clone(),
            lag: 0,
            counting: false,
            lag_ms: 0,
            is_oldest: true,
            ready: 0,
            in_flight: 0,
            retrying: 0,
            cursors: Vec::new(),
        };
        let mut oldest: Option<Timestamp> = None;
        for (queue, state) in (0..).zip(topic.queues.iter()) {
            let Some(progress) = group.progress.get(&(id, queue)) else { continue };
            let key = (group_id, id, queue);
            let unlooked = self.unlooked(progress, (key, state.next_offset), filter, budget);
            view.lag += progress.items.len() as u64 + unlooked.count;
            view.counting |= unlooked.counting;
            view.in_flight += progress.leased;
            view.retrying += progress.retrying;
            view.cursors.push(cursor(progress));
            let first = progress.items.values().next().map(|item| item.ready_at).or(unlooked.first_ready_at);
            view.is_oldest &= first.is_some() || unlooked.count == 0;
            oldest = [oldest, first].into_iter().flatten().min();
        }
        view.ready = view.lag.saturating_sub(view.in_flight + view.retrying);
        view.lag_ms = oldest.map_or(0, |ready_at| now.since(ready_at));
        view
    }

    /// What a group has not looked at yet in one queue, whose end is at `end`.
    fn unlooked(
        &self,
        progress: &Progress,
        (key, end): ((GroupId, TopicId, QueueNo), u64),
        filter: &Filter,
        budget: &mut Budget,
    ) -> Unlooked {
        let (_, topic, queue) = key;
        let span = progress.unlooked(end);
        if span == 0 {
            return Unlooked::default();
        }
        let ready_at = |offset: u64| {
            let entry = self.core.entries(topic, queue, offset, 1).into_iter().next()?;
            Some(entry.ready_at)
        };
        if filter.is_all() {
            return Unlooked { count: span, counting: false, first_ready_at: ready_at(progress.next) };
        }
        self.core.tally((key, filter), progress.next..end, budget, |tally| {
            let settled: u64 = progress.beyond.iter().map(|(from, to)| tally.count(from..to)).sum();
            let left = end.saturating_sub(tally.end());
            Unlooked {
                count: tally.count(progress.next..end).saturating_sub(settled) + left,
                counting: left > 0,
                first_ready_at: first_unsettled(tally, progress).and_then(ready_at),
            }
        })
    }
}

/// The first offset that matches and is not settled.
fn first_unsettled(tally: &Tally, progress: &Progress) -> Option<u64> {
    let mut from = progress.next;
    loop {
        let first = tally.first(from)?;
        if !progress.beyond.contains(first) {
            return Some(first);
        }
        from = first + 1;
    }
}

/// Messages that a group has not looked at yet.
#[derive(Default)]
struct Unlooked {
    count: u64,
    counting: bool,
    first_ready_at: Option<Timestamp>,
}

/// The lowest unsettled offset.
pub(super) fn cursor(progress: &Progress) -> u64 {
    progress.items.keys().find(|place| place.turn == 0).map_or(progress.next, |place| place.offset)
}
