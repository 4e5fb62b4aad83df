use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::delivered::{Delivered, Received, Settled, Style, write_body, write_json};
use super::error::CliError;
use super::http::{Call, Client};
use super::output::OutputArgs;
use super::retry::{self, RetryArgs};
use super::signals::asked_to_stop;
use super::{ConnectArgs, duration, millis};
use crate::model::{CLIENT_BYTES_MAX, GroupName, LEASE_MS_MAX, LEASE_MS_MIN, TopicName, WAIT_MS_MAX};

/// `--exec`: a command for each message.
pub mod exec;

/// Messages asked for at once: few enough that a lease outlasts the printing.
const MESSAGES_AT_ONCE: u64 = 100;

/// Options of `whimbrel consume`.
#[derive(Clone, Debug, clap::Args)]
pub struct ConsumeArgs {
    /// Group to receive for; made with defaults when there is none and a topic is named
    pub group: GroupName,
    /// Topic to receive from; all that the group subscribes to when not given
    #[arg(long)]
    pub topic: Option<TopicName>,
    /// Run a shell command for each message, its body on standard input, the rest in MQ_… variables (docs/CLI.md).
    /// Exit code 0 acks; any other gives the message back, to come again after the group's retry delay
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["no_ack", "format"])]
    pub exec: Option<String>,
    /// How --exec runs.
    #[command(flatten)]
    pub running: exec::RunningArgs,
    /// Stop after this many messages; stop with exit code 4 when nothing comes for the time of --wait
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max: Option<u64>,
    /// How long one request waits for a message, at most 60s
    #[arg(long, default_value = "20s", value_parser = wait, value_name = "DURATION")]
    pub wait: Duration,
    /// How long a message is leased, 1s to 12h; the group's own time when not given, with --exec 60s (and extended)
    #[arg(long, value_parser = lease, value_name = "DURATION")]
    pub lease: Option<Duration>,
    /// What the broker calls this consumer (`whimbrel clients list`, who holds a lease); its address when not given
    #[arg(long, value_name = "NAME", value_parser = client_name)]
    pub client: Option<String>,
    /// Print only: the messages come again when their lease has run out
    #[arg(long)]
    pub no_ack: bool,
    /// How to print: bodies alone, or messages as JSON.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How long to go on trying.
    #[command(flatten)]
    pub retry: RetryArgs,
    /// The broker.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

fn wait(text: &str) -> Result<Duration, String> {
    let wait = duration(text)?;
    if wait > Duration::from_millis(WAIT_MS_MAX) {
        return Err(format!("longer than the {} s a broker waits", WAIT_MS_MAX / 1_000));
    }
    Ok(wait)
}

fn client_name(text: &str) -> Result<String, String> {
    let sane = (1..=CLIENT_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
    let refuse = || format!("a name has 1 to {CLIENT_BYTES_MAX} bytes and no control characters");
    if sane { Ok(text.to_owned()) } else { Err(refuse()) }
}

fn lease(text: &str) -> Result<Duration, String> {
    let lease = duration(text)?;
    let allowed = Duration::from_millis(LEASE_MS_MIN)..=Duration::from_millis(LEASE_MS_MAX);
    if allowed.contains(&lease) { Ok(lease) } else { Err("a lease is 1s to 12h long".to_owned()) }
}

/// Runs `whimbrel consume` until --max, an error, or SIGINT or SIGTERM. What is in hand then is finished: a batch that
/// is being printed (for at most 2 s), or the commands that run; a second signal ends those at once. Stopping is a
/// success.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: ConsumeArgs) -> Result<(), CliError> {
    if let Some(command) = &args.exec {
        return exec::run(&args, command).await;
    }
    let style = Style::of(args.output);
    let mut consumer = Consumer {
        client: args.connect.client(),
        output: tokio::io::stdout(),
        style,
        printed: 0,
        late: 0,
        said_paused: false,
    };
    consumer.consume(&args, asked_to_stop()).await
}

