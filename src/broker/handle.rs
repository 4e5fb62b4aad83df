//! The broker's handle: one method per use case that changes something. What only looks is in `look.rs`, settings are
//! changed in `settings.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::machine::{
    Candidates, Draft, Leased, NewMessage, ProduceRequest, ReceiveRequest, Received, Refusal, SeekCounts,
    SeekTo, SettleOp, SettleStatus,
};
use crate::model::{GroupId, GroupName, MessageId, QueueNo, Receipt, Timestamp, TopicId, TopicName};

use super::ask::{Adjustment, Ask, Request, Subscriber, Waiting};
use super::clients::Listing;
use super::core::Core;
use super::error::BrokerError;
use super::produce::{no_room, stored};
use super::read::{self, DeliveredMessage, Loading};
use super::subscription::{Gauge, SubscribeRequest, Subscription};

/// How many batches a receive without a wait takes part in as long as there is more to look at: its group may have been
/// made by it, or its filter may have passed over all that was shown.
const LOOKS_MAX: u8 = 8;

/// How long a place in time may wait for the queue index, and how often it looks.
const INDEX_PATIENCE: Duration = Duration::from_millis(500);
const INDEX_LOOK: Duration = Duration::from_millis(1);

/// The broker. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    pub(super) core: Arc<Core>,
    pub(super) asks: mpsc::UnboundedSender<Ask>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Broker").finish_non_exhaustive()
    }
}

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

impl Broker {
    /// Accepts messages for `topic`. When this answers Ok, the accepted ones are on disk on a quorum.
    ///
    /// The request takes its place in line at the first poll, so futures polled in order are accepted in order.
    /// Messages must have passed [`crate::model::Message::check`].
    ///
    /// # Errors
    /// See [`BrokerError`]; `OutcomeUnknown` is the only one after which something may be stored.
    pub async fn produce(
        &self,
        topic: TopicName,
        auto_create: bool,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<ProduceAnswer>, BrokerError> {
        if !self.core.may_produce() {
            return Err(no_room());
        }
        let bytes = messages.iter().map(|new| new.message.body.len() + 256).sum();
        let auto_create = auto_create && self.core.options.auto_create_topics;
        let request = ProduceRequest { topic, auto_create, messages };
        let began = Instant::now();
        let (answers, index) = self.decide(bytes, move |draft| draft.produce(&request)).await?;
        self.core.traffic.produce.observe_micros(began.elapsed());
        Ok(answers.into_iter().map(|answer| answer.map(|accepted| stored(accepted, index))).collect())
    }

    /// Leases messages, waiting up to `wait` for the first one. Dropping the future before it answers gives the leases
    /// back. The session of the request is set to 0.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn receive(&self, mut request: ReceiveRequest, wait: Duration) -> Result<Waited, BrokerError> {
        self.check_serving()?;
        let _place = self.waiter_place()?;
        request.session = 0;
        request.auto_create &= self.core.options.auto_create_topics;
        let group = request.group.clone();
        let (reply, answer) = oneshot::channel();
        let mut answer = Lent { answer, broker: self.clone() };
        self.ask(Ask::Receive(Waiting { request, at_once: wait.is_zero(), looks_left: LOOKS_MAX, reply }))?;
        // Without a wait the answer comes with the next batch; the request timeout bounds a stuck disk.
        let patience = if wait.is_zero() { self.core.options.request_timeout } else { wait };
        let answered = tokio::select! {
            answered = timeout(patience, &mut answer.answer) => answered,
            () = self.core.stopped.notified() => timeout(Duration::ZERO, &mut answer.answer).await,
        };
        let received = match answered {
            Ok(Ok(received)) => Some(received?),
            // The line was given up because the broker stops; nothing was leased.
            Ok(Err(_)) => None,
            Err(_) => {
                // Close first, then look once more: what was sent before the close is ours.
                answer.answer.close();
                match answer.answer.try_recv() {
                    Ok(received) => Some(received?),
                    Err(_) => None,
                }
            }
        };
        match received {
            Some((received, index)) => self.load_received(received, index).await,
            None => Ok(Waited { messages: Vec::new(), paused: self.is_paused(&group) }),
        }
    }

    async fn load_received(&self, received: Received, index: u64) -> Result<Waited, BrokerError> {
        let paused = received.paused;
        let loading = self.load(received.group, index, &received.messages);
        if let Loading::Loaded(messages) = loading {
            return Ok(Waited { messages, paused });
        }
        let mut unread = Unread { leases: Some((received, index)), broker: self.clone() };
        let loaded = loading.await;
        unread.leases = None;
        Ok(Waited { messages: loaded?, paused })
    }

