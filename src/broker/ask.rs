//! What is sent to the proposer.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::machine::{Draft, ReceiveRequest, Received, Refusal, SettleOp};
use crate::model::{GroupName, Millis, Receipt, TopicName};

use super::error::BrokerError;
use super::room::Share;
use super::subscription::{CloseHow, CreditMode, Gauge, Pushed};

/// One message to the proposer.
pub(super) enum Ask {
    /// Decide something and answer once it is in the log.
    Decide(Box<dyn Decision>),
    /// Lease messages, waiting for them if need be.
    Receive(Waiting),
    /// Start pushing.
    Subscribe(Subscriber),
    /// Change a running subscription.
    Adjust(u64, Adjustment),
    /// Give leases back whose messages never reached anybody.
    GiveBack(Vec<Receipt>),
}

/// A request that is decided against the draft. May be decided more than once: a batch that did not take effect is
/// known to have done nothing.
pub(super) trait Decision: Send {
    /// Decides; facts go into the draft, the answer stays inside.
    fn decide(&mut self, draft: &mut Draft);
    /// Hands the answer out: with the index of the entry that made it true, or why there is none.
    fn finish(self: Box<Self>, outcome: Result<u64, BrokerError>);
    /// Whether its caller is to be told that there is no answer.
    fn is_overdue(&self, now: Instant) -> bool;
}

/// The [`Decision`] that every use case is made of: a closure and the way back.
pub(super) struct Request<T, F> {
    decide: F,
    answer: Option<Result<T, Refusal>>,
    /// Taken when it is answered.
    reply: Option<oneshot::Sender<Answered<T, F>>>,
    deadline: Instant,
    /// Its share of the room for waiting requests; given back when it is answered.
    _share: Share,
}

/// The answer, and the request itself: who made it frees it. Memory that one thread takes and another frees costs both
/// of them, and the thread that decides is the one that everybody waits for.
pub(super) type Answered<T, F> = (Result<(T, u64), BrokerError>, Box<Request<T, F>>);

impl<T, F> Request<T, F> {
    /// A request that was not decided yet, and where its answer comes.
    pub(super) fn new(
        decide: F,
        deadline: Instant,
        share: Share,
    ) -> (Request<T, F>, oneshot::Receiver<Answered<T, F>>) {
        let (reply, answered) = oneshot::channel();
        let request = Request { decide, answer: None, reply: Some(reply), deadline, _share: share };
        (request, answered)
    }
}

/// Leases that end although nobody asked: given back, or broken. Nobody waits for an answer either.
pub(super) struct Unasked {
    pub(super) receipts: Vec<Receipt>,
    pub(super) op: SettleOp,
}

impl Decision for Unasked {
    fn decide(&mut self, draft: &mut Draft) {
        for receipt in &self.receipts {
            draft.settle_anywhere(receipt, &self.op);
        }
    }

    fn finish(self: Box<Self>, _outcome: Result<u64, BrokerError>) {}

    fn is_overdue(&self, _now: Instant) -> bool {
        false
    }
}

impl<T, F> Decision for Request<T, F>
where
    T: Send,
    F: FnMut(&mut Draft) -> Result<T, Refusal> + Send,
{
    fn decide(&mut self, draft: &mut Draft) {
        self.answer = Some((self.decide)(draft));
    }

    fn finish(mut self: Box<Self>, outcome: Result<u64, BrokerError>) {
        let answer = match (outcome, self.answer.take()) {
            (Ok(index), Some(Ok(answer))) => Ok((answer, index)),
            (Ok(_), Some(Err(refusal))) => Err(BrokerError::Refused(refusal)),
            (Ok(_), None) => Err(BrokerError::OutcomeUnknown),
            (Err(error), _) => Err(error),
        };
        if let Some(reply) = self.reply.take() {
            // The caller may be gone; then nobody needs the answer.
            let _ = reply.send((answer, self));
        }
    }

    fn is_overdue(&self, now: Instant) -> bool {
        self.deadline <= now
    }
}

/// A receive that has not been answered yet. Its caller keeps the time: when it gives up it drops the other end.
pub(super) struct Waiting {
    pub(super) request: ReceiveRequest,
    /// Whether an empty answer is wanted rather than a wait.
    pub(super) at_once: bool,
    /// How often it may still look on in the next batch before it answers that there is nothing.
    pub(super) looks_left: u8,
    pub(super) reply: oneshot::Sender<Result<(Received, u64), BrokerError>>,
}

impl Waiting {
    /// Whether one that wants its answer at once looks on in the next batch rather than say that there is nothing.
    pub(super) fn may_look_on(&mut self) -> bool {
        let may = self.at_once && self.looks_left > 0;
        self.looks_left = self.looks_left.saturating_sub(1);
        may
    }
}

/// A subscription as the proposer keeps it.
pub(super) struct Subscriber {
    pub(super) session: u64,
    pub(super) group: GroupName,
    pub(super) topic: Option<TopicName>,
    pub(super) auto_create: bool,
    pub(super) mode: CreditMode,
    pub(super) lease_ms: Option<Millis>,
    pub(super) client: Arc<str>,
    pub(super) pushed: mpsc::UnboundedSender<Pushed>,
    /// Where its state is shown.
    pub(super) gauge: Arc<Gauge>,
}

/// A change of a running subscription.
#[derive(Clone, Copy, Debug)]
pub(super) enum Adjustment {
    Credit { messages: u32, bytes: Option<u64> },
    Pause(bool),
    Close(CloseHow),
}
