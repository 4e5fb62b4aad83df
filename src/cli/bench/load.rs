use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::plan::{Pace, Plan};
use super::schedule::Turns;
use super::stage::Stage;
use super::tally::{Measured, SharedTally, Tally};
use super::template::{self, Sample};
use super::{Transport, Workload, receive, send};
use crate::cli::CliError;
use crate::cli::http::{Call, Client};

/// What all connections of a run share.
#[derive(Debug)]
pub(super) struct Run<'a> {
    stage: &'a Stage,
    /// Deliveries that are to come or to be acked, over all connections: keeps senders from running away from
    /// receivers, and tells when there is nothing left.
    in_pipe: AtomicI64,
    /// Connections that may still send.
    sending: AtomicUsize,
    begin: OnceLock<Instant>,
    together: Barrier,
}

impl Deref for Run<'_> {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        self.stage
    }
}

impl<'a> Run<'a> {
    fn new(stage: &'a Stage, threads: usize) -> Run<'a> {
        Run {
            stage,
            in_pipe: AtomicI64::new(signed(stage.plan.backlog)),
            sending: AtomicUsize::new(stage.plan.senders()),
            begin: OnceLock::new(),
            together: Barrier::new(threads),
        }
    }

    /// The start of the run; times in bodies count from here.
    pub(super) fn begin(&self) -> Instant {
        *self.begin.get_or_init(Instant::now)
    }

    /// When sending ends.
    pub(super) fn send_until(&self) -> Instant {
        self.begin() + self.plan.warmup + self.plan.duration
    }

    /// The measured time. Scheduled messages are measured when they come, that much later.
    fn window(&self) -> (Instant, Instant) {
        let until = self.send_until() + self.plan.delay;
        (until - self.plan.duration, until)
    }

    /// When every connection ends, whatever is missing then.
    pub(super) fn limit(&self) -> Instant {
        self.window().1 + self.plan.patience()
    }

    /// Whether every connection has to end, whatever is missing.
    pub(super) fn must_end(&self, now: Instant) -> bool {
        now >= self.limit() || self.is_stopped()
    }

    /// Whether nothing more has to be done. A closed loop goes on to its end: its sends make room for each other.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let ends_by_itself = self.plan.arrivals().is_some() || self.plan.workload == Workload::Consume;
        let all_sent = self.sending.load(Ordering::Relaxed) == 0;
        self.must_end(now) || (ends_by_itself && all_sent && self.in_pipe.load(Ordering::Relaxed) <= 0)
    }

    /// Nanoseconds from the start to `time`.
    pub(super) fn nanos(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.begin()).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether all connections together may send more. A load with fixed times sends when they come: messages that are
    /// not received yet wait on the broker's disk, not here.
    pub(super) fn has_room(&self) -> bool {
        let plan = &self.plan;
        let limit = i64::try_from(plan.depth * plan.connections * plan.groups).unwrap_or(i64::MAX);
        !plan.receives() || plan.arrivals().is_some() || self.in_pipe.load(Ordering::Relaxed) < limit
    }

    /// Messages are on their way to every group.
    pub(super) fn sends(&self, messages: u64) {
        if self.plan.receives() {
            self.in_pipe.fetch_add(signed(messages * self.plan.groups as u64), Ordering::Relaxed);
        }
    }

    /// The broker confirmed that messages are acked.
    pub(super) fn settles(&self, messages: u64) {
        self.in_pipe.fetch_sub(signed(messages), Ordering::Relaxed);
    }

    /// One connection sends no more.
    pub(super) fn stops_sending(&self) {
        self.sending.fetch_sub(1, Ordering::Relaxed);
    }

    /// The turns of sender `number`.
    pub(super) fn turns(&self, number: usize) -> Turns {
        match self.plan.pace {
            Pace::Closed => Turns::Free,
            Pace::Spaced(interval) => Turns::Spaced { interval, next: None },
            Pace::Rate(_) => match self.plan.arrivals() {
                Some(arrivals) => {
                    let (k, stride) = (number as u64, self.plan.senders().max(1) as u64);
                    Turns::Fixed { arrivals, begin: self.begin(), k, stride }
                }
                None => Turns::Free,
            },
        }
    }

