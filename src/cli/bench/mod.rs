//! Measures a running broker through its public interface and says what the figures stand for.
//!
//! The load generator shares the machine with the broker, so it is built to be cheap: one event loop a thread, requests
//! built before the run, answers read no further than needed.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::{CliError, ConnectArgs, duration};
use crate::model::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, BODY_BYTES_MAX, TopicName};

/// The directory measured and the rule that it must be a real disk.
pub mod disk;
/// WebSocket frames, as few of them as the load needs.
mod frame;
/// What the figures were measured on.
pub mod host;
/// Threads, connections, the measured window.
pub mod load;
/// Produce → deliver → ack.
mod pipeline;
/// Produce only.
mod produce;
/// Figures as text and as JSON.
pub mod report;
/// Requests built before the run.
mod template;
/// One connection: bytes in, bytes out, one alarm.
mod wire;

pub use load::{Measured, Plan, measure};

/// Most connections of one run: the broker's own limit of open sockets.
const CONNECTIONS_MAX: u64 = 10_000;
/// Unanswered publishes on one socket after which a broker stops reading.
const DEPTH_MAX: usize = 1_000;
/// Messages on their way over a WebSocket unless --pipeline-depth says otherwise.
const DEPTH_DEFAULT: usize = 100;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Send messages; latency from sending to the answer that it is stored
    Produce,
    /// Send, receive and ack messages; latency from sending to receiving
    Pipeline,
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

/// Options of `whimbrel bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    pub workload: Workload,
    /// How to speak to the broker
    #[arg(long, value_enum, default_value = "http")]
    pub transport: Transport,
    /// Connections at the same time; for pipeline over HTTP half of them send and half receive
    #[arg(long, default_value_t = 16, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Bytes in one message body
    #[arg(long, default_value_t = 1_024, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure, after the warm-up
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub duration: Duration,
    /// How long to run before measuring
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub warmup: Duration,
    /// Messages in one NDJSON request (HTTP)
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub batch: usize,
    /// Give every request an Idempotency-Key of its own (HTTP)
    #[arg(long)]
    pub keyed: bool,
    /// Messages on their way per connection; 1 to 1000, default 100 (WebSocket) or one request (HTTP)
    #[arg(long, value_name = "N")]
    pub pipeline_depth: Option<usize>,
    /// Send at most one message (or batch) in this time on each connection: latency without load
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub interval: Option<Duration>,
    /// Threads that make the load
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub threads: u64,
    /// Topic to use; its messages stay there
    #[arg(long, default_value = "bench")]
    pub topic: TopicName,
    /// The broker's data directory, to measure its disk when the broker runs here
    #[arg(long, default_value = "./data", value_name = "DIR")]
    pub data: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The broker.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

impl BenchArgs {
    /// What is to be run.
    ///
    /// # Errors
    /// [`CliError::Usage`] naming the flag that is out of range or does not go with another.
    pub fn plan(&self) -> Result<Plan, CliError> {
        let refuse = |text: String| Err(CliError::Usage(text));
        let ws = self.transport == Transport::Ws;
        let smallest = if self.workload == Workload::Pipeline { template::MARK_BYTES } else { 0 };
        if self.size < smallest || self.size > BODY_BYTES_MAX {
            return refuse(format!("--size must be {smallest} to {BODY_BYTES_MAX} bytes for this workload"));
        }
        if self.batch == 0
            || self.batch > BATCH_MESSAGES_MAX
            || self.batch * (self.size + 64) > BATCH_BYTES_MAX
        {
            let limit = format!("1 to {BATCH_MESSAGES_MAX} messages and at most {BATCH_BYTES_MAX} bytes");
            return refuse(format!("--batch must be {limit}"));
        }
        if ws && self.batch > 1 {
            return refuse("--batch is for HTTP; over WebSocket use --pipeline-depth".to_owned());
        }
        if ws && self.keyed {
            return refuse("--keyed is for HTTP; a publish frame has no key".to_owned());
        }
        if self.pipeline_depth.is_some_and(|depth| depth == 0 || depth > DEPTH_MAX) {
            return refuse(format!("--pipeline-depth must be 1 to {DEPTH_MAX}"));
        }
        if !ws && self.workload == Workload::Produce && self.pipeline_depth.is_some_and(|depth| depth > 1) {
            return refuse(
                "--pipeline-depth is for WebSocket; over HTTP use --connections or --batch".to_owned(),
            );
        }
        if self.duration.is_zero() {
            return refuse("--duration must be longer than nothing".to_owned());
        }
        let connections = usize::try_from(self.connections).unwrap_or(1);
        if !ws && self.workload == Workload::Pipeline && connections < 2 {
            return refuse(
                "pipeline over HTTP needs at least --connections 2: one sends, one receives".to_owned(),
            );
        }
        let [url] = self.connect.url.all() else {
            return refuse("one broker is measured: give one --url".to_owned());
        };
        let depth_default = if ws { DEPTH_DEFAULT } else { self.batch };
        Ok(Plan {
            url: url.clone(),
            workload: self.workload,
            transport: self.transport,
            topic: self.topic.to_string(),
            connections,
            size: self.size,
            batch: self.batch,
            keyed: self.keyed,
            depth: self.pipeline_depth.unwrap_or(depth_default),
            interval: self.interval,
            duration: self.duration,
            warmup: self.warmup,
            threads: usize::try_from(self.threads).unwrap_or(1),
            timeout: self.connect.timeout,
        })
    }
}

/// Runs `whimbrel bench`: looks at the disk, makes the load, prints the figures.
///
/// # Errors
/// [`CliError::Usage`] for flags that do not fit and for a directory in memory; otherwise what the broker answered.
pub fn run(args: &BenchArgs) -> Result<(), CliError> {
    let plan = args.plan()?;
    let disk = if plan.url.is_local() { Some(disk::Disk::measure(&args.data)?) } else { None };
    let broker = load::broker_version(&plan)?;
    let measured = measure(&plan)?;
    let report = report::Report::new(&plan, &measured, disk, broker);
    if args.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| CliError::Failed(format!("writing the report as JSON: {error}")))?;
        println!("{text}");
    } else {
        print!("{report}");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
