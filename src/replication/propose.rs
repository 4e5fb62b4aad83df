//! Proposing one decided batch.

use std::sync::Arc;

use openraft::error::{ClientWriteError, RaftError};

use crate::machine::Batch;
use crate::model::seeded::{self, SeededBug};
use crate::storage::Space;

use super::error::ProposeError;
use super::fault::Fault;
use super::handle::Replication;
use super::types::Payload;

/// With less free space than the log reserves in one step, nothing is handed to it any more.
const STEP_BYTES: u64 = 8 << 20;

/// A batch that was agreed on and applied here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its index in the log.
    pub index: u64,
    /// Whether it changed anything. If not, it was decided on a base that is not the newest and did nothing: its
    /// requests may be decided again.
    pub took_effect: bool,
}

impl Replication {
    /// Puts one decided batch through Raft and waits until it is applied here. There is no limit on time: the caller
    /// sets one, and a batch it no longer waits for may still be applied.
    ///
    /// # Errors
    /// See [`ProposeError`]: each says whether the batch may be stored.
    pub async fn propose(&self, batch: Arc<Batch>) -> Result<Proposed, ProposeError> {
        if let Some(fault) = self.inner.faults.get() {
            return Err(ProposeError::Fault { fault, submitted: false });
        }
        if self.no_room() {
            return Err(ProposeError::Full);
        }
        let payload = Payload::new(batch);
        let submitted = payload.clone();
        if seeded::active(SeededBug::AnsweredBeforeCommit) {
            return self.answer_too_early(payload).await;
        }
        let mut faults = self.inner.faults.watch();
        let written = tokio::select! {
            biased;
            written = self.inner.raft.client_write(payload) => written,
            fault = faults.wait_for(Option::is_some) => {
                let fault = fault.ok().and_then(|fault| fault.clone());
                return Err(self.failed(fault, &submitted));
            }
        };
        match written {
            Ok(answer) => Ok(Proposed { index: answer.log_id.index, took_effect: answer.data.took_effect }),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                // openraft answers the same for a batch it never took and for one it took and cut off again. The
                // latter may still be committed by a third node.
                let unknown = submitted.was_submitted();
                Err(if unknown {
                    ProposeError::Unknown
                } else {
                    ProposeError::NotLeader { leader: to.leader_id }
                })
            }
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_))) => {
                Err(ProposeError::Unknown)
            }
            Err(RaftError::Fatal(fatal)) => {
                Err(self.failed(Some(Fault::new(format!("agreement stopped: {fatal}"))), &submitted))
            }
        }
    }

    /// Whether the log could not grow. Looks again each time, so that it ends as soon as space is freed.
    fn no_room(&self) -> bool {
        let log = &self.inner.log;
        let short = || log.free_space() < STEP_BYTES;
        log.space() >= Space::Tight && short() && (log.measure_space().is_err() || short())
    }

    /// The first fault is the cause; what openraft says later is only its consequence.
    fn failed(&self, consequence: Option<Fault>, payload: &Payload) -> ProposeError {
        let fault =
            self.inner.faults.get().or(consequence).unwrap_or_else(|| Fault::new("agreement stopped"));
        ProposeError::Fault { fault, submitted: payload.was_submitted() }
    }

    /// The seeded bug (2): answers when the batch was only handed in.
    async fn answer_too_early(&self, payload: Payload) -> Result<Proposed, ProposeError> {
        let index = self.inner.log.last().map_or(0, |id| id.index + 1);
        let failed = payload.clone();
        match self.inner.raft.client_write_ff(payload).await {
            Ok(_) => Ok(Proposed { index, took_effect: true }),
            Err(_) => Err(self.failed(None, &failed)),
        }
    }
}
