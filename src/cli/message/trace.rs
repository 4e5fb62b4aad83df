//! `whimbrel message trace`: what happened to one message.

use std::io::Write;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::CommonArgs;
use crate::cli::error::CliError;
use crate::cli::http::{Call, Client};
use crate::cli::list::LimitArgs;
use crate::cli::output::{Column, Printer, cell};
use crate::model::MessageId;

/// Options of `whimbrel message trace`.
#[derive(Clone, Debug, clap::Args)]
pub struct TraceArgs {
    /// Id of the message
    pub id: MessageId,
    /// How many events.
    #[command(flatten)]
    pub limit: LimitArgs,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// One page as the broker answers it.
#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    gone: Vec<Value>,
    groups_left_out: bool,
    next_cursor: Option<String>,
}

const COLUMNS: [Column; 4] = [
    Column::new("at", |event| cell(event, "at")),
    Column::new("group", |event| match event.get("group") {
        // A deleted group has no name any more.
        None => event
            .get("group_number")
            .map_or_else(|| "-".to_owned(), |number| format!("deleted group {number}")),
        Some(_) => cell(event, "group"),
    }),
    Column::new("event", |event| cell(event, "event").replace('_', " ")),
    Column::new("details", details),
];

/// What belongs to the event, in words.
fn details(event: &Value) -> String {
    let words = [
        ("client", "to"),
        ("attempt", "attempt"),
        ("round", "of round"),
        ("lease_expires_at", "until"),
        ("dead_reason", "because of"),
        ("cause", "cause"),
        ("reason", "reason"),
        ("ready_at", "ready at"),
    ];
    let told = words.iter().filter(|(name, _)| event.get(*name).is_some());
    let told: Vec<String> = told.map(|(name, word)| format!("{word} {}", cell(event, name))).collect();
    told.join(" ")
}

/// Runs `whimbrel message trace`: reads the log on the broker, page by page, and changes nothing.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: TraceArgs) -> Result<(), CliError> {
    let path = format!("/v1/messages/{}/trace", args.id);
    let mut printer = Printer::stdout(args.common.output);
    print(&mut args.common.connect.client(), &path, args.limit.limit, &mut printer).await
}

async fn print(
    client: &mut Client,
    path: &str,
    limit: u64,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let mut cursor: Option<String> = None;
    let mut left_out = false;
    printer.begin("events")?;
    while left > 0 {
        let mut asked = format!("{path}?limit={}", left.min(1_000));
        if let Some(cursor) = &cursor {
            asked.push_str(&format!("&cursor={}", utf8_percent_encode(cursor, NON_ALPHANUMERIC)));
        }
        let answer = client.send(Call::get(asked)).await?;
        let page: Page = answer.json()?;
        let rows: Vec<&str> = page.events.iter().map(|row| row.get()).collect();
        printer.page(&rows, &COLUMNS)?;
        for gap in &page.gone {
            let (from, to) = (cell(gap, "from"), cell(gap, "to"));
            eprintln!("whimbrel: the log between {from} and {to} is gone; what happened then is not told");
        }
        left_out |= page.groups_left_out;
        left = left.saturating_sub(rows.len() as u64);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    printer.end(cursor.as_deref())?;
    if left_out {
        eprintln!("whimbrel: more groups met the message than a trace follows; some are not told of");
    }
    if cursor.is_some() {
        eprintln!("whimbrel: there may be more than {limit} events; --limit 0 prints all");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::cli::tests::FakeBroker;

    #[tokio::test]
    async fn a_trace_is_followed_to_its_end() {
        let broker = FakeBroker::start(|seen| {
            let (event, next) = if seen.path.contains("cursor=a%2Fb") {
                (r#"{"at":"t2","event":"failed","group":"g","group_number":1,"cause":"nack","reason":"no\u001b"}"#, "null")
            } else {
                (r#"{"at":"t1","event":"delivered","group_number":7,"client":"c","attempt":2,"round":1}"#, "\"a/b\"")
            };
            (200, format!(r#"{{"events":[{event}],"gone":[],"groups_left_out":false,"next_cursor":{next}}}"#))
        })
        .await;
        let connect = crate::cli::ConnectArgs {
            url: broker.url.parse().unwrap(),
            timeout: std::time::Duration::from_secs(10),
        };
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Format::Table);
        print(&mut connect.client(), "/v1/messages/i/trace", 0, &mut printer).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "AT  GROUP            EVENT      DETAILS");
        assert_eq!(lines[1], "t1  deleted group 7  delivered  to c attempt 2 of round 1");
        assert_eq!(lines[2], "t2  g                failed     cause nack reason no\\u{1b}");
        assert_eq!(broker.seen().len(), 2);
    }
}
