//! The auditor's judgement: may this delivery be, and what must this settle answer?

mod producing;
mod redriving;

pub(crate) use producing::CarriedOut;

use whimbrel::machine::{Leased, SettleOp, SettleStatus, SettledAs};
use whimbrel::model::{Position, Receipt, Timestamp};

use super::{Checked, LEASE_MS, MAX_ATTEMPTS, Model, RETRY_MS, Seen, Sent, State, ensure};

impl Model {
    /// One delivery: may it be?
    pub(super) fn audit(&mut self, group: usize, leased: &Leased, receipt: Receipt) -> Checked {
        let now = self.world.now;
        let of = &self.groups[group];
        let body = self.world.body(receipt.position);
        let found = self.sent.iter_mut().find(|sent| sent.position == receipt.position);
        let sent = found.ok_or("I2: delivered what was never sent")?;
        let said = |what: &str| format!("{what}: {body} to {} as {leased:?}", of.name);
        ensure(body == sent.body, || said("I2: another body"))?;
        ensure(of.topics.contains(&sent.topic), || said("I10: another topic"))?;
        ensure(of.wants.includes(sent), || said("I10: the filter does not match"))?;
        ensure(!sent.cancelled, || said("I13: cancelled"))?;
        ensure(sent.offset == Some(leased.offset) && sent.due <= now, || said("I13: too early"))?;
        let expires_at = sent.ttl_ms.map_or(Timestamp::MAX, |ttl| sent.due.plus(ttl));
        let seen = &mut sent.by_group[group];
        ensure(seen.state == State::Ready, || said(&format!("I6, I7: delivered while {:?}", seen.state)))?;
        ensure(seen.never_expires || expires_at > now, || said("delivered after its TTL"))?;
        ensure(leased.attempt == seen.failures + 1, || said("I8: attempt"))?;
        ensure(leased.attempt <= MAX_ATTEMPTS, || said("I8: too many attempts"))?;
        let this = (leased.round, leased.attempt);
        ensure(this > seen.last || (this == seen.last && !seen.failed_since), || {
            said("I8: not after the last")
        })?;
        seen.last = this;
        seen.failed_since = false;
        (seen.ran_out, seen.nacked) = (None, None);
        seen.state = State::Leased { receipt, until: leased.until };
        ensure(leased.until == now.plus(LEASE_MS), || said("lease time"))
    }

    /// I5: everything earlier in the lane is settled, or went out in the same answer.
    pub(super) fn audit_lane(&self, group: usize, position: Position, answer: &[Receipt]) -> Checked {
        let Some(most) = self.groups[group].lane_batch else { return Ok(()) };
        let this = self.sent.iter().find(|sent| sent.position == position).ok_or("I2")?;
        let mut leased = 0;
        for other in self.lane_of(this).filter(|other| self.groups[group].wants.includes(other)) {
            let seen = &other.by_group[group];
            let held = matches!(seen.state, State::Leased { .. });
            leased += usize::from(held);
            let settled = matches!(seen.state, State::Acked | State::Dead | State::Skipped)
                || self.is_expired(other, group);
            let together = answer.iter().any(|receipt| receipt.position == other.position);
            let earlier = other.offset.is_some() && seen.place < this.by_group[group].place;
            ensure(!earlier || settled || (held && together), || {
                format!("I5: {} before {} in {}", this.body, other.body, self.groups[group].name)
            })?;
        }
        ensure(leased <= most, || format!("I5: {leased} leases in the lane of {}", this.body))
    }

    pub(super) fn lane_of(&self, of: &Sent) -> impl Iterator<Item = &Sent> {
        let (topic, queue, key) = (of.topic, of.queue, of.key.clone());
        self.sent.iter().filter(move |sent| sent.topic == topic && sent.queue == queue && sent.key == key)
    }

    pub(super) fn is_expired(&self, sent: &Sent, group: usize) -> bool {
        let expires_at = sent.ttl_ms.map_or(Timestamp::MAX, |ttl| sent.due.plus(ttl));
        let seen = &sent.by_group[group];
        let idle = matches!(seen.state, State::Ready | State::Retrying { .. });
        seen.state == State::Expired || (idle && !seen.never_expires && expires_at <= self.world.now)
    }

