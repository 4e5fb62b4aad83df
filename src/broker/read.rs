//! Messages as they are read back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::machine::{BatchHeader, Fact, FailCause, Leased, ProducedAs, ProducedMeta, decode_message};
use crate::model::wire::DecodeError;
use crate::model::{
    Attributes, GroupId, Message, MessageId, Position, QueueEntry, QueueNo, Receipt, Timestamp, TopicName,
};
use crate::storage::{Log, StorageError};

use super::core::Core;
use super::error::BrokerError;
use super::scheduled::Standing;
use super::views::FailureView;

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
    /// Its offset; none unless it is ready.
    pub offset: Option<u64>,
    /// Whether it is ready, or what else.
    pub standing: Standing,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When a message is or was due that is not ready.
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
    /// Whether something of this stretch may be missing, because the index is being made.
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

/// Reads the message at `position`. `Gone` when its segment was removed, `NotFound` when no message stands there,
/// `Damaged` when its checksum says so.
pub(super) fn logged(core: &Core, position: Position) -> Result<Logged, BrokerError> {
    let log = core.replication.log();
    let missing = || BrokerError::NotFound(format!("there is no message {}", MessageId::new(position)));
    if position.index > core.machine.read(crate::machine::Machine::applied) {
        return Err(missing());
    }
    let fault = |error: StorageError| match error {
        StorageError::Damaged { .. } => BrokerError::Damaged(error.to_string()),
        _ => BrokerError::Fault(error.to_string()),
    };
    let Some(header) = log.part(position.index, 0).map_err(fault)? else {
        return Err(BrokerError::Gone(format!(
            "message {} is gone: retention removed it",
            MessageId::new(position)
        )));
    };
    let part =
        log.part(position.index, usize::from(position.slot) + 1).map_err(fault)?.ok_or_else(missing)?;
    Logged::decode(&header, &part).map_err(|_| missing())
}

/// The message at `position` of an entry that is applied, if that is in memory. Never waits for the disk.
fn logged_in_memory(core: &Core, position: Position) -> Option<Logged> {
    let log = core.replication.log();
    let header = log.part_in_memory(position.index, 0)?;
    let part = log.part_in_memory(position.index, usize::from(position.slot) + 1)?;
    Logged::decode(&header, &part).ok()
}

impl Logged {
    fn decode(header: &[u8], part: &Bytes) -> Result<Logged, DecodeError> {
        let accepted_at = BatchHeader::decode(header)?.time;
        let (message, meta) = decode_message(part)?;
        Ok(Logged { message, meta, accepted_at })
    }

    fn delivered(self, leased: &Leased, group: GroupId, index: u64) -> DeliveredMessage {
        DeliveredMessage {
            id: MessageId::new(leased.position_in(index)),
            receipt: leased.receipt(group, index),
            leased: leased.clone(),
            accepted_at: self.accepted_at,
            message: self.message,
        }
    }
}

/// Leased messages on their way from the log: a future of the messages.
#[derive(Debug)]
pub enum Loading {
    /// All of them were in memory.
    Loaded(Vec<DeliveredMessage>),
    /// Some are read from the disk, on a thread that may wait for it.
    Reading(JoinHandle<Loaded>),
}

/// What loading brought: a fault of the disk, or the messages that could be read.
pub type Loaded = Result<Vec<DeliveredMessage>, BrokerError>;

impl Future for Loading {
    type Output = Loaded;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Loaded> {
        match self.get_mut() {
            Loading::Loaded(messages) => Poll::Ready(Ok(std::mem::take(messages))),
            Loading::Reading(reading) => Pin::new(reading)
                .poll(context)
                .map(|read| read.unwrap_or_else(|error| Err(BrokerError::Fault(error.to_string())))),
        }
    }
}

