//! Acks, nacks, extends and dead-letters of one socket: those that arrived together become one broker call a group.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::api::frame::{self, NamedReceipt, OpName, Re, Settle, SettledEntry};
use crate::api::problem::Problem;
use crate::broker::{Broker, BrokerError, SettleAnswer};
use crate::machine::{SettleOp, SettleStatus, SettledAs};
use crate::model::{GroupId, GroupName, Receipt, SETTLE_MAX};

use super::output::Output;

/// Most receipts without an answer; beyond it the socket is not read.
const UNANSWERED_MAX: usize = 10_000;

type Answer = Result<SettleAnswer, BrokerError>;

/// Settles that arrived together.
#[derive(Default)]
struct Batch {
    calls: Vec<GroupCall>,
    /// One per receipt, in the order sent; each frame owns a stretch.
    entries: Vec<Entry>,
    frames: Vec<Waiting>,
}

struct GroupCall {
    group: GroupName,
    ops: Vec<(Option<Receipt>, SettleOp)>,
}

/// One receipt of a frame.
struct Entry {
    receipt: NamedReceipt,
    /// Which call it went to; the answers of a call are taken in order. None: no group of this broker.
    call: Option<usize>,
}

/// One frame that has no answer yet.
struct Waiting {
    re: Re,
    name: OpName,
    receipts: usize,
}

struct Flying {
    calls: Vec<Call>,
    entries: Vec<Entry>,
    frames: Vec<Waiting>,
}

enum Call {
    Open(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Done(Answer),
}

/// The settles of one socket.
pub(super) struct Settles {
    broker: Broker,
    gathering: Batch,
    flying: VecDeque<Flying>,
    unanswered: usize,
    /// Leases that were ended since [`Settles::take_ended`] was asked.
    ended: u64,
}

impl Settles {
    pub(super) fn new(broker: Broker) -> Settles {
        Settles { broker, gathering: Batch::default(), flying: VecDeque::new(), unanswered: 0, ended: 0 }
    }

    /// Whether so much is unanswered that the socket should not be read.
    pub(super) fn is_full(&self) -> bool {
        self.unanswered >= UNANSWERED_MAX
    }

    /// Whether everything is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.flying.is_empty() && self.gathering.frames.is_empty()
    }

    /// How many leases ended since the last call.
    pub(super) fn take_ended(&mut self) -> u64 {
        std::mem::take(&mut self.ended)
    }

    /// Takes a frame in; `group_of` knows the groups.
    pub(super) fn add(
        &mut self,
        cx: &mut Context<'_>,
        re: Re,
        settle: Settle,
        group_of: impl Fn(GroupId) -> Option<GroupName>,
    ) {
        if !self.gathering.frames.is_empty()
            && self.gathering.entries.len() + settle.receipts.len() > SETTLE_MAX
        {
            self.submit(cx);
        }
        let Settle { name, op, receipts } = settle;
        let batch = &mut self.gathering;
        batch.frames.push(Waiting { re, name, receipts: receipts.len() });
        self.unanswered += receipts.len().max(1);
        for receipt in receipts {
            let call = match &receipt {
                NamedReceipt::Good(proof) => batch.call_for(proof, &op, &group_of),
                NamedReceipt::Bad(_) => None,
            };
            batch.entries.push(Entry { receipt, call });
        }
    }

    /// Hands what was gathered to the broker; as with publishes, the first poll is what queues it.
    pub(super) fn submit(&mut self, cx: &mut Context<'_>) {
        if self.gathering.frames.is_empty() {
            return;
        }
        let Batch { calls, entries, frames } = std::mem::take(&mut self.gathering);
        let start = |GroupCall { group, ops }: GroupCall| {
            let broker = self.broker.clone();
            let mut call: Pin<Box<dyn Future<Output = Answer> + Send>> =
                Box::pin(async move { broker.settle(group, ops).await });
            match call.as_mut().poll(cx) {
                Poll::Ready(answer) => Call::Done(answer),
                Poll::Pending => Call::Open(call),
            }
        };
        let calls = calls.into_iter().map(start).collect();
        self.flying.push_back(Flying { calls, entries, frames });
    }

