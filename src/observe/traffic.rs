//! What is counted while the broker works.

use std::sync::Arc;

use crate::model::{GroupId, Histogram, TopicId};

use super::counters::{Counters, Table};

/// What is counted of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfTopic {
    /// Messages accepted.
    ProducedMessages,
    /// Bytes of their bodies.
    ProducedBytes,
}

/// What is counted of a subscription: a group in one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfSubscription {
    /// Messages leased.
    DeliveredMessages,
    /// Bytes of their bodies.
    DeliveredBytes,
    /// Messages acked.
    Acked,
    /// Deliveries nacked.
    Nacked,
    /// Deliveries whose consumer asked for the dead letters.
    Rejected,
    /// Leases that ran out.
    LeaseExpired,
    /// Leases whose connection broke.
    ConnectionLost,
    /// Messages that became ready for another attempt.
    Retried,
    /// Leases given back without a failure.
    GivenBack,
    /// Dead letters for too many attempts.
    DeadMaxAttempts,
    /// Dead letters that a consumer asked for.
    DeadRejected,
    /// Dead letters for their TTL.
    DeadExpired,
    /// Messages dropped for their TTL.
    Expired,
}

impl OfTopic {
    /// How many there are.
    pub const COUNT: usize = OfTopic::ProducedBytes as usize + 1;
}

impl OfSubscription {
    /// How many there are.
    pub const COUNT: usize = OfSubscription::Expired as usize + 1;
}

/// What is counted of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfGroup {
    /// Dead letters sent back.
    Redriven,
}

/// Microseconds that a produce request takes: 0.1 ms to 2.5 s.
const PRODUCE_MICROS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000,
];

/// Milliseconds from ready to handed out: 1 ms to 10 min.
const END_TO_END_MILLIS: [u64; 14] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000, 120_000, 600_000];

/// Milliseconds that a scheduled message is late: it comes due with a tick, so a few are normal.
const LATENESS_MILLIS: [u64; 9] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 60_000];

/// Facts in one entry.
const FACTS: [u64; 9] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_535];

/// Everything that is counted while the broker works. It begins at zero with the process.
#[derive(Debug)]
pub struct Traffic {
    /// By topic: [`OfTopic`].
    pub topics: Table<TopicId>,
    /// By topic and group: [`OfSubscription`].
    pub subscriptions: Table<(TopicId, GroupId)>,
    /// By group: [`OfGroup`].
    pub groups: Table<GroupId>,
    /// All topics together, deleted ones included, and all subscriptions.
    totals: (Counters, Counters),
    /// How long accepted produce requests took inside the broker, in microseconds.
    pub produce: Histogram,
    /// How long messages waited from ready to the first time they were handed out, in milliseconds.
    pub end_to_end: Histogram,
    /// How late scheduled messages became ready, in milliseconds.
    pub lateness: Histogram,
    /// Facts in each entry of the log.
    pub batch_facts: Histogram,
}

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic {
            topics: Table::new(OfTopic::COUNT),
            subscriptions: Table::new(OfSubscription::COUNT),
            groups: Table::new(OfGroup::Redriven as usize + 1),
            totals: (Counters::new(OfTopic::COUNT), Counters::new(OfSubscription::COUNT)),
            produce: Histogram::new(&PRODUCE_MICROS),
            end_to_end: Histogram::new(&END_TO_END_MILLIS),
            lateness: Histogram::new(&LATENESS_MILLIS),
            batch_facts: Histogram::new(&FACTS),
        }
    }
}

impl Traffic {
    /// Begins to count one batch.
    #[must_use]
    pub fn record(&self) -> Recorder<'_> {
        let totals = ([0; OfTopic::COUNT], [0; OfSubscription::COUNT]);
        Recorder { traffic: self, topic: None, subscription: None, totals }
    }

    /// What was counted of all topics together, by [`OfTopic`], and of all subscriptions, by [`OfSubscription`].
    #[must_use]
    pub fn totals(&self) -> ([u64; OfTopic::COUNT], [u64; OfSubscription::COUNT]) {
        (self.totals.0.read(), self.totals.1.read())
    }
}

