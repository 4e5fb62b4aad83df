//! The command line: `serve`, and the client commands that speak the public HTTP and WebSocket interface only.
//!
//! A client command knows nothing of the broker's insides: it could as well run on another machine.
//! Exit codes are part of the interface: 0 done, 1 failed, 2 wrong usage, 3 no healthy broker, 4 timed out.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::ServeCommand;

/// `whimbrel alert`: alerts, who is told, and silences.
pub mod alert;
/// `whimbrel backup`: a consistent copy of the data directory while the broker runs.
pub mod backup;
/// `whimbrel bench`: measures a running broker.
pub mod bench;
/// `whimbrel clients`: who uses a broker.
pub mod clients;
/// `whimbrel completions`: what a shell needs to complete commands and flags.
pub mod completions;
/// `whimbrel config`: the settings that `serve` would use, and where each comes from.
pub mod config;
/// `whimbrel consume`: receive, print or run a command, ack.
pub mod consume;
/// A leased message as the broker answers it.
mod delivered;
/// `whimbrel dlq`: dead letters.
pub mod dlq;
/// `whimbrel doctor`: what is wrong, what it means, what to do.
pub mod doctor;
/// What can go wrong in a client command, and its exit code.
pub mod error;
/// `whimbrel group`: consumer groups.
pub mod group;
/// A small HTTP/1.1 client with one kept-alive connection.
pub mod http;
/// `whimbrel jobs`: what runs on its own.
pub mod jobs;
/// Lists, page by page.
mod list;
/// `whimbrel message`: one message, or a search for some.
pub mod message;
/// NDJSON batches within the broker's limits.
mod ndjson;
/// Tables, JSON and NDJSON.
pub mod output;
/// Problem answers, rendered for people.
pub mod problem;
/// `whimbrel produce`: send text, lines, files or a whole stream.
pub mod produce;
/// `whimbrel restore`: a data directory out of a backup.
pub mod restore;
/// Trying again without doing anything twice.
pub mod retry;
/// `whimbrel scheduled`: messages that wait for their time.
pub mod scheduled;
/// SIGINT and SIGTERM.
pub mod signals;
/// `whimbrel tail`: messages as they come, without a group.
pub mod tail;
/// `whimbrel topic`: topics.
pub mod topic;

pub use error::CliError;

/// Said at the end of `--help`, of every command.
const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no healthy broker, 4 timed out or nothing came.
Everything else about the command line: docs/CLI.md.";

/// A message broker where 201 means the message is on disk.
#[derive(Debug, Parser)]
#[command(name = "whimbrel", version, about, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command of the binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker
    #[command(after_help = crate::config::SOURCES)]
    Serve(ServeCommand),
    /// Show the settings that `serve` would use with the same flags, and where each comes from
    #[command(after_help = crate::config::SOURCES)]
    Config(config::ConfigArgs),
    /// A command that talks to a running broker
    #[command(flatten)]
    Client(ClientCommand),
}