    /// Writes the answers that are there, oldest first; whether there was any.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, output: &mut Output) -> bool {
        let mut any = false;
        while self.flying.front_mut().is_some_and(|flying| flying.poll(cx)) {
            let Some(flying) = self.flying.pop_front() else { break };
            let counted: usize = flying.frames.iter().map(|frame| frame.receipts.max(1)).sum();
            self.unanswered = self.unanswered.saturating_sub(counted);
            self.ended += flying.answer(output);
            any = true;
        }
        any
    }
}

impl Batch {
    fn call_for(
        &mut self,
        receipt: &Receipt,
        op: &SettleOp,
        group_of: impl Fn(GroupId) -> Option<GroupName>,
    ) -> Option<usize> {
        let group = group_of(receipt.group)?;
        let known = self.calls.iter().position(|call| call.group == group);
        let at = known.unwrap_or(self.calls.len());
        match self.calls.get_mut(at) {
            Some(call) => call.ops.push((Some(*receipt), op.clone())),
            None => self.calls.push(GroupCall { group, ops: vec![(Some(*receipt), op.clone())] }),
        }
        Some(at)
    }
}

impl Flying {
    /// Whether all its calls are answered.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut all = true;
        for call in &mut self.calls {
            if let Call::Open(open) = call {
                match open.as_mut().poll(cx) {
                    Poll::Ready(answer) => *call = Call::Done(answer),
                    Poll::Pending => all = false,
                }
            }
        }
        all
    }

    /// Splits the answers of the calls up again; how many leases ended.
    fn answer(self, output: &mut Output) -> u64 {
        let mut calls: Vec<_> = self.calls.iter().map(Answers::of).collect();
        let mut entries = self.entries.into_iter();
        let mut ended = 0;
        for Waiting { re, name, receipts } in self.frames {
            let mut failed = None;
            let mut settled = Vec::new();
            for Entry { receipt, call } in entries.by_ref().take(receipts) {
                match call.and_then(|at| calls.get_mut(at)).map_or(Ok(SettleStatus::Invalid), Answers::next) {
                    Ok(status) => {
                        ended += u64::from(ends_lease(status));
                        if re.is_some() || !matches!(status, SettleStatus::Ok(_)) {
                            settled.push(SettledEntry { receipt, status });
                        }
                    }
                    Err(problem) => failed = Some(problem),
                }
            }
            if let Some(problem) = failed {
                output.push(frame::error(re.as_deref(), None, &problem, false));
            } else if re.is_some() || !settled.is_empty() {
                output.push(frame::settled(re.as_deref(), name, &settled));
            }
        }
        ended
    }
}

/// The answers of one call, one after the other.
enum Answers<'a> {
    Each(std::slice::Iter<'a, SettleStatus>),
    Failed(Problem),
}

impl<'a> Answers<'a> {
    fn of(call: &'a Call) -> Answers<'a> {
        match call {
            Call::Done(Ok(statuses)) => Answers::Each(statuses.iter()),
            Call::Done(Err(error)) => Answers::Failed(error.clone().into()),
            Call::Open(_) => Answers::Failed(Problem::from(BrokerError::OutcomeUnknown)),
        }
    }

    fn next(&mut self) -> Result<SettleStatus, Problem> {
        match self {
            Answers::Each(statuses) => {
                statuses.next().copied().ok_or_else(|| Problem::from(BrokerError::OutcomeUnknown))
            }
            Answers::Failed(problem) => Err(problem.clone()),
        }
    }
}

fn ends_lease(status: SettleStatus) -> bool {
    !matches!(status, SettleStatus::Ok(SettledAs::Leased { .. }) | SettleStatus::Invalid)
}
