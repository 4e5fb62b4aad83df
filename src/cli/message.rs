//! `whimbrel message`: looking at messages.

/// `whimbrel message search`: messages by what is known of them.
mod search;
/// `whimbrel message trace`: what happened to one message.
pub mod trace;

use std::io::Write;

use serde_json::Value;

use super::CommonArgs;
use super::delivered::Delivered;
use super::error::CliError;
use super::http::Call;
use super::output::{Column, Format, Printer, cell, visible};
use crate::model::MessageId;

/// Options of `whimbrel message`.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct MessageArgs {
    /// Something else than showing one.
    #[command(subcommand)]
    pub command: Option<MessageCommand>,
    /// Id of the message
    #[arg(required = true)]
    pub id: Option<MessageId>,
    /// Print the body alone, byte for byte
    #[arg(long, conflicts_with = "format")]
    pub body: bool,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The commands of `whimbrel message` that have a name.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum MessageCommand {
    /// Tell what happened to a message, from the log
    #[command(after_help = super::EXIT_CODES)]
    Trace(trace::TraceArgs),
    /// Search a topic by key, tag, time and content, newest message first
    #[command(after_help = super::EXIT_CODES)]
    Search(search::SearchArgs),
}

/// Runs `whimbrel message`: looks at one message without changing anything.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: MessageArgs) -> Result<(), CliError> {
    let id = match (args.command, args.id) {
        (Some(MessageCommand::Search(args)), _) => return search::run(args).await,
        (Some(MessageCommand::Trace(args)), _) => return trace::run(args).await,
        (None, Some(id)) => id,
        (None, None) => return Err(CliError::Usage("the id of a message is missing".to_owned())),
    };
    let path = format!("/v1/messages/{id}");
    let answer = args.common.connect.client().send(Call::get(path)).await?;
    if args.body {
        let body = answer.json::<Delivered>()?.bytes()?;
        let mut out = std::io::stdout();
        return out
            .write_all(&body)
            .and_then(|()| out.flush())
            .map_err(CliError::io("writing to standard output"));
    }
    show(answer.text()?, &mut Printer::stdout(args.common.output))
}

const FIELDS: [Column; 10] = [
    Column::new("id", |message| cell(message, "id")),
    Column::new("topic", |message| cell(message, "topic")),
    Column::new("place", |message| format!("{}/{}", cell(message, "queue"), cell(message, "offset"))),
    Column::new("state", |message| match cell(message, "state").as_str() {
        "-" => "ready".to_owned(),
        state => state.to_owned(),
    }),
    Column::new("accepted at", |message| cell(message, "accepted_at")),
    Column::new("due at", |message| cell(message, "deliver_at")),
    Column::new("tag", |message| cell(message, "tag")),
    Column::new("keys", |message| cell(message, "keys")),
    Column::new("ordering key", |message| cell(message, "ordering_key")),
    Column::new("content type", |message| cell(message, "content_type")),
];

fn show(json: &str, printer: &mut Printer<impl Write>) -> Result<(), CliError> {
    printer.one(json, &FIELDS)?;
    if printer.format() != Format::Table {
        return Ok(());
    }
    let message: Value = serde_json::from_str(json).unwrap_or_default();
    for (name, value) in message.get("properties").and_then(Value::as_object).into_iter().flatten() {
        printer.line(&format!("  {} = {}", visible(name), visible(value.as_str().unwrap_or_default())))?;
    }
    printer.body(&message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_with_its_properties_and_its_body() {
        let json = r#"{"id":"i","topic":"t","queue":2,"offset":null,"keys":["k"],"properties":{"a":"1"},"body":"x\u001b",
            "encoding":"utf8","deliver_at":"later"}"#;
        let mut out = Vec::new();
        show(json, &mut Printer::new(&mut out, Format::Table)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("place         2/-\n") && text.contains("keys          [\"k\"]\n"), "{text}");
        assert!(text.ends_with("  a = 1\nbody (utf8)\n  x\\u{1b}\n"), "{text}");
    }
}
