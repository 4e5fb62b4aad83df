use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use serde_json::json;

use super::{Transport, Workload, pipeline, produce};
use crate::cli::CliError;
use crate::cli::http::{BaseUrl, Call, Client};

/// Latencies beyond this are counted as this.
const LATENCY_NANOS_MAX: u64 = 300_000_000_000;

/// One run: what is sent, how, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The broker.
    pub url: BaseUrl,
    /// Produce only, or the whole way.
    pub workload: Workload,
    /// HTTP or WebSocket.
    pub transport: Transport,
    /// The topic, an accepted name.
    pub topic: String,
    /// Connections, at least 1.
    pub connections: usize,
    /// Bytes in one body.
    pub size: usize,
    /// Messages in one HTTP request; 1 sends the bare body.
    pub batch: usize,
    /// Whether every HTTP request has an idempotency key of its own.
    pub keyed: bool,
    /// Messages on their way per connection.
    pub depth: usize,
    /// Least time between two sends of one connection.
    pub interval: Option<Duration>,
    /// The measured time.
    pub duration: Duration,
    /// The time before it.
    pub warmup: Duration,
    /// Threads that share the connections.
    pub threads: usize,
    /// Longest time to connect.
    pub timeout: Duration,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Messages stored (produce) or acked with the broker's confirmation (pipeline) in the measured time.
    pub messages: u64,
    /// The measured time.
    pub elapsed: Duration,
    /// Nanoseconds from sending to the answer (produce) or to the delivery (pipeline).
    pub latency: Histogram<u64>,
}

impl Measured {
    /// Messages per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }

    /// Latency at a quantile, in microseconds.
    #[must_use]
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// What all connections of a run share.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Plan,
    /// Names this run inside bodies.
    pub(super) id: u64,
    /// The consumer group of this run.
    pub(super) group: String,
    /// Messages sent and not yet acked, over all connections: keeps senders from running away from receivers.
    pub(super) in_pipe: AtomicI64,
    begin: OnceLock<Instant>,
    together: Barrier,
}

impl Run {
    /// The start of the run; times in bodies count from here.
    pub(super) fn begin(&self) -> Instant {
        *self.begin.get_or_init(Instant::now)
    }

    /// The end of the measured time.
    pub(super) fn end(&self) -> Instant {
        self.begin() + self.plan.warmup + self.plan.duration
    }

    /// Nanoseconds since the start.
    pub(super) fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begin()).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether all connections together may send more.
    pub(super) fn has_room(&self) -> bool {
        let limit = i64::try_from(self.plan.depth * self.plan.connections).unwrap_or(i64::MAX);
        self.in_pipe.load(Ordering::Relaxed) < limit
    }
}

/// What one thread counted.
#[derive(Debug)]
pub(super) struct Tally {
    from: Instant,
    until: Instant,
    messages: u64,
    latency: Histogram<u64>,
}

/// The tally of one thread, shared by its connections.
pub(super) type SharedTally = Rc<RefCell<Tally>>;

impl Tally {
    fn within(&self, now: Instant) -> bool {
        self.from <= now && now < self.until
    }

    /// Counts messages that are done.
    pub(super) fn done(&mut self, now: Instant, messages: u64) {
        if self.within(now) {
            self.messages += messages;
        }
    }

    /// Counts one latency.
    pub(super) fn took(&mut self, now: Instant, nanos: u64) {
        if self.within(now) {
            self.latency.saturating_record(nanos.max(1));
        }
    }
}

/// Runs the plan to its end.
///
/// # Errors
/// The first refusal or broken connection ends the run; a run that counted nothing is an error too.
pub fn measure(plan: &Plan) -> Result<Measured, CliError> {
    let threads = plan.threads.clamp(1, plan.connections);
    let id = rand::random::<u64>();
    let run = Arc::new(Run {
        plan: plan.clone(),
        id,
        group: format!("bench-{id:016x}"),
        in_pipe: AtomicI64::new(0),
        begin: OnceLock::new(),
        together: Barrier::new(threads),
    });
    let pipeline = plan.workload == Workload::Pipeline;
    if pipeline {
        side_request(plan, make_group(&run))?;
    }
    let joined: Vec<Result<Tally, CliError>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let run = &run;
                scope.spawn(move || work(run, thread, threads))
            })
            .collect();
        let crashed = || Err(CliError::Failed("a load thread crashed".to_owned()));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| crashed())).collect()
    });
    if pipeline {
        // Best effort: a group left behind costs little, and the figures are already there.
        let _ = side_request(plan, delete_group(&run));
    }
    let mut total = Measured { messages: 0, elapsed: plan.duration, latency: histogram()? };
    for tally in joined {
        let tally = tally?;
        total.messages += tally.messages;
        total.latency.add(&tally.latency).map_err(|error| CliError::Failed(error.to_string()))?;
    }
    if total.messages == 0 {
        let waited = plan.duration;
        return Err(CliError::TimedOut { what: "any of the load".to_owned(), waited });
    }
    Ok(total)
}