    /// What a settle must answer, and what it does to the model.
    pub(super) fn expect(&mut self, group: usize, receipt: Receipt, op: &SettleOp) -> SettleStatus {
        let now = self.world.now;
        let at = self.sent.iter().position(|sent| sent.position == receipt.position).unwrap();
        let seen = &mut self.sent[at].by_group[group];
        let leased = matches!(seen.state, State::Leased { receipt: held, .. } if held == receipt);
        let late = seen.ran_out == Some(receipt)
            && matches!(seen.state, State::Ready | State::Retrying { .. })
            && matches!(op, SettleOp::Ack | SettleOp::Nack { .. } | SettleOp::DeadLetter { .. });
        if !leased && !late {
            // What a redriven message left behind when a seek brought it back to its own offset is not told apart.
            let left = receipt.place.turn > 0 && seen.place.1 == 0;
            let settled = matches!(seen.state, State::Acked | State::Dead);
            let already = settled || left || seen.nacked == Some(receipt);
            return if already { SettleStatus::Already } else { SettleStatus::Expired };
        }
        let status = match op {
            SettleOp::Ack => {
                seen.state = State::Acked;
                return SettleStatus::Ok(SettledAs::Acked);
            }
            SettleOp::Extend { .. } => {
                let until = now.plus(LEASE_MS);
                seen.state = State::Leased { receipt, until };
                return SettleStatus::Ok(SettledAs::Leased { until });
            }
            SettleOp::GiveBack => {
                seen.state = State::Ready;
                SettledAs::Ready
            }
            SettleOp::DeadLetter { .. } => {
                seen.state = State::Dead;
                SettledAs::Dead
            }
            SettleOp::Nack { delay_ms, .. } if late => {
                let due = match (delay_ms, seen.state) {
                    (Some(delay), _) => now.plus(*delay),
                    (None, State::Retrying { due }) => due,
                    (None, _) => now,
                };
                seen.state = if due > now { State::Retrying { due } } else { State::Ready };
                (seen.ran_out, seen.nacked) = (None, Some(receipt));
                return SettleStatus::Ok(SettledAs::Retrying { ready_at: due });
            }
            SettleOp::Nack { delay_ms, .. } => seen.fail(now.plus(delay_ms.unwrap_or(RETRY_MS)), now),
            SettleOp::Broken => seen.fail(now.plus(RETRY_MS), now),
        };
        if leased && matches!(op, SettleOp::Nack { .. }) {
            seen.nacked = Some(receipt);
        } else if leased && *op == SettleOp::Broken {
            seen.ran_out = Some(receipt);
        }
        if leased {
            self.give_back_behind(group, at);
        }
        SettleStatus::Ok(status)
    }

    /// Later leases of the lane end when one before them fails.
    pub(super) fn give_back_behind(&mut self, group: usize, at: usize) {
        if self.groups[group].lane_batch.is_none() {
            return;
        }
        let this = self.sent[at].by_group[group].place;
        let lane: Vec<Position> = self.lane_of(&self.sent[at]).map(|sent| sent.position).collect();
        for sent in self.sent.iter_mut().filter(|sent| lane.contains(&sent.position)) {
            let seen = &mut sent.by_group[group];
            if seen.place > this && matches!(seen.state, State::Leased { .. }) {
                seen.state = State::Ready;
            }
        }
    }
}

impl Seen {
    /// Of a message that was accepted now.
    pub(super) fn not_yet(offset: Option<u64>) -> Seen {
        Seen {
            state: State::Ready,
            failures: 0,
            ran_out: None,
            nacked: None,
            last: (0, 0),
            failed_since: false,
            place: (offset.unwrap_or(u64::MAX), 0),
            never_expires: false,
        }
    }

    pub(super) fn fail(&mut self, due: Timestamp, now: Timestamp) -> SettledAs {
        self.failures += 1;
        self.failed_since = true;
        if self.failures >= MAX_ATTEMPTS {
            self.state = State::Dead;
            return SettledAs::Dead;
        }
        self.state = if due > now { State::Retrying { due } } else { State::Ready };
        SettledAs::Retrying { ready_at: due }
    }
}
