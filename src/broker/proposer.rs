//! The proposer: one task that gathers what waits, decides it, and puts one batch at a time through Raft.
//!
//! While a batch is on its way to the disk the next requests gather, so that batches grow with the load and every
//! caller pays for one flush. Consumers that wait are served in the same go, from the same draft.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::machine::{Batch, Candidates, Draft, Machine, Received, SettleOp};
use crate::model::{GroupName, Receipt, SETTLE_MAX, Timestamp};
use crate::replication::{Leadership, ProposeError};

use super::ask::{Adjustment, Ask, Decision, Unasked, Waiting};
use super::candidates::Reader;
use super::clock::LogClock;
use super::core::Core;
use super::count;
use super::delivery::{Delivery, Open};
use super::error::BrokerError;
use super::subscription::CloseHow;
use super::waiters::Waiters;

/// How often requests that are past their deadline are looked for while a batch is on its way.
const OVERDUE_CHECK: Duration = Duration::from_millis(250);

/// How often everybody who waits is looked at even though nothing woke them.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The proposer's own state. Only its task touches it.
pub(super) struct Proposer {
    core: Arc<Core>,
    asks: mpsc::UnboundedReceiver<Ask>,
    leadership: watch::Receiver<Leadership>,
    clock: LogClock,
    queue: VecDeque<Box<dyn Decision>>,
    receives: VecDeque<Waiting>,
    waiters: Waiters,
    reader: Reader,
    look_again: tokio::time::Interval,
    /// What is due could not be decided (a body that cannot be read): not before then again.
    tick_not_before: Option<Instant>,
}

impl Proposer {
    pub(super) fn new(core: Arc<Core>, asks: mpsc::UnboundedReceiver<Ask>) -> Proposer {
        let mut look_again = interval(LOOK_AGAIN);
        look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let leadership = core.replication.leadership();
        Proposer {
            reader: Reader::new(core.clone()),
            core,
            asks,
            leadership,
            clock: LogClock::start(Timestamp(0)),
            queue: VecDeque::new(),
            receives: VecDeque::new(),
            waiters: Waiters::default(),
            look_again,
            tick_not_before: None,
        }
    }

    /// Runs until every handle is gone or the broker stops.
    pub(super) async fn run(mut self) {
        while self.lead().await {
            while self.wait_for_work().await {
                if !self.one_batch().await {
                    break;
                }
            }
            self.core.serving.store(false, Ordering::Release);
        }
        // What was sent and not looked at was never submitted: its callers must hear that, not that nobody knows.
        self.asks.close();
        while let Ok(ask) = self.asks.try_recv() {
            self.take(ask);
        }
        self.receives.clear();
        self.refuse_queued("the broker is stopping");
    }

