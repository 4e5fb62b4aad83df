use std::io::IsTerminal;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::error::CliError;
use super::http::{Call, Client};
use super::ndjson::{Batch, Batcher};
use super::problem::Problem;
use super::{ConnectArgs, duration};
use crate::model::BODY_BYTES_MAX;
use crate::model::TopicName;

/// Ids are printed one a line up to this many messages; beyond, a count says more.
const PRINTED_MAX: usize = 20;
/// How long a line waits for company before its batch is sent.
const LINGER: Duration = Duration::from_millis(20);
/// What a header value cannot carry as it is; `,` because it separates keys.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b'%').add(b',').add(b' ');

/// Options of `whimbrel produce`.
#[derive(Clone, Debug, clap::Args)]
pub struct ProduceArgs {
    /// Topic to send to
    pub topic: TopicName,
    /// The message. `-`, or nothing with piped input: standard input, one message a line
    pub text: Option<String>,
    /// Send standard input as one message instead of one a line
    #[arg(long, conflicts_with = "text")]
    pub whole: bool,
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
    let from_input = args.text.as_deref().is_none_or(|text| text == "-");
    if args.text.is_none() && std::io::stdin().is_terminal() {
        return Err(CliError::Usage(
            "nothing to send: give the text, or pipe messages in, or say `-` to type them".to_owned(),
        ));
    }
    let input = BufReader::with_capacity(256 << 10, tokio::io::stdin());
    let mut output = tokio::io::stdout();
    if from_input && !args.whole {
        return send_lines(&args, input, &mut output).await;
    }
    let (body, is_text) = match &args.text {
        Some(text) if !from_input => (text.clone().into_bytes(), true),
        _ => (read_whole(input).await?, false),
    };
    send_one(&args, body, is_text, &mut output).await
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

#[derive(Deserialize)]
struct BatchAnswer {
    results: Vec<Stored>,
}

async fn read_whole(input: impl AsyncBufRead + Unpin) -> Result<Vec<u8>, CliError> {
    let mut body = Vec::new();
    let limit = BODY_BYTES_MAX as u64 + 1;
    input.take(limit).read_to_end(&mut body).await.map_err(CliError::io("reading standard input"))?;
    if body.len() > BODY_BYTES_MAX {
        return Err(CliError::Usage(format!(
            "standard input is larger than a message may be ({BODY_BYTES_MAX} bytes)"
        )));
    }
    Ok(body)
}

async fn send_one(
    args: &ProduceArgs,
    body: Vec<u8>,
    is_text: bool,
    output: &mut (impl AsyncWrite + Unpin),
) -> Result<(), CliError> {
    let mut call = Call::post(format!("/v1/topics/{}/messages", args.topic), body);
    call.headers = headers(args, is_text)?;
    let answer = Client::new(args.connect.url.clone(), args.connect.timeout).send(call).await?;
    let stored: Stored = answer.json()?;
    print(output, &stored.line()).await
}

fn headers(args: &ProduceArgs, is_text: bool) -> Result<HeaderMap, CliError> {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| -> Result<(), CliError> {
        let bad = |what: &str| CliError::Usage(format!("'{}' cannot be {what}", value.escape_debug()));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(&format!("sent as {name}")))?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| bad("a header value"))?);
        Ok(())
    };
    let escaped = |text: &str| utf8_percent_encode(text, IN_HEADER).to_string();
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    if let Some(content_type) = &args.content_type {
        put(CONTENT_TYPE.as_str(), content_type)?;
    } else if is_text {
        put(CONTENT_TYPE.as_str(), "text/plain; charset=utf-8")?;
    }
    if let Some(tag) = &args.tag {
        put("mq-tag", &escaped(tag))?;
    }
    if !args.keys.is_empty() {
        let keys: Vec<String> = args.keys.iter().map(|key| escaped(key)).collect();
        put("mq-keys", &keys.join(","))?;
    }
    if let Some(key) = &args.ordering_key {
        put("mq-ordering-key", &escaped(key))?;
    }
    if let Some(delay) = args.delay {
        put("mq-delay", &millis(delay))?;
    }
    if let Some(ttl) = args.ttl {
        put("mq-ttl", &millis(ttl))?;
    }
    for (name, value) in &args.properties {
        put(&format!("mq-prop-{name}"), &escaped(value))?;
    }
    Ok(headers)
}