    fn is_paused(&self, group: &GroupName) -> bool {
        self.core.machine.read(|machine| machine.group(group).is_some_and(|(_, group)| group.paused))
    }

    /// Settles leases of `group`. `None` stands for a text that is no receipt; of a group that does not exist none is.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn settle(
        &self,
        group: GroupName,
        ops: Vec<(Option<Receipt>, SettleOp)>,
    ) -> Result<SettleAnswer, BrokerError> {
        Ok(self.decide(0, move |draft| Ok(draft.settle(&group, &ops))).await?.0)
    }

    /// Acks one lease, whatever its group.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn ack_receipt(&self, receipt: Receipt) -> Result<SettleStatus, BrokerError> {
        Ok(self.decide(0, move |draft| Ok(draft.settle_anywhere(&receipt, &SettleOp::Ack))).await?.0)
    }

    /// Gives leases back whose messages were never handed out. Best effort: what is lost runs out by time.
    pub fn give_back(&self, receipts: Vec<Receipt>) {
        if !receipts.is_empty() {
            let _ = self.asks.send(Ask::GiveBack(receipts));
        }
    }

    /// Starts pushing messages. The group and topic rules are those of [`Broker::receive`].
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn subscribe(&self, request: SubscribeRequest) -> Result<Subscription, BrokerError> {
        let place = self.waiter_place()?;
        let auto_create = request.auto_create && self.core.options.auto_create_topics;
        let look = ReceiveRequest {
            group: request.group.clone(),
            topic: request.topic.clone(),
            auto_create,
            max_messages: 0,
            max_bytes: 0,
            lease_ms: request.lease_ms,
            session: 0,
            client: request.client.clone(),
            turn: 0,
        };
        // A receive of nothing makes the group if need be and checks the rules.
        self.decide(0, move |draft| draft.receive(&look, &Candidates::default())).await?;
        let session = self.core.next_session.fetch_add(1, Ordering::Relaxed);
        let (pushed_in, pushed) = mpsc::unbounded_channel();
        let gauge = Arc::new(Gauge::default());
        let listed = request.socket.map(|(socket, sub)| {
            let (group, topic) = (request.group.clone(), request.topic.clone());
            let (client, mode, gauge) = (Arc::clone(&request.client), request.mode, Arc::clone(&gauge));
            socket.list(session, Listing { sub, group, topic, client, mode, gauge })
        });
        self.ask(Ask::Subscribe(Subscriber {
            session,
            group: request.group,
            topic: request.topic,
            auto_create,
            mode: request.mode,
            lease_ms: request.lease_ms,
            client: request.client,
            pushed: pushed_in,
            gauge,
        }))?;
        let broker = self.clone();
        Ok(Subscription { session, pushed, broker, closed: false, _place: place, _listed: listed })
    }

    pub(super) fn adjust(&self, session: u64, adjustment: Adjustment) {
        // With the proposer gone there is nothing left to adjust.
        let _ = self.asks.send(Ask::Adjust(session, adjustment));
    }

    /// Reads the bodies of leased messages: those in memory at once, the others on a thread that may wait for the disk.
    /// One that cannot be read is named in the log and left out, and its lease runs out by time: it ends among the dead
    /// letters, and the messages around it do not suffer. [`BrokerError::Fault`] when that is all of them.
    pub fn load(&self, group: GroupId, index: u64, leased: &[Leased]) -> Loading {
        read::load(&self.core, group, index, leased)
    }

    /// Looks at something on a thread that may wait for the disk.
    ///
    /// # Errors
    /// What `look` says, or that its thread failed.
    pub async fn look<T, F>(&self, look: F) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        F: FnOnce(&Broker) -> Result<T, BrokerError> + Send + 'static,
    {
        let broker = self.clone();
        let looked = tokio::task::spawn_blocking(move || look(&broker)).await;
        looked.unwrap_or_else(|error| Err(BrokerError::Fault(error.to_string())))
    }

    /// Pauses or resumes a group.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn pause_group(&self, name: GroupName, paused: bool) -> Result<(), BrokerError> {
        self.decide(0, move |draft| draft.pause_group(&name, paused)).await?;
        Ok(())
    }

    /// Moves a group's reading place in one topic.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn seek(
        &self,
        group: GroupName,
        topic: TopicName,
        to: SeekTo,
        dry_run: bool,
    ) -> Result<SeekCounts, BrokerError> {
        let candidates = match to {
            SeekTo::Time(time) => self.offsets_at([&topic], time).await?,
            _ => Candidates::default(),
        };
        Ok(self.decide(0, move |draft| draft.seek((&group, &topic), to, dry_run, &candidates)).await?.0)
    }

    /// Throws all dead letters of a group away; answers how many there were.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn purge_dead_letters(&self, group: GroupName) -> Result<u64, BrokerError> {
        Ok(self.decide(0, move |draft| draft.purge_dead_letters(&group)).await?.0)
    }

    /// For each queue of `topics` the first offset that became ready at or after `time`.
    pub(super) async fn offsets_at<'a>(
        &self,
        topics: impl IntoIterator<Item = &'a TopicName>,
        time: Timestamp,
    ) -> Result<Candidates, BrokerError> {
        let machine = self.core.machine.snapshot();
        // The index hears of an entry a moment after the machine. A message that is not in it yet must not be taken for
        // one that came before `time`: it would be skipped.
        let caught_up = async {
            while !self.core.indexer.is_live() || self.core.indexer.indexed_up_to() < machine.base() {
                tokio::time::sleep(INDEX_LOOK).await;
            }
        };
        if timeout(INDEX_PATIENCE, caught_up).await.is_err() {
            let text = "the queue index is being made; places in time are known once it is done".to_owned();
            return Err(BrokerError::NotReady(text));
        }
        let ids = topics.into_iter().filter_map(|name| machine.topic(name));
        let queues: Vec<(TopicId, QueueNo, u64)> =
            ids.flat_map(|(id, topic)| topic.bounds().map(move |(queue, _, end)| (id, queue, end))).collect();
        let offsets = self.look(move |broker| {
            let index = broker.core.indexer.index();
            let offset = |(topic, queue, end)| {
                let found = index.first_at_or_after(topic, queue, time);
                let found = found.map_err(|error| BrokerError::Fault(error.to_string()))?;
                Ok(((topic, queue), found.unwrap_or(end)))
            };
            queues.into_iter().map(offset).collect()
        });
        Ok(Candidates { offsets: offsets.await?, ..Candidates::default() })
    }

    /// Has `decide` run against the next draft. Answers what it decided, once that is in the log, and the entry's
    /// index.
    pub(super) async fn decide<T, F>(&self, bytes: usize, decide: F) -> Result<(T, u64), BrokerError>
    where
        T: Send + 'static,
        F: FnMut(&mut Draft) -> Result<T, Refusal> + Send + 'static,
    {
        self.check_serving()?;
        let share = self.core.room.take(bytes).map_err(|what| {
            BrokerError::Overloaded(format!("too many {what} wait to be written; try again shortly"))
        })?;
        let deadline = Instant::now() + self.core.options.request_timeout;
        let (request, answered) = Request::new(decide, deadline, share);
        self.ask(Ask::Decide(Box::new(request)))?;
        let (answer, _request) = answered.await.map_err(|_| BrokerError::OutcomeUnknown)?;
        answer
    }

    fn ask(&self, ask: Ask) -> Result<(), BrokerError> {
        self.asks.send(ask).map_err(|_| BrokerError::NotReady("the broker has stopped".to_owned()))
    }

    /// Whether this node leads, and requests are taken.
    pub(super) fn is_serving(&self) -> bool {
        self.check_serving().is_ok()
    }

    pub(super) fn check_serving(&self) -> Result<(), BrokerError> {
        if self.core.stopping() {
            return Err(BrokerError::NotReady("the broker is stopping".to_owned()));
        }
        if !self.core.serving.load(Ordering::Acquire) {
            return Err(BrokerError::NotReady("the broker is starting, or has no leader".to_owned()));
        }
        Ok(())
    }

    fn waiter_place(&self) -> Result<OwnedSemaphorePermit, BrokerError> {
        Arc::clone(&self.core.waiter_room)
            .try_acquire_owned()
            .map_err(|_| BrokerError::Overloaded("too many receives and subscriptions wait".to_owned()))
    }
}

/// The way back of a receive. Whoever gives up a receive gives back what was on its way already.
struct Lent {
    answer: oneshot::Receiver<Result<(Received, u64), BrokerError>>,
    broker: Broker,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(leases)) = self.answer.try_recv() {
            drop(Unread { leases: Some(leases), broker: self.broker.clone() });
        }
    }
}

/// Leases whose messages nobody has seen yet: given back when this is dropped with them.
struct Unread {
    leases: Option<(Received, u64)>,
    broker: Broker,
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some((received, index)) = self.leases.take() {
            let receipt = |leased: &Leased| leased.receipt(received.group, index);
            self.broker.give_back(received.messages.iter().map(receipt).collect());
        }
    }
}