/// Reads the bodies of leased messages: at once what is in memory, on another thread what is not.
pub(super) fn load(core: &Arc<Core>, group: GroupId, index: u64, leased: &[Leased]) -> Loading {
    let mut messages = Vec::with_capacity(leased.len());
    for next in leased {
        let Some(logged) = logged_in_memory(core, next.position_in(index)) else { break };
        messages.push(logged.delivered(next, group, index));
    }
    let rest = leased.get(messages.len()..).unwrap_or_default();
    if rest.is_empty() {
        return Loading::Loaded(messages);
    }
    let (core, rest) = (Arc::clone(core), rest.to_vec());
    Loading::Reading(tokio::task::spawn_blocking(move || {
        let fault = load_rest(&core, (group, index), &rest, &mut messages);
        match fault {
            Some(fault) if messages.is_empty() => Err(fault),
            _ => Ok(messages),
        }
    }))
}

/// One that cannot be read is named in the log and left out, and its lease runs out by time: it ends among the dead
/// letters, and the messages around it do not suffer. Answers the first fault.
fn load_rest(
    core: &Core,
    (group, index): (GroupId, u64),
    rest: &[Leased],
    messages: &mut Vec<DeliveredMessage>,
) -> Option<BrokerError> {
    let mut fault = None;
    for leased in rest {
        let position = leased.position_in(index);
        match logged(core, position) {
            Ok(logged) => messages.push(logged.delivered(leased, group, index)),
            Err(error) => {
                let id = MessageId::new(position);
                tracing::error!(%error, %id, "a leased message cannot be read and is not delivered");
                fault.get_or_insert(error);
            }
        }
    }
    fault
}

/// Log time of the entry at `index`.
pub(super) fn time_of(log: &Log, index: u64) -> Result<Timestamp, BrokerError> {
    let fault = |what: &dyn std::fmt::Display| BrokerError::Fault(what.to_string());
    let header =
        log.part(index, 0).map_err(|error| fault(&error))?.ok_or_else(|| fault(&"its segment is gone"))?;
    Ok(BatchHeader::decode(&header).map_err(|error| fault(&error))?.time)
}

/// One failed delivery, read from the log.
pub(super) fn failure(core: &Core, position: Position) -> Result<FailureView, BrokerError> {
    let log = core.replication.log();
    let fault = |what: &dyn std::fmt::Display| {
        BrokerError::Fault(format!("a failure at {position:?} cannot be read: {what}"))
    };
    let at = time_of(log, position.index).map_err(|error| fault(&error))?;
    let fact = core.replication.fact(position).map_err(|error| fault(&error))?;
    let cause = match fact {
        Some(Fact::Failed { cause, .. }) => Some(cause),
        Some(Fact::Dead { cause, .. }) => cause,
        _ => return Err(fault(&"no failure stands there")),
    };
    let (cause, reason) = cause.as_ref().map_or(("unknown", None), FailCause::words);
    Ok(FailureView { at, cause, reason: reason.map(String::from) })
}

/// The queue entry of a scheduled message, without the offset and times it gets when it becomes ready, and its
/// attributes.
pub(super) fn scheduled_entry(
    core: &Core,
    position: Position,
) -> Result<(QueueEntry, Attributes), BrokerError> {
    entry_of(logged(core, position)?, position).ok_or_else(|| {
        BrokerError::Fault(format!(
            "message {} is in the schedule but was not scheduled",
            MessageId::new(position)
        ))
    })
}

/// The same, if it is in memory. Never waits for the disk.
pub(super) fn scheduled_in_memory(core: &Core, position: Position) -> Option<(QueueEntry, Attributes)> {
    entry_of(logged_in_memory(core, position)?, position)
}

fn entry_of(logged: Logged, position: Position) -> Option<(QueueEntry, Attributes)> {
    let ProducedAs::Scheduled { due } = logged.meta.state else { return None };
    let entry = QueueEntry {
        offset: 0,
        position,
        ready_at: due,
        expires_at: logged.meta.ttl_ms.map_or(Timestamp::MAX, |ttl| due.plus(ttl)),
        lane: logged.message.attributes.lane(),
        tag: logged.message.attributes.tag.as_deref().map(Arc::from),
        body_bytes: u32::try_from(logged.message.body.len()).unwrap_or(u32::MAX),
    };
    Some((entry, logged.message.attributes))
}
