//! What each metric of a rule is, of every object that has it.

use crate::model::{GroupName, Millis, TopicName};

use super::survey::{Counted, Growth, SubscriptionFacts, Survey, float, quantile};

/// What milliseconds are in seconds, and microseconds.
const MILLIS: f64 = 1e3;
const MICROS: f64 = 1e6;

/// Fewer deliveries than this in a window say nothing about the share that failed: one of two is no trouble.
const DELIVERIES_MIN: u64 = 10;

/// What a value is about: a topic, a group, a group in a topic, a receiver, or the node when it names nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct About<'a> {
    /// The topic.
    pub topic: Option<&'a TopicName>,
    /// The group.
    pub group: Option<&'a GroupName>,
    /// The receiver, or the peer.
    pub other: Option<&'a str>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Messages that a group has not settled in a topic.
    LagMessages,
    /// How long the oldest of them has waited, in seconds.
    LagSeconds,
    /// Of the deliveries in the window, the share that were retries: 0 to 1.
    RetryRatio,
    /// Of the deliveries in the window, the share that failed: 0 to 1.
    FailureRatio,
    /// Deliveries that failed, a second, over the window.
    FailuresPerSecond,
    /// Dead letters that a group has.
    DeadLetters,
    /// Messages that became dead letters, a second, over the window.
    DeadLetterRate,
    /// How long the oldest message in flight has waited since it became ready, in seconds.
    InFlightSeconds,
    /// Messages that wait for a group that nobody receives from; 0 when somebody does.
    BacklogWithoutConsumers,
    /// In an ordered group: how long the oldest message has waited that fails and that others wait behind, in seconds.
    OrderedHeadBlockedSeconds,
    /// How long the first scheduled message of a topic has been due, in seconds.
    ScheduleLatenessSeconds,
    /// How much of the disk is used: 0 to 1.
    DiskUsedRatio,
    /// What 99 of 100 fsyncs of the window stayed under, in seconds.
    FsyncP99Seconds,
    /// For how long a receiver has not taken what it was sent, in seconds.
    ReceiverFailingSeconds,
}

/// Calls `visit` with every object that has the metric, and its value; none where it is not known.
pub fn measure(
    (metric, window_ms): (Metric, Millis),
    (survey, growth): (&Survey, &Growth),
    visit: &mut dyn FnMut(About<'_>, Option<f64>),
) {
    match metric {
        Metric::LagMessages
        | Metric::LagSeconds
        | Metric::RetryRatio
        | Metric::FailureRatio
        | Metric::FailuresPerSecond
        | Metric::DeadLetterRate
        | Metric::InFlightSeconds
        | Metric::OrderedHeadBlockedSeconds => {
            for one in &survey.subscriptions {
                let about = About { topic: Some(&one.topic), group: Some(&one.group), other: None };
                visit(about, of_subscription((metric, window_ms), one, (survey, growth)));
            }
        }
        Metric::DeadLetters | Metric::BacklogWithoutConsumers => {
            for group in &survey.groups {
                let about = About { group: Some(&group.name), ..About::default() };
                let backlog = if group.consumers == 0 && !group.paused { group.lag } else { 0 };
                let value = if metric == Metric::DeadLetters { group.dead_letters } else { backlog };
                visit(about, Some(float(value)));
            }
        }
        Metric::ScheduleLatenessSeconds => {
            for topic in &survey.topics {
                let about = About { topic: Some(&topic.name), ..About::default() };
                visit(about, Some(float(topic.schedule_overdue_ms) / MILLIS));
            }
        }
        Metric::ReceiverFailingSeconds => {
            for receiver in &survey.receivers {
                let about = About { other: Some(&receiver.name), ..About::default() };
                visit(about, Some(float(receiver.failing_ms) / MILLIS));
            }
        }
        Metric::DiskUsedRatio | Metric::FsyncP99Seconds => {
            visit(About::default(), of_node((metric, window_ms), (survey, growth)));
        }
    }
}

fn of_subscription(
    (metric, window_ms): (Metric, Millis),
    one: &SubscriptionFacts,
    (survey, growth): (&Survey, &Growth),
) -> Option<f64> {
    let window = (window_ms, survey.now);
    let grown = |what| growth.of_subscription(one.key, what, window);
    let share = |what| {
        let (part, delivered) = (grown(what)?, grown(Counted::Delivered)?);
        (delivered >= DELIVERIES_MIN).then(|| float(part) / float(delivered))
    };
    let per_second = |what| {
        let covered = growth.covered_ms(window_ms, survey.now);
        (covered > 0).then_some(float(grown(what)?) * MILLIS / float(covered))
    };
    match metric {
        Metric::LagMessages => Some(float(one.lag)),
        Metric::LagSeconds => Some(float(one.lag_ms?) / MILLIS),
        Metric::InFlightSeconds => Some(float(one.in_flight_ms) / MILLIS),
        Metric::OrderedHeadBlockedSeconds => Some(float(one.blocked_ms) / MILLIS),
        Metric::RetryRatio => share(Counted::Retried),
        Metric::FailureRatio => share(Counted::Failed),
        Metric::FailuresPerSecond => per_second(Counted::Failed),
        Metric::DeadLetterRate => per_second(Counted::Dead),
        _ => None,
    }
}

fn of_node((metric, window_ms): (Metric, Millis), (survey, growth): (&Survey, &Growth)) -> Option<f64> {
    let node = &survey.node;
    match metric {
        Metric::DiskUsedRatio => {
            let total = float(node.disk_total_bytes.filter(|total| *total > 0)?);
            Some(1.0 - float(node.disk_free_bytes) / total)
        }
        Metric::FsyncP99Seconds => {
            let found = growth.fsyncs_since(node.fsyncs.as_ref()?, (window_ms, survey.now))?;
            Some(quantile(&found, 0.99)? / MICROS)
        }
        _ => None,
    }
}
