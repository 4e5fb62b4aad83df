//! The node about itself: what it is, and whether it can do its work.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::machine::Machine;
use crate::model::{HELD_MAX, Timestamp};
use crate::storage::Space;

use super::core::disk_words;
use super::handle::Broker;
use super::views::{NodeView, Readiness};

impl Broker {
    /// The time now, in log time: as ages are told, and what the broker stamps.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.core.clock.now(self.core.machine.read(Machine::now))
    }

    /// The node as pages and `/v1/version` show it.
    #[must_use]
    pub fn node(&self) -> NodeView {
        let replication = &self.core.replication;
        let leadership = *replication.leadership().borrow();
        let progress = replication.progress();
        NodeView {
            node_id: self.core.node_id,
            cluster_id: self.core.cluster_id.clone(),
            term: leadership.term,
            leader: leadership.leader,
            applied: progress.applied.unwrap_or(0),
            last: progress.last.unwrap_or(0),
            log_time: self.core.machine.read(Machine::now),
            log_bytes: replication.log().size_bytes(),
            free_bytes: replication.log().free_space(),
            indexed: self.core.indexer.indexed_up_to(),
            started_at: self.core.started_at,
        }
    }

    /// Whether the node can do its work, check by check.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let core = &self.core;
        let serving = core.serving.load(Ordering::Acquire) && !core.stopping();
        let space = core.replication.log().space();
        let clock_ok = !core.clock_jumped.load(Ordering::Relaxed);
        let clock =
            if clock_ok { "in step" } else { "the host's clock is more than an hour away from log time" };
        let damage = core.damage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let checks = vec![
            (
                "serving",
                serving,
                if serving { "leading" } else { "starting, stopping, or no leader" }.to_owned(),
            ),
            ("disk", space == Space::Open, disk_words(space).to_owned()),
            core.indexer.check(),
            self.held_check(),
            ("clock", clock_ok, clock.to_owned()),
            ("log", damage.is_none(), damage.unwrap_or_else(|| "no damage found".to_owned())),
            core.images_check(),
        ];
        // Without space the node still serves receivers, and a wrong host clock harms nobody: both only show.
        Readiness { ready: serving, checks }
    }

    fn held_check(&self) -> (&'static str, bool, String) {
        let held = self.core.machine.read(Machine::held);
        let full = held >= u64::try_from(HELD_MAX).unwrap_or(u64::MAX);
        let mut found =
            format!("{held} of {HELD_MAX} messages are scheduled, dead, or handed out and not settled");
        if full {
            found.push_str(
                "; until there are fewer, schedules are refused and no group looks at new messages",
            );
        }
        ("held", !full, found)
    }
}
