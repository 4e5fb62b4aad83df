use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::HeaderMap;
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use self::lines::{Pace, pump_lines};
use self::progress::Progress;
use self::sending::Sending;
use super::error::CliError;
use super::http::{Call, Client};
use super::ndjson::Batcher;
use super::output::OutputArgs;
use super::problem::Problem;
use super::retry::RetryArgs;
use super::{ConnectArgs, duration};
use crate::model::BODY_BYTES_MAX;
use crate::model::TopicName;

mod fields;
mod keys;
mod lines;
mod progress;
mod sending;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// Options of `whimbrel produce`.
#[derive(Clone, Debug, clap::Args)]
pub struct ProduceArgs {
    /// Topic to send to
    pub topic: TopicName,
    /// The message. `-`, or nothing with piped input: standard input, one message a line
    pub text: Option<String>,
    /// File to send, one message a line; may be given several times
    #[arg(long = "file", value_name = "PATH", conflicts_with = "text")]
    pub files: Vec<PathBuf>,
    /// Send standard input, or each file, as one message instead of one a line
    #[arg(long, conflicts_with = "text")]
    pub whole: bool,
    /// Send at most this many messages a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Tag that groups filter by
    #[arg(long)]
    pub tag: Option<String>,
    /// Business key, handed back with the message; may be given several times
    #[arg(long = "key", value_name = "KEY")]
    pub keys: Vec<String>,
    /// Messages with the same ordering key stay in order
    #[arg(long, value_name = "KEY")]
    pub ordering_key: Option<String>,
    /// Deliver no earlier than after this time, such as 90s or 3h
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub delay: Option<Duration>,
    /// Drop the message when it was not consumed for this long
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub ttl: Option<Duration>,
    /// Content type handed back with the message
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Property NAME=VALUE; may be given several times
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    pub properties: Vec<(String, String)>,
    /// How to print: ids and places (a count when there are many), or every answer as JSON.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Send without an Idempotency-Key: what may be stored already is then not sent again
    #[arg(long)]
    pub unkeyed: bool,
    /// How long to go on trying.
    #[command(flatten)]
    pub retry: RetryArgs,
    /// The broker.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Runs `whimbrel produce` on the process's own standard input and output.
///
/// # Errors
/// See [`CliError`]; what was stored before the error is said.
pub async fn run(args: ProduceArgs) -> Result<(), CliError> {
    let mut output = tokio::io::stdout();
    let from_input = args.text.as_deref().is_none_or(|text| text == "-") && args.files.is_empty();
    if from_input && args.text.is_none() && std::io::stdin().is_terminal() {
        return Err(CliError::Usage(
            "nothing to send: give the text, or pipe messages in, or say `-` to type them".to_owned(),
        ));
    }
    match &args.text {
        Some(text) if !from_input => {
            let body = text.clone().into_bytes();
            send_one(&args, &mut args.connect.client(), (body, true), &mut output).await
        }
        _ if args.whole => send_wholes(&args, &mut output).await,
        _ => send_inputs(&args, &mut output).await,
    }
}

/// Standard input or each file as one message.
async fn send_wholes(args: &ProduceArgs, output: &mut (impl AsyncWrite + Unpin)) -> Result<(), CliError> {
    let mut client = args.connect.client();
    if args.files.is_empty() {
        let body = read_whole(tokio::io::stdin()).await?;
        return send_one(args, &mut client, (body, false), output).await;
    }
    let mut pace = Pace::new(args.rate);
    for path in &args.files {
        let body = read_whole(open(path).await?).await?;
        tokio::time::sleep(pace.ahead()).await;
        send_one(args, &mut client, (body, false), output).await?;
    }
    Ok(())
}

/// Standard input or each file, one message a line.
async fn send_inputs(args: &ProduceArgs, output: &mut (impl AsyncWrite + Unpin)) -> Result<(), CliError> {
    if args.files.is_empty() {
        let length = length_of(tokio::fs::metadata("/dev/stdin").await);
        let input = BufReader::with_capacity(READ_BYTES, tokio::io::stdin());
        return send_lines(args, length, [input], output).await;
    }
    let mut inputs = Vec::with_capacity(args.files.len());
    let mut length = Some(0);
    for path in &args.files {
        // All are opened first, so that a misspelt name sends nothing.
        let file = open(path).await?;
        length = length.zip(length_of(file.metadata().await)).map(|(sum, length)| sum + length);
        inputs.push(BufReader::with_capacity(READ_BYTES, file));
    }
    send_lines(args, length, inputs, output).await
}

/// The length of a plain file; a pipe has none.
fn length_of(metadata: std::io::Result<std::fs::Metadata>) -> Option<u64> {
    metadata.ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}

async fn open(path: &Path) -> Result<tokio::fs::File, CliError> {
    tokio::fs::File::open(path).await.map_err(CliError::io(format!("opening {}", path.display())))
}

async fn read_whole(input: impl tokio::io::AsyncRead + Unpin) -> Result<Vec<u8>, CliError> {
    let mut body = Vec::new();
    let limit = BODY_BYTES_MAX as u64 + 1;
    input.take(limit).read_to_end(&mut body).await.map_err(CliError::io("reading the message"))?;
    if body.len() > BODY_BYTES_MAX {
        return Err(CliError::Usage(format!(
            "the input is larger than a message may be ({BODY_BYTES_MAX} bytes)"
        )));
    }
    Ok(body)
}

/// What the broker says about one stored message, or why it was not.
#[derive(Debug, Deserialize)]
struct Stored {
    id: Option<String>,
    queue: Option<u64>,
    offset: Option<u64>,
    state: Option<String>,
    #[serde(flatten)]
    problem: Problem,
}

impl Stored {
    /// `ID QUEUE/OFFSET`, or `ID STATE` while it has no offset yet.
    fn line(&self) -> String {
        let id = self.id.as_deref().unwrap_or_default();
        match (self.queue, self.offset) {
            (Some(queue), Some(offset)) => format!("{id} {queue}/{offset}\n"),
            _ => format!("{id} {}\n", self.state.as_deref().unwrap_or("stored")),
        }
    }
}

async fn send_one(
    args: &ProduceArgs,
    client: &mut Client,
    (body, is_text): (Vec<u8>, bool),
    output: &mut (impl AsyncWrite + Unpin),
) -> Result<(), CliError> {
    let headers: HeaderMap = fields::headers(args, is_text)?;
    let call = Call { headers, ..Call::post(format!("/v1/topics/{}/messages", args.topic), body) };
    let answer = keys::deliver(client, call, args).await?;
    if args.output.is_json() {
        return print(output, &format!("{}\n", answer.text()?)).await;
    }
    print(output, &answer.json::<Stored>()?.line()).await
}

/// Sends the lines of all inputs as they come, holding at most one batch in memory.
async fn send_lines<R: AsyncBufRead + Unpin>(
    args: &ProduceArgs,
    length: Option<u64>,
    inputs: impl IntoIterator<Item = R>,
    output: &mut (impl AsyncWrite + Unpin),
) -> Result<(), CliError> {
    let mut sending = Sending::new(args, Progress::new(length));
    let mut pace = Pace::new(args.rate);
    let mut outcome = Ok(());
    for input in inputs {
        let batcher = Batcher::new(fields::fields(args));
        outcome = pump_lines(input, batcher, &mut pace, (&mut sending, output)).await;
        if outcome.is_err() {
            break;
        }
    }
    sending.finish(outcome, output).await
}

async fn print(output: &mut (impl AsyncWrite + Unpin), text: &str) -> Result<(), CliError> {
    output.write_all(text.as_bytes()).await.map_err(CliError::io("writing to standard output"))?;
    output.flush().await.map_err(CliError::io("writing to standard output"))
}

#[cfg(test)]
mod tests;
