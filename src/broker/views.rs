//! Plain pictures of topics, groups and the node, for the API, the pages and the metrics alike.

use std::sync::Arc;

use serde::Serialize;

use super::error::BrokerError;
use super::read::StoredMessage;
use crate::machine::Version;
use crate::model::{
    ClientId, DeadLetterFilter, DeadReason, GroupName, GroupSettings, JobId, MessageId, Millis, QueueNo,
    Timestamp, TopicName, TopicSettings,
};

/// One page of a list, and where the next begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// What to pass as `cursor` for the next page; none at the end.
    pub next_cursor: Option<String>,
}

impl<V> Page<V> {
    /// At most `limit` of `rows`; a cursor follows when there are more.
    pub fn of<R>(
        rows: impl Iterator<Item = R>,
        limit: usize,
        cursor: impl Fn(&R) -> String,
        mut view: impl FnMut(R) -> V,
    ) -> Page<V> {
        let mut page = Page { rows: Vec::new(), next_cursor: None };
        let mut last = None;
        for row in rows {
            if page.rows.len() == limit {
                page.next_cursor = last;
                break;
            }
            last = Some(cursor(&row));
            page.rows.push(view(row));
        }
        page
    }
}

/// A topic.
#[derive(Clone, Debug)]
pub struct TopicView {
    /// Its name.
    pub name: TopicName,
    /// The version of its settings.
    pub version: Version,
    /// Its settings.
    pub settings: TopicSettings,
    /// Its queues, in order.
    pub queues: Vec<QueueView>,
    /// Messages waiting for their time.
    pub scheduled: u64,
    /// The groups that subscribe to it.
    pub groups: Vec<GroupName>,
    /// When it was made.
    pub made_at: Timestamp,
}

/// One queue of a topic.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueueView {
    /// Its number.
    pub queue: QueueNo,
    /// The lowest offset that may still be read.
    pub first_kept: u64,
    /// The offset the next message gets.
    pub next_offset: u64,
}

/// A group.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Its name.
    pub name: GroupName,
    /// The version of its settings.
    pub version: Version,
    /// Its settings, with the retry policy in force filled in.
    pub settings: GroupSettings,
    /// Whether it is paused.
    pub paused: bool,
    /// Its dead letters.
    pub dead_letters: u64,
    /// Its leases.
    pub in_flight: u64,
    /// Its members on this node: clients with an open subscription or receive, or a receive in the last minute.
    pub members: u64,
    /// When it was made.
    pub made_at: Timestamp,
    /// One per subscribed topic.
    pub topics: Vec<GroupTopicView>,
}

impl GroupView {
    /// Its lag over all topics.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.topics.iter().map(|topic| topic.lag).sum()
    }

    /// Age since ready of the oldest message of the lag in any topic; 0 when there is none.
    #[must_use]
    pub fn lag_ms(&self) -> Millis {
        self.topics.iter().map(|topic| topic.lag_ms).max().unwrap_or(0)
    }
}

/// A group in one topic.
#[derive(Clone, Debug, Serialize)]
pub struct GroupTopicView {
    /// The topic.
    pub topic: TopicName,
    /// Matching messages that are ready, leased or retrying.
    pub lag: u64,
    /// Whether `lag` still counts messages that may turn out not to match the filter.
    pub counting: bool,
    /// Age since ready of the oldest of them; 0 when there is none, or when none is known
    /// ([`GroupTopicView::known_lag_ms`]).
    pub lag_ms: Millis,
    /// Whether that is the age of the oldest. Not while the index has not got there, or a filter is still asked.
    #[serde(skip)]
    pub(super) is_oldest: bool,
    /// Those that could be leased now or are not looked at yet.
    pub ready: u64,
    /// Those that are leased.
    pub in_flight: u64,
    /// Those that wait for a retry.
    pub retrying: u64,
    /// Per queue: the lowest unsettled offset.
    pub cursors: Vec<u64>,
}

impl GroupTopicView {
    /// The age of the oldest, as far as it is known. That of another than the oldest is a bound from below, and is
    /// told; 0 would be one that says nothing, and that all is well.
    #[must_use]
    pub fn known_lag_ms(&self) -> Option<Millis> {
        (self.is_oldest || self.lag_ms > 0).then_some(self.lag_ms)
    }
}