/// The version the broker says it has; empty when it does not say.
///
/// # Errors
/// [`CliError::Unreachable`] when nobody answers.
pub fn broker_version(plan: &Plan) -> Result<String, CliError> {
    match side_request(plan, Call::get("/v1/version")) {
        Ok(body) => {
            let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            Ok(answer.get("version").and_then(|version| version.as_str()).unwrap_or_default().to_owned())
        }
        Err(error @ (CliError::Unreachable { .. } | CliError::TimedOut { .. })) => Err(error),
        Err(_) => Ok(String::new()),
    }
}

fn make_group(run: &Run) -> Call {
    let settings = json!({ "subscriptions": [{ "topic": run.plan.topic }], "start": "latest" });
    Call::put(format!("/v1/groups/{}", run.group), settings.to_string())
}

fn delete_group(run: &Run) -> Call {
    Call::delete(format!("/v1/groups/{}?confirm={}", run.group, run.group))
}

fn side_request(plan: &Plan, call: Call) -> Result<bytes::Bytes, CliError> {
    let mut client = Client::new(plan.url.clone().into(), plan.timeout);
    runtime()?.block_on(client.send(call)).map(|answer| answer.body)
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::io("runtime"))
}

fn histogram() -> Result<Histogram<u64>, CliError> {
    Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, 3).map_err(|error| CliError::Failed(error.to_string()))
}

/// One thread: connects its share, waits for the others, makes the load.
fn work(run: &Run, thread: usize, threads: usize) -> Result<Tally, CliError> {
    let runtime = runtime()?;
    let mine = (thread..run.plan.connections).step_by(threads);
    let connected = runtime.block_on(try_join_all(mine.map(|number| Connection::open(run, number))));
    // Everybody comes here, also after an error: nobody may wait for ever.
    run.together.wait();
    let connections = connected?;
    let (from, until) = (run.begin() + run.plan.warmup, run.end());
    let tally = Rc::new(RefCell::new(Tally { from, until, messages: 0, latency: histogram()? }));
    let local = tokio::task::LocalSet::new();
    runtime.block_on(
        local.run_until(try_join_all(connections.into_iter().map(|it| it.load(run, tally.clone())))),
    )?;
    Rc::try_unwrap(tally)
        .map(RefCell::into_inner)
        .map_err(|_| CliError::Failed("a connection outlived its run".to_owned()))
}

/// One connection by the part it plays.
enum Connection {
    HttpProducer(produce::HttpProducer),
    WsProducer(produce::WsProducer),
    HttpReceiver(pipeline::HttpReceiver),
    WsBoth(pipeline::WsBoth),
}

impl Connection {
    async fn open(run: &Run, number: usize) -> Result<Connection, CliError> {
        match (run.plan.workload, run.plan.transport) {
            (Workload::Pipeline, Transport::Http) if number % 2 == 1 => {
                pipeline::HttpReceiver::open(run).await.map(Connection::HttpReceiver)
            }
            (_, Transport::Http) => produce::HttpProducer::open(run).await.map(Connection::HttpProducer),
            (Workload::Produce, Transport::Ws) => {
                produce::WsProducer::open(run).await.map(Connection::WsProducer)
            }
            (Workload::Pipeline, Transport::Ws) => pipeline::WsBoth::open(run).await.map(Connection::WsBoth),
        }
    }

    async fn load(self, run: &Run, tally: SharedTally) -> Result<(), CliError> {
        match self {
            Connection::HttpProducer(it) => it.load(run, tally).await,
            Connection::WsProducer(it) => it.load(run, tally).await,
            Connection::HttpReceiver(it) => it.load(run, tally).await,
            Connection::WsBoth(it) => it.load(run, tally).await,
        }
    }
}
