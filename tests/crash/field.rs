//! What producers, workers and the one who kills share during a run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::history::{Events, History, Outcome, Settled};
use crate::support::http::Trouble;

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everyone works.
    Load,
    /// Producers have stopped; workers settle what is left.
    Drain,
    /// Everyone stops.
    Stop,
}

/// Which group is where in the history.
pub(crate) const UNORDERED: usize = 0;
pub(crate) const ORDERED: usize = 1;
/// Lease of both groups.
pub(crate) const LEASE_MS: u64 = 2_000;
/// Attempts of the unordered group.
pub(crate) const MAX_ATTEMPTS: u64 = 6;
/// The topic whose messages have ordering keys (most of them); both groups read it.
pub(crate) const KEYED: &str = "keyed";
/// The topic that only the unordered group reads.
pub(crate) const PLAIN: &str = "plain";
/// Producers pause when so many acknowledged messages are unsettled: the run tests the broker, not its backlog.
const BACKLOG_MAX: u64 = 4_000;

/// Counts that prove that the faults really met something.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) unknown_publishes: AtomicU64,
    pub(crate) unknown_settles: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) redelivered: AtomicU64,
    pub(crate) nacked: AtomicU64,
    pub(crate) extended: AtomicU64,
    pub(crate) left: AtomicU64,
    pub(crate) late_acks: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) broken_sockets: AtomicU64,
}

/// The shared state.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) seed: u64,
    pub(crate) history: History,
    pub(crate) counts: Counts,
    address: watch::Sender<Option<SocketAddr>>,
    phase: watch::Sender<Phase>,
    /// Set when something happened that no later step may hide.
    spoiled: AtomicBool,
}

impl Field {
    pub(crate) fn new(seed: u64, history: History) -> Arc<Field> {
        Arc::new(Field {
            seed,
            history,
            counts: Counts::default(),
            address: watch::Sender::new(None),
            phase: watch::Sender::new(Phase::Load),
            spoiled: AtomicBool::new(false),
        })
    }

    pub(crate) fn events(&self) -> std::sync::MutexGuard<'_, Events> {
        self.history.events()
    }

    pub(crate) fn set_address(&self, address: Option<SocketAddr>) {
        self.address.send_replace(address);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Where the broker is, once there is one.
    pub(crate) async fn address(&self) -> SocketAddr {
        let mut address = self.address.subscribe();
        let found = address.wait_for(Option::is_some).await.expect("the field outlives its users");
        found.expect("waited for")
    }

    /// After trouble: a broker that was killed has no address soon. A hang is wrong whatever comes next.
    pub(crate) async fn after(&self, trouble: &Trouble, what: &str) {
        if *trouble == Trouble::Hung {
            self.complain(format!("I9: no answer and no end of the connection: {what}"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// Writes down something that is wrong already.
    pub(crate) fn complain(&self, complaint: String) {
        self.spoiled.store(true, Ordering::Relaxed);
        let mut events = self.events();
        if events.wrong.len() < 50 {
            events.wrong.push(complaint);
        }
    }

    /// Whether something went wrong that ends the run at once.
    pub(crate) fn is_spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Relaxed)
    }

    /// Whether there is so much to settle that producers should wait.
    pub(crate) fn is_behind(&self) -> bool {
        // Every message is settled in one or two groups; the unordered one sees them all.
        let acknowledged = self.events().acknowledged;
        acknowledged > self.counts.acked.load(Ordering::Relaxed) + BACKLOG_MAX
    }

    /// Counts and keeps the outcome of a publish.
    pub(crate) fn published(&self, key: crate::history::Key, outcome: Outcome) {
        match outcome {
            Outcome::Unknown => add(&self.counts.unknown_publishes),
            Outcome::Refused => add(&self.counts.refused),
            Outcome::Acknowledged(_) => {}
        }
        self.events().answered(key, outcome);
    }
}

/// Adds one.
pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Reads a status of a settle.
pub(crate) fn settled(status: &str) -> Option<Settled> {
    Some(match status {
        "ok" => Settled::Ok,
        "already" => Settled::Already,
        "expired" => Settled::Expired,
        "invalid" => Settled::Invalid,
        _ => return None,
    })
}
