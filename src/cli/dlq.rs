/// `dlq redrive`: by id, or as a job.
mod redrive;

use std::io::Write;

use serde::Deserialize;
use serde_json::Value;

use super::error::CliError;
use super::http::{Call, Client};
use super::list::{self, LimitArgs};
use super::output::{Column, Format, OutputArgs, Printer, cell};
use super::{CommonArgs, ConnectArgs};
use crate::model::{GroupName, MessageId};

pub use redrive::{FilterArgs, RedriveArgs};

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
    /// Deliver dead letters again, from the first attempt on, or move them to another topic
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
        /// Begin behind this message, to go on with an export that was cut
        #[arg(long, value_name = "ID")]
        after: Option<MessageId>,
        /// The broker.
        #[command(flatten)]
        connect: ConnectArgs,
    },
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
                redrive::run(&mut args.common.connect.client(), &args, &mut printer).await
            }
            DlqCommand::Purge { group, force, common } => {
                let mut printer = Printer::stdout(common.output);
                purge(&mut common.connect.client(), &group, force, &mut printer).await
            }
            DlqCommand::Export { group, after, connect } => {
                let mut printer = Printer::stdout(OutputArgs { format: Format::Ndjson });
                export(&mut connect.client(), (&group, after), &mut printer).await
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
    (group, after): (&GroupName, Option<MessageId>),
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let mut path = format!("/v1/groups/{group}/dead-letters/export");
    if let Some(after) = after {
        path.push_str(&format!("?after={after}"));
    }
    let mut begun: Vec<u8> = Vec::new();
    let mut last = None;
    let exported = client.stream(Call::get(path), |piece| {
        begun.extend_from_slice(piece);
        while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = begun.drain(..=end).collect();
            let line = std::str::from_utf8(&line).map_err(CliError::odd)?.trim_end();
            printer.line(line)?;
            last = serde_json::from_str::<Letter>(line).ok().map(|letter| letter.id);
        }
        Ok(())
    });
    match (exported.await, last) {
        (Err(error), Some(id)) if !matches!(error, CliError::Io { .. }) => {
            Err(CliError::Failed(format!("{error}\n  Go on with: whimbrel dlq export {group} --after {id}")))
        }
        (exported, _) => exported,
    }
}

#[derive(Deserialize)]
struct Letter {
    id: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::{FakeBroker, Seen, client};

    fn id(number: u64) -> String {
        MessageId::new(crate::model::Position { index: number, slot: 0 }).to_string()
    }

    fn three_letters(seen: &Seen) -> (u16, String) {
        let body = match seen.path.as_str() {
            path if path.ends_with("/export") => {
                (1..=3).map(|number| format!("{{\"id\":\"{}\"}}\n", id(number))).collect()
            }
            path if path.contains("?after=") => return (404, r#"{"detail":"no such group"}"#.to_owned()),
            _ => r#"{"dead_letters":3,"purged":3}"#.to_owned(),
        };
        (200, body)
    }

    #[tokio::test]
    async fn purging_must_be_meant() {
        let broker = FakeBroker::start(three_letters).await;
        let mut printer = Printer::new(Vec::new(), Format::Table);
        let group = "g".parse().unwrap();
        let error = purge(&mut client(&broker), &group, false, &mut printer).await.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().starts_with("g has 3 dead letters"));
        assert!(broker.seen().iter().all(|seen| seen.method == "GET"));
        purge(&mut client(&broker), &group, true, &mut printer).await.unwrap();
    }

    #[tokio::test]
    async fn an_export_prints_line_by_line_and_a_refusal_is_said() {
        let broker = FakeBroker::start(three_letters).await;
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Format::Ndjson);
        let group = "g".parse().unwrap();
        export(&mut client(&broker), (&group, None), &mut printer).await.unwrap();
        let after = Some(id(2).parse().unwrap());
        let error = export(&mut client(&broker), (&group, after), &mut printer).await.unwrap_err();
        assert!(error.to_string().contains("no such group"), "{error}");
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 3);
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
