//! The broker's handle: one method per use case.

use std::time::Duration;

use crate::machine::{
    Leased, NewMessage, PutDone, PutMode, ReceiveRequest, Refusal, SeekCounts, SeekTo, SettleOp, SettleStatus,
};
use crate::model::{
    GroupId, GroupName, GroupSettings, MessageId, QueueNo, Receipt, Timestamp, TopicName, TopicSettings,
};

use super::error::BrokerError;
use super::read::{Browsed, DeliveredMessage, StoredMessage};
use super::subscription::{SubscribeRequest, Subscription};
use super::views::{DeadLetterView, GroupView, NodeView, Page, Readiness, TopicView};

/// The broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Broker {}

/// One message that was accepted (or why not), in input order.
pub type ProduceAnswer = Result<ProducedMessage, Refusal>;

/// An accepted message: on disk on a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedMessage {
    /// Its id.
    pub id: MessageId,
    /// Its queue.
    pub queue: QueueNo,
    /// Its offset; none while scheduled.
    pub offset: Option<u64>,
    /// When a scheduled message is due.
    pub due: Option<Timestamp>,
}

/// What a receive brought.
#[derive(Clone, Debug, Default)]
pub struct Waited {
    /// Leased messages with bodies; empty when the wait ended without any.
    pub messages: Vec<DeliveredMessage>,
    /// The group is paused.
    pub paused: bool,
}

/// What became of each settle, in input order.
pub type SettleAnswer = Vec<SettleStatus>;

const NOT_BUILT: &str = "not wired yet";

#[expect(
    clippy::unused_async,
    clippy::needless_pass_by_value,
    unused_variables,
    missing_docs,
    reason = "signatures first"
)]
impl Broker {
    /// Accepts messages for `topic`. 201 material: when this answers Ok, they are on disk on a quorum.
    /// Limits are checked here (`Message::check`) as well as at the edge.
    pub async fn produce(
        &self,
        topic: TopicName,
        auto_create: bool,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<ProduceAnswer>, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// Leases messages, waiting up to `wait` for the first one. Dropping the future before it answers gives the leases back.
    /// The caller sets session 0; `auto_create` is `and`-ed with the server's setting.
    pub async fn receive(&self, request: ReceiveRequest, wait: Duration) -> Result<Waited, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// Settles leases of `group`. `None` stands for a text that is no receipt.
    pub async fn settle(
        &self,
        group: GroupName,
        ops: Vec<(Option<Receipt>, SettleOp)>,
    ) -> Result<SettleAnswer, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// Acks one lease, whatever its group (`DELETE /v1/receipts/…`).
    pub async fn ack_receipt(&self, receipt: Receipt) -> Result<SettleStatus, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// Gives leases back that were never handed out.
    pub fn give_back(&self, receipts: Vec<Receipt>) {}
    /// Starts pushing messages.
    pub async fn subscribe(&self, request: SubscribeRequest) -> Result<Subscription, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// Reads the bodies of leased messages.
    pub fn load(
        &self,
        group: GroupId,
        index: u64,
        leased: &[Leased],
    ) -> Result<Vec<DeliveredMessage>, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }

    pub async fn put_topic(
        &self,
        name: TopicName,
        settings: TopicSettings,
        mode: PutMode,
    ) -> Result<PutDone, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// `confirm` must be the topic's name when it holds messages.
    pub async fn delete_topic(&self, name: TopicName, confirmed: bool) -> Result<(), BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    pub fn topic(&self, name: &TopicName) -> Result<TopicView, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// Topics by name, after `cursor` (a name).
    pub fn topics(&self, cursor: Option<&str>, limit: usize) -> Page<TopicView> {
        Page { rows: Vec::new(), next_cursor: None }
    }
    pub async fn put_group(
        &self,
        name: GroupName,
        settings: GroupSettings,
        mode: PutMode,
    ) -> Result<PutDone, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    pub async fn delete_group(&self, name: GroupName, confirmed: bool) -> Result<(), BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    pub async fn pause_group(&self, name: GroupName, paused: bool) -> Result<(), BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    pub fn group(&self, name: &GroupName) -> Result<GroupView, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    pub fn groups(&self, cursor: Option<&str>, limit: usize) -> Page<GroupView> {
        Page { rows: Vec::new(), next_cursor: None }
    }
    pub async fn seek(
        &self,
        group: GroupName,
        topic: TopicName,
        to: SeekTo,
        dry_run: bool,
    ) -> Result<SeekCounts, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }

    /// One message by id.
    pub fn message(&self, id: MessageId) -> Result<StoredMessage, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// A queue from `offset` on (none: the first kept).
    pub fn browse(
        &self,
        topic: &TopicName,
        queue: u64,
        offset: Option<u64>,
        limit: usize,
    ) -> Result<Browsed, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }

    /// Dead letters in message order, after `cursor` (a message id).
    pub fn dead_letters(
        &self,
        group: &GroupName,
        cursor: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<DeadLetterView>, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// One dead letter with its message.
    pub fn dead_letter(
        &self,
        group: &GroupName,
        id: MessageId,
    ) -> Result<(DeadLetterView, StoredMessage), BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    pub async fn redrive(
        &self,
        group: GroupName,
        ids: Vec<MessageId>,
    ) -> Result<Vec<Result<(), Refusal>>, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }
    /// Throws all dead letters of a group away; answers how many there were.
    pub async fn purge_dead_letters(&self, group: GroupName) -> Result<u64, BrokerError> {
        Err(BrokerError::NotReady(NOT_BUILT.into()))
    }

    pub fn node(&self) -> NodeView {
        NodeView {
            node_id: 0,
            cluster_id: String::new(),
            term: 0,
            leader: false,
            applied: 0,
            last: 0,
            log_time: Timestamp(0),
            log_bytes: 0,
            indexed: 0,
            started_at: Timestamp(0),
        }
    }
    pub fn readiness(&self) -> Readiness {
        Readiness { ready: false, checks: Vec::new() }
    }
}
