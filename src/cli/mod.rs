//! The command line: `serve`, and the client commands that speak the public HTTP and WebSocket interface only.
//!
//! A client command knows nothing of the broker's insides: it could as well run on another machine.
//! Exit codes are part of the interface: 0 done, 1 failed, 2 wrong usage, 3 no healthy broker, 4 timed out.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::ServeArgs;

/// `whimbrel bench`: measures a running broker.
pub mod bench;
/// `whimbrel consume`: receive, print, ack.
pub mod consume;
/// What can go wrong in a client command, and its exit code.
pub mod error;
/// A small HTTP/1.1 client with one kept-alive connection.
pub mod http;
/// NDJSON batches within the broker's limits.
mod ndjson;
/// Problem answers, rendered for people.
pub mod problem;
/// `whimbrel produce`: send text, lines or a whole stream.
pub mod produce;

pub use error::CliError;

/// A message broker where 201 means the message is on disk.
#[derive(Debug, Parser)]
#[command(name = "whimbrel", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command of the binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker
    Serve(ServeArgs),
    /// A command that talks to a running broker
    #[command(flatten)]
    Client(ClientCommand),
}

/// The commands that talk to a running broker.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Send messages to a topic; prints the id and queue/offset of each one stored
    Produce(produce::ProduceArgs),
    /// Receive messages for a group, print them, ack them
    Consume(consume::ConsumeArgs),
    /// Measure a running broker
    Bench(bench::BenchArgs),
}

/// Where the broker is, and how long to wait for it.
#[derive(Clone, Debug, clap::Args)]
pub struct ConnectArgs {
    /// Address of the broker
    #[arg(long, env = "WHIMBREL_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub url: http::BaseUrl,
    /// Longest time to wait for one answer (on top of any --wait)
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
}

/// Runs a client command to its end on a runtime of its own and says how it went, on standard error and as exit code.
#[must_use]
pub fn run(command: ClientCommand) -> ExitCode {
    let outcome = match command {
        ClientCommand::Produce(args) => on_runtime(produce::run(args)),
        ClientCommand::Consume(args) => on_runtime(consume::run(args)),
        ClientCommand::Bench(args) => bench::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whimbrel: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// One thread is enough: a client command waits for the network nearly all of its time.
fn on_runtime<F>(work: F) -> Result<(), CliError>
where
    F: Future<Output = Result<(), CliError>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::io("runtime"))?;
    let outcome = runtime.block_on(work);
    // A read of standard input or a write to a full pipe may still block its thread; it must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

/// Reads a duration flag: `250ms`, `90s`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    crate::model::parse_duration(text).map(Duration::from_millis)
}

#[cfg(test)]
mod tests;
