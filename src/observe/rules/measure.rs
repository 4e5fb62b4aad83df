//! What each metric of a rule is, of every object that has it.

use crate::model::Millis;
use crate::model::alert::{AlertMetric, MetricObject};

use super::survey::{Counted, Growth, SubscriptionFacts, Survey, float, quantile};

/// What milliseconds are in seconds, and microseconds.
const MILLIS: f64 = 1e3;
const MICROS: f64 = 1e6;

/// Fewer deliveries than this in a window say nothing about the share that failed: one of two is no trouble.
pub const DELIVERIES_MIN: u64 = 10;

/// What a value is about: a topic, a group, a group in a topic, a receiver, or the node when it names nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct About<'a> {
    /// The topic.
    pub topic: Option<&'a str>,
    /// The group.
    pub group: Option<&'a str>,
    /// The receiver.
    pub receiver: Option<&'a str>,
}

/// Calls `visit` with every object that has the metric, and its value; none where it is not known.
pub fn measure(
    (metric, window_ms): (AlertMetric, Millis),
    (survey, growth): (&Survey, &Growth),
    visit: &mut dyn FnMut(About<'_>, Option<f64>),
) {
    match metric.object() {
        MetricObject::Subscription => {
            for one in &survey.subscriptions {
                let (topic, group) = (Some(one.topic.as_str()), Some(one.group.as_str()));
                let value = of_subscription((metric, window_ms), one, (survey, growth));
                visit(About { topic, group, receiver: None }, value);
            }
        }
        MetricObject::Group => {
            for group in &survey.groups {
                let about = About { group: Some(group.name.as_str()), ..About::default() };
                let backlog = if group.consumers == 0 && !group.paused { group.lag } else { 0 };
                let is_dead = metric == AlertMetric::DeadLetters;
                visit(about, Some(float(if is_dead { group.dead_letters } else { backlog })));
            }
        }
        MetricObject::Topic => {
            for topic in &survey.topics {
                let about = About { topic: Some(topic.name.as_str()), ..About::default() };
                visit(about, Some(float(topic.schedule_overdue_ms) / MILLIS));
            }
        }
        MetricObject::Receiver => {
            for receiver in &survey.receivers {
                let about = About { receiver: Some(&receiver.name), ..About::default() };
                visit(about, Some(float(receiver.failing_ms) / MILLIS));
            }
        }
        MetricObject::Node => visit(About::default(), of_node((metric, window_ms), (survey, growth))),
    }
}

fn of_subscription(
    (metric, window_ms): (AlertMetric, Millis),
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
        AlertMetric::LagMessages => Some(float(one.lag)),
        AlertMetric::LagSeconds => Some(float(one.lag_ms?) / MILLIS),
        AlertMetric::InFlightSeconds => Some(float(one.in_flight_ms) / MILLIS),
        AlertMetric::HeadBlockedSeconds => Some(float(one.blocked_ms) / MILLIS),
        AlertMetric::RetryRatio => share(Counted::Retried),
        AlertMetric::FailureRatio => share(Counted::Failed),
        AlertMetric::FailuresPerSecond => per_second(Counted::Failed),
        AlertMetric::DeadLettersPerSecond => per_second(Counted::Dead),
        _ => None,
    }
}

fn of_node((metric, window_ms): (AlertMetric, Millis), (survey, growth): (&Survey, &Growth)) -> Option<f64> {
    let node = &survey.node;
    match metric {
        AlertMetric::DiskUsedRatio => {
            let total = float(node.disk_total_bytes.filter(|total| *total > 0)?);
            Some(1.0 - float(node.disk_free_bytes) / total)
        }
        AlertMetric::FsyncP99Seconds => {
            let found = growth.fsyncs_since(node.fsyncs.as_ref()?, (window_ms, survey.now))?;
            Some(quantile(&found, 0.99)? / MICROS)
        }
        _ => None,
    }
}
