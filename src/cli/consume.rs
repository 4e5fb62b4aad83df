use std::io::IsTerminal;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::CliError;
use super::http::{Call, Client};
use super::{ConnectArgs, duration};
use crate::model::WAIT_MS_MAX;
use crate::model::{GroupName, TopicName};

/// Messages asked for at once: few enough that a lease outlasts the printing.
const MESSAGES_AT_ONCE: u64 = 100;

/// Options of `whimbrel consume`.
#[derive(Clone, Debug, clap::Args)]
pub struct ConsumeArgs {
    /// Group to receive for; made with defaults when there is none
    pub group: GroupName,
    /// Topic to receive from
    #[arg(long)]
    pub topic: TopicName,
    /// Stop after this many messages; stop with exit code 4 when nothing comes for the time of --wait
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max: Option<u64>,
    /// How long one request waits for a message, at most 60s
    #[arg(long, default_value = "20s", value_parser = wait, value_name = "DURATION")]
    pub wait: Duration,
    /// Print only: the messages come again when their lease has run out
    #[arg(long)]
    pub no_ack: bool,
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

/// Runs `whimbrel consume` until --max, an error, or ctrl-c. Ctrl-c lets a batch that is being printed finish
/// (at most 2 s) and acks it; it is a success.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: ConsumeArgs) -> Result<(), CliError> {
    let style = if std::io::stdout().is_terminal() { Style::Terminal } else { Style::Bytes };
    let mut consumer = Consumer {
        client: Client::new(args.connect.url.clone(), args.connect.timeout),
        output: tokio::io::stdout(),
        style,
        printed: 0,
        late: 0,
        said_paused: false,
    };
    let stop = async {
        // Without a signal handler ctrl-c simply ends the process: nothing is acked that was not printed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    consumer.consume(&args, stop).await
}

/// How bodies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Byte for byte.
    Bytes,
    /// Control characters made visible, so that a body cannot play with the terminal.
    Terminal,
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

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Received {
    messages: Vec<Delivered>,
    paused: bool,
}

#[derive(Debug, Deserialize)]
struct Delivered {
    body: Box<RawValue>,
    #[serde(default)]
    encoding: String,
    receipt: String,
}

#[derive(Debug, Deserialize)]
struct Settled {
    results: Vec<SettleResult>,
}

#[derive(Debug, Deserialize)]
struct SettleResult {
    status: String,
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
                    let waited = args.wait.as_secs_f32();
                    return Err(CliError::NothingCame(format!("nothing came for {waited} s")));
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
        let wait_ms = u64::try_from(args.wait.as_millis()).unwrap_or(WAIT_MS_MAX);
        let request = json!({
            "max_messages": left.min(MESSAGES_AT_ONCE), "wait_ms": wait_ms, "topic": args.topic.as_str(),
        });
        let mut call = Call::post(format!("/v1/groups/{}/receive", args.group), request.to_string());
        call.wait = args.wait;
        self.client.send(call).await?.json()
    }

    /// Prints, flushes, and only then acks: what was not handed on is delivered again.
    async fn handle(&mut self, args: &ConsumeArgs, messages: &[Delivered]) -> Result<(), CliError> {
        let mut text = Vec::new();
        for message in messages {
            write_body(&mut text, &message.bytes()?, self.style);
        }
        let what = || CliError::io("writing to standard output; what was not written will come again");
        self.output.write_all(&text).await.map_err(what())?;
        self.output.flush().await.map_err(what())?;
        self.printed += messages.len() as u64;
        if args.no_ack {
            return Ok(());
        }
        let receipts: Vec<&str> = messages.iter().map(|message| message.receipt.as_str()).collect();
        let ack = json!({ "receipts": receipts }).to_string();
        let answer = self.client.send(Call::post(format!("/v1/groups/{}/ack", args.group), ack)).await?;
        let settled: Settled = answer.json()?;
        let late =
            settled.results.iter().filter(|result| !matches!(result.status.as_str(), "ok" | "already"));
        self.late += late.count() as u64;
        Ok(())
    }
}

impl Delivered {
    /// The body as it was sent.
    fn bytes(&self) -> Result<Vec<u8>, CliError> {
        let odd = |why: String| CliError::Failed(format!("a body cannot be read: {why}"));
        if self.encoding == "json" {
            return Ok(self.body.get().as_bytes().to_vec());
        }
        let text: String = serde_json::from_str(self.body.get()).map_err(|error| odd(error.to_string()))?;
        match self.encoding.as_str() {
            "" | "utf8" => Ok(text.into_bytes()),
            "base64" => STANDARD.decode(text).map_err(|error| odd(error.to_string())),
            other => Err(odd(format!("unknown encoding '{}'", other.escape_debug()))),
        }
    }
}

fn write_body(out: &mut Vec<u8>, body: &[u8], style: Style) {
    match style {
        Style::Bytes => out.extend_from_slice(body),
        Style::Terminal => {
            for character in String::from_utf8_lossy(body).chars() {
                if character.is_control() && !matches!(character, '\n' | '\t') {
                    out.extend(character.escape_default().map(|c| u8::try_from(c).unwrap_or(b'?')));
                } else {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
