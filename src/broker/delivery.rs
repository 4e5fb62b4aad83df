//! Answers that wait for the batch they were decided in.

use tokio::time::Instant;

use crate::machine::{Received, Refusal};
use crate::model::Receipt;

use super::ask::{Decision, Waiting};
use super::error::BrokerError;
use super::subscription::Pushed;
use super::waiters::{Place, Waiters};

/// Everything decided in the batch on its way.
#[derive(Default)]
pub(super) struct Open {
    pub(super) decisions: Vec<Box<dyn Decision>>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) refused: Vec<(Waiting, Refusal)>,
}

impl Open {
    /// Adds what was decided for somebody in a line. Answers the place if it stays in line.
    pub(super) fn add(&mut self, place: Place, received: Result<Received, Refusal>) -> Option<Place> {
        match (place, received) {
            (Place::Receive(waiting), Ok(received)) => {
                self.deliveries.push(Delivery::Receive(waiting, received));
            }
            (Place::Receive(waiting), Err(refusal)) => self.refused.push((waiting, refusal)),
            (Place::Session(session), Ok(received)) => {
                self.deliveries.push(Delivery::Session(session, received));
                return Some(Place::Session(session));
            }
            (Place::Session(session), Err(refusal)) => {
                // Its group or topic is gone; it may come back, and the client sees an empty line meanwhile.
                tracing::debug!(session, %refusal, "a subscription has nothing to read from");
                return Some(Place::Session(session));
            }
        }
        None
    }

    /// Tells callers whose time is over that the outcome is unknown.
    pub(super) fn give_up_overdue(&mut self) {
        let now = Instant::now();
        let (overdue, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.decisions).into_iter().partition(|decision| decision.is_overdue(now));
        self.decisions = open;
        for decision in overdue {
            decision.finish(Err(BrokerError::OutcomeUnknown));
        }
    }

    /// Takes out the receives that were going to be answered with messages.
    pub(super) fn take_receives(&mut self) -> Vec<Waiting> {
        let take = |delivery| match delivery {
            Delivery::Receive(waiting, _) => Some(waiting),
            Delivery::Session(..) => None,
        };
        std::mem::take(&mut self.deliveries).into_iter().filter_map(take).collect()
    }

    /// Tells everybody that there is no answer.
    pub(super) fn fail(mut self, error: &BrokerError) {
        // Of subscriptions the leases may be in the log; if so they run out by time.
        let receives = self.take_receives();
        for decision in self.decisions {
            decision.finish(Err(error.clone()));
        }
        for waiting in receives.into_iter().chain(self.refused.into_iter().map(|(waiting, _)| waiting)) {
            let _ = waiting.reply.send(Err(error.clone()));
        }
    }
}

/// Leased messages and who gets them.
pub(super) enum Delivery {
    /// A receive.
    Receive(Waiting, Received),
    /// A subscription, by session.
    Session(u64, Received),
}

impl Delivery {
    /// What was leased.
    pub(super) fn received(&self) -> &Received {
        match self {
            Delivery::Receive(_, received) | Delivery::Session(_, received) => received,
        }
    }

    /// Hands the messages over. Answers the receipts of those that nobody is there to take.
    pub(super) fn hand_over(self, waiters: &mut Waiters, index: u64) -> Vec<Receipt> {
        let receipts = |received: &Received| -> Vec<Receipt> {
            received.messages.iter().map(|leased| leased.receipt(received.group, index)).collect()
        };
        match self {
            Delivery::Receive(waiting, received) => match waiting.reply.send(Ok((received, index))) {
                Ok(()) => Vec::new(),
                Err(Ok((received, _))) => receipts(&received),
                Err(Err(_)) => Vec::new(),
            },
            Delivery::Session(session, received) => {
                let receipts = receipts(&received);
                let Some(state) = waiters.sessions.get_mut(&session) else { return receipts };
                let body_bytes = received.messages.iter().map(|leased| u64::from(leased.body_bytes)).sum();
                let pushed = Pushed { group: received.group, index, leased: received.messages };
                if state.subscriber.pushed.send(pushed).is_err() {
                    return receipts;
                }
                state.given(receipts, body_bytes);
                Vec::new()
            }
        }
    }
}