/// A client of this node.
#[derive(Clone, Debug, Serialize)]
pub struct ClientView {
    /// Its id, while it is known.
    #[serde(serialize_with = "as_text")]
    pub id: ClientId,
    /// Its name: `Mq-Client`, else its address.
    pub name: Arc<str>,
    /// `socket` or `http`.
    pub kind: &'static str,
    /// Where it is connected from; over HTTP, where it received from last.
    pub peer: Arc<str>,
    /// When it was first seen.
    #[serde(serialize_with = "as_text")]
    pub since: Timestamp,
    /// When something came from it last.
    #[serde(serialize_with = "as_text")]
    pub last_seen: Timestamp,
    /// Whether it is a WebSocket that leaves unread what waits for it.
    pub slow: bool,
    /// The groups it is a member of: a socket once for each subscription.
    pub groups: Vec<ClientGroupView>,
}

/// A client in one group.
#[derive(Clone, Debug, Serialize)]
pub struct ClientGroupView {
    /// The group.
    pub group: GroupName,
    /// How messages get to it: `prefetch` or `credit` over a WebSocket, `receive` over HTTP.
    pub mode: &'static str,
    /// The name its leases have.
    pub client: Arc<str>,
    /// The messages it holds unsettled; none when there are too many to count.
    pub in_flight: Option<u64>,
    /// What the socket calls this subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<Box<str>>,
    /// The only topic it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicName>,
    /// Over a WebSocket: messages that it may still get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit: Option<u64>,
    /// Over a WebSocket: whether the client has paused the subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Over HTTP: receives that wait now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetterView {
    /// The message.
    pub id: MessageId,
    /// The topic it was in.
    pub topic: TopicName,
    /// The queue.
    pub queue: QueueNo,
    /// The offset.
    pub offset: u64,
    /// Why it is here.
    pub reason: DeadReason,
    /// Since when.
    pub dead_at: Timestamp,
    /// The round in which it died.
    pub round: u32,
    /// Failed deliveries in that round.
    pub attempts: u32,
    /// Its failed deliveries, oldest first; the first and the last 15.
    pub failures: Vec<FailureView>,
    /// Failed deliveries over all rounds.
    pub failures_total: u32,
}

/// What a redrive would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    /// Dead letters that would move.
    pub would_move: u64,
    /// Dead letters looked at.
    pub looked: u64,
    /// Whether there are more that were not looked at.
    pub truncated: bool,
}

/// A stretch of a group's dead letters.
#[derive(Clone, Debug, Default)]
pub struct ExportPage {
    /// Each with its message, or why that cannot be read.
    pub letters: Vec<(DeadLetterView, Result<StoredMessage, BrokerError>)>,
    /// The last of them when there are more behind it.
    pub next: Option<MessageId>,
}

/// A job.
#[derive(Clone, Debug)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// The group.
    pub group: GroupName,
    /// Which dead letters it moves.
    pub filter: Arc<DeadLetterFilter>,
    /// Where they go; none: back.
    pub to: Option<TopicName>,
    /// At most this many a second.
    pub rate_per_s: Option<u32>,
    /// `running`, `done`, `cancelled` or `failed`.
    pub state: &'static str,
    /// Why it failed.
    pub error: Option<&'static str>,
    /// Dead letters of the group when it started.
    pub total: u64,
    /// Those it has looked at.
    pub looked: u64,
    /// Those that moved.
    pub moved: u64,
    /// Those that fit and could not be moved, or could not be read.
    pub failed: u64,
    /// Moved a second so far, on average.
    pub moved_per_s: u64,
    /// How long it may still run; none when it ended or that is not known.
    pub eta_ms: Option<Millis>,
    /// Since when.
    pub started_at: Timestamp,
    /// When it ended; none: it runs.
    pub ended_at: Option<Timestamp>,
}

/// One failed delivery.
#[derive(Clone, Debug, Serialize)]
pub struct FailureView {
    /// When.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// `lease_expired`, `connection_lost`, `nack` or `rejected`.
    pub cause: &'static str,
    /// The consumer's words.
    pub reason: Option<String>,
}

pub(super) fn as_text<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: std::fmt::Display,
    S: serde::Serializer,
{
    serializer.collect_str(value)
}

/// The node as `/readyz?verbose`, `/v1/version` and the status page show it.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Raft node id.
    pub node_id: u64,
    /// Cluster id, as text.
    pub cluster_id: String,
    /// Raft term.
    pub term: u64,
    /// Whether this node leads.
    pub leader: bool,
    /// Last log index that took part in the state.
    pub applied: u64,
    /// Last log index on this disk.
    pub last: u64,
    /// Log time now.
    pub log_time: Timestamp,
    /// Bytes of all segments.
    pub log_bytes: u64,
    /// Free bytes of the file system, as last measured.
    pub free_bytes: u64,
    /// Up to which log index the queue index is made.
    pub indexed: u64,
    /// Since when the process runs.
    pub started_at: Timestamp,
}

/// Whether the node can do its work.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// The answer.
    pub ready: bool,
    /// Each check: name, passed, what it found.
    pub checks: Vec<(&'static str, bool, String)>,
}
