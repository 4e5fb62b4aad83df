use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::delivered::{Delivered, Style, write_body, write_json};
use super::error::CliError;
use super::http::{Call, Client, Stream};
use super::output::{OutputArgs, visible};
use super::retry::{Patience, RetryArgs};
use super::signals::asked_to_stop;
use super::{ConnectArgs, duration};
use crate::model::TopicName;
use events::{Event, Events};

/// Server-sent events.
mod events;

/// A stream that says nothing for three heartbeats of the broker is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Pause before a stream that the broker ended in order is taken up again.
const AGAIN: Duration = Duration::from_millis(200);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Options of `whimbrel tail`.
#[derive(Clone, Debug, clap::Args)]
pub struct TailArgs {
    /// Topic to follow
    pub topic: TopicName,
    /// Where to begin: latest (what comes from now on), earliest, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, default_value = "latest", value_parser = from, value_name = "PLACE")]
    pub from: String,
    /// Only messages with this tag, or one of several joined by ||
    #[arg(long, value_name = "TAGS")]
    pub tag: Option<String>,
    /// Stop after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_events: Option<u64>,
    /// Stop after this time; with --max-events exit code 4 when fewer came
    #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
    pub lasting: Option<Duration>,
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

fn from(text: &str) -> Result<String, String> {
    if !matches!(text, "latest" | "earliest") {
        text.parse::<crate::model::Timestamp>()
            .map_err(|error| format!("{error}, nor latest or earliest"))?;
    }
    Ok(text.to_owned())
}

/// Runs `whimbrel tail` until --max-events, --for, an error, or SIGINT or SIGTERM, which is a success. A broker that
/// goes away is waited for, and the stream goes on where it was.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: TailArgs) -> Result<(), CliError> {
    let style = Style::of(args.output);
    let client = args.connect.client();
    let until = args.lasting.map(|lasting| Instant::now() + lasting);
    let mut tail = Tail {
        args,
        client,
        output: tokio::io::stdout(),
        style,
        events: Events::default(),
        printed: 0,
        until,
    };
    tokio::select! {
        biased;
        () = asked_to_stop() => Ok(()),
        outcome = tail.follow() => outcome,
    }
}

struct Tail<W> {
    args: TailArgs,
    client: Client,
    output: W,
    style: Style,
    events: Events,
    printed: u64,
    until: Option<Instant>,
}

/// How a stream ended.
enum Ended {
    /// All is done.
    Done,
    /// The broker ended it in order, and it can be taken up again at once.
    InOrder,
}

/// The data of `end`.
#[derive(Deserialize)]
struct End {
    reason: String,
    #[serde(default)]
    detail: String,
}

/// The data of `skipped`.
#[derive(Deserialize)]
struct Skipped {
    queue: u64,
    from: u64,
    to: u64,
}

/// The data of `damaged`.
#[derive(Deserialize)]
struct Damaged {
    queue: u64,
    offset: u64,
    id: String,
}

