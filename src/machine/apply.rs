//! Applying facts: one match from fact to rule, nothing else.

use crate::model::{GroupId, Position, Timestamp};

use super::facts::{Batch, Fact};
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

    pub(super) fn apply_fact(&mut self, fact: &Fact, at: Position, time: Timestamp, effects: &mut Effects) {
        let _ = (fact, at, time, effects);
    }
}
