//! What the broker looks like at one moment, in the numbers that rules are about.

use std::collections::VecDeque;

use crate::model::{Distribution, GroupId, GroupName, Millis, Timestamp, TopicId, TopicName};
use crate::observe::traffic::{OfSubscription as Sub, Traffic};

use super::windows::Windows;

/// Everything that rules may ask about, at `now`. What no rule asks about may be left out: its vectors are empty, its
/// numbers 0.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The moment, in log time.
    pub now: Timestamp,
    /// The node.
    pub node: NodeFacts,
    /// Every topic.
    pub topics: Vec<TopicFacts>,
    /// Every group.
    pub groups: Vec<GroupFacts>,
    /// Every group in every topic that it reads.
    pub subscriptions: Vec<SubscriptionFacts>,
    /// Every receiver of notifications.
    pub receivers: Vec<ReceiverFacts>,
}

/// The node.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// Bytes that the file system of the data directory has left, and has in all when that is known.
    pub disk_free_bytes: u64,
    /// See `disk_free_bytes`.
    pub disk_total_bytes: Option<u64>,
    /// How long the first scheduled message of any topic has been due.
    pub schedule_overdue_ms: Millis,
    /// How long fsyncs took since the start of the process.
    pub fsyncs: Option<Distribution>,
    /// By peer, how many log entries it is behind.
    pub peers: Vec<(u64, u64)>,
}

/// A topic.
#[derive(Clone, Debug)]
pub struct TopicFacts {
    /// Its number.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Messages that wait for their time.
    pub scheduled: u64,
    /// How long the first of them has been due.
    pub schedule_overdue_ms: Millis,
}

/// A group.
#[derive(Clone, Debug)]
pub struct GroupFacts {
    /// Its number.
    pub id: GroupId,
    /// Its name.
    pub name: GroupName,
    /// Its dead letters.
    pub dead_letters: u64,
    /// Its members on this node.
    pub consumers: u64,
    /// What it has not settled, over all topics.
    pub lag: u64,
    /// It hands out nothing, because somebody wants that.
    pub paused: bool,
}

/// A group in one topic.
#[derive(Clone, Debug)]
pub struct SubscriptionFacts {
    /// The topic and the group.
    pub key: (TopicId, GroupId),
    /// The topic's name.
    pub topic: TopicName,
    /// The group's name.
    pub group: GroupName,
    /// Messages that are not settled.
    pub lag: u64,
    /// How long the oldest of them has waited; none while a filter has yet to find it.
    pub lag_ms: Option<Millis>,
    /// How long the oldest message that is in flight has waited since it became ready.
    pub in_flight_ms: Millis,
    /// In an ordered group: how long the oldest message has waited that failed and that others wait behind.
    pub blocked_ms: Millis,
}

/// A receiver of notifications.
#[derive(Clone, Debug)]
pub struct ReceiverFacts {
    /// Its name.
    pub name: String,
    /// For how long it has not taken what it was sent; 0 when nothing failed.
    pub failing_ms: Millis,
}

/// What the counters grew by: what rates and ratios are made of.
#[derive(Debug, Default)]
pub struct Growth {
    subscriptions: Windows<(TopicId, GroupId), 4>,
    fsyncs: VecDeque<(Timestamp, Distribution)>,
    keep_ms: Millis,
}

/// A counter of a subscription.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    Delivered,
    Failed,
    Retried,
    Dead,
}

/// The counters of [`Counted`], in that order.
const SUBSCRIPTION_SUMS: [&[usize]; 4] = [
    &[Sub::DeliveredMessages as usize],
    &[Sub::Nacked as usize, Sub::Rejected as usize, Sub::LeaseExpired as usize, Sub::ConnectionLost as usize],
    &[Sub::Retried as usize],
    &[Sub::DeadMaxAttempts as usize, Sub::DeadRejected as usize, Sub::DeadExpired as usize],
];

/// How far apart the noted fsync counts are, at least. There is one row of them.
const FSYNCS_EVERY_MS: Millis = 5_000;

impl Growth {
    /// Forgets everything: this node did not lead in between.
    pub fn clear(&mut self) {
        *self = Growth::default();
    }

