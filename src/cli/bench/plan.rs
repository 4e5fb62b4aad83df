use std::time::Duration;

use super::schedule::Arrivals;
use super::{Transport, Workload};
use crate::cli::http::BaseUrl;

/// Least time to wait, after the measured time, for what was to be finished in it.
const PATIENCE_MIN: Duration = Duration::from_secs(5);

/// One run: what is sent, how, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The broker.
    pub url: BaseUrl,
    /// What is measured.
    pub workload: Workload,
    /// HTTP or WebSocket.
    pub transport: Transport,
    /// The topic to use and to leave as it is afterwards, an accepted name; none makes one and deletes it.
    pub topic: Option<String>,
    /// Connections, at least 1.
    pub connections: usize,
    /// Bytes in one body.
    pub size: usize,
    /// Messages in one HTTP request (of consume: in one receive); 1 sends the bare body.
    pub batch: usize,
    /// Whether every HTTP request has an idempotency key of its own.
    pub keyed: bool,
    /// Messages on their way per connection.
    pub depth: usize,
    /// When the next message is sent.
    pub pace: Pace,
    /// Groups that each get every message; 1 but for fan-out.
    pub groups: usize,
    /// From the sending of a message to the time it is due; zero but for delay.
    pub delay: Duration,
    /// Messages put there before the run; 0 but for consume.
    pub backlog: u64,
    /// The measured time; of consume the longest.
    pub duration: Duration,
    /// The time before it.
    pub warmup: Duration,
    /// Threads that share the connections.
    pub threads: usize,
    /// Longest time to connect.
    pub timeout: Duration,
}

/// When the next message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As soon as an answer makes room (a closed loop): finds the highest rate.
    Closed,
    /// The same, but at most one message (or batch) in this time on each connection.
    Spaced(Duration),
    /// This many messages a second over all connections, at times fixed in advance (an open loop): finds the latency at
    /// a rate.
    Rate(u64),
}

impl Plan {
    /// Connections that send.
    pub(super) fn senders(&self) -> usize {
        match (self.workload, self.transport) {
            (Workload::Consume, _) => 0,
            (Workload::Produce, _) | (_, Transport::Ws) => self.connections,
            // The groups together receive as often as there are groups, so they get that share of the connections.
            (_, Transport::Http) => (self.connections / (self.groups + 1)).max(1),
        }
    }

    /// Whether messages are received as well.
    pub(super) fn receives(&self) -> bool {
        self.workload != Workload::Produce
    }

    /// The times of all sends, if they are fixed in advance.
    pub(super) fn arrivals(&self) -> Option<Arrivals> {
        match self.pace {
            Pace::Rate(rate) => Some(Arrivals::new(rate, self.batch as u64)),
            Pace::Closed | Pace::Spaced(_) => None,
        }
    }

    /// What a load with fixed times has to finish in the measured time: requests answered, or deliveries.
    pub(super) fn due(&self) -> u64 {
        let requests =
            self.arrivals().map_or(0, |arrivals| arrivals.between(self.warmup, self.warmup + self.duration));
        let each = if self.receives() { self.batch * self.groups } else { 1 };
        requests.saturating_mul(each as u64)
    }

    /// How long a load with fixed times waits, after the measured time, for what is not finished.
    pub(super) fn patience(&self) -> Duration {
        match self.pace {
            Pace::Rate(_) => self.duration.max(PATIENCE_MIN),
            Pace::Closed | Pace::Spaced(_) => Duration::ZERO,
        }
    }
}
