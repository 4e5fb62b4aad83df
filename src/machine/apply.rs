//! Applying facts: one match from fact to rule, nothing else.

use crate::model::{GroupId, Position, Timestamp};

use super::facts::{Batch, Fact};
use super::keys::KeyTable;
use super::progress::Where;
use super::state::Machine;

/// What applying one entry did.
#[derive(Debug)]
pub struct Applied {
    /// Whether the batch took effect; if not, nothing happened and its requests may be decided again.
    pub took_effect: bool,
    /// What the leader should do now.
    pub effects: Effects,
}

/// Things to do after a batch, as data. Only the leader performs them.
#[derive(Debug, Default)]
pub struct Effects {
    /// Groups that may have something to hand out now.
    pub woken: std::collections::BTreeSet<GroupId>,
    /// Leases of WebSocket subscriptions (session not 0) that ended.
    pub ended: Vec<Ended>,
    /// Keys that were forgotten: memory that is freed by whoever drops this, when no lock is held any more.
    pub freed: Vec<KeyTable>,
}

/// The end of one lease of a WebSocket subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The subscription.
    pub session: u64,
    /// The nonce of the lease.
    pub nonce: u64,
}

impl Machine {
    /// Applies the batch at `index`. Entries must come in order; every node gets the same result.
    pub fn apply(&mut self, index: u64, batch: &Batch) -> Applied {
        self.applied = index;
        let mut effects = Effects::default();
        if !batch.starts_leadership() && batch.base != self.base {
            return Applied { took_effect: false, effects };
        }
        self.base = index;
        self.now = self.now.max(batch.time);
        for (fact, slot) in batch.facts.iter().zip(0u16..) {
            self.apply_fact(fact, Position { index, slot }, batch.time, &mut effects);
        }
        Applied { took_effect: true, effects }
    }

    /// Notes an entry that holds no batch (blank, membership).
    pub fn skip(&mut self, index: u64) {
        self.applied = index;
    }

    /// One fact, standing at `at`. Never refuses and never fails: a fact about something that is gone is passed over.
    pub(super) fn apply_fact(&mut self, fact: &Fact, at: Position, time: Timestamp, effects: &mut Effects) {
        match fact {
            Fact::LeaderStart { .. } => {}
            Fact::TopicMade { id, name, settings } => self.make_topic(*id, name, settings, time),
            Fact::TopicChanged { id, settings } => self.change_topic(*id, settings, effects),
            Fact::TopicDeleted { id } => self.drop_topic(*id, effects),
            Fact::GroupMade { id, name, settings, starts } => {
                self.make_group(*id, name, settings, time);
                self.start_subscriptions(*id, starts, effects);
            }
            Fact::GroupChanged { id, settings, starts } => {
                self.change_group(*id, settings, effects);
                self.start_subscriptions(*id, starts, effects);
            }
            Fact::GroupDeleted { id } => self.drop_group(*id, effects),
            Fact::GroupPaused { id, paused } => self.apply_paused(*id, *paused, effects),
            Fact::Produced(produced) => self.apply_produced(produced, at, effects),
            Fact::ScheduleDue(due) => self.apply_schedule_due(due, effects),
            Fact::Cancelled { topic, due, position } => self.apply_cancelled(*topic, (*due, *position)),
            Fact::Delivered(delivered) => self.apply_delivered(delivered, at, time, effects),
            Fact::Acked { group, topic, queue, places } => {
                self.apply_acked(Where { group: *group, topic: *topic, queue: *queue }, places, effects);
            }
            Fact::Extended { group, topic, queue, place, until } => {
                let target = Where { group: *group, topic: *topic, queue: *queue };
                if let Some(mut open) = self.open(target, effects) {
                    open.prolong(*place, *until);
                }
            }
            Fact::Failed { group, topic, queue, place, cause, due } => {
                let target = Where { group: *group, topic: *topic, queue: *queue };
                let due = if *due > time { Some(*due) } else { None };
                if let Some(mut open) = self.open(target, effects) {
                    open.fail(*place, cause, due, at);
                }
            }
            Fact::Dead { group, topic, queue, place, reason, cause } => {
                let target = Where { group: *group, topic: *topic, queue: *queue };
                self.apply_dead((target, *place), (*reason, cause.as_ref()), (at, time), effects);
            }
            Fact::GivenBack { group, topic, queue, places } => {
                let target = Where { group: *group, topic: *topic, queue: *queue };
                self.apply_given_back(target, places, effects);
            }
            Fact::RetryDue { group, topic, queue, places } => {
                let target = Where { group: *group, topic: *topic, queue: *queue };
                self.apply_retry_due(target, places, effects);
            }
            Fact::Expired { group, topic, queue, places, beyond } => {
                let target = Where { group: *group, topic: *topic, queue: *queue };
                self.apply_expired(target, (places, beyond), (at, time), effects);
            }
            Fact::Sought { group, topic, targets } => self.apply_sought(*group, *topic, targets, effects),
            Fact::Redriven { group, positions, places } => {
                self.apply_redriven(*group, (positions, places), at, effects);
            }
            Fact::DeadMoved { group, positions } => self.apply_moved(*group, positions, at),
            Fact::Job(fact) => self.apply_job(fact, time),
            Fact::Alert(fact) => self.apply_alert(fact),
            Fact::DeadPurged { group } => self.apply_purged(*group),
            Fact::Kept { topic, firsts } => self.apply_kept(*topic, firsts),
            Fact::Swept { count } => self.apply_swept(*count, time),
            Fact::Remembered(remembered) => self.apply_remembered(remembered, at),
            Fact::Forgotten { topic, until } => self.apply_forgotten(*topic, *until, effects),
        }
    }
}
