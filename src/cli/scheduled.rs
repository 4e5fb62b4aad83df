use std::io::Write;

use serde_json::json;

use super::CommonArgs;
use super::error::CliError;
use super::http::{Call, Client};
use super::list::{self, LimitArgs};
use super::output::{Column, Printer, cell, keys};
use crate::model::{MessageId, TopicName};

/// `whimbrel scheduled …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ScheduledCommand {
    /// List the scheduled messages of a topic, the next one first
    List {
        /// The topic
        topic: TopicName,
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Cancel scheduled messages before they are due: nobody ever gets them
    Cancel {
        /// Ids of the messages
        #[arg(required = true, value_name = "ID")]
        ids: Vec<MessageId>,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
}

impl ScheduledCommand {
    /// Runs it.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn run(self) -> Result<(), CliError> {
        match self {
            ScheduledCommand::List { topic, limit, common } => {
                let path = format!("/v1/topics/{topic}/scheduled");
                let mut printer = Printer::stdout(common.output);
                let list = (path.as_str(), "messages");
                list::print(&mut common.connect.client(), list, &COLUMNS, limit, &mut printer).await
            }
            ScheduledCommand::Cancel { ids, common } => {
                let mut printer = Printer::stdout(common.output);
                cancel(&mut common.connect.client(), &ids, &mut printer).await
            }
        }
    }
}

const COLUMNS: [Column; 5] = [
    Column::new("id", |message| cell(message, "id")),
    Column::new("due at", |message| cell(message, "deliver_at")),
    Column::new("queue", |message| cell(message, "queue")),
    Column::new("tag", |message| cell(message, "tag")),
    Column::new("keys", keys),
];

/// One call a message. A refusal is told in its row and the rest goes on; anything else ends the command.
async fn cancel(
    client: &mut Client,
    ids: &[MessageId],
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    const RESULTS: [Column; 3] = [
        Column::new("id", |result| cell(result, "id")),
        Column::new("status", |result| cell(result, "status")),
        Column::new("why", |result| {
            result.get("problem").map_or_else(String::new, |why| cell(why, "detail"))
        }),
    ];
    let mut failed = 0;
    printer.begin("results")?;
    for id in ids {
        let row = match client.send(Call::delete(format!("/v1/messages/{id}")).repeatable()).await {
            Ok(_) => json!({"id": id.to_string(), "status": "cancelled"}),
            Err(CliError::Refused(problem)) if (400..500).contains(&problem.status) => {
                failed += 1;
                let problem =
                    json!({"code": problem.code, "status": problem.status, "detail": problem.detail});
                json!({"id": id.to_string(), "status": "failed", "problem": problem})
            }
            Err(error) => return Err(error),
        };
        printer.page(&[&row.to_string()], &RESULTS)?;
    }
    printer.end(None)?;
    match failed {
        0 => Ok(()),
        failed => Err(CliError::Failed(format!("{failed} of {} messages were not cancelled", ids.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::cli::tests::{FakeBroker, client};

    fn id(number: u64) -> MessageId {
        MessageId::new(crate::model::Position { index: number, slot: 0 })
    }

    #[tokio::test]
    async fn what_is_refused_is_told_and_the_rest_goes_on() {
        let ready = id(1).to_string();
        let broker = FakeBroker::start(move |seen| {
            let refused = (409, r#"{"code":"not_scheduled","detail":"it is ready"}"#.to_owned());
            if seen.path.ends_with(&ready) { refused } else { (204, String::new()) }
        })
        .await;
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Format::Ndjson);
        let error = cancel(&mut client(&broker), &[id(1), id(2)], &mut printer).await.unwrap_err();
        assert_eq!(
            (error.exit_code(), error.to_string().as_str()),
            (1, "1 of 2 messages were not cancelled")
        );
        let rows: Vec<serde_json::Value> =
            out.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(
            (&rows[0]["problem"]["code"], &rows[1]["status"]),
            (&"not_scheduled".into(), &"cancelled".into())
        );
        assert!(broker.seen().iter().all(|seen| seen.method == "DELETE"));
    }

    #[tokio::test]
    async fn a_broker_that_is_not_there_ends_the_command() {
        let broker = FakeBroker::start(|_| (503, r#"{"code":"not_ready"}"#.to_owned())).await;
        let mut printer = Printer::new(Vec::new(), Format::Table);
        let error = cancel(&mut client(&broker), &[id(1), id(2)], &mut printer).await.unwrap_err();
        assert_eq!((error.exit_code(), broker.seen().len()), (3, 1));
    }
}