    /// What every message looks like.
    pub(super) fn sample(&self) -> Sample {
        Sample { body: template::body(self.id, self.plan.size), delayed: !self.plan.delay.is_zero() }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Runs the plan to its end, with a topic and groups of its own that are deleted afterwards.
///
/// # Errors
/// The first refusal or broken connection ends the run; a run that counted nothing is an error too.
pub fn measure(plan: &Plan) -> Result<Measured, CliError> {
    measure_on(&Stage::new(plan))
}

/// Sets the stage, runs, and clears it, whatever happens.
pub(super) fn measure_on(stage: &Stage) -> Result<Measured, CliError> {
    let measured = stage.set().and_then(|()| measure_set(stage));
    let left_behind = stage.clear();
    Ok(Measured { left_behind, ..measured? })
}

fn measure_set(stage: &Stage) -> Result<Measured, CliError> {
    let plan = &stage.plan;
    let threads = plan.threads.clamp(1, plan.connections);
    let run = Run::new(stage, threads);
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
    let tallies = joined.into_iter().collect::<Result<Vec<Tally>, CliError>>()?;
    let mut measured = Measured::total(&tallies, plan.duration)?;
    if plan.workload == Workload::Consume {
        measured.remaining = plan.backlog.saturating_sub(measured.messages);
        let last = tallies.iter().map(|tally| tally.last).max().unwrap_or_else(|| run.begin());
        measured.elapsed = last.saturating_duration_since(run.begin());
    }
    if plan.arrivals().is_some() {
        measured.keep_pace(&tallies, plan.due(), plan.patience());
    }
    if measured.messages == 0 {
        let waited = plan.duration;
        return Err(CliError::TimedOut { what: "any of the load".to_owned(), waited });
    }
    Ok(measured)
}

/// The version the broker says it has; empty when it does not say.
///
/// # Errors
/// [`CliError::Unreachable`] when nobody answers.
pub fn broker_version(plan: &Plan) -> Result<String, CliError> {
    let mut client = Client::new(plan.url.clone().into(), plan.timeout);
    match runtime()?.block_on(client.send(Call::get("/v1/version"))) {
        Ok(answer) => {
            let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            Ok(answer.get("version").and_then(|version| version.as_str()).unwrap_or_default().to_owned())
        }
        Err(error @ (CliError::Unreachable { .. } | CliError::TimedOut { .. })) => Err(error),
        Err(_) => Ok(String::new()),
    }
}

/// The event loop of one thread.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::io("runtime"))
}

/// One thread: connects its share, waits for the others, makes the load.
fn work(run: &Run<'_>, thread: usize, threads: usize) -> Result<Tally, CliError> {
    let runtime = runtime()?;
    let mine = (thread..run.plan.connections).step_by(threads);
    let connected = runtime.block_on(try_join_all(mine.map(|number| Connection::open(run, number))));
    // Everybody comes here, also after an error: nobody may wait for ever.
    run.together.wait();
    let connections = connected?;
    let (from, until) = run.window();
    let tally = Rc::new(RefCell::new(Tally::new(from, until, run.plan.arrivals().is_some())?));
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
    HttpSender(send::HttpSender),
    WsSender(send::WsSender),
    HttpReceiver(receive::HttpReceiver),
    WsReceiver(receive::WsReceiver),
}

impl Connection {
    /// Senders come first, then receivers; over WebSocket one that receives sends as well.
    async fn open(run: &Run<'_>, number: usize) -> Result<Connection, CliError> {
        match (run.plan.receives(), run.plan.transport, number.checked_sub(run.plan.senders())) {
            (true, Transport::Ws, _) => {
                receive::WsReceiver::open(run, number).await.map(Connection::WsReceiver)
            }
            (_, Transport::Http, Some(receiver)) => {
                receive::HttpReceiver::open(run, receiver).await.map(Connection::HttpReceiver)
            }
            (_, Transport::Http, None) => {
                send::HttpSender::open(run, number).await.map(Connection::HttpSender)
            }
            (false, Transport::Ws, _) => send::WsSender::open(run, number).await.map(Connection::WsSender),
        }
    }

    async fn load(self, run: &Run<'_>, tally: SharedTally) -> Result<(), CliError> {
        match self {
            Connection::HttpSender(it) => it.load(run, tally).await,
            Connection::WsSender(it) => it.load(run, tally).await,
            Connection::HttpReceiver(it) => it.load(run, tally).await,
            Connection::WsReceiver(it) => it.load(run, tally).await,
        }
    }
}

/// How soon a connection looks again whether there is anything to do.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// The same for a connection that only has to notice the end.
pub(super) const END_SEEN_AFTER: Duration = Duration::from_millis(20);
