//! Settling: ack, nack, extend, dead-letter, give back. What a receipt still means is said in one place.

use std::collections::BTreeSet;

use crate::model::seeded::{self, SeededBug};
use crate::model::{GroupName, Millis, Place, Receipt};

use super::apply::Effects;
use super::cause::FailCause;
use super::draft::Draft;
use super::facts::Fact;
use super::progress::Where;
use super::requests::{SettleOp, SettleStatus, SettledAs};
use super::state::{Item, ItemState, LastEnd, Machine};

/// What a receipt means now.
enum Standing<'a> {
    /// It holds a running lease.
    Holds(&'a Item),
    /// Its lease ran out and nobody took the message since: it may still settle.
    RanOut(&'a Item),
    /// The message is settled, or was nacked with this receipt.
    Already,
    /// It is void.
    Expired,
    /// It names a topic that is gone, or none of this group.
    Invalid,
}

impl Draft {
    /// Settles leases of one group, in order; the answers are in input order. `None` is a text that is no receipt. A
    /// group that does not exist has no receipts: all are invalid.
    pub fn settle(&mut self, group: &GroupName, ops: &[(Option<Receipt>, SettleOp)]) -> Vec<SettleStatus> {
        let Some(id) = self.machine.group_names.get(group).copied() else {
            return vec![SettleStatus::Invalid; ops.len()];
        };
        let mut acks = Acks::default();
        let mut extended = BTreeSet::new();
        let mut statuses = Vec::with_capacity(ops.len());
        for (receipt, op) in ops {
            let Some(receipt) = receipt.filter(|receipt| receipt.group == id) else {
                statuses.push(SettleStatus::Invalid);
                continue;
            };
            if *op == SettleOp::Ack && !extended.contains(&receipt.nonce) {
                statuses.push(self.ack(&receipt, &mut acks));
                continue;
            }
            self.flush(&mut acks);
            if extended.contains(&receipt.nonce) {
                statuses.push(SettleStatus::Already);
                continue;
            }
            let status = self.settle_one(&receipt, op);
            if matches!(status, SettleStatus::Ok(SettledAs::Leased { .. })) {
                extended.insert(receipt.nonce);
            }
            statuses.push(status);
        }
        self.flush(&mut acks);
        statuses
    }

    /// Settles one lease, whatever its group.
    pub fn settle_anywhere(&mut self, receipt: &Receipt, op: &SettleOp) -> SettleStatus {
        if *op != SettleOp::Ack {
            return self.settle_one(receipt, op);
        }
        let mut acks = Acks::default();
        let status = self.ack(receipt, &mut acks);
        self.flush(&mut acks);
        status
    }

    /// Notes an ack; acks of one queue become one fact.
    fn ack(&mut self, receipt: &Receipt, acks: &mut Acks) -> SettleStatus {
        let at = target_of(receipt);
        if acks.at != Some(at) {
            self.flush(acks);
            acks.at = Some(at);
        }
        match self.machine.standing(receipt) {
            Standing::Holds(_) | Standing::RanOut(_) => {
                if acks.holds(receipt.place) {
                    return SettleStatus::Already;
                }
                acks.places.push(receipt.place);
                acks.highest = acks.highest.max(receipt.place);
                SettleStatus::Ok(SettledAs::Acked)
            }
            Standing::Already => SettleStatus::Already,
            Standing::Expired => SettleStatus::Expired,
            Standing::Invalid => SettleStatus::Invalid,
        }
    }

    fn flush(&mut self, acks: &mut Acks) {
        let Acks { at, places, .. } = std::mem::take(acks);
        if let Some(Where { group, topic, queue }) = at
            && !places.is_empty()
        {
            self.push(Fact::Acked { group, topic, queue, places });
        }
    }

    /// Everything but acks.
    fn settle_one(&mut self, receipt: &Receipt, op: &SettleOp) -> SettleStatus {
        let at = target_of(receipt);
        let (leased, item) = match self.machine.standing(receipt) {
            Standing::Holds(item) => (true, item.clone()),
            Standing::RanOut(item) => (false, item.clone()),
            Standing::Already => return SettleStatus::Already,
            Standing::Expired => return SettleStatus::Expired,
            Standing::Invalid => return SettleStatus::Invalid,
        };
        match op {
            SettleOp::Ack => SettleStatus::Invalid,
            SettleOp::Nack { delay_ms, reason } => {
                let cause = FailCause::Nacked { reason: reason.clone() };
                let failed = if leased {
                    self.fail(at, receipt.place, cause, *delay_ms)
                } else {
                    self.nack_late(at, (receipt.place, &item), cause, *delay_ms)
                };
                SettleStatus::Ok(failed)
            }
            SettleOp::DeadLetter { reason } => {
                let cause = FailCause::Rejected { reason: reason.clone() };
                SettleStatus::Ok(self.reject(at, (receipt.place, &item), cause))
            }
            SettleOp::Extend { lease_ms } if leased => self.extend(at, receipt.place, *lease_ms),
            SettleOp::GiveBack if leased => {
                self.give_back(at, receipt.place);
                SettleStatus::Ok(SettledAs::Ready)
            }
            SettleOp::Broken if leased => {
                SettleStatus::Ok(self.fail(at, receipt.place, FailCause::Broken, None))
            }
            SettleOp::Extend { .. } | SettleOp::GiveBack | SettleOp::Broken => SettleStatus::Expired,
        }
    }

    fn extend(&mut self, at: Where, place: Place, lease_ms: Option<Millis>) -> SettleStatus {
        let Where { group, topic, queue } = at;
        let default_ms = self.machine.groups.get(&group).map_or(0, |group| group.settings.lease_ms);
        let until = self.time.plus(lease_ms.unwrap_or(default_ms));
        self.push(Fact::Extended { group, topic, queue, place, until });
        SettleStatus::Ok(SettledAs::Leased { until })
    }

    /// Ends a lease without a failure, and those behind it in its lane: what is leased stays the front of the lane.
    fn give_back(&mut self, at: Where, place: Place) {
        let mut places = vec![place];
        places.extend(self.leased_behind(at, place));
        let Where { group, topic, queue } = at;
        self.push(Fact::GivenBack { group, topic, queue, places });
    }

    /// The leased messages behind `place` in its lane (only with `lane_batch` above 1).
    pub(super) fn leased_behind(&self, at: Where, place: Place) -> Vec<Place> {
        let Some(progress) = self.machine.progress(at) else { return Vec::new() };
        let Some(item) = progress.items.get(&place) else { return Vec::new() };
        let lane = item.lane;
        let behind = progress.lanes.range((lane, place)..).skip(1).take_while(|(of, _)| *of == lane);
        let leased = |place: &Place| progress.items.get(place).is_some_and(|item| item.lease().is_some());
        behind.map(|(_, place)| *place).take_while(leased).collect()
    }
}

/// Acks of one queue, not yet a fact.
#[derive(Default)]
struct Acks {
    at: Option<Where>,
    places: Vec<Place>,
    /// The highest of `places`: acks mostly come in order, and then nothing needs to be searched.
    highest: Place,
}

impl Acks {
    fn holds(&self, place: Place) -> bool {
        place <= self.highest && self.places.contains(&place)
    }
}

fn target_of(receipt: &Receipt) -> Where {
    Where { group: receipt.group, topic: receipt.topic, queue: receipt.queue }
}

impl Machine {
    /// What a receipt means: from the cursor, the settled and the void ranges, the dead letters, what was redriven, and
    /// how the last lease ended.
    fn standing(&self, receipt: &Receipt) -> Standing<'_> {
        let Some(group) = self.groups.get(&receipt.group) else { return Standing::Invalid };
        let topic = self.topics.get(&receipt.topic);
        if topic.is_none_or(|topic| usize::from(receipt.queue) >= topic.queues.len()) {
            return Standing::Invalid;
        }
        let Some(progress) = group.progress.get(&(receipt.topic, receipt.queue)) else {
            return Standing::Expired;
        };
        let place = receipt.place;
        if let Some(item) = progress.items.get(&place) {
            return standing_of(item, receipt);
        }
        if group.dead.contains_key(&receipt.position) {
            return Standing::Already;
        }
        if progress.redriven.contains_key(&receipt.position) {
            return Standing::Expired;
        }
        // Of a redriven message that a seek brought back to its own offset this cannot be told: it counts as settled.
        let settled = if place.turn == 0 {
            let looked_at = place.offset < progress.next || progress.beyond.contains(place.offset);
            looked_at && !progress.void.contains(place.offset)
        } else {
            place.turn <= progress.redrives
        };
        if settled { Standing::Already } else { Standing::Expired }
    }

    pub(super) fn apply_acked(&mut self, at: Where, places: &[Place], effects: &mut Effects) {
        let Some(mut open) = self.open(at, effects) else { return };
        for place in places {
            open.take(*place);
        }
    }

    pub(super) fn apply_given_back(&mut self, at: Where, places: &[Place], effects: &mut Effects) {
        let Some(mut open) = self.open(at, effects) else { return };
        for place in places {
            let Some(item) = open.progress.items.get(place) else { continue };
            if item.lease().is_none() {
                continue;
            }
            let state = open.at_rest(*place, item.lane);
            open.change(*place, |item| {
                item.state = state;
                item.last = LastEnd::None;
            });
        }
    }
}

fn standing_of<'a>(item: &'a Item, receipt: &Receipt) -> Standing<'a> {
    let same = item.position == receipt.position && item.round == receipt.round;
    match (&item.state, item.last) {
        (ItemState::Leased(_), _) if seeded::active(SeededBug::StaleReceipt) => Standing::Holds(item),
        (ItemState::Leased(lease), _) if same && lease.nonce == receipt.nonce => Standing::Holds(item),
        (ItemState::Leased(_), _) => Standing::Expired,
        (_, LastEnd::RanOut { nonce }) if same && nonce == receipt.nonce => Standing::RanOut(item),
        (_, LastEnd::Nacked { nonce }) if same && nonce == receipt.nonce => Standing::Already,
        _ => Standing::Expired,
    }
}
