//! What can be asked of the machine, and what it answers.

use std::sync::Arc;

use crate::model::{
    GroupId, GroupName, Message, Millis, Place, Position, QueueNo, Receipt, RequestKey, Timestamp, TopicId,
    TopicName,
};

use super::refusal::Refusal;

/// Messages for one topic.
#[derive(Clone, Debug)]
pub struct ProduceRequest {
    /// The topic.
    pub topic: TopicName,
    /// Whether a missing topic is made.
    pub auto_create: bool,
    /// The messages, already checked against the limits.
    pub messages: Vec<NewMessage>,
}

/// What a produce request asks for besides that its messages are accepted, each for itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// All messages, or none.
    pub atomic: bool,
    /// Once: a request that was carried out under this key is not carried out again.
    pub key: Option<RequestKey>,
    /// Most keys this node remembers.
    pub keys_max: usize,
}

/// What became of a request on [`Terms`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProduceOutcome {
    /// It was carried out now; what became of each message, in input order.
    Now(Vec<Result<Accepted, Refusal>>),
    /// It was carried out before: what became of it is told by the [`super::Remembered`] that stands here. The index
    /// may be [`super::OWN_ENTRY`].
    Before(Position),
}

/// A message to be accepted.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// The message.
    pub message: Arc<Message>,
    /// An explicit queue.
    pub queue: Option<u64>,
    /// When it is to become ready.
    pub delay: Delay,
    /// Time to live, counted from ready.
    pub ttl_ms: Option<Millis>,
}

/// When a message becomes ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delay {
    /// At once.
    #[default]
    None,
    /// This long after it is accepted.
    For(Millis),
    /// At this time; the past means at once.
    At(Timestamp),
}

/// A message that was accepted; its id follows from the entry's index and this slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its slot in the entry.
    pub slot: u16,
    /// Its queue.
    pub queue: QueueNo,
    /// Its offset; none while it is scheduled.
    pub offset: Option<u64>,
    /// When a scheduled message is due.
    pub due: Option<Timestamp>,
}

/// A wish for messages.
#[derive(Clone, Debug)]
pub struct ReceiveRequest {
    /// The group.
    pub group: GroupName,
    /// Only this topic; for a group that does not exist, what it is made to subscribe to.
    pub topic: Option<TopicName>,
    /// Whether a missing topic is made along with a missing group.
    pub auto_create: bool,
    /// At most this many messages.
    pub max_messages: u32,
    /// At most this many body bytes, but always one message.
    pub max_bytes: u64,
    /// How long the leases last; none: as the group is set.
    pub lease_ms: Option<Millis>,
    /// 0 for HTTP, else the WebSocket subscription.
    pub session: u64,
    /// The member's name.
    pub client: Arc<str>,
    /// Which queue to begin with (modulo), so that receives take turns.
    pub turn: u32,
}

/// What a receive found.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The group.
    pub group: GroupId,
    /// What was leased; empty when nothing is ready.
    pub messages: Vec<Leased>,
    /// The group is paused.
    pub paused: bool,
    /// There is more to look at than the candidates showed: worth asking again in the next batch.
    pub look_on: bool,
}

/// One leased message; body and attributes are read afterwards by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// The message; index [`super::OWN_ENTRY`] stands for the entry being decided.
    pub position: Position,
    /// Its topic.
    pub topic: TopicId,
    /// Its topic's name.
    pub topic_name: TopicName,
    /// Its queue.
    pub queue: QueueNo,
    /// Its place in the group's order.
    pub place: Place,
    /// Its offset.
    pub offset: u64,
    /// Round of this delivery.
    pub round: u32,
    /// Attempt of this delivery.
    pub attempt: u32,
    /// The group's bound for it.
    pub max_attempts: u32,
    /// When the lease runs out.
    pub until: Timestamp,
    /// The lease's secret.
    pub nonce: u64,
    /// When it became ready.
    pub ready_at: Timestamp,
    /// Bytes of its body.
    pub body_bytes: u32,
}

impl Leased {
    /// The receipt, once the entry's index is known.
    #[must_use]
    pub fn receipt(&self, group: GroupId, entry_index: u64) -> Receipt {
        Receipt {
            group,
            topic: self.topic,
            queue: self.queue,
            place: self.place,
            position: self.position_in(entry_index),
            round: self.round,
            attempt: self.attempt,
            nonce: self.nonce,
        }
    }

    /// The message's position, once the entry's index is known.
    #[must_use]
    pub fn position_in(&self, entry_index: u64) -> Position {
        if self.position.index == super::OWN_ENTRY {
            Position { index: entry_index, slot: self.position.slot }
        } else {
            self.position
        }
    }
}

/// What to do with one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleOp {
    /// Done.
    Ack,
    /// Failed; try again.
    Nack {
        /// Overrides the retry policy once; 0 is at once.
        delay_ms: Option<Millis>,
        /// The consumer's words.
        reason: Option<Box<str>>,
    },
    /// Not done yet.
    Extend {
        /// From now; none: the group's.
        lease_ms: Option<Millis>,
    },
    /// Failed for good.
    DeadLetter {
        /// The consumer's words.
        reason: Option<Box<str>>,
    },
    /// Not processed and not failed: unsubscribe, orderly close, drain, answer not delivered.
    GiveBack,
    /// The connection that held the lease broke.
    Broken,
}

/// What became of one settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleStatus {
    /// Done.
    Ok(SettledAs),
    /// The message is settled in this group, or nacked by this very receipt; nothing changed.
    Already,
    /// The receipt is void; nothing changed.
    Expired,
    /// Not a receipt of this group.
    Invalid,
}

/// The state a settle led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettledAs {
    /// Acked.
    Acked,
    /// Waiting for its retry.
    Retrying {
        /// Until then.
        ready_at: Timestamp,
    },
    /// A dead letter.
    Dead,
    /// Still leased.
    Leased {
        /// Until then.
        until: Timestamp,
    },
    /// Ready again.
    Ready,
}

/// Where a seek goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// The first kept message.
    Earliest,
    /// Behind the last message.
    Latest,
    /// The first message ready at or after this time; offsets come as candidates.
    Time(Timestamp),
    /// This offset of one queue; the other queues stay.
    Offset {
        /// The queue.
        queue: QueueNo,
        /// The offset; clamped to what is kept.
        offset: u64,
    },
}

/// What a seek did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SeekCounts {
    /// Unsettled messages that count as acked now.
    pub skipped: u64,
    /// Acked messages that are ready again.
    pub replayed: u64,
    /// Leases that ended.
    pub leases_cancelled: u64,
}

/// How a `PUT` treats what exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutMode {
    /// Make or replace.
    #[default]
    Upsert,
    /// Only make (`If-None-Match: *`).
    CreateOnly,
}

/// What a `PUT` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutDone {
    /// It is new.
    Created,
    /// It was changed.
    Changed,
    /// It was like this already; nothing was written.
    Unchanged,
}
