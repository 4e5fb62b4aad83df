//! Opening: from files to a node that takes part in agreement.

use std::collections::BTreeMap;
use std::sync::Arc;

use openraft::BasicNode;
use tokio::sync::{Mutex, mpsc, watch};

use crate::storage::{Images, Log};

use super::config::config;
use super::error::ReplicationError;
use super::fault::{Fault, FaultBoard};
use super::handle::{Inner, Replication, Running};
use super::image::{Cadence, ImageKeeper, KeeperParts};
use super::leadership::{self, Leadership};
use super::log_store::LogStore;
use super::network::Network;
use super::recover::{Recovered, Recovery, recover};
use super::state_machine::{OnApplied, StateMachine};
use super::types::Raft;

/// What a node's agreement needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node's number, from its node.json; the same at every start.
    pub node_id: u64,
    /// The cluster's name, for openraft's own messages.
    pub cluster: String,
    /// An image is due when the log since the last one holds this many bytes.
    pub image_bytes: u64,
    /// An image is due when the log since the last one holds this many facts.
    pub image_facts: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { node_id: 1, cluster: "whimbrel".to_owned(), image_bytes: 128 << 20, image_facts: 500_000 }
    }
}

/// The opened disk, as recovery of the log left it.
#[derive(Clone)]
pub struct Stores {
    /// The commit log.
    pub log: Log,
    /// The newest index known to be committed, from the log's own recovery.
    pub committed: Option<u64>,
    /// The images.
    pub images: Images,
}

/// A started node's agreement.
#[derive(Debug)]
pub struct Opened {
    /// The handle.
    pub replication: Replication,
    /// What recovery found.
    pub recovery: Recovery,
}

impl Replication {
    /// Recovers the state (newest usable image, then the log) and starts openraft. A node without any log makes itself
    /// the only voter of a new group. `on_applied` is told of every batch, also of those applied during recovery.
    ///
    /// # Errors
    /// Damage, lost log and unreadable files, named; the node must not start.
    pub async fn open(
        stores: Stores,
        options: Options,
        on_applied: OnApplied,
    ) -> Result<Opened, ReplicationError> {
        let faults = FaultBoard::new();
        let on_poison = faults.clone();
        stores.log.on_poison(move |error| on_poison.raise(Fault::new(error.to_string())));
        let Recovered { applier, kept, report } = recover_blocking(&stores, on_applied).await?;
        let view = applier.view.clone();
        let cadence = Cadence { facts: options.image_facts, bytes: options.image_bytes };
        let Stores { log, images, .. } = stores;
        let parts = KeeperParts { images, log: log.clone(), view: view.clone(), cadence, kept };
        let images = ImageKeeper::new(parts);
        images.grown(report.facts, report.bytes);
        let store = LogStore::new(log.clone());
        let (alive, ended) = mpsc::channel(1);
        let machine = StateMachine { applier, pending: store.pending(), images: images.clone(), alive };
        let raft = start(&options, store.clone(), machine).await?;
        let (told, leadership) = watch::channel(Leadership::default());
        let tasks = vec![
            tokio::spawn(leadership::follow(raft.clone(), told, faults.clone())),
            tokio::spawn(images.clone().run(raft.clone())),
        ];
        let running = Mutex::new(Some(Running { tasks, ended }));
        let inner = Inner { raft, log, store, view, images, faults, leadership, running };
        Ok(Opened { replication: Replication { inner: Arc::new(inner) }, recovery: report })
    }
}

async fn recover_blocking(stores: &Stores, on_applied: OnApplied) -> Result<Recovered, ReplicationError> {
    let Stores { log, committed, images } = stores.clone();
    tokio::task::spawn_blocking(move || recover(&log, &images, committed, on_applied))
        .await
        .map_err(|error| ReplicationError::Start(format!("recovery ended: {error}")))?
}

/// Starts openraft; a single voter leads without waiting for a timer.
async fn start(options: &Options, store: LogStore, machine: StateMachine) -> Result<Raft, ReplicationError> {
    let id = options.node_id;
    let failed = |error: String| ReplicationError::Start(error);
    let raft = Raft::new(id, config(&options.cluster)?, Network, store, machine)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let initialized = raft.is_initialized().await.map_err(|error| failed(error.to_string()))?;
    if !initialized {
        let alone = BTreeMap::from([(id, BasicNode::default())]);
        raft.initialize(alone).await.map_err(|error| failed(error.to_string()))?;
    } else {
        // A no-op for a node that resumes its leadership.
        let only = raft.with_raft_state(move |state| {
            let voters: Vec<u64> = state.membership_state.effective().voter_ids().collect();
            voters == [id]
        });
        if only.await.map_err(|error| failed(error.to_string()))? {
            raft.trigger().elect().await.map_err(|error| failed(error.to_string()))?;
        }
    }
    Ok(raft)
}