impl<W: AsyncWrite + Unpin> Tail<W> {
    async fn follow(&mut self) -> Result<(), CliError> {
        let until = self.until;
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let mut over = std::pin::pin!(over);
        let mut patience: Option<Patience> = None;
        loop {
            let before = self.printed;
            let outcome = tokio::select! {
                biased;
                outcome = self.once() => outcome,
                () = &mut over => return self.time_is_over(),
            };
            if self.printed > before {
                patience = None;
            }
            match outcome {
                Ok(Ended::Done) => return Ok(()),
                Ok(Ended::InOrder) => tokio::time::sleep(AGAIN).await,
                Err(error) if error.was_not_done() || error.outcome_is_unknown() => {
                    let waiting = patience.get_or_insert_with(|| Patience::new(self.args.retry));
                    tokio::select! {
                        paused = waiting.pause(error) => paused?,
                        () = &mut over => return self.time_is_over(),
                    }
                    self.client.try_next_address();
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn time_is_over(&self) -> Result<(), CliError> {
        match self.args.max_events {
            Some(max) if self.printed < max => {
                Err(CliError::NothingCame(format!("{} of {max} messages came in time", self.printed)))
            }
            _ => Ok(()),
        }
    }

    /// One connection, from its beginning to its end.
    async fn once(&mut self) -> Result<Ended, CliError> {
        self.events.begin_again();
        let mut stream = self.open().await?;
        loop {
            let Some(chunk) = stream.chunk(SILENCE_MAX).await? else {
                let (what, reason) =
                    ("following the topic".to_owned(), "it ended without a reason".to_owned());
                return Err(CliError::Broken { what, reason });
            };
            self.events.push(&chunk)?;
            if let Some(ended) = self.print_events().await? {
                return Ok(ended);
            }
        }
    }

    async fn open(&mut self) -> Result<Stream, CliError> {
        let mut query: Vec<(&str, String)> = Vec::new();
        if let Some(max) = self.args.max_events {
            query.push(("max_events", max.saturating_sub(self.printed).to_string()));
        }
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(Instant::now()).as_millis();
            query.push(("for", format!("{left}ms")));
        }
        query.extend(self.args.tag.clone().map(|tag| ("tag", tag)));
        let mut call = Call::get(String::new());
        match &self.events.last_id {
            Some(id) => {
                let id = HeaderValue::from_str(id).map_err(CliError::odd)?;
                call = call.header(LAST_EVENT_ID, id);
            }
            None => query.push(("from", self.args.from.clone())),
        }
        let query: Vec<String> = query
            .into_iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)))
            .collect();
        call.path = format!("/v1/topics/{}/tail?{}", self.args.topic, query.join("&"));
        self.client.open(call).await
    }

    /// Prints what came whole; how the stream ends, if it does.
    async fn print_events(&mut self) -> Result<Option<Ended>, CliError> {
        let mut text = Vec::new();
        let mut ended = None;
        let mut count = 0;
        while let Some(event) = self.events.next() {
            match event.name.as_str() {
                "message" => {
                    self.write_message(&mut text, &event)?;
                    count += 1;
                }
                "skipped" => say_skipped(&event)?,
                "damaged" => say_damaged(&event)?,
                "end" => ended = Some(serde_json::from_str::<End>(&event.data).map_err(CliError::odd)?),
                // A later broker may say more.
                _ => {}
            }
        }
        let what = || CliError::io("writing to standard output");
        self.output.write_all(&text).await.map_err(what())?;
        self.output.flush().await.map_err(what())?;
        self.printed += count;
        ended.map(|end| self.judge(&end)).transpose()
    }

    fn write_message(&self, text: &mut Vec<u8>, event: &Event) -> Result<(), CliError> {
        if self.style == Style::Json {
            write_json(text, &event.data);
            return Ok(());
        }
        let message: &RawValue = serde_json::from_str(&event.data).map_err(CliError::odd)?;
        write_body(text, &Delivered::read(message)?.bytes()?, self.style);
        Ok(())
    }

    fn judge(&self, end: &End) -> Result<Ended, CliError> {
        match end.reason.as_str() {
            "max_events" => Ok(Ended::Done),
            "topic_deleted" => Err(CliError::Failed(format!("topic {} was deleted", self.args.topic))),
            "fault" => {
                let what = format!("the broker cannot read on: {}", visible(&end.detail));
                Err(CliError::Failed(what))
            }
            // The broker stops, or lets no tail last as long as this one should.
            _ => Ok(Ended::InOrder),
        }
    }
}

fn say_skipped(event: &Event) -> Result<(), CliError> {
    let Skipped { queue, from, to } = serde_json::from_str(&event.data).map_err(CliError::odd)?;
    eprintln!(
        "whimbrel: queue {queue}, offsets {from} to {}: removed by retention before they were read",
        to.saturating_sub(1)
    );
    Ok(())
}

fn say_damaged(event: &Event) -> Result<(), CliError> {
    let Damaged { queue, offset, id } = serde_json::from_str(&event.data).map_err(CliError::odd)?;
    let id = visible(&id);
    eprintln!(
        "whimbrel: message {id} (queue {queue}, offset {offset}) is damaged on the broker's disk: stepped over"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