/// Counts what one batch did. It remembers the last object: what a batch does to one object mostly stands together.
#[derive(Debug)]
pub struct Recorder<'a> {
    traffic: &'a Traffic,
    topic: Option<(TopicId, Arc<Counters>)>,
    subscription: Option<((TopicId, GroupId), Arc<Counters>)>,
    /// What it adds to the totals when it is done.
    totals: ([u64; OfTopic::COUNT], [u64; OfSubscription::COUNT]),
}

impl Recorder<'_> {
    /// Adds to a counter of a topic.
    pub fn topic(&mut self, topic: TopicId, what: OfTopic, by: u64) {
        row(&mut self.topic, &self.traffic.topics, topic).add(what as usize, by);
        add(&mut self.totals.0, what as usize, by);
    }

    /// Adds to a counter of a subscription.
    pub fn subscription(&mut self, key: (TopicId, GroupId), what: OfSubscription, by: u64) {
        if by > 0 {
            row(&mut self.subscription, &self.traffic.subscriptions, key).add(what as usize, by);
            add(&mut self.totals.1, what as usize, by);
        }
    }

    /// Adds to a counter of a group.
    pub fn group(&mut self, group: GroupId, what: OfGroup, by: u64) {
        self.traffic.groups.row(&group).add(what as usize, by);
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        let (topics, subscriptions) = &self.traffic.totals;
        for (counters, counts) in [(topics, &self.totals.0[..]), (subscriptions, &self.totals.1[..])] {
            for (place, by) in counts.iter().enumerate().filter(|(_, by)| **by > 0) {
                counters.add(place, *by);
            }
        }
    }
}

fn add(counts: &mut [u64], place: usize, by: u64) {
    if let Some(count) = counts.get_mut(place) {
        *count += by;
    }
}

/// The counters of `key`: the last ones used, or those of the table.
fn row<'a, K: Ord + Copy>(
    last: &'a mut Option<(K, Arc<Counters>)>,
    table: &Table<K>,
    key: K,
) -> &'a Counters {
    if last.as_ref().is_some_and(|(known, _)| *known != key) {
        *last = None;
    }
    &last.get_or_insert_with(|| (key, table.row(&key))).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_counts_for_each_of_its_objects() {
        let traffic = Traffic::default();
        let mut record = traffic.record();
        for topic in [1, 2, 1, 1] {
            record.topic(TopicId(topic), OfTopic::ProducedMessages, 1);
            record.topic(TopicId(topic), OfTopic::ProducedBytes, 10);
        }
        record.subscription((TopicId(1), GroupId(1)), OfSubscription::Expired, 3);
        record.subscription((TopicId(1), GroupId(2)), OfSubscription::Acked, 0);
        record.group(GroupId(1), OfGroup::Redriven, 2);
        drop(record);
        let (of_topics, of_subscriptions) = traffic.totals();
        assert_eq!((of_topics, of_subscriptions[OfSubscription::Expired as usize]), ([4, 40], 3));
        let totals = traffic.topics.totals([&[0], &[1]]);
        assert_eq!(totals, [(TopicId(1), [3, 30]), (TopicId(2), [1, 10])]);
        let topics = traffic.topics.take_stock(&[(TopicId(1), 0), (TopicId(2), 0)], 9).shown;
        assert_eq!(topics, [(0, vec![3, 30]), (1, vec![1, 10])]);
        assert_eq!(traffic.subscriptions.keys(), [(TopicId(1), GroupId(1))]);
        let subscriptions = traffic.subscriptions.take_stock(&[((TopicId(1), GroupId(1)), 0)], 9).shown;
        assert_eq!(subscriptions[0].1.last(), Some(&3));
        assert_eq!(traffic.groups.take_stock(&[(GroupId(1), 0)], 9).shown, [(0, vec![2])]);
    }
}
