//! Messages as they are read back.

use crate::machine::{BatchHeader, Leased, ProducedAs, ProducedMeta, decode_message};
use crate::model::{
    Attributes, Message, MessageId, Position, QueueEntry, QueueNo, Receipt, Timestamp, TopicName,
};
use crate::storage::Log;

use super::core::Core;
use super::error::BrokerError;

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

/// A message as it stands in the log.
pub(super) struct Logged {
    pub(super) message: Message,
    pub(super) meta: ProducedMeta,
    pub(super) accepted_at: Timestamp,
}

/// Reads the message at `position`. `Gone` when its segment was removed, `NotFound` when no message stands there.
pub(super) fn logged(core: &Core, position: Position) -> Result<Logged, BrokerError> {
    let log = core.replication.log();
    let missing = || BrokerError::NotFound(format!("there is no message {}", MessageId::new(position)));
    if position.index > core.machine.read(crate::machine::Machine::applied) {
        return Err(missing());
    }
    let fault = |error: crate::storage::StorageError| BrokerError::Fault(error.to_string());
    let Some(header) = log.part(position.index, 0).map_err(fault)? else {
        return Err(BrokerError::Gone(format!(
            "message {} is gone: retention removed it",
            MessageId::new(position)
        )));
    };
    let part =
        log.part(position.index, usize::from(position.slot) + 1).map_err(fault)?.ok_or_else(missing)?;
    let accepted_at = BatchHeader::decode(&header).map_err(|_| missing())?.time;
    let (message, meta) = decode_message(&part).map_err(|_| missing())?;
    Ok(Logged { message, meta, accepted_at })
}

/// Log time of the entry at `index`.
pub(super) fn time_of(log: &Log, index: u64) -> Result<Timestamp, BrokerError> {
    let fault = |what: &dyn std::fmt::Display| BrokerError::Fault(what.to_string());
    let header =
        log.part(index, 0).map_err(|error| fault(&error))?.ok_or_else(|| fault(&"its segment is gone"))?;
    Ok(BatchHeader::decode(&header).map_err(|error| fault(&error))?.time)
}

/// The queue entry of a scheduled message, without the offset and times it gets when it becomes ready, and its
/// attributes.
pub(super) fn scheduled_entry(
    core: &Core,
    position: Position,
) -> Result<(QueueEntry, Attributes), BrokerError> {
    let logged = logged(core, position)?;
    let ProducedAs::Scheduled { due } = logged.meta.state else {
        return Err(BrokerError::Fault(format!(
            "message {} is in the schedule but was not scheduled",
            MessageId::new(position)
        )));
    };
    let entry = QueueEntry {
        offset: 0,
        position,
        ready_at: due,
        expires_at: logged.meta.ttl_ms.map_or(Timestamp::MAX, |ttl| due.plus(ttl)),
        lane: logged.message.attributes.lane(),
        tag: logged.message.attributes.tag.as_deref().map(std::sync::Arc::from),
        body_bytes: u32::try_from(logged.message.body.len()).unwrap_or(u32::MAX),
    };
    Ok((entry, logged.message.attributes))
}