    /// Waits until this node leads, and opens the leadership. False when the broker stops.
    async fn lead(&mut self) -> bool {
        while !self.core.stopping() {
            let now = *self.leadership.borrow_and_update();
            if now.leader && self.open_leadership().await {
                return true;
            }
            self.refuse_queued("no leader yet");
            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() { return false },
                ask = self.asks.recv() => match ask {
                    Some(ask) => { self.take(ask); self.refuse_queued("no leader yet"); }
                    None => return false,
                },
                () = sleep(OVERDUE_CHECK) => {}
            }
        }
        false
    }

    /// Puts the leader start into the log; deciding, readiness and duties begin once it is applied.
    async fn open_leadership(&mut self) -> bool {
        let machine = self.core.machine.snapshot();
        self.clock = LogClock::start(machine.now());
        let mut draft = Draft::new(&machine, self.clock.now(), Box::new(rand::random));
        draft.start_leadership(self.core.node_id);
        let Some(batch) = draft.finish() else { return false };
        match self.core.replication.propose(Arc::new(batch)).await {
            Ok(proposed) if proposed.took_effect => {
                tracing::info!(index = proposed.index, "leading");
                self.core.take_effects();
                if let Err(error) = self.core.indexer.index().expired_again() {
                    tracing::error!(%error, "the queue index is made again from the log");
                    self.core.indexer.distrust();
                }
                self.waiters.wake_all();
                self.core.serving.store(true, Ordering::Release);
                self.core.served.notify_waiters();
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(%error, "the leadership could not be opened");
                false
            }
        }
    }

    /// Returns once there is something to do; false when this node does not lead any more or the broker stops.
    async fn wait_for_work(&mut self) -> bool {
        loop {
            while let Ok(ask) = self.asks.try_recv() {
                self.take(ask);
            }
            self.take_effects();
            if self.core.stopping() && self.queue.is_empty() {
                return false;
            }
            let due = self.core.machine.read(Machine::next_due).filter(|_| self.core.may_lease());
            let held = self.tick_not_before.map(|at| at.saturating_duration_since(Instant::now()));
            let until_due = due.map(|due| self.clock.until(due).max(held.unwrap_or_default()));
            if self.has_work() || until_due == Some(Duration::ZERO) {
                return true;
            }
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.take(ask),
                    None => return false,
                },
                () = sleep(until_due.unwrap_or(Duration::MAX)), if until_due.is_some() => {}
                _ = self.look_again.tick(), if !self.waiters.is_empty() => {
                    self.waiters.sweep();
                    self.waiters.wake_all();
                }
                () = self.core.nudge.notified() => self.waiters.wake_all(),
                changed = self.leadership.changed() => {
                    if changed.is_err() || !self.leadership.borrow().leader {
                        return false;
                    }
                }
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || !self.receives.is_empty() || self.waiters.any_due()
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Decide(decision) => self.queue.push_back(decision),
            Ask::Receive(waiting) => self.receives.push_back(waiting),
            Ask::Subscribe(subscriber) => self.waiters.subscribe(subscriber),
            Ask::Adjust(session, adjustment) => self.adjust(session, adjustment),
            Ask::GiveBack(receipts) => self.settle_unasked(&receipts, &SettleOp::GiveBack),
        }
    }

    fn adjust(&mut self, session: u64, adjustment: Adjustment) {
        let Some(closed) = self.waiters.adjust(session, adjustment) else { return };
        let broken = matches!(adjustment, Adjustment::Close(CloseHow::Broken));
        let op = if broken { SettleOp::Broken } else { SettleOp::GiveBack };
        self.settle_unasked(&closed.leases_in_order(), &op);
    }

    /// Ends leases for a consumer that is gone. They stand in line with what it asked for before it went: an ack that
    /// was sent before the end of a socket counts.
    fn settle_unasked(&mut self, receipts: &[Receipt], op: &SettleOp) {
        for receipts in receipts.chunks(SETTLE_MAX) {
            self.queue.push_back(Box::new(Unasked { receipts: receipts.to_vec(), op: op.clone() }));
        }
    }

    /// Takes in what the last applied batches did.
    fn take_effects(&mut self) {
        let effects = self.core.take_effects();
        for ended in effects.ended {
            self.waiters.ended(ended.session, ended.nonce);
        }
        if self.waiters.is_empty() || effects.woken.is_empty() {
            return;
        }
        let names: Vec<_> = self.core.machine.read(|machine| {
            effects
                .woken
                .iter()
                .filter_map(|id| machine.group_by_id(*id).map(|group| group.name.clone()))
                .collect()
        });
        for name in &names {
            self.waiters.wake(name);
        }
    }

    /// Decides one batch, puts it through Raft and hands the answers out. False when the leadership is in doubt.
    async fn one_batch(&mut self) -> bool {
        self.core.rounds.fetch_add(1, Ordering::Relaxed);
        let machine = self.core.machine.snapshot();
        let now = self.clock.now();
        self.core.clock_jumped.store(self.clock.has_jumped(), Ordering::Relaxed);
        let due = self.waiters.take_due();
        let turn = self.waiters.next_turn();
        let asking = self.receives.iter().map(|waiting| &waiting.request.group);
        let groups = due.iter().chain(asking).collect();
        let candidates = self.reader.candidates(&machine, now, (&groups, turn)).await;
        let mut draft = Draft::new(&machine, now, Box::new(rand::random));
        drop(machine);
        let mut open = Open::default();
        self.decide(&mut draft, &candidates, &mut open);
        if self.core.may_lease() {
            self.serve(&mut draft, &candidates, due, &mut open);
        } else {
            self.put_off(&mut open);
        }
        match draft.finish() {
            None => {
                // Nothing changed, so there is nothing to wait for: the answers are already true. Looking again at once
                // would see the same; whoever is still to be looked at is woken by what changes next.
                // Unless the disk is still to say what it holds.
                if !self.reader.is_reading() {
                    drop(self.waiters.take_due());
                    self.tick_not_before = Some(Instant::now() + LOOK_AGAIN);
                }
                let index = self.core.machine.read(Machine::applied);
                self.finish(open, index);
                true
            }
            Some(batch) => {
                self.tick_not_before = None;
                self.propose(batch, open).await
            }
        }
    }

    fn decide(&mut self, draft: &mut Draft, candidates: &Candidates, open: &mut Open) {
        if self.core.may_lease() {
            draft.tick(candidates);
        }
        while let Some(mut decision) = self.queue.pop_front() {
            decision.decide(draft);
            open.decisions.push(decision);
            if draft.is_full() {
                return;
            }
        }
    }

    /// Serves new receives, then everybody in the lines that were woken, also by what this very draft produced.
    fn serve(
        &mut self,
        draft: &mut Draft,
        candidates: &Candidates,
        mut due: BTreeSet<GroupName>,
        open: &mut Open,
    ) {
        draft.grant_leases();
        let mut look_on = Vec::new();
        while !draft.is_full() {
            let Some(mut waiting) = self.receives.pop_front() else { break };
            if waiting.reply.is_closed() {
                continue;
            }
            waiting.request.turn = self.waiters.next_turn();
            match draft.receive(&waiting.request, candidates) {
                Err(refusal) => open.refused.push((waiting, refusal)),
                Ok(received)
                    if received.look_on && received.messages.is_empty() && self.may_look_on(&mut waiting) =>
                {
                    look_on.push(waiting);
                }
                Ok(received) if received.messages.is_empty() && !waiting.at_once => {
                    if received.look_on {
                        due.insert(waiting.request.group.clone());
                    }
                    self.waiters.add(waiting);
                }
                Ok(received) => open.deliveries.push(Delivery::Receive(waiting, received)),
            }
        }
        self.receives.extend(look_on);
        for id in draft.take_woken() {
            if let Some(group) = draft.machine().group_by_id(id)
                && self.waiters.waits_for(&group.name)
            {
                due.insert(group.name.clone());
            }
        }
        for group in &due {
            self.serve_line(draft, candidates, group, open);
        }
    }

    /// Whether a receive that wants its answer at once looks on in the next batch: always while the disk is read.
    fn may_look_on(&self, waiting: &mut Waiting) -> bool {
        (waiting.at_once && self.reader.is_reading()) || waiting.may_look_on()
    }

    /// Without space for leases receives wait; the line is looked at again once there is space.
    fn put_off(&mut self, open: &mut Open) {
        for waiting in std::mem::take(&mut self.receives) {
            if waiting.at_once {
                open.deliveries.push(Delivery::Receive(waiting, Received::default()));
            } else {
                self.waiters.add(waiting);
            }
        }
    }

    /// Serves one line from the front until there is nothing left to give.
    fn serve_line(&mut self, draft: &mut Draft, candidates: &Candidates, group: &GroupName, open: &mut Open) {
        let mut line = self.waiters.take_line(group);
        let mut unserved = VecDeque::new();
        let mut served = VecDeque::new();
        let mut look_on = false;
        while let Some(place) = line.pop_front() {
            let turn = self.waiters.next_turn();
            let Some(request) = self.waiters.request(&place, turn) else { continue };
            let Some(request) = request else {
                served.push_back(place);
                continue;
            };
            let received = draft.receive(&request, candidates);
            let empty = received.as_ref().is_ok_and(|received| received.messages.is_empty());
            look_on |= received.as_ref().is_ok_and(|received| received.look_on);
            if empty {
                unserved.push_back(place);
            } else if let Some(place) = open.add(place, received) {
                served.push_back(place);
            }
            look_on |= draft.is_full();
            // Nothing for this one: without a topic of its own nobody behind it gets anything either.
            if draft.is_full() || (empty && request.topic.is_none()) {
                break;
            }
        }
        unserved.append(&mut line);
        unserved.append(&mut served);
        self.waiters.put_back(group.clone(), unserved);
        if look_on {
            self.waiters.wake(group);
        }
    }

    async fn propose(&mut self, batch: Batch, mut open: Open) -> bool {
        let core = self.core.clone();
        let propose = core.replication.propose(Arc::new(batch));
        tokio::pin!(propose);
        let outcome = loop {
            tokio::select! {
                outcome = &mut propose => break outcome,
                () = sleep(OVERDUE_CHECK) => {
                    open.give_up_overdue();
                    while let Ok(ask) = self.asks.try_recv() {
                        self.take(ask);
                    }
                    self.refuse_overdue();
                }
            }
        };
        match outcome {
            Ok(proposed) if proposed.took_effect => {
                self.finish(open, proposed.index);
                true
            }
            Ok(_) => {
                self.decide_again(open);
                true
            }
            Err(error) => {
                let answer = match &error {
                    ProposeError::NotLeader { .. } => BrokerError::NotReady(error.to_string()),
                    ProposeError::Full => BrokerError::DiskFull(error.to_string()),
                    ProposeError::Fault { submitted: false, .. } => BrokerError::NotReady(error.to_string()),
                    ProposeError::Unknown | ProposeError::Fault { .. } => BrokerError::OutcomeUnknown,
                };
                tracing::warn!(%error, "a batch got no answer");
                if error == ProposeError::Full {
                    // Nothing was submitted, and a receive waits for space like everybody else.
                    self.receives.extend(open.take_receives());
                }
                open.fail(&answer);
                error == ProposeError::Full
            }
        }
    }

    /// A batch that was decided too early did nothing: everything in it waits again, in the same order.
    fn decide_again(&mut self, open: Open) {
        for decision in open.decisions.into_iter().rev() {
            self.queue.push_front(decision);
        }
        for delivery in open.deliveries.into_iter().rev() {
            match delivery {
                Delivery::Receive(waiting, _) => self.receives.push_front(waiting),
                Delivery::Session(session, _) => {
                    if let Some(state) = self.waiters.sessions.get(&session) {
                        let group = state.subscriber.group.clone();
                        self.waiters.wake(&group);
                    }
                }
            }
        }
        for (waiting, _) in open.refused.into_iter().rev() {
            self.receives.push_front(waiting);
        }
    }

    fn finish(&mut self, open: Open, index: u64) {
        for decision in open.decisions {
            decision.finish(Ok(index));
        }
        for (waiting, refusal) in open.refused {
            let _ = waiting.reply.send(Err(BrokerError::Refused(refusal)));
        }
        if !open.deliveries.is_empty() {
            count::deliveries(&self.core.traffic, &open.deliveries, self.clock.now());
        }
        for delivery in open.deliveries {
            let undelivered = delivery.hand_over(&mut self.waiters, index);
            self.settle_unasked(&undelivered, &SettleOp::GiveBack);
        }
    }

    /// Tells callers whose time is over, and that were never submitted, that nothing was stored.
    fn refuse_overdue(&mut self) {
        let now = Instant::now();
        let (overdue, waiting) =
            std::mem::take(&mut self.queue).into_iter().partition(|decision| decision.is_overdue(now));
        self.queue = waiting;
        let overdue: VecDeque<Box<dyn Decision>> = overdue;
        for decision in overdue {
            let text = "the request waited longer than the request timeout and was not submitted".to_owned();
            decision.finish(Err(BrokerError::Overloaded(text)));
        }
    }

    fn refuse_queued(&mut self, why: &str) {
        for decision in std::mem::take(&mut self.queue) {
            decision.finish(Err(BrokerError::NotReady(why.to_owned())));
        }
        for waiting in std::mem::take(&mut self.receives) {
            let _ = waiting.reply.send(Err(BrokerError::NotReady(why.to_owned())));
        }
    }
}
