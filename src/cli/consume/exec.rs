use std::cell::Cell;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::{ConsumeArgs, nothing_came, receive};
use crate::cli::delivered::{Delivered, Received, Settled};
use crate::cli::error::CliError;
use crate::cli::http::{Call, Client};
use crate::cli::retry;
use crate::cli::signals::asked_to_stop;
use crate::cli::{duration, millis};

mod environment;

/// The lease of each message unless --lease says otherwise. It is extended as long as the command runs.
const LEASE: Duration = Duration::from_secs(60);
/// Most commands at a time.
const CONCURRENCY_MAX: u64 = 64;

/// How `--exec` runs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RunningArgs {
    /// Commands that run at the same time, for --exec
    #[arg(long, default_value_t = 1, value_name = "N", requires = "exec")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=CONCURRENCY_MAX))]
    pub concurrency: u64,
    /// Longest time a command may take; then it is killed and its message given back
    #[arg(long, default_value = "1h", value_parser = duration, value_name = "DURATION", requires = "exec")]
    pub exec_timeout: Duration,
}

/// Runs `command` for one message after the other, on as many workers as asked for.
///
/// # Errors
/// See [`CliError`]; the other workers finish what they have in hand first.
pub(super) async fn run(args: &ConsumeArgs, command: &str) -> Result<(), CliError> {
    let pool = Pool::new(args, command);
    let workers = join_all((0..args.running.concurrency).map(|_| pool.work()));
    let mut workers = std::pin::pin!(workers);
    let ended = tokio::select! {
        ended = &mut workers => ended,
        () = asked_to_stop() => {
            pool.stopping.cancel();
            eprintln!("whimbrel: stopping when the commands that run are done; ask again to kill them");
            tokio::select! {
                ended = &mut workers => ended,
                () = asked_to_stop() => {
                    return Err(CliError::Failed("stopped at once; what was in hand comes again".to_owned()));
                }
            }
        }
    };
    ended.into_iter().collect::<Result<(), CliError>>()?;
    match pool.late.get() {
        0 => Ok(()),
        late => Err(CliError::Failed(format!("{late} messages were settled too late and come again"))),
    }
}

/// What the workers share.
struct Pool<'a> {
    args: &'a ConsumeArgs,
    command: &'a str,
    lease: Duration,
    /// Nothing more is received.
    stopping: CancellationToken,
    /// Messages that may still be received.
    left: Cell<u64>,
    /// Settles that came too late.
    late: Cell<u64>,
    said_paused: Cell<bool>,
}

/// How a command ended.
enum Outcome {
    Done,
    /// Why not, for the history of the message.
    Failed(String),
}

