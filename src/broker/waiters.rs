//! Who waits for messages: receives that found nothing yet, and subscriptions.
//!
//! Everybody who waits for one group stands in one line. Whoever is served goes to the back, so consumers take turns.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::machine::ReceiveRequest;
use crate::model::{GroupName, RECEIVE_BYTES_MAX, RECEIVE_MESSAGES_MAX, Receipt};

use super::ask::{Adjustment, Subscriber, Waiting};
use super::subscription::CreditMode;

/// Most credit that may be outstanding on one subscription.
const CREDIT_MAX: u64 = 10_000;

/// One place in a group's line.
pub(super) enum Place {
    /// A receive.
    Receive(Waiting),
    /// A subscription, by session.
    Session(u64),
}

/// A subscription and what it may still be given.
pub(super) struct Session {
    pub(super) subscriber: Subscriber,
    paused: bool,
    /// Credit mode: messages it may still get.
    credit: u64,
    /// Credit mode: body bytes it may still get, when the client counts them.
    byte_credit: Option<u64>,
    /// Its live leases, by nonce.
    pub(super) held: HashMap<u64, Receipt>,
}

impl Session {
    /// Messages that it may still get.
    fn room(&self) -> u64 {
        match self.subscriber.mode {
            _ if self.paused => 0,
            CreditMode::Prefetch(prefetch) => u64::from(prefetch).saturating_sub(self.held.len() as u64),
            CreditMode::Credit if self.byte_credit == Some(0) => 0,
            CreditMode::Credit => self.credit,
        }
    }

    /// Shows how it stands to whoever lists the clients.
    fn show(&self) {
        self.subscriber.gauge.set(self.room(), self.held.len() as u64, self.paused);
    }

    /// What it wants now; none when it has no room.
    fn request(&self, turn: u32) -> Option<ReceiveRequest> {
        let room = u32::try_from(self.room()).unwrap_or(u32::MAX).min(RECEIVE_MESSAGES_MAX);
        (room > 0).then(|| ReceiveRequest {
            group: self.subscriber.group.clone(),
            topic: self.subscriber.topic.clone(),
            auto_create: self.subscriber.auto_create,
            max_messages: room,
            max_bytes: self.byte_credit.unwrap_or(RECEIVE_BYTES_MAX).min(RECEIVE_BYTES_MAX),
            lease_ms: self.subscriber.lease_ms,
            session: self.subscriber.session,
            client: self.subscriber.client.clone(),
            turn,
        })
    }

    /// Its leases as they stand in their queues: when the first of a lane fails, those behind it are given back and do
    /// not fail on their own account.
    pub(super) fn leases_in_order(self) -> Vec<Receipt> {
        let mut leases: Vec<Receipt> = self.held.into_values().collect();
        leases.sort_unstable_by_key(|receipt| (receipt.topic, receipt.queue, receipt.place));
        leases
    }

    /// Notes what it was given.
    pub(super) fn given(&mut self, receipts: impl IntoIterator<Item = Receipt>, body_bytes: u64) {
        for receipt in receipts {
            self.held.insert(receipt.nonce, receipt);
            self.credit = self.credit.saturating_sub(1);
        }
        self.byte_credit = self.byte_credit.map(|bytes| bytes.saturating_sub(body_bytes));
        self.show();
    }
}

/// Everybody who waits.
#[derive(Default)]
pub(super) struct Waiters {
    lines: BTreeMap<GroupName, VecDeque<Place>>,
    pub(super) sessions: HashMap<u64, Session>,
    /// Groups whose line should be looked at with the next batch.
    due: BTreeSet<GroupName>,
    turn: u32,
}

impl Waiters {
    /// Puts a receive at the end of its line.
    pub(super) fn add(&mut self, waiting: Waiting) {
        let group = waiting.request.group.clone();
        self.lines.entry(group).or_default().push_back(Place::Receive(waiting));
    }

    /// Starts a subscription and has its group looked at.
    pub(super) fn subscribe(&mut self, subscriber: Subscriber) {
        let (session, group) = (subscriber.session, subscriber.group.clone());
        let state = Session { subscriber, paused: false, credit: 0, byte_credit: None, held: HashMap::new() };
        state.show();
        self.sessions.insert(session, state);
        self.lines.entry(group.clone()).or_default().push_back(Place::Session(session));
        self.due.insert(group);
    }

    /// Changes a subscription; a closed one is taken out and handed back, with the leases it still holds.
    pub(super) fn adjust(&mut self, session: u64, adjustment: Adjustment) -> Option<Session> {
        let state = self.sessions.get_mut(&session)?;
        match adjustment {
            Adjustment::Credit { messages, bytes } => {
                state.credit = (state.credit + u64::from(messages)).min(CREDIT_MAX);
                if let Some(bytes) = bytes {
                    state.byte_credit = Some(state.byte_credit.unwrap_or(0).saturating_add(bytes));
                }
            }
            Adjustment::Pause(paused) => state.paused = paused,
            Adjustment::Close(_) => return self.sessions.remove(&session),
        }
        state.show();
        let group = state.subscriber.group.clone();
        self.due.insert(group);
        None
    }

