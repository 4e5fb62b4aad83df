//! What is found in one topic of a group.

use crate::machine::{Held, HoldUps, ItemState, Topic};
use crate::model::{Filter, MessageId, Subscription, TopicId};

use super::{Asked, Finding, words};

/// The newest messages of a topic that a filter is tried on.
const SAMPLE: usize = 1_000;

/// How a filter did on the newest messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) looked: u64,
    pub(super) excluded: u64,
}

impl Asked<'_> {
    pub(super) fn topic(&mut self, subscription: &Subscription) {
        let Some((id, topic)) = self.machine.topic(&subscription.topic) else { return };
        let Some(found) = self.machine.hold_ups(self.id, id, &mut self.budget) else { return };
        let sample = self.sample((id, topic), &subscription.filter);
        let before = self.findings.len();
        self.holders(&found);
        let filter = &subscription.filter;
        if sample.excluded > 0 {
            self.findings.push(words::filter_excludes((&topic.name, filter), sample));
        }
        if let Some((due, position)) = topic.schedule.get_min().map(|(key, _)| *key) {
            let text = (&topic.name, topic.schedule.len() as u64);
            self.findings.push(words::scheduled(text, due, MessageId::new(position)));
        }
        if found.unlooked + found.ready > 0 {
            let upper_bound = !filter.is_all() && found.unlooked > 0;
            self.findings.push(words::ready(&topic.name, found.unlooked + found.ready, upper_bound));
        } else if found.leased + found.retrying == 0 {
            let was_any = topic.bounds().any(|(_, _, next_offset)| next_offset > 0);
            self.findings.push(words::empty(&topic.name, was_any));
        }
        for finding in self.findings.iter_mut().skip(before) {
            finding.topic = Some(topic.name.clone());
        }
    }

    /// Messages of this topic that are in somebody's hands, and what waits for them.
    fn holders(&mut self, found: &HoldUps) {
        let settings = &self.group.settings;
        if found.used_up > 0 {
            let (dead, most) = (self.group.dead.len() as u64, settings.dead_letters_max);
            self.findings.push(words::dead_letters_full(&self.group.name, found.used_up, (dead, most)));
        }
        for (oldest, held) in &found.full {
            self.findings.push(about(words::look_ahead_full(oldest, *held), oldest));
        }
        for (head, waiting) in &found.lanes {
            self.findings.push(about(words::lane_blocked(head, *waiting), head));
        }
        let more = found.lanes_total.saturating_sub(found.lanes.len() as u64);
        if more > 0 {
            self.findings.push(words::more_lanes(more));
        }
        if let Some(first) = &found.first_retry {
            self.findings.push(about(words::retrying(found.retrying, first), first));
        }
        if let Some(first) = &found.first_lease {
            self.findings.push(about(words::leased(found.leased, first), first));
        }
    }

    /// Tries the filter on the newest messages, of every queue as many.
    fn sample(&self, (id, topic): (TopicId, &Topic), filter: &Filter) -> Sample {
        let mut sample = Sample::default();
        if filter.is_all() {
            return sample;
        }
        let share = (SAMPLE / topic.queues.len().max(1)).max(1);
        for (queue, first_kept, next_offset) in topic.bounds() {
            let from = next_offset.saturating_sub(share as u64).max(first_kept);
            for entry in self.core.entries(id, queue, from, share) {
                let Some(passes) = self.core.matches(filter, &entry) else { return sample };
                sample.looked += 1;
                sample.excluded += u64::from(!passes);
            }
        }
        sample
    }
}

/// Names the message that a finding is about.
fn about(finding: Finding, held: &Held) -> Finding {
    let client = match &held.state {
        ItemState::Leased(lease) => Some(lease.client.to_string()),
        ItemState::Parked | ItemState::Ready | ItemState::Retrying { .. } => None,
    };
    Finding {
        queue: Some(held.queue),
        id: Some(MessageId::new(held.position).to_string()),
        offset: Some(held.offset),
        attempt: Some(held.attempt),
        client,
        until: held.until().map(|until| until.to_string()),
        ..finding
    }
}