    /// Notes what is counted by now. Nobody looks further back than `keep_ms`.
    pub fn note(&mut self, traffic: &Traffic, fsyncs: Distribution, (now, keep_ms): (Timestamp, Millis)) {
        self.keep_ms = keep_ms;
        self.subscriptions.keep(keep_ms);
        self.subscriptions.note(now, traffic.subscriptions.totals(SUBSCRIPTION_SUMS));
        if self.fsyncs.back().is_none_or(|(at, _)| now.since(*at) >= FSYNCS_EVERY_MS) {
            self.fsyncs.push_back((now, fsyncs));
        }
        // The newest of those that are too old is where the window begins.
        while self.fsyncs.get(1).is_some_and(|(at, _)| now.since(*at) >= keep_ms) {
            self.fsyncs.pop_front();
        }
    }

    pub(super) fn of_subscription(
        &self,
        key: (TopicId, GroupId),
        what: Counted,
        (window_ms, now): (Millis, Timestamp),
    ) -> Option<u64> {
        self.subscriptions.growth(&key, what as usize, window_ms, now)
    }

    /// How much of a window has been looked at.
    pub fn covered_ms(&self, window_ms: Millis, now: Timestamp) -> Millis {
        self.subscriptions.covered_ms(window_ms, now)
    }

    /// The fsyncs of the window that ends with `until`; none when there were none.
    pub(super) fn fsyncs_since(
        &self,
        until: &Distribution,
        (window_ms, now): (Millis, Timestamp),
    ) -> Option<Distribution> {
        let horizon = Timestamp(now.0.saturating_sub(window_ms));
        let older = self.fsyncs.iter().rev().find(|(at, _)| *at <= horizon).or(self.fsyncs.front());
        let (_, from) = older?;
        let pairs = until.counts.iter().zip(&from.counts);
        let counts: Vec<u64> = pairs.map(|(until, from)| until.saturating_sub(*from)).collect();
        let sum = until.sum.saturating_sub(from.sum);
        counts.iter().any(|count| *count > 0).then_some(Distribution { bounds: until.bounds, counts, sum })
    }
}

/// The value that `share` (0 to 1) of what was observed is not above, in the unit of the distribution: within a bucket
/// as if its values were spread evenly, above the last bound that bound. None when nothing was observed.
#[must_use]
pub fn quantile(found: &Distribution, share: f64) -> Option<f64> {
    let total: u64 = found.counts.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = share * float(total);
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, bound) in found.counts.iter().zip(found.bounds) {
        let (count, upper) = (float(*count), float(*bound));
        if count > 0.0 && below + count >= rank {
            return Some(lower + (upper - lower) * ((rank - below) / count));
        }
        below += count;
        lower = upper;
    }
    Some(lower)
}

/// Whole numbers are exact up to 2^53, which is enough to be told of.
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let found = Distribution { bounds: &[10, 20, 40], counts: vec![50, 40, 9, 1], sum: 0 };
        assert_eq!(quantile(&found, 0.5), Some(10.0));
        assert_eq!(quantile(&found, 0.7), Some(15.0));
        assert_eq!(quantile(&found, 0.99), Some(40.0));
        assert_eq!(quantile(&found, 1.0), Some(40.0), "above all bounds it is the last one");
        let nothing = Distribution { bounds: &[10], counts: vec![0, 0], sum: 0 };
        assert_eq!(quantile(&nothing, 0.5), None);
    }

    #[test]
    fn fsyncs_are_those_of_the_window() {
        let counts = |slow| Distribution { bounds: &[10, 20], counts: vec![1_000, slow, 0], sum: 0 };
        let traffic = Traffic::default();
        let mut growth = Growth::default();
        for (second, slow) in [(0, 0), (10, 0), (20, 6), (30, 6)] {
            growth.note(&traffic, counts(slow), (Timestamp(second * 1_000), 15_000));
        }
        let window = |window_ms| growth.fsyncs_since(&counts(7), (window_ms, Timestamp(30_000)));
        assert_eq!(window(10_000).unwrap().counts, [0, 1, 0]);
        assert_eq!(window(15_000).unwrap().counts, [0, 7, 0]);
        assert_eq!(growth.fsyncs_since(&counts(6), (5_000, Timestamp(30_000))), None);
        assert_eq!(growth.fsyncs.len(), 3, "what nobody looks back to is gone");
    }
}