/// The commands that talk to a running broker.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Send messages to a topic; prints the id and queue/offset of each one stored
    #[command(after_help = EXIT_CODES)]
    Produce(produce::ProduceArgs),
    /// Receive messages for a group, print them or run a command for each, ack them
    #[command(after_help = EXIT_CODES)]
    Consume(consume::ConsumeArgs),
    /// Follow a topic: print messages as they become ready; no group, no ack, changes nothing
    #[command(after_help = EXIT_CODES)]
    Tail(tail::TailArgs),
    /// Topics: list, show, create, delete
    #[command(subcommand, after_help = EXIT_CODES)]
    Topic(topic::TopicCommand),
    /// Consumer groups: list, show, explain, create, delete, seek, pause, resume
    #[command(subcommand, after_help = EXIT_CODES)]
    Group(group::GroupCommand),
    /// Clients of a broker: list, disconnect
    #[command(subcommand, after_help = EXIT_CODES)]
    Clients(clients::ClientsCommand),
    /// Dead letters of a group: list, show, redrive, purge, export
    #[command(subcommand, after_help = EXIT_CODES)]
    Dlq(dlq::DlqCommand),
    /// Jobs, which redrive dead letters by filter: list, show, cancel
    #[command(subcommand, after_help = EXIT_CODES)]
    Jobs(jobs::JobsCommand),
    /// Alerts: list, rules, silence, unsilence, silences, receivers, test, deliveries, redeliver
    #[command(subcommand, after_help = EXIT_CODES)]
    Alert(alert::AlertCommand),
    /// Scheduled messages: list those of a topic, cancel them before they are due
    #[command(subcommand, after_help = EXIT_CODES)]
    Scheduled(scheduled::ScheduledCommand),
    /// Show one message, search for messages, or trace what happened to one; changes nothing
    #[command(after_help = EXIT_CODES)]
    Message(message::MessageArgs),
    /// Find out what is wrong with a broker or its data directory, and what to do about it
    #[command(after_help = EXIT_CODES)]
    Doctor(doctor::DoctorArgs),
    /// Copy the data directory of a running broker into one file, consistent and checked
    #[command(after_help = EXIT_CODES)]
    Backup(backup::BackupArgs),
    /// Make a data directory out of a backup, or check one
    #[command(after_help = EXIT_CODES)]
    Restore(restore::RestoreArgs),
    /// Measure a running broker, or compare two measurements
    #[command(after_help = bench::HELP)]
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    #[command(after_help = completions::HELP)]
    Completions(completions::CompletionsArgs),
}

/// Where the broker is, and how long to wait for it.
#[derive(Clone, Debug, clap::Args)]
pub struct ConnectArgs {
    /// Address of the broker; of several with commas between them the first that can be reached is used
    #[arg(long, env = "WHIMBREL_URL", default_value = "http://127.0.0.1:8080", value_name = "URL,…")]
    pub url: http::BaseUrls,
    /// Longest time to wait for one answer (on top of any --wait)
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
}

impl ConnectArgs {
    /// A client that has not connected yet.
    #[must_use]
    pub fn client(&self) -> http::Client {
        http::Client::new(self.url.clone(), self.timeout)
    }
}

/// What every command shares that asks a broker and prints its answer.
#[derive(Clone, Debug, clap::Args)]
pub struct CommonArgs {
    /// How to print.
    #[command(flatten)]
    pub output: output::OutputArgs,
    /// The broker.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Runs a client command to its end on a runtime of its own and says how it went, on standard error and as exit code.
#[must_use]
pub fn run(command: ClientCommand) -> ExitCode {
    finish(match command {
        ClientCommand::Produce(args) => on_runtime(produce::run(args)),
        ClientCommand::Consume(args) => on_runtime(consume::run(args)),
        ClientCommand::Tail(args) => on_runtime(tail::run(args)),
        ClientCommand::Topic(command) => on_runtime(command.run()),
        ClientCommand::Group(command) => on_runtime(command.run()),
        ClientCommand::Clients(command) => on_runtime(command.run()),
        ClientCommand::Dlq(command) => on_runtime(command.run()),
        ClientCommand::Jobs(command) => on_runtime(command.run()),
        ClientCommand::Alert(command) => on_runtime(command.run()),
        ClientCommand::Scheduled(command) => on_runtime(command.run()),
        ClientCommand::Message(args) => on_runtime(message::run(args)),
        ClientCommand::Doctor(args) => on_runtime(doctor::run(args)),
        ClientCommand::Backup(args) => on_runtime(backup::run(args)),
        ClientCommand::Restore(args) => restore::run(&args),
        ClientCommand::Bench(args) => bench::run(&args),
        ClientCommand::Completions(args) => completions::run(&args),
    })
}

/// Says how a command ended.
#[must_use]
pub fn finish(outcome: Result<(), CliError>) -> ExitCode {
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

/// A duration as the interface takes it in JSON.
pub(crate) fn millis(duration: Duration) -> serde_json::Value {
    serde_json::Value::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