impl<'a> Pool<'a> {
    fn new(args: &'a ConsumeArgs, command: &'a str) -> Pool<'a> {
        Pool {
            args,
            command,
            lease: args.lease.unwrap_or(LEASE),
            stopping: CancellationToken::new(),
            left: Cell::new(args.max.unwrap_or(u64::MAX)),
            late: Cell::new(0),
            said_paused: Cell::new(false),
        }
    }

    /// One worker: receive one message, run, settle, until it is time to stop. An error stops all of them.
    async fn work(&self) -> Result<(), CliError> {
        let ended = self.work_on().await;
        if ended.is_err() {
            self.stopping.cancel();
        }
        ended
    }

    async fn work_on(&self) -> Result<(), CliError> {
        let mut client = self.args.connect.client();
        while !self.stopping.is_cancelled() && self.take_turn() {
            let received = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Ok(()),
                received = self.receive(&mut client) => received?,
            };
            if received.paused && !self.said_paused.replace(true) {
                eprintln!("whimbrel: the group is paused; nothing comes until it is resumed");
            }
            match received.messages.first() {
                Some(message) => self.handle(&mut client, message).await?,
                None if self.args.max.is_some() => return Err(nothing_came(self.args)),
                None => {}
            }
        }
        Ok(())
    }

    fn take_turn(&self) -> bool {
        let left = self.left.get();
        if self.args.max.is_some() {
            self.left.set(left.saturating_sub(1));
        }
        left > 0
    }

    async fn receive(&self, client: &mut Client) -> Result<Received, CliError> {
        retry::send(client, receive(self.args, 1, Some(self.lease)), self.args.retry).await?.json()
    }

    async fn handle(&self, client: &mut Client, message: &RawValue) -> Result<(), CliError> {
        let delivered = Delivered::read(message)?;
        let child = match self.start(message) {
            Ok(child) => child,
            Err(error) => {
                let why = Outcome::Failed("the command could not be started".to_owned());
                self.settle(client, &delivered.receipt, why).await?;
                return Err(error);
            }
        };
        let outcome = self.attend(client, child, &delivered).await?;
        self.settle(client, &delivered.receipt, outcome).await
    }

    /// Starts the command in a process group of its own: a ctrl-c at the terminal is for us, who let it finish.
    fn start(&self, message: &RawValue) -> Result<Running, CliError> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(self.command).stdin(Stdio::piped()).process_group(0);
        environment::set(&mut command, self.args.group.as_str(), message)?;
        command.spawn().map(Running).map_err(CliError::io("starting sh for --exec"))
    }

    /// Feeds the command, keeps the lease alive, and waits for the end.
    async fn attend(
        &self,
        client: &mut Client,
        mut running: Running,
        delivered: &Delivered,
    ) -> Result<Outcome, CliError> {
        let body = delivered.bytes()?;
        let feeding = running.0.stdin.take().map(|mut stdin| {
            // A command need not read its input; then the pipe breaks, which is no failure.
            tokio::spawn(async move { stdin.write_all(&body).await.is_ok() })
        });
        let mut renewal = tokio::time::interval(self.lease / 3);
        renewal.tick().await;
        let mut deadline = std::pin::pin!(tokio::time::sleep(self.args.running.exec_timeout));
        let outcome = loop {
            tokio::select! {
                biased;
                status = running.0.wait() => {
                    break outcome_of(status.map_err(CliError::io("waiting for the command"))?);
                }
                () = &mut deadline => {
                    let limit = self.args.running.exec_timeout.as_millis();
                    break Outcome::Failed(format!("killed after {limit} ms"));
                }
                _ = renewal.tick() => self.extend(client, &delivered.receipt).await,
            }
        };
        if let Some(feeding) = feeding {
            feeding.abort();
        }
        Ok(outcome)
    }

    /// A lease that could not be extended may run out; then the settle comes too late and says so.
    async fn extend(&self, client: &mut Client, receipt: &str) {
        let form = json!({ "receipts": [receipt], "lease_ms": millis(self.lease) }).to_string();
        let path = format!("/v1/groups/{}/extend", self.args.group);
        if let Err(error) = client.send(Call::post(path, form)).await {
            eprintln!("whimbrel: a lease could not be extended: {error}");
        }
    }

    async fn settle(&self, client: &mut Client, receipt: &str, outcome: Outcome) -> Result<(), CliError> {
        let group = &self.args.group;
        let call = match outcome {
            Outcome::Done => {
                Call::post(format!("/v1/groups/{group}/ack"), json!({ "receipts": [receipt] }).to_string())
            }
            Outcome::Failed(reason) => {
                eprintln!("whimbrel: a message is given back: {reason}");
                let form = json!({ "receipts": [receipt], "reason": reason }).to_string();
                Call::post(format!("/v1/groups/{group}/nack"), form)
            }
        };
        let settled: Settled = retry::send(client, call.repeatable(), self.args.retry).await?.json()?;
        self.late.set(self.late.get() + settled.late());
        Ok(())
    }
}

fn outcome_of(status: ExitStatus) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Done,
        (Some(code), _) => Outcome::Failed(format!("exit code {code}")),
        (None, signal) => Outcome::Failed(format!("killed by signal {}", signal.unwrap_or(0))),
    }
}

/// A command and all it started. Dropped before it has ended, they are killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An id is only there until the end was seen, so it cannot name somebody else's group.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests;
