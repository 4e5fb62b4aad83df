//! Measures a running broker through its public interface and says what the figures stand for.
//!
//! The load generator shares the machine with the broker, so it is built to be cheap: one event loop a thread, requests
//! built before the run, answers read no further than needed.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::CliError;
use super::signals::asked_to_stop;

/// The flags and what may go together.
mod args;
/// Two results side by side.
mod compare;
/// The directory measured and the rule that it must be a real disk.
pub mod disk;
/// WebSocket frames, as few of them as the load needs.
mod frame;
/// What the figures were measured on.
pub mod host;
/// Threads, connections, the measured window.
pub mod load;
/// What is to be run.
pub mod plan;
/// Connections that receive and ack.
mod receive;
/// Figures as text and as JSON.
pub mod report;
/// Sending times.
mod schedule;
/// Connections that send.
mod send;
/// Topics, groups and backlogs: made before, deleted after.
mod stage;
/// What is counted.
pub mod tally;
/// Requests built before the run.
mod template;
/// One alarm of a connection.
mod timer;
/// One connection: bytes in, bytes out, one alarm.
mod wire;

pub use args::BenchArgs;
pub(crate) use args::HELP;
pub use load::measure;
pub use plan::{Pace, Plan};
pub use tally::Measured;

/// Longest time that connections may take to end once the run was told to stop.
const STOPPING_MAX: Duration = Duration::from_secs(3);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Send messages; latency from sending to the answer that it is stored
    Produce,
    /// Work off messages that are there: receive and ack; latency of one receive with its acks
    Consume,
    /// Send, receive and ack messages; latency from sending to receiving
    Pipeline,
    /// The same with several groups, each of which gets every message
    FanOut,
    /// Send scheduled messages; latency from when they are due to receiving, and none may come early
    Delay,
}

/// How the broker is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// HTTP/1.1, kept alive, one request at a time on a connection
    Http,
    /// WebSocket, many messages on their way at a time
    Ws,
}

/// Runs `whimbrel bench`: looks at the disk, makes the load, prints the figures; or compares two results.
///
/// # Errors
/// [`CliError::Usage`] for flags that do not fit and for a directory in memory; [`CliError::Failed`] when messages came
/// early, or a comparison found worse than is tolerated; otherwise what the broker answered.
pub fn run(args: &BenchArgs) -> Result<(), CliError> {
    if let Some([before, after]) = args.compare.as_deref() {
        return compare::run(before, after, args.tolerance, args.json);
    }
    let plan = args.plan()?;
    let look = if args.allow_memory { disk::Disk::measure_any } else { disk::Disk::measure };
    let disk = if plan.url.is_local() { Some(look(&args.data)?) } else { None };
    let broker = load::broker_version(&plan)?;
    let measured = measure_until_stopped(&plan)?;
    let report = report::Report::new(&plan, &measured, disk, broker);
    if args.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| CliError::Failed(format!("writing the report as JSON: {error}")))?;
        println!("{text}");
    } else {
        print!("{report}");
    }
    match measured.early {
        0 => Ok(()),
        early => Err(CliError::Failed(format!("{early} messages came before they were due"))),
    }
}

/// Measures; SIGINT and SIGTERM end it, and what was made for it is deleted first.
fn measure_until_stopped(plan: &Plan) -> Result<Measured, CliError> {
    let stage = std::sync::Arc::new(stage::Stage::new(plan));
    let (ended, mut outcome) = tokio::sync::oneshot::channel();
    let of_thread = stage.clone();
    std::thread::spawn(move || {
        // Nobody waits any more when it was stopped.
        let _ = ended.send(load::measure_on(&of_thread));
    });
    let waiting = load::runtime()?;
    let outcome = waiting.block_on(async {
        tokio::select! {
            outcome = &mut outcome => return Some(outcome),
            () = asked_to_stop() => {}
        }
        // A send that is still on its way would make a topic again that was deleted before it.
        stage.stop();
        let _ = tokio::time::timeout(STOPPING_MAX, outcome).await;
        None
    });
    match outcome {
        Some(Ok(measured)) => measured,
        Some(Err(_)) => Err(CliError::Failed("the load crashed".to_owned())),
        None => {
            let left = stage.clear();
            let left = if left.is_empty() { "nothing".to_owned() } else { left.join(", ") };
            Err(CliError::Failed(format!("stopped before the end; left behind: {left}")))
        }
    }
}

#[cfg(test)]
mod tests;
