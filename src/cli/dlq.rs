use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::CliError;
use super::http::{Call, Client};
use super::list::{self, LimitArgs};
use super::output::{Column, Format, OutputArgs, Printer, cell};
use super::{CommonArgs, ConnectArgs};
use crate::model::{GroupName, MessageId, SETTLE_MAX};

/// `whimbrel dlq …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum DlqCommand {
    /// List the dead letters of a group, oldest message first
    List {
        /// The group
        group: GroupName,
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show one dead letter: the message, and why each delivery failed
    Show {
        /// The group
        group: GroupName,
        /// Id of the message
        id: MessageId,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Deliver dead letters again, from the first attempt on
    Redrive(RedriveArgs),
    /// Throw all dead letters of a group away
    Purge {
        /// The group
        group: GroupName,
        /// Really do it; without it the command only says how many there are
        #[arg(long)]
        force: bool,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Print every dead letter of a group with its message, one JSON object a line; changes nothing
    Export {
        /// The group
        group: GroupName,
        /// The broker.
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

/// Options of `whimbrel dlq redrive`.
#[derive(Clone, Debug, clap::Args)]
pub struct RedriveArgs {
    /// The group
    pub group: GroupName,
    /// Ids of the messages
    #[arg(required_unless_present = "all", value_name = "ID")]
    pub ids: Vec<MessageId>,
    /// Every dead letter that the group has now
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl DlqCommand {
    /// Runs it.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn run(self) -> Result<(), CliError> {
        match self {
            DlqCommand::List { group, limit, common } => {
                let path = format!("/v1/groups/{group}/dead-letters");
                let mut printer = Printer::stdout(common.output);
                let list = (path.as_str(), "dead_letters");
                list::print(&mut common.connect.client(), list, &COLUMNS, limit, &mut printer).await
            }
            DlqCommand::Show { group, id, common } => {
                let path = format!("/v1/groups/{group}/dead-letters/{id}");
                let answer = common.connect.client().send(Call::get(path)).await?;
                show(answer.text()?, &mut Printer::stdout(common.output))
            }
            DlqCommand::Redrive(args) => {
                let mut printer = Printer::stdout(args.common.output);
                redrive(&mut args.common.connect.client(), &args, &mut printer).await
            }
            DlqCommand::Purge { group, force, common } => {
                let mut printer = Printer::stdout(common.output);
                purge(&mut common.connect.client(), &group, force, &mut printer).await
            }
            DlqCommand::Export { group, connect } => {
                let mut printer = Printer::stdout(OutputArgs { format: Format::Ndjson });
                export(&mut connect.client(), &group, &mut printer).await
            }
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::new("id", |letter| cell(letter, "id")),
    Column::new("topic", |letter| cell(letter, "topic")),
    Column::new("place", |letter| format!("{}/{}", cell(letter, "queue"), cell(letter, "offset"))),
    Column::new("dead at", |letter| cell(letter, "dead_at")),
    Column::new("attempts", |letter| cell(letter, "attempts")),
    Column::new("reason", |letter| cell(letter, "reason")),
];

/// `nack: card refused`
fn failure(failure: &Value) -> String {
    match cell(failure, "reason").as_str() {
        "-" => cell(failure, "cause"),
        reason => format!("{}: {reason}", cell(failure, "cause")),
    }
}

fn show(json: &str, printer: &mut Printer<impl Write>) -> Result<(), CliError> {
    printer.one(json, &COLUMNS)?;
    if printer.format() != Format::Table {
        return Ok(());
    }
    let letter: Value = serde_json::from_str(json).unwrap_or_default();
    for failed in letter.get("failures").and_then(Value::as_array).into_iter().flatten() {
        printer.line(&format!("  failed at {}  {}", cell(failed, "at"), failure(failed)))?;
    }
    printer.body(letter.get("message").unwrap_or(&Value::Null))
}

#[derive(Deserialize)]
struct Redriven {
    results: Vec<Box<RawValue>>,
    #[serde(default)]
    failed: u64,
}

async fn redrive(
    client: &mut Client,
    args: &RedriveArgs,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let given: Vec<String> = args.ids.iter().map(ToString::to_string).collect();
    let mut given = given.chunks(SETTLE_MAX);
    let mut cursor = None;
    let mut failed = 0;
    printer.begin("results")?;
    loop {
        let ids: Vec<String> = if args.all {
            let page = ids_of_a_page(client, &args.group, cursor.as_deref()).await?;
            cursor = page.1;
            page.0
        } else {
            given.next().unwrap_or_default().to_vec()
        };
        if !ids.is_empty() {
            failed += redrive_some(client, &args.group, &ids, printer).await?;
        }
        let more = if args.all { cursor.is_some() } else { given.len() > 0 };
        if !more {
            break;
        }
    }
    printer.end(None)?;
    match failed {
        0 => Ok(()),
        failed => Err(CliError::Failed(format!("{failed} dead letters were not redriven"))),
    }
}

/// Redrives at most [`SETTLE_MAX`] messages; returns how many were refused.
async fn redrive_some(
    client: &mut Client,
    group: &GroupName,
    ids: &[String],
    printer: &mut Printer<impl Write>,
) -> Result<u64, CliError> {
    const RESULTS: [Column; 3] = [
        Column::new("id", |result| cell(result, "id")),
        Column::new("status", |result| cell(result, "status")),
        Column::new("why", |result| {
            result.get("problem").map_or_else(String::new, |why| cell(why, "detail"))
        }),
    ];
    let form = json!({ "ids": ids }).to_string();
    let answer = client.send(Call::post(format!("/v1/groups/{group}/dead-letters/redrive"), form)).await?;
    let redriven: Redriven = answer.json()?;
    let rows: Vec<&str> = redriven.results.iter().map(|row| row.get()).collect();
    printer.page(&rows, &RESULTS)?;
    Ok(redriven.failed)
}

/// The ids of the page of dead letters behind `cursor`, and the next cursor. Cursors are ids, so letters that leave the
/// list meanwhile shift nothing.
async fn ids_of_a_page(
    client: &mut Client,
    group: &GroupName,
    cursor: Option<&str>,
) -> Result<(Vec<String>, Option<String>), CliError> {
    #[derive(Deserialize)]
    struct Letter {
        id: String,
    }
    let path = format!("/v1/groups/{group}/dead-letters");
    let page = list::page(client, &path, "dead_letters", SETTLE_MAX as u64, cursor).await?;
    let id = |row: &RawValue| serde_json::from_str::<Letter>(row.get()).map(|letter| letter.id);
    let ids: Result<Vec<String>, _> = page.rows.iter().map(|row| id(row)).collect();
    Ok((ids.map_err(CliError::odd)?, page.next_cursor))
}

async fn purge(
    client: &mut Client,
    group: &GroupName,
    force: bool,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    if !force {
        let answer = client.send(Call::get(format!("/v1/groups/{group}"))).await?;
        let shown: Value = answer.json()?;
        let count = cell(&shown, "dead_letters");
        return Err(CliError::Usage(format!(
            "{group} has {count} dead letters; to throw them away: whimbrel dlq purge {group} --force"
        )));
    }
    let answer = client.send(Call::post(format!("/v1/groups/{group}/dead-letters/purge"), "")).await?;
    let purged: Value = answer.json()?;
    printer.done(&format!("{} dead letters of {group} purged", cell(&purged, "purged")), answer.text()?)
}

async fn export(
    client: &mut Client,
    group: &GroupName,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let mut cursor = None;
    loop {
        let (ids, next) = ids_of_a_page(client, group, cursor.as_deref()).await?;
        for id in &ids {
            match client.send(Call::get(format!("/v1/groups/{group}/dead-letters/{id}"))).await {
                Ok(answer) => printer.page(&[answer.text()?], &[])?,
                // It was redriven since the list was made.
                Err(CliError::Refused(problem)) if problem.status == 404 => {}
                Err(error) => return Err(error),
            }
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ClientCommand;
    use crate::cli::tests::{FakeBroker, Seen, client, parsed};

    fn redrive_args(more: &[&str]) -> RedriveArgs {
        let line: Vec<&str> = ["dlq", "redrive", "g"].iter().chain(more).copied().collect();
        match parsed(&line) {
            ClientCommand::Dlq(DlqCommand::Redrive(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    fn id(number: u64) -> String {
        MessageId::new(crate::model::Position { index: number, slot: 0 }).to_string()
    }

    /// Two pages of one dead letter each; the second cannot be redriven.
    fn two_letters(seen: &Seen) -> (u16, String) {
        let (one, two) = (id(1), id(2));
        let body = match seen.path.as_str() {
            path if path.ends_with("/redrive")
                && seen.body.windows(one.len()).any(|part| part == one.as_bytes()) =>
            {
                format!(r#"{{"results":[{{"id":"{one}","status":"ok"}}],"failed":0}}"#)
            }
            path if path.ends_with("/redrive") => format!(
                r#"{{"results":[{{"id":"{two}","status":"failed","problem":{{"detail":"topic is gone"}}}}],"failed":1}}"#
            ),
            path if path.ends_with("?limit=1000") => {
                format!(r#"{{"dead_letters":[{{"id":"{one}"}}],"next_cursor":"{one}"}}"#)
            }
            path if path.contains("cursor=") => {
                format!(r#"{{"dead_letters":[{{"id":"{two}"}}],"next_cursor":null}}"#)
            }
            path if path.ends_with(&two) => return (404, "{}".to_owned()),
            _ => r#"{"id":"x","message":{"body":"b"},"dead_letters":3}"#.to_owned(),
        };
        (200, body)
    }

    #[tokio::test]
    async fn redriving_all_goes_page_by_page_and_a_refusal_fails_the_command() {
        let broker = FakeBroker::start(two_letters).await;
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Format::Ndjson);
        let error = redrive(&mut client(&broker), &redrive_args(&["--all"]), &mut printer).await.unwrap_err();
        assert_eq!((error.exit_code(), error.to_string().as_str()), (1, "1 dead letters were not redriven"));
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
    }

    #[tokio::test]
    async fn many_ids_travel_a_thousand_at_a_time() {
        let broker = FakeBroker::start(|_| (200, r#"{"results":[],"failed":0}"#.to_owned())).await;
        let ids: Vec<String> = (0..1_001).map(id).collect();
        let args = redrive_args(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        redrive(&mut client(&broker), &args, &mut Printer::new(Vec::new(), Format::Json)).await.unwrap();
        let counts: Vec<usize> = broker
            .seen()
            .iter()
            .map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap()["ids"].as_array().unwrap().len())
            .collect();
        assert_eq!(counts, [1_000, 1]);
    }

    #[tokio::test]
    async fn purging_must_be_meant() {
        let broker = FakeBroker::start(two_letters).await;
        let mut printer = Printer::new(Vec::new(), Format::Table);
        let group = "g".parse().unwrap();
        let error = purge(&mut client(&broker), &group, false, &mut printer).await.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().starts_with("g has 3 dead letters"));
        assert!(broker.seen().iter().all(|seen| seen.method == "GET"));
        purge(&mut client(&broker), &group, true, &mut printer).await.unwrap();
    }

    #[tokio::test]
    async fn an_export_leaves_out_what_was_redriven_meanwhile() {
        let broker = FakeBroker::start(two_letters).await;
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Format::Ndjson);
        export(&mut client(&broker), &"g".parse().unwrap(), &mut printer).await.unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_letter_is_shown_with_its_history_and_its_body() {
        let json = r#"{"id":"i","topic":"t","queue":0,"offset":1,"dead_at":"d","attempts":2,"reason":"max_attempts",
            "failures":[{"at":"then","cause":"nack","reason":"no\tcard"},{"at":"now","cause":"lease_expired","reason":null}],
            "message":{"body":"one\ntwo","encoding":"utf8"}}"#;
        let mut out = Vec::new();
        show(json, &mut Printer::new(&mut out, Format::Table)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("  failed at then  nack: no\\tcard\n  failed at now  lease_expired\n"),
            "{text}"
        );
        assert!(text.ends_with("body (utf8)\n  one\n  two\n"), "{text}");
    }
}
