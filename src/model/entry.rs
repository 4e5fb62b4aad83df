//! What is known about one message of a queue without reading it.

use std::sync::Arc;

use super::{Position, Timestamp};

/// One message's line in its queue: what the index keeps and what deciding needs. Made when the message becomes ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Its offset in the queue.
    pub offset: u64,
    /// The message.
    pub position: Position,
    /// When it became ready; never falls from one offset to the next.
    pub ready_at: Timestamp,
    /// When its TTL runs out; [`Timestamp::MAX`] for never.
    pub expires_at: Timestamp,
    /// Its lane in ordered groups; 0 when it has no ordering key.
    pub lane: u64,
    /// Its tag.
    pub tag: Option<Arc<str>>,
    /// Bytes of its body.
    pub body_bytes: u32,
}
