//! The trace of a message, as the interface shows it.

use serde::{Serialize, Serializer};

use crate::machine::FailCause;
use crate::model::{DeadReason, GroupName, MessageId, QueueNo, Timestamp, TopicName};

use super::super::views::as_text;
use super::cursor::TraceCursor;

/// The life of one message, or a part of it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The message.
    pub id: MessageId,
    /// Its topic.
    pub topic: TopicName,
    /// Its queue.
    pub queue: QueueNo,
    /// Its offset, as far as this trace or a page before has come by it; none while it is scheduled.
    pub offset: Option<u64>,
    /// What happened, in the order of the log.
    pub events: Vec<TraceEvent>,
    /// Stretches of the log that retention removed: what happened in them is not told.
    pub gone: Vec<Gap>,
    /// Whether more groups met the message than a trace follows ([`crate::model::TRACE_GROUPS_MAX`]).
    pub groups_left_out: bool,
    /// Log entries read for this page.
    pub scanned: u64,
    /// Their bytes.
    pub scanned_bytes: u64,
    /// Segments that were passed over, because their trails say that they hold nothing about the message.
    pub segments_passed: u64,
    /// Where to go on; none at the end of the log.
    pub next: Option<TraceCursor>,
}

/// A stretch of the log that is gone.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Gap {
    /// Log time of the last entry before it.
    #[serde(serialize_with = "as_text")]
    pub from: Timestamp,
    /// Log time of the first entry behind it.
    #[serde(serialize_with = "as_text")]
    pub to: Timestamp,
}

/// One thing that happened to a message. What does not apply is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceEvent {
    /// Log time.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// What happened.
    pub event: Happening,
    /// The group it happened in; none for the message itself, and when the group is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// The number of that group's incarnation: a group that is deleted and made again gets another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_number: Option<u32>,
    /// Everything else.
    #[serde(flatten)]
    pub details: Details,
}

/// What belongs to one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// Who got it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The delivery that this is about, counted from 1 in its round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The round of it. Not known of deliveries in logs of versions that did not write it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// When the lease runs out.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_maybe_text")]
    pub lease_expires_at: Option<Timestamp>,
    /// When it is to be ready.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_maybe_text")]
    pub ready_at: Option<Timestamp>,
    /// How the delivery failed: as in the history of a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The consumer's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it is a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_reason: Option<DeadReason>,
}

/// What can happen to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// It was accepted; with `ready_at` when it was scheduled, else it was ready at once.
    Accepted,
    /// A scheduled message came due and took its place in the queue.
    Ready,
    /// It was taken back before it was ready, and never will be.
    Cancelled,
    /// It was leased to a client.
    Delivered,
    /// The group looked at it, and it waits behind another message of its lane.
    Parked,
    /// The group's filter did not take it.
    PassedOver,
    /// Its lease lasts longer, or shorter.
    Extended,
    /// A delivery failed; it is retrying until `ready_at`.
    Failed,
    /// It should be a dead letter; there is no room, and it is looked at again at `ready_at`.
    WaitsForRoom,
    /// The lease ended without a failure.
    GivenBack,
    /// The retry delay is over.
    RetryDue,
    /// A consumer is done with it.
    Acked,
    /// It outlived its TTL.
    Expired,
    /// It became a dead letter.
    DeadLettered,
    /// It went from the dead letters back to the end of its lane, in a new round.
    Redriven,
    /// It went from the dead letters on to another topic, as a new message.
    Moved,
    /// It was thrown away with the dead letters of its group.
    Purged,
    /// A seek went past it.
    SkippedBySeek,
    /// A seek made it ready again.
    ReplayedBySeek,
    /// A seek ended its lease or its retry; a redriven message stays.
    LeaseCancelledBySeek,
    /// The group does not subscribe to the topic any more, and dropped it.
    Unsubscribed,
    /// The group was deleted, and dropped it.
    GroupDeleted,
}

impl Details {
    /// How a delivery failed, in the words of a dead letter's history.
    pub(super) fn failed(cause: Option<&FailCause>) -> Details {
        let (cause, reason) = cause.map(FailCause::words).unzip();
        Details { cause, reason: reason.flatten().map(str::to_owned), ..Details::default() }
    }
}

fn as_maybe_text<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_text(time, serializer),
        None => serializer.serialize_none(),
    }
}
