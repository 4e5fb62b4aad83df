//! Failed deliveries: when the message comes again, and what is remembered of them.

use std::sync::Arc;

use crate::model::{GroupSettings, Millis, Place, Position, Timestamp};

use super::apply::Effects;
use super::cause::FailCause;
use super::draft::Draft;
use super::facts::Fact;
use super::progress::{OpenProgress, Where};
use super::requests::SettledAs;
use super::state::{History, Item, ItemState, LastEnd, Machine};

/// How many failures are remembered from each end of a message's history.
const REMEMBERED: usize = 15;

impl Draft {
    /// A running lease failed: the message retries, or dies if this was its last attempt. When there is no room for
    /// another dead letter it goes on waiting, whatever delay was asked for, and is not handed out again.
    pub(super) fn fail(
        &mut self,
        at: Where,
        place: Place,
        cause: FailCause,
        delay_ms: Option<Millis>,
    ) -> SettledAs {
        let now = self.time;
        let Some((settings, item)) = self.item_of(at, place) else {
            return SettledAs::Retrying { ready_at: now };
        };
        let failures = item.failures.saturating_add(1);
        let last_straw = failures >= settings.max_attempts;
        let policy_due = now.plus(settings.retry().delay_ms(failures));
        self.give_back_behind(at, place);
        if last_straw && self.may_bury(at) {
            return self.die(at, place, cause);
        }
        let due = if last_straw { policy_due } else { delay_ms.map_or(policy_due, |delay| now.plus(delay)) };
        self.push_failed(at, place, cause, due)
    }

    /// A nack with the receipt of a lease that ran out: no second failure, but the consumer's delay counts.
    pub(super) fn nack_late(
        &mut self,
        at: Where,
        (place, item): (Place, &Item),
        cause: FailCause,
        delay_ms: Option<Millis>,
    ) -> SettledAs {
        let exhausted =
            self.item_of(at, place).is_none_or(|(settings, item)| item.failures >= settings.max_attempts);
        let standing_due = match item.state {
            ItemState::Retrying { due } => due,
            _ => self.time,
        };
        let asked = delay_ms.filter(|_| !exhausted).map(|delay| self.time.plus(delay));
        self.push_failed(at, place, cause, asked.unwrap_or(standing_due))
    }

    pub(super) fn push_failed(
        &mut self,
        at: Where,
        place: Place,
        cause: FailCause,
        due: Timestamp,
    ) -> SettledAs {
        let Where { group, topic, queue } = at;
        self.push(Fact::Failed { group, topic, queue, place, cause, due });
        SettledAs::Retrying { ready_at: due }
    }

    /// The later members of a lane batch are given back when an earlier one fails.
    pub(super) fn give_back_behind(&mut self, at: Where, place: Place) {
        let places = self.leased_behind(at, place);
        if !places.is_empty() {
            let Where { group, topic, queue } = at;
            self.push(Fact::GivenBack { group, topic, queue, places });
        }
    }

    pub(super) fn item_of(&self, at: Where, place: Place) -> Option<(&GroupSettings, &Item)> {
        let group = self.machine.groups.get(&at.group)?;
        let item = group.progress.get(&(at.topic, at.queue))?.items.get(&place)?;
        Some((&group.settings, item))
    }
}

impl OpenProgress<'_> {
    /// A delivery failed; the message waits until `due`, or is ready at once.
    pub(super) fn fail(&mut self, place: Place, cause: &FailCause, due: Option<Timestamp>, at: Position) {
        let Some(item) = self.progress.items.get(&place) else { return };
        let state = due.map_or_else(|| self.at_rest(place, item.lane), |due| ItemState::Retrying { due });
        self.change(place, |item| {
            item.count_failure(at);
            item.last = match (item.nonce(), cause) {
                (None, _) => LastEnd::None,
                (Some(nonce), FailCause::RanOut | FailCause::Broken) => LastEnd::RanOut { nonce },
                (Some(nonce), FailCause::Nacked { .. } | FailCause::Rejected { .. }) => {
                    LastEnd::Nacked { nonce }
                }
            };
            item.state = state;
        });
    }
}

impl Item {
    /// The nonce of its lease, or of the last one while that may still mean something.
    fn nonce(&self) -> Option<u64> {
        match (&self.state, self.last) {
            (ItemState::Leased(lease), _) => Some(lease.nonce),
            (_, LastEnd::RanOut { nonce } | LastEnd::Nacked { nonce }) => Some(nonce),
            (_, LastEnd::None) => None,
        }
    }

    /// Remembers the failure that stands at `at`. One that comes after the lease ran out is that failure, told better.
    pub(super) fn count_failure(&mut self, at: Position) {
        let counts = self.lease().is_some();
        let history = Arc::make_mut(self.history.get_or_insert_default());
        if counts {
            self.failures = self.failures.saturating_add(1);
            history.add(at);
        } else {
            history.replace_last(at);
        }
    }
}

impl History {
    /// Where the last failure stands in the log.
    #[must_use]
    pub fn last_failure(&self) -> Option<Position> {
        self.last.last().or(self.first.last()).copied()
    }

    fn add(&mut self, at: Position) {
        self.total = self.total.saturating_add(1);
        if self.first.len() < REMEMBERED {
            self.first.push(at);
            return;
        }
        if self.last.len() >= REMEMBERED {
            self.last.remove(0);
        }
        self.last.push(at);
    }

    fn replace_last(&mut self, at: Position) {
        if let Some(last) = self.last.last_mut().or(self.first.last_mut()) {
            *last = at;
        }
    }
}

impl Machine {
    pub(super) fn apply_retry_due(&mut self, at: Where, places: &[Place], effects: &mut Effects) {
        let Some(mut open) = self.open(at, effects) else { return };
        for place in places {
            let Some(item) = open.progress.items.get(place) else { continue };
            if !matches!(item.state, ItemState::Retrying { .. }) {
                continue;
            }
            let state = open.at_rest(*place, item.lane);
            open.change(*place, |item| item.state = state);
        }
    }
}
