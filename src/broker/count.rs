//! Counts what batches did, once for each batch. Nothing waits for it and nothing depends on it.

use crate::machine::{Batch, Delivered, Fact, FailCause};
use crate::model::{DeadReason, GroupId, Timestamp, TopicId};
use crate::observe::{OfGroup, OfSubscription, OfTopic, Recorder, Traffic};

use super::core::Core;
use super::delivery::Delivery;

/// Counts an applied batch.
pub(super) fn batch(traffic: &Traffic, batch: &Batch) {
    traffic.batch_facts.observe(wide(batch.facts.len()));
    let mut record = traffic.record();
    for fact in &batch.facts {
        if let Fact::ScheduleDue(due) = fact {
            traffic.lateness.observe(batch.time.since(due.due));
        }
        count(&mut record, fact, batch.time);
    }
}

/// Counts messages that are handed over at log time `now`.
pub(super) fn deliveries(traffic: &Traffic, deliveries: &[Delivery], now: Timestamp) {
    let mut record = traffic.record();
    for received in deliveries.iter().map(Delivery::received) {
        for leased in &received.messages {
            let key = (leased.topic, received.group);
            record.subscription(key, OfSubscription::DeliveredBytes, leased.body_bytes.into());
            if leased.attempt == 1 && leased.round == 1 {
                traffic.end_to_end.observe(now.since(leased.ready_at));
            }
        }
    }
}

/// Drops the counters of what is deleted.
pub(super) fn forget_deleted(core: &Core) {
    let traffic = &core.traffic;
    // The counters first: what has counted by now is in the state that is read after them, unless it is gone.
    let (topics, subscriptions, groups) =
        (traffic.topics.keys(), traffic.subscriptions.keys(), traffic.groups.keys());
    let machine = core.machine.snapshot();
    let subscribes = |(topic, group): &(TopicId, GroupId)| {
        machine.group_by_id(*group).is_some_and(|found| found.progress(*topic, 0).is_some())
    };
    traffic.topics.forget(topics.into_iter().filter(|id| machine.topic_by_id(*id).is_none()));
    traffic.subscriptions.forget(subscriptions.into_iter().filter(|key| !subscribes(key)));
    traffic.groups.forget(groups.into_iter().filter(|id| machine.group_by_id(*id).is_none()));
}

fn count(record: &mut Recorder<'_>, fact: &Fact, time: Timestamp) {
    use OfSubscription as Of;
    match fact {
        Fact::Produced(produced) => {
            record.topic(produced.topic, OfTopic::ProducedMessages, 1);
            record.topic(produced.topic, OfTopic::ProducedBytes, wide(produced.message.body.len()));
        }
        Fact::Delivered(delivered) => count_delivered(record, delivered),
        Fact::Acked { group, topic, places, .. } => {
            record.subscription((*topic, *group), Of::Acked, wide(places.len()));
        }
        Fact::Failed { group, topic, cause, due, .. } => {
            let key = (*topic, *group);
            record.subscription(key, failed_as(cause), 1);
            record.subscription(key, Of::Retried, u64::from(*due <= time));
        }
        Fact::Dead { group, topic, reason, cause, .. } => {
            let key = (*topic, *group);
            record.subscription(key, died_as(*reason), 1);
            if let Some(cause) = cause {
                record.subscription(key, failed_as(cause), 1);
            }
        }
        Fact::GivenBack { group, topic, places, .. } => {
            record.subscription((*topic, *group), Of::GivenBack, wide(places.len()));
        }
        Fact::RetryDue { group, topic, places, .. } => {
            record.subscription((*topic, *group), Of::Retried, wide(places.len()));
        }
        Fact::Expired { group, topic, places, beyond, .. } => {
            let key = (*topic, *group);
            let dead = beyond.iter().filter(|expiry| expiry.dead).count();
            record.subscription(key, Of::DeadExpired, wide(dead));
            record.subscription(key, Of::Expired, wide(places.len() + beyond.len() - dead));
        }
        Fact::Redriven { group, positions, .. } | Fact::DeadMoved { group, positions } => {
            record.group(*group, OfGroup::Redriven, wide(positions.len()));
        }
        _ => {}
    }
}

fn count_delivered(record: &mut Recorder<'_>, delivered: &Delivered) {
    use OfSubscription as Of;
    let key = (delivered.topic, delivered.group);
    let leased = delivered.fresh.iter().filter(|fresh| fresh.nonce.is_some()).count() + delivered.again.len();
    let dead = delivered.expired.iter().filter(|expiry| expiry.dead).count();
    record.subscription(key, Of::DeliveredMessages, wide(leased));
    record.subscription(key, Of::DeadExpired, wide(dead));
    record.subscription(key, Of::Expired, wide(delivered.expired.len() - dead));
}

fn failed_as(cause: &FailCause) -> OfSubscription {
    match cause {
        FailCause::RanOut => OfSubscription::LeaseExpired,
        FailCause::Broken => OfSubscription::ConnectionLost,
        FailCause::Nacked { .. } => OfSubscription::Nacked,
        FailCause::Rejected { .. } => OfSubscription::Rejected,
    }
}

fn died_as(reason: DeadReason) -> OfSubscription {
    match reason {
        DeadReason::MaxAttempts => OfSubscription::DeadMaxAttempts,
        DeadReason::Rejected => OfSubscription::DeadRejected,
        DeadReason::Expired => OfSubscription::DeadExpired,
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
