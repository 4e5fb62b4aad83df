//! What a rule can measure.

use serde::{Deserialize, Serialize};

/// What a rule measures. What is per second or a share is taken over the rule's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertMetric {
    /// Messages that match a group's subscription and are not settled.
    LagMessages,
    /// Age of the oldest of them, in seconds.
    LagSeconds,
    /// Deliveries that were not the first of their message, as a share of all; 0 to 1.
    RetryRatio,
    /// Deliveries that failed (nack, lease run out, connection lost), as a share of all; 0 to 1.
    FailureRatio,
    /// Deliveries that failed, a second.
    FailuresPerSecond,
    /// Dead letters of a group.
    DeadLetters,
    /// Messages that died, a second.
    DeadLettersPerSecond,
    /// How long the oldest lease of a group has been out, in seconds.
    InFlightSeconds,
    /// Messages that wait in a group in which nobody asks for any.
    BacklogWithoutConsumers,
    /// How long messages of an ordered group have waited behind one that failed, in seconds.
    HeadBlockedSeconds,
    /// How far a scheduled message is behind its time, in seconds.
    ScheduleLatenessSeconds,
    /// Share of the disk that is used; 0 to 1.
    DiskUsedRatio,
    /// 99th percentile of what one fdatasync takes, in seconds.
    FsyncP99Seconds,
    /// How long a receiver of notifications has taken none, in seconds.
    ReceiverFailingSeconds,
}

/// What a metric is one of each of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricObject {
    /// A group in a topic: labels `topic` and `group`.
    Subscription,
    /// A group: label `group`.
    Group,
    /// A topic: label `topic`.
    Topic,
    /// A receiver: label `receiver`.
    Receiver,
    /// The node: no label.
    Node,
}

impl AlertMetric {
    /// All of them.
    pub const ALL: [AlertMetric; 14] = [
        AlertMetric::LagMessages,
        AlertMetric::LagSeconds,
        AlertMetric::RetryRatio,
        AlertMetric::FailureRatio,
        AlertMetric::FailuresPerSecond,
        AlertMetric::DeadLetters,
        AlertMetric::DeadLettersPerSecond,
        AlertMetric::InFlightSeconds,
        AlertMetric::BacklogWithoutConsumers,
        AlertMetric::HeadBlockedSeconds,
        AlertMetric::ScheduleLatenessSeconds,
        AlertMetric::DiskUsedRatio,
        AlertMetric::FsyncP99Seconds,
        AlertMetric::ReceiverFailingSeconds,
    ];

    /// What it is one of each of.
    #[must_use]
    pub fn object(self) -> MetricObject {
        match self {
            AlertMetric::LagMessages
            | AlertMetric::LagSeconds
            | AlertMetric::RetryRatio
            | AlertMetric::FailureRatio
            | AlertMetric::FailuresPerSecond
            | AlertMetric::DeadLettersPerSecond
            | AlertMetric::InFlightSeconds
            | AlertMetric::HeadBlockedSeconds => MetricObject::Subscription,
            AlertMetric::DeadLetters | AlertMetric::BacklogWithoutConsumers => MetricObject::Group,
            AlertMetric::ScheduleLatenessSeconds => MetricObject::Topic,
            AlertMetric::ReceiverFailingSeconds => MetricObject::Receiver,
            AlertMetric::DiskUsedRatio | AlertMetric::FsyncP99Seconds => MetricObject::Node,
        }
    }

    /// Its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AlertMetric::LagMessages => "lag_messages",
            AlertMetric::LagSeconds => "lag_seconds",
            AlertMetric::RetryRatio => "retry_ratio",
            AlertMetric::FailureRatio => "failure_ratio",
            AlertMetric::FailuresPerSecond => "failures_per_second",
            AlertMetric::DeadLetters => "dead_letters",
            AlertMetric::DeadLettersPerSecond => "dead_letters_per_second",
            AlertMetric::InFlightSeconds => "in_flight_seconds",
            AlertMetric::BacklogWithoutConsumers => "backlog_without_consumers",
            AlertMetric::HeadBlockedSeconds => "head_blocked_seconds",
            AlertMetric::ScheduleLatenessSeconds => "schedule_lateness_seconds",
            AlertMetric::DiskUsedRatio => "disk_used_ratio",
            AlertMetric::FsyncP99Seconds => "fsync_p99_seconds",
            AlertMetric::ReceiverFailingSeconds => "receiver_failing_seconds",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_json_is_the_name() {
        for metric in AlertMetric::ALL {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.as_str());
        }
    }
}
