//! Messages as they are read back.

use crate::machine::Leased;
use crate::model::{Message, MessageId, QueueNo, Receipt, Timestamp, TopicName};

/// A message that was leased to a consumer.
#[derive(Clone, Debug)]
pub struct DeliveredMessage {
    /// Its id.
    pub id: MessageId,
    /// The lease.
    pub leased: Leased,
    /// The proof of the lease.
    pub receipt: Receipt,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Body and attributes.
    pub message: Message,
}

/// A message that was only looked at.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// Its topic.
    pub topic: TopicName,
    /// Its queue.
    pub queue: QueueNo,
    /// Its offset; none while it is scheduled, or when it is not known cheaply.
    pub offset: Option<u64>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When a scheduled message is due.
    pub due: Option<Timestamp>,
    /// Body and attributes.
    pub message: Message,
}

/// A stretch of a queue.
#[derive(Clone, Debug)]
pub struct Browsed {
    /// The messages, in offset order.
    pub messages: Vec<StoredMessage>,
    /// The offset to go on from; none at the end.
    pub next_offset: Option<u64>,
    /// Whether something between was not readable (being indexed).
    pub truncated: bool,
    /// Entries looked at.
    pub scanned: u64,
}
