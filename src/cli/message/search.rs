use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::cli::CommonArgs;
use crate::cli::error::CliError;
use crate::cli::list::{self, LimitArgs};
use crate::cli::output::{Column, Printer, cell, keys, visible};
use crate::model::{Timestamp, TopicName};

/// Characters of a body in a table.
const BODY_SHOWN: usize = 60;

/// Options of `whimbrel message search`. All that is given must hold.
#[derive(Clone, Debug, clap::Args)]
pub struct SearchArgs {
    /// The topic
    pub topic: TopicName,
    /// One of the message's keys; found through an index
    #[arg(long)]
    pub key: Option<String>,
    /// The message's tag, or several joined by ||
    #[arg(long, value_name = "TAGS")]
    pub tag: Option<String>,
    /// Ready at this time or later
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// Ready before this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
    /// Text that the body contains
    #[arg(long, value_name = "TEXT")]
    pub contains: Option<String>,
    /// How many.
    #[command(flatten)]
    pub limit: LimitArgs,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl SearchArgs {
    /// The path with what is looked for.
    fn path(&self) -> String {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let fields = [
            ("key", self.key.clone()),
            ("tag", self.tag.clone()),
            ("from", time(self.from)),
            ("to", time(self.to)),
            ("contains", self.contains.clone()),
        ];
        let mut path = format!("/v1/topics/{}/messages", self.topic);
        let mut before = '?';
        for (name, value) in fields {
            if let Some(value) = value {
                path.push_str(&format!("{before}{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)));
                before = '&';
            }
        }
        path
    }
}

const COLUMNS: [Column; 6] = [
    Column::new("id", |message| cell(message, "id")),
    Column::new("place", |message| format!("{}/{}", cell(message, "queue"), cell(message, "offset"))),
    Column::new("accepted at", |message| cell(message, "accepted_at")),
    Column::new("tag", |message| cell(message, "tag")),
    Column::new("keys", keys),
    Column::new("body", body),
];

/// The beginning of the body, on one line.
fn body(message: &Value) -> String {
    let text = message.get("body").and_then(Value::as_str).unwrap_or_default();
    let mut shown: String = visible(&text.chars().take(BODY_SHOWN + 1).collect::<String>());
    if let Some((end, _)) = shown.char_indices().nth(BODY_SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// Prints what is found, call after call, until everything was looked at or there is enough.
///
/// # Errors
/// See [`CliError`].
pub(super) async fn run(args: SearchArgs) -> Result<(), CliError> {
    let path = args.path();
    let mut printer = Printer::stdout(args.common.output);
    let mut client = args.common.connect.client();
    list::print(&mut client, (&path, "messages"), &COLUMNS, args.limit, &mut printer).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ClientCommand;
    use crate::cli::output::Format;
    use crate::cli::tests::{FakeBroker, client, parsed};

    #[tokio::test]
    async fn a_search_goes_on_over_answers_that_found_nothing() {
        let broker = FakeBroker::start(|seen| {
            let page = if seen.path.contains("cursor=two") {
                r#"{"messages":[{"id":"i","queue":1,"offset":7,"keys":["k"],"body":"x\ny"}],
                    "next_cursor":null,"index_complete":false}"#
            } else {
                r#"{"messages":[],"next_cursor":"two","truncated":true,"index_complete":true}"#
            };
            (200, page.to_owned())
        })
        .await;
        let line = ["message", "search", "orders", "--key", "a&b", "--from", "2026-01-31T12:00:00Z"];
        let ClientCommand::Message(args) = parsed(&line) else { panic!() };
        let Some(super::super::MessageCommand::Search(args)) = args.command else { panic!() };
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Format::Table);
        let path = args.path();
        list::print(&mut client(&broker), (&path, "messages"), &COLUMNS, args.limit, &mut printer)
            .await
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("i   1/7    -            -    k     x\\ny\n"), "{text}");
        let seen = broker.seen();
        let asked = "/v1/topics/orders/messages?key=a%26b&from=2026%2D01%2D31T12%3A00%3A00%2E000Z&limit=1000";
        assert_eq!(seen[0].path, asked);
        assert_eq!(seen[1].path, format!("{asked}&cursor=two"));
    }

    #[test]
    fn a_long_body_is_cut_for_the_table() {
        let long = serde_json::json!({ "body": "ü".repeat(200) });
        assert_eq!(body(&long).chars().count(), BODY_SHOWN + 1);
        assert_eq!(body(&serde_json::json!({ "body": "short" })), "short");
    }
}
