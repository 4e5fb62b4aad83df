//! Who leads, told to the broker as it changes.

use openraft::ServerState;
use openraft::metrics::RaftServerMetrics;
use tokio::sync::watch;

use super::fault::{Fault, FaultBoard};
use super::types::Raft;

/// Whether this node leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// This node leads.
    pub leader: bool,
    /// Counts the leaderships of this process, from 1; 0 before the first. A leader whose `epoch` the broker has not
    /// seen must propose a leader start before anything else, also when a restarted process resumes the same term.
    pub epoch: u64,
    /// The Raft term.
    pub term: u64,
    /// Who leads, as far as is known.
    pub leader_id: Option<u64>,
}

impl Leadership {
    /// What follows from what openraft says now.
    fn next(self, metrics: &RaftServerMetrics<u64, openraft::BasicNode>) -> Leadership {
        let leader = metrics.state == ServerState::Leader;
        let term = metrics.vote.leader_id().term;
        let begins = leader && (!self.leader || self.term != term);
        Leadership { leader, epoch: self.epoch + u64::from(begins), term, leader_id: metrics.current_leader }
    }
}

/// Keeps `told` up to date until openraft ends; an end that nobody asked for is a fault.
pub(super) async fn follow(raft: Raft, told: watch::Sender<Leadership>, faults: FaultBoard) {
    let mut metrics = raft.server_metrics();
    loop {
        let now = metrics.borrow_and_update().clone();
        told.send_if_modified(|leadership| {
            let next = leadership.next(&now);
            let changed = *leadership != next;
            *leadership = next;
            changed
        });
        if metrics.changed().await.is_err() {
            break;
        }
    }
    told.send_modify(|leadership| leadership.leader = false);
    let why = match raft.metrics().borrow().running_state.clone() {
        Err(openraft::error::Fatal::Stopped) => return,
        Err(fatal) => fatal.to_string(),
        Ok(()) => "its task ended without a word".to_owned(),
    };
    faults.raise(Fault::new(format!("agreement stopped: {why}")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::Vote;

    fn metrics(state: ServerState, term: u64) -> RaftServerMetrics<u64, openraft::BasicNode> {
        RaftServerMetrics { state, vote: Vote::new_committed(term, 1), ..RaftServerMetrics::default() }
    }

    #[test]
    fn every_leadership_has_its_own_epoch() {
        let mut leadership = Leadership::default();
        let mut epochs = Vec::new();
        for (state, term) in [
            (ServerState::Follower, 1),
            (ServerState::Leader, 1),
            (ServerState::Leader, 1),
            (ServerState::Follower, 2),
            (ServerState::Leader, 3),
            (ServerState::Leader, 5),
        ] {
            leadership = leadership.next(&metrics(state, term));
            epochs.push((leadership.leader, leadership.epoch, leadership.term));
        }
        assert_eq!(
            epochs,
            [(false, 0, 1), (true, 1, 1), (true, 1, 1), (false, 1, 2), (true, 2, 3), (true, 3, 5)]
        );
    }
}