/// The request for at most `max_messages`, for `lease` if given.
fn receive(args: &ConsumeArgs, max_messages: u64, lease: Option<Duration>) -> Call {
    let mut request = json!({ "max_messages": max_messages, "wait_ms": millis(args.wait) });
    if let Value::Object(fields) = &mut request {
        fields.extend(args.topic.as_ref().map(|topic| ("topic".to_owned(), Value::from(topic.as_str()))));
        fields.extend(lease.map(|lease| ("lease_ms".to_owned(), millis(lease))));
    }
    let mut call = Call::post(format!("/v1/groups/{}/receive", args.group), request.to_string());
    call.wait = args.wait;
    if let Some(name) = &args.client {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
        if let Ok(name) = HeaderValue::try_from(name) {
            call = call.header(HeaderName::from_static("mq-client"), name);
        }
    }
    // Messages of an answer that was lost come again by themselves.
    call.repeatable()
}

struct Consumer<W> {
    client: Client,
    output: W,
    style: Style,
    printed: u64,
    /// Acks that came too late.
    late: u64,
    said_paused: bool,
}

impl<W: AsyncWrite + Unpin> Consumer<W> {
    async fn consume(&mut self, args: &ConsumeArgs, stop: impl Future<Output = ()>) -> Result<(), CliError> {
        let mut stop = std::pin::pin!(stop);
        while args.max.is_none_or(|max| self.printed < max) {
            let received = tokio::select! {
                biased;
                () = &mut stop => break,
                received = self.receive(args) => received?,
            };
            if received.paused && !std::mem::replace(&mut self.said_paused, received.paused) {
                eprintln!("whimbrel: the group is paused; nothing comes until it is resumed");
            }
            if received.messages.is_empty() {
                if args.max.is_some() {
                    return Err(nothing_came(args));
                }
                continue;
            }
            let handling = self.handle(args, &received.messages);
            let mut handling = std::pin::pin!(handling);
            let stopped = tokio::select! {
                biased;
                handled = &mut handling => { handled?; false }
                () = &mut stop => true,
            };
            if stopped {
                // A reader that takes nothing any more must not hold up the end.
                if let Ok(handled) = tokio::time::timeout(Duration::from_secs(2), handling).await {
                    handled?;
                }
                break;
            }
        }
        match self.late {
            0 => Ok(()),
            late => Err(CliError::Failed(format!(
                "{late} of the printed messages were acked too late and will come again; print faster or use a longer lease"
            ))),
        }
    }

    async fn receive(&mut self, args: &ConsumeArgs) -> Result<Received, CliError> {
        let left = args.max.map_or(u64::MAX, |max| max.saturating_sub(self.printed));
        let call = receive(args, left.min(MESSAGES_AT_ONCE), args.lease);
        retry::send(&mut self.client, call, args.retry).await?.json()
    }

    /// Prints, flushes, and only then acks: what was not handed on is delivered again.
    async fn handle(&mut self, args: &ConsumeArgs, messages: &[Box<RawValue>]) -> Result<(), CliError> {
        let mut text = Vec::new();
        let mut receipts: Vec<String> = Vec::with_capacity(messages.len());
        for message in messages {
            let delivered = Delivered::read(message)?;
            match self.style {
                Style::Json => write_json(&mut text, message.get()),
                style => write_body(&mut text, &delivered.bytes()?, style),
            }
            receipts.push(delivered.receipt);
        }
        let what = || CliError::io("writing to standard output; what was not written will come again");
        self.output.write_all(&text).await.map_err(what())?;
        self.output.flush().await.map_err(what())?;
        self.printed += messages.len() as u64;
        if args.no_ack {
            return Ok(());
        }
        let ack = json!({ "receipts": receipts }).to_string();
        // The same receipt acked twice is "already", which is as good.
        let ack = Call::post(format!("/v1/groups/{}/ack", args.group), ack).repeatable();
        let settled: Settled = retry::send(&mut self.client, ack, args.retry).await?.json()?;
        self.late += settled.late();
        Ok(())
    }
}

fn nothing_came(args: &ConsumeArgs) -> CliError {
    CliError::NothingCame(format!("nothing came for {} s", args.wait.as_secs_f32()))
}

#[cfg(test)]
mod tests;