/// The fields of a JSON message that all lines of one run share.
fn fields(args: &ProduceArgs) -> Map<String, Value> {
    let mut fields = Map::new();
    let millis = |time: Duration| Value::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let texts =
        [("content_type", &args.content_type), ("tag", &args.tag), ("ordering_key", &args.ordering_key)];
    for (name, text) in texts {
        if let Some(text) = text {
            fields.insert(name.to_owned(), Value::from(text.as_str()));
        }
    }
    if !args.keys.is_empty() {
        fields.insert("keys".to_owned(), Value::from(args.keys.clone()));
    }
    for (name, time) in [("delay_ms", args.delay), ("ttl_ms", args.ttl)] {
        if let Some(time) = time {
            fields.insert(name.to_owned(), millis(time));
        }
    }
    if !args.properties.is_empty() {
        let properties: Map<String, Value> =
            args.properties.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        fields.insert("properties".to_owned(), Value::from(properties));
    }
    fields
}

/// Sends lines as they come, holding at most one batch in memory.
async fn send_lines(
    args: &ProduceArgs,
    mut input: impl AsyncBufRead + Unpin,
    output: &mut (impl AsyncWrite + Unpin),
) -> Result<(), CliError> {
    let mut sending = Sending {
        client: Client::new(args.connect.url.clone(), args.connect.timeout),
        path: format!("/v1/topics/{}/messages/batch", args.topic),
        stored: 0,
        refused: 0,
        printed: String::new(),
    };
    let outcome = pump_lines(&mut input, Batcher::new(fields(args)), &mut sending).await;
    let summary = if sending.stored <= PRINTED_MAX {
        sending.printed.clone()
    } else {
        format!("{} messages stored in {}\n", sending.stored, args.topic)
    };
    print(output, &summary).await?;
    match outcome {
        Err(error) => {
            let (stored, refused) = (sending.stored, sending.refused);
            eprintln!("whimbrel: {stored} messages were stored and {refused} refused before this:");
            Err(error)
        }
        Ok(()) if sending.refused > 0 => {
            Err(CliError::Failed(format!("{} messages were refused", sending.refused)))
        }
        Ok(()) => Ok(()),
    }
}

/// One connection and what came of it so far.
struct Sending {
    client: Client,
    path: String,
    stored: usize,
    refused: usize,
    /// The lines to print while there are few.
    printed: String,
}

async fn pump_lines(
    input: &mut (impl AsyncBufRead + Unpin),
    mut batcher: Batcher,
    sending: &mut Sending,
) -> Result<(), CliError> {
    let mut line = Vec::new();
    loop {
        let more = if batcher.is_empty() {
            read_line(input, &mut line).await?
        } else {
            // Reading a line can be given up in the middle: what was read stays in `line`.
            match tokio::time::timeout(LINGER, read_line(input, &mut line)).await {
                Ok(more) => more?,
                Err(_) => {
                    sending.send(batcher.take()).await?;
                    continue;
                }
            }
        };
        if !more {
            return sending.send(batcher.take()).await;
        }
        let full = batcher.add(&line)?;
        line.clear();
        sending.send(full).await?;
    }
}

/// Appends the rest of a line without its `\n` to `line`; false at the end of the input with nothing read.
async fn read_line(input: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> Result<bool, CliError> {
    loop {
        let available = input.fill_buf().await.map_err(CliError::io("reading standard input"))?;
        if available.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let (text, _) = available.split_at(end.unwrap_or(available.len()));
        if line.len() + text.len() > BODY_BYTES_MAX {
            let limit = format!("a line is longer than a message may be ({BODY_BYTES_MAX} bytes)");
            return Err(CliError::Usage(limit));
        }
        line.extend_from_slice(text);
        let used = text.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

impl Sending {
    async fn send(&mut self, batch: Option<Batch>) -> Result<(), CliError> {
        let Some(batch) = batch else { return Ok(()) };
        let call = Call::post(self.path.clone(), batch.body)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        let answer: BatchAnswer = self.client.send(call).await?.json()?;
        if answer.results.len() != batch.messages {
            let (sent, answered) = (batch.messages, answer.results.len());
            return Err(CliError::Failed(format!(
                "the broker answered {answered} results for {sent} messages"
            )));
        }
        for result in &answer.results {
            if result.id.is_some() {
                self.stored += 1;
                if self.stored <= PRINTED_MAX {
                    self.printed.push_str(&result.line());
                }
            } else {
                self.refused += 1;
                if self.refused <= PRINTED_MAX {
                    eprintln!("whimbrel: message {}: {}", self.stored + self.refused, result.problem);
                }
            }
        }
        Ok(())
    }
}

async fn print(output: &mut (impl AsyncWrite + Unpin), text: &str) -> Result<(), CliError> {
    output.write_all(text.as_bytes()).await.map_err(CliError::io("writing to standard output"))?;
    output.flush().await.map_err(CliError::io("writing to standard output"))
}

#[cfg(test)]
mod tests;
