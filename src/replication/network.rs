//! The way to other nodes. There is none yet: a node is a Raft group of one voter, so nothing is ever sent. Every peer
//! is unreachable until clusters are built.

use std::future::Future;
use std::io;

use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RaftNetwork, RaftNetworkFactory, Snapshot};

use super::types::{Types, Vote};

/// Makes ways to peers.
pub(super) struct Network;

/// A peer that cannot be reached.
pub(super) struct Peer {
    target: u64,
}

impl Peer {
    fn unreachable(&self) -> Unreachable {
        Unreachable::new(&io::Error::new(
            io::ErrorKind::Unsupported,
            format!("node {} is out of reach: clusters are not supported yet", self.target),
        ))
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Peer {
        Peer { target }
    }
}

type CallError = RPCError<u64, BasicNode, RaftError<u64>>;

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot<Types>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        Err(self.unreachable().into())
    }
}
