//! Starting and stopping the broker over what is open already.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle as Task;

use crate::machine::{Effects, Machine};
use crate::model::WAITERS_MAX;
use crate::observe::Traffic;
use crate::replication::{AppliedBatch, Replication};
use crate::storage::Log;
use crate::storage::index::{Index, Opened};

use super::alerting::{AlertingOptions, Notifier};
use super::attributes::Kept;
use super::clients::Clients;
use super::core::Core;
use super::handle::Broker;
use super::indexer::Indexer;
use super::proposer::Proposer;
use super::room::Room;
use super::tally::{self, Tallies};
use super::{alerting, clock, count, duties, history, jobs, scrub, tails, trails};

/// Most requests that may wait to be decided.
const REQUESTS_MAX: usize = 65_536;

/// Most bytes of bodies that may wait to be decided.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// What the broker is set to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a missing topic is made when it is named.
    pub auto_create_topics: bool,
    /// Most idempotency keys that are remembered at a time.
    pub idempotency_keys_max: usize,
    /// How long a request may wait for its answer.
    pub request_timeout: Duration,
    /// This node's number.
    pub node_id: u64,
    /// The cluster's id, for people.
    pub cluster_id: String,
    /// How alerts are watched, and who may be told.
    pub alerting: AlertingOptions,
}

/// Why the broker could not start.
#[derive(Debug, thiserror::Error)]
#[error("the broker cannot start: {0}")]
pub struct StartError(#[from] std::io::Error);

/// What every applied entry is told to; made before replication starts, because replication needs it.
#[derive(Clone)]
pub struct Applying {
    indexer: Arc<Indexer>,
    inbox: Arc<Mutex<Effects>>,
    traffic: Arc<Traffic>,
}

impl Applying {
    /// Feeds `index`, going on where it ended, and keeps effects for the leader. `log` is read while it is behind.
    #[must_use]
    pub fn new(index: Index, opened: &Opened, log: Log) -> Applying {
        let indexer = Indexer::new(index, log, opened);
        Applying { indexer: Arc::new(indexer), inbox: Arc::default(), traffic: Arc::default() }
    }

    /// Takes in one applied entry. Called in log order, from one place.
    pub fn applied(&self, entry: &AppliedBatch) {
        let batch = entry.applied.took_effect.then_some(&*entry.batch);
        self.indexer.applied(entry.index, batch);
        if !entry.recovering {
            if let Some(batch) = batch {
                count::batch(&self.traffic, batch);
            }
            let mut inbox = self.inbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            inbox.woken.extend(&entry.applied.effects.woken);
            inbox.ended.extend(&entry.applied.effects.ended);
        }
    }
}

/// A running broker. Stop it with [`Running::stop`].
pub struct Running {
    broker: Broker,
    proposer: Task<()>,
    duties: Vec<Task<()>>,
    indexer: Arc<Indexer>,
    index_thread: JoinHandle<()>,
}

impl Running {
    /// Starts the proposer, the duties and the indexer. The proposer runs on `agreement`, beside what it proposes to.
    ///
    /// # Errors
    /// When the indexer's thread cannot be made.
    pub fn start(
        options: Options,
        replication: Replication,
        applying: &Applying,
        agreement: &Handle,
    ) -> Result<Running, StartError> {
        let indexer = applying.indexer.clone();
        let machine = replication.machine();
        indexer.note_applied(machine.applied().unwrap_or(0));
        let core = Arc::new(Core {
            clock: clock::SharedClock::start(machine.read(Machine::now)),
            node_id: options.node_id,
            cluster_id: options.cluster_id.clone(),
            alerting: Notifier::new(options.alerting.clone()),
            options,
            replication,
            machine,
            indexer: indexer.clone(),
            kept_attributes: Kept::default(),
            tallies: Tallies::default(),
            inbox: applying.inbox.clone(),
            traffic: applying.traffic.clone(),
            history: Mutex::default(),
            behind: history::FurthestBehind::default(),
            doors: OnceLock::new(),
            serving: AtomicBool::new(false),
            served: Notify::new(),
            job_started: Notify::new(),
            nudge: Notify::new(),
            stopping: AtomicBool::new(false),
            stopped: Notify::new(),
            clock_jumped: AtomicBool::new(false),
            damage: Mutex::new(None),
            trails: Mutex::default(),
            room: Room::new(REQUESTS_MAX, WAITING_BYTES_MAX),
            waiter_room: Arc::new(Semaphore::new(WAITERS_MAX)),
            backups: Arc::new(Semaphore::new(1)),
            next_session: AtomicU64::new(rand::random::<u64>() | 1),
            clients: Clients::new(),
            started_at: clock::wall_time(),
            rounds: AtomicU64::new(0),
        });
        let (asks, asked) = mpsc::unbounded_channel();
        let broker = Broker { core: core.clone(), asks };
        let index_thread = std::thread::Builder::new().name("indexer".to_owned()).spawn({
            let (indexer, core) = (indexer.clone(), core.clone());
            move || indexer.run(|| core.nudge.notify_one())
        })?;
        let proposer = agreement.spawn(Proposer::new(core, asked).run());
        let duties = vec![
            tokio::spawn(duties::run(broker.clone())),
            tokio::spawn(jobs::run(broker.clone())),
            tokio::spawn(scrub::run(broker.clone())),
            tokio::spawn(tally::run(broker.clone())),
            tokio::spawn(history::run(broker.clone())),
            tokio::spawn(alerting::run(broker.clone())),
            tokio::spawn(trails::run(broker.clone())),
            tokio::spawn(tails::run(Arc::clone(&broker.core))),
        ];
        Ok(Running { broker, proposer, duties, indexer, index_thread })
    }

    /// The handle.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Stops: receives answer at once, what was submitted is answered, nothing new is taken.
    pub async fn stop(self) {
        let core = &self.broker.core;
        core.stopping.store(true, Ordering::Release);
        core.stopped.notify_waiters();
        core.nudge.notify_one();
        self.indexer.stop();
        self.index_thread.thread().unpark();
        let _ = self.proposer.await;
        for duty in self.duties {
            let _ = duty.await;
        }
        // A backup ends with its next piece, and until then it reads the log.
        let _ = core.backups.acquire().await;
        let (thread, indexer) = (self.index_thread, self.indexer);
        let flushed = tokio::task::spawn_blocking(move || {
            let _ = thread.join();
            indexer.index().flush()
        });
        if let Ok(Err(error)) = flushed.await {
            tracing::warn!(%error, "the queue index was not written; the next start makes it again from the log");
        }
    }
}

impl Broker {
    /// How often the proposer decided since the start, also when nothing came of it. An idle broker does not decide.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.core.rounds.load(Ordering::Relaxed)
    }

    /// Returns once this node leads and serves.
    pub async fn wait_until_serving(&self) {
        loop {
            let served = self.core.served.notified();
            if self.core.serving.load(Ordering::Acquire) {
                return;
            }
            served.await;
        }
    }
}
