//! A consumer that messages are pushed to (a WebSocket subscription).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::machine::Leased;
use crate::model::{GroupId, GroupName, Millis, TopicName};

use super::ask::Adjustment;
use super::clients::{ClientSocket, Listed};
use super::read::Loading;

/// A wish to be pushed messages.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// The group.
    pub group: GroupName,
    /// Only this topic; for a group that does not exist, what it is made to subscribe to.
    pub topic: Option<TopicName>,
    /// Whether a missing topic is made along with a missing group.
    pub auto_create: bool,
    /// How credit works.
    pub mode: CreditMode,
    /// How long the leases last; none: as the group is set.
    pub lease_ms: Option<Millis>,
    /// The member's name.
    pub client: Arc<str>,
    /// The socket that it is shown with, and what the client calls it there.
    pub socket: Option<(Arc<ClientSocket>, Box<str>)>,
}

/// How many messages may be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreditMode {
    /// At most this many unsettled messages at a time, wherever they are settled.
    Prefetch(u32),
    /// As many as the client gave credit for.
    Credit,
}

/// How a subscription stands, for people: written by the proposer, read by whoever asks.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    room: AtomicU64,
    in_flight: AtomicU64,
    paused: AtomicBool,
}

impl Gauge {
    /// How many messages it may still get, how many it holds unsettled, and whether its client has paused it.
    pub(super) fn set(&self, room: u64, in_flight: u64, paused: bool) {
        self.room.store(room, Ordering::Relaxed);
        self.in_flight.store(in_flight, Ordering::Relaxed);
        self.paused.store(paused, Ordering::Relaxed);
    }

    pub(super) fn room(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }
}

/// Messages that were pushed; bodies are read with [`Subscription::load`].
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The group, for the receipts.
    pub group: GroupId,
    /// Index of the entry that holds the leases.
    pub index: u64,
    /// What was leased.
    pub leased: Vec<Leased>,
}

/// How a subscription ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// In order (unsubscribe, close 1000/1001, drain): its leases are given back.
    GiveBack,
    /// The connection broke: its leases have run out.
    Broken,
}

/// A running subscription. Dropping it without [`Subscription::close`] counts as broken.
#[derive(Debug)]
pub struct Subscription {
    pub(super) session: u64,
    pub(super) pushed: tokio::sync::mpsc::UnboundedReceiver<Pushed>,
    pub(super) broker: super::Broker,
    pub(super) closed: bool,
    pub(super) _place: tokio::sync::OwnedSemaphorePermit,
    pub(super) _listed: Option<Listed>,
}

impl Subscription {
    /// The next messages. Cancel-safe. None when the broker stops.
    pub async fn next(&mut self) -> Option<Pushed> {
        self.pushed.recv().await
    }

    /// Reads bodies and attributes. See [`super::Broker::load`].
    pub fn load(&self, pushed: &Pushed) -> Loading {
        self.broker.load(pushed.group, pushed.index, &pushed.leased)
    }

    /// Adds credit (credit mode); at most 10,000 may be outstanding, more is cut. `bytes`, once given, bounds the body
    /// bytes of the next pushes as well.
    pub fn credit(&self, messages: u32, bytes: Option<u64>) {
        self.broker.adjust(self.session, Adjustment::Credit { messages, bytes });
    }

    /// Stops or goes on pushing.
    pub fn pause(&self, paused: bool) {
        self.broker.adjust(self.session, Adjustment::Pause(paused));
    }

    /// Ends it: nothing is pushed any more, and what it holds is given back or counts as run out.
    pub fn close(&mut self, how: CloseHow) {
        if !std::mem::replace(&mut self.closed, true) {
            self.broker.adjust(self.session, Adjustment::Close(how));
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.close(CloseHow::Broken);
    }
}