    /// A lease of a subscription ended, wherever it was settled: there is room again.
    pub(super) fn ended(&mut self, session: u64, nonce: u64) {
        if let Some(state) = self.sessions.get_mut(&session)
            && state.held.remove(&nonce).is_some()
        {
            state.show();
            self.due.insert(state.subscriber.group.clone());
        }
    }

    /// Has a group looked at with the next batch, if anybody waits for it.
    pub(super) fn wake(&mut self, group: &GroupName) {
        if self.lines.contains_key(group) {
            self.due.insert(group.clone());
        }
    }

    /// Has every group with a line looked at: once a second, and when a leadership starts.
    pub(super) fn wake_all(&mut self) {
        self.due.extend(self.lines.keys().cloned());
    }

    /// The groups to look at now.
    pub(super) fn take_due(&mut self) -> BTreeSet<GroupName> {
        std::mem::take(&mut self.due)
    }

    /// Whether some group is to be looked at.
    pub(super) fn any_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// What the one at `place` wants now: nothing at all when it is gone, none when it has no room.
    pub(super) fn request(&self, place: &Place, turn: u32) -> Option<Option<ReceiveRequest>> {
        match place {
            Place::Receive(waiting) if waiting.reply.is_closed() => None,
            Place::Receive(waiting) => Some(Some(ReceiveRequest { turn, ..waiting.request.clone() })),
            Place::Session(session) => self.sessions.get(session).map(|state| state.request(turn)),
        }
    }

    /// Whether anybody waits for `group`.
    pub(super) fn waits_for(&self, group: &GroupName) -> bool {
        self.lines.contains_key(group)
    }

    /// Takes the whole line of a group, to be served; put it back with [`Waiters::put_back`].
    pub(super) fn take_line(&mut self, group: &GroupName) -> VecDeque<Place> {
        self.lines.remove(group).unwrap_or_default()
    }

    /// Puts a line back; an empty one is forgotten.
    pub(super) fn put_back(&mut self, group: GroupName, line: VecDeque<Place>) {
        if !line.is_empty() {
            self.lines.insert(group, line);
        }
    }

    /// A number that moves on with every receive, so that receives begin at different queues.
    pub(super) fn next_turn(&mut self) -> u32 {
        self.turn = self.turn.wrapping_add(1);
        self.turn
    }

    /// Forgets receives whose callers have gone and sessions that were closed.
    pub(super) fn sweep(&mut self) {
        let sessions = &self.sessions;
        self.lines.retain(|_, line| {
            line.retain(|place| match place {
                Place::Receive(waiting) => !waiting.reply.is_closed(),
                Place::Session(session) => sessions.contains_key(session),
            });
            !line.is_empty()
        });
    }

    /// Whether nobody waits at all.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{GroupId, Place, Position, TopicId};

    fn waiters(mode: CreditMode) -> Waiters {
        let (pushed, _) = tokio::sync::mpsc::unbounded_channel();
        let mut waiters = Waiters::default();
        waiters.subscribe(Subscriber {
            session: 7,
            group: "g".parse().unwrap(),
            topic: None,
            auto_create: false,
            mode,
            lease_ms: None,
            client: "test".into(),
            pushed,
            gauge: Arc::default(),
        });
        waiters
    }

    fn receipt(offset: u64) -> Receipt {
        Receipt {
            group: GroupId(1),
            topic: TopicId(1),
            queue: 0,
            place: Place::at(offset),
            position: Position { index: offset, slot: 0 },
            round: 1,
            attempt: 1,
            nonce: offset.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    #[test]
    fn credit_without_bytes_does_not_lift_the_bound_on_bytes() {
        let mut waiters = waiters(CreditMode::Credit);
        waiters.adjust(7, Adjustment::Credit { messages: 5, bytes: Some(100) });
        waiters.adjust(7, Adjustment::Credit { messages: 5, bytes: None });
        let request = waiters.sessions[&7].request(0).unwrap();
        assert_eq!((request.max_messages, request.max_bytes), (10, 100));
        waiters.adjust(7, Adjustment::Credit { messages: 20_000, bytes: Some(1) });
        waiters.sessions.get_mut(&7).unwrap().given([receipt(1)], 101);
        assert!(waiters.sessions[&7].request(0).is_none(), "the bytes are used up");
        assert_eq!(waiters.sessions[&7].credit, CREDIT_MAX - 1);
    }

    #[test]
    fn a_subscription_that_ends_settles_its_leases_in_queue_order() {
        let mut waiters = waiters(CreditMode::Prefetch(100));
        let offsets: Vec<u64> = (0..50).collect();
        let state = waiters.sessions.get_mut(&7).unwrap();
        state.given(offsets.iter().rev().map(|offset| receipt(*offset)), 0);
        assert_eq!(state.room(), 50);
        let gauge = Arc::clone(&state.subscriber.gauge);
        assert_eq!((gauge.room(), gauge.in_flight(), gauge.is_paused()), (50, 50, false));
        waiters.ended(7, receipt(0).nonce);
        waiters.adjust(7, Adjustment::Pause(true));
        assert_eq!((gauge.room(), gauge.in_flight(), gauge.is_paused()), (0, 49, true));
        let closed = waiters.adjust(7, Adjustment::Close(super::super::CloseHow::Broken)).unwrap();
        let order: Vec<u64> = closed.leases_in_order().iter().map(|receipt| receipt.place.offset).collect();
        assert_eq!(order, offsets[1..]);
    }
}
