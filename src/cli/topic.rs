use std::io::Write;
use std::time::Duration;

use hyper::header::{HeaderValue, IF_NONE_MATCH};
use serde_json::{Map, Value};

use super::error::CliError;
use super::http::{Call, Client};
use super::list::{self, LimitArgs};
use super::output::{Column, Printer, cell, span};
use super::{CommonArgs, duration};
use crate::model::TopicName;

/// `whimbrel topic …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum TopicCommand {
    /// List topics by name
    List {
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show one topic
    Show {
        /// The topic
        topic: TopicName,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Make a topic
    Create(CreateArgs),
    /// Delete a topic, its schedules and leases; dead letters stay
    Delete {
        /// The topic
        topic: TopicName,
        /// Delete it although it holds messages
        #[arg(long)]
        force: bool,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
}

/// Options of `whimbrel topic create`.
#[derive(Clone, Debug, clap::Args)]
pub struct CreateArgs {
    /// The topic
    pub topic: TopicName,
    /// Ordered partitions; can grow later, never shrink [default: 4]
    #[arg(long, value_name = "N")]
    pub queues: Option<u32>,
    /// How long a message is kept at least, acked or not [default: 3d]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub max_age: Option<Duration>,
    /// What to do when it exists.
    #[command(flatten)]
    pub existing: ExistingArgs,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What a `create` does with a thing that exists; an error unless one of these is given.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ExistingArgs {
    /// Succeed when it exists, and leave it as it is
    #[arg(long)]
    pub if_missing: bool,
    /// When it exists, give it these settings; what is not given gets its default
    #[arg(long, conflicts_with = "if_missing")]
    pub replace: bool,
}

impl TopicCommand {
    /// Runs it.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn run(self) -> Result<(), CliError> {
        let common = match &self {
            TopicCommand::List { common, .. }
            | TopicCommand::Show { common, .. }
            | TopicCommand::Delete { common, .. } => common,
            TopicCommand::Create(args) => &args.common,
        };
        let mut client = common.connect.client();
        let mut printer = Printer::stdout(common.output);
        match self {
            TopicCommand::List { limit, .. } => {
                list::print(&mut client, ("/v1/topics", "topics"), &COLUMNS, limit, &mut printer).await
            }
            TopicCommand::Show { topic, .. } => {
                let answer = client.send(Call::get(format!("/v1/topics/{topic}"))).await?;
                printer.one(answer.text()?, &FIELDS)
            }
            TopicCommand::Create(args) => create(&mut client, &args, &mut printer).await,
            TopicCommand::Delete { topic, force, .. } => {
                delete(&mut client, "topic", topic.as_str(), force, &mut printer).await
            }
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::new("name", |topic| cell(topic, "name")),
    Column::new("queues", |topic| cell(topic, "queues")),
    Column::new("kept", kept),
    Column::new("scheduled", |topic| cell(topic, "scheduled")),
    Column::new("max age", |topic| span(topic, "max_age_ms")),
    Column::new("groups", groups),
];

const FIELDS: [Column; 8] = [
    Column::new("name", |topic| cell(topic, "name")),
    Column::new("queues", |topic| cell(topic, "queues")),
    Column::new("max age", |topic| span(topic, "max_age_ms")),
    Column::new("made at", |topic| cell(topic, "made_at")),
    Column::new("messages kept", kept),
    Column::new("scheduled", |topic| cell(topic, "scheduled")),
    Column::new("offsets", offsets),
    Column::new("groups", groups),
];

/// The queues of a topic with their first kept and next offset.
fn queues(topic: &Value) -> Vec<(u64, u64, u64)> {
    let number = |queue: &Value, name: &str| queue.get(name).and_then(Value::as_u64).unwrap_or(0);
    let queues = topic.get("offsets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    queues
        .iter()
        .map(|queue| (number(queue, "queue"), number(queue, "first_kept"), number(queue, "next_offset")))
        .collect()
}

fn kept(topic: &Value) -> String {
    let kept: u64 = queues(topic).iter().map(|(_, first, next)| next.saturating_sub(*first)).sum();
    kept.to_string()
}

/// `0: 5..9`: queue 0 keeps offset 5 and gives the next message offset 9.
fn offsets(topic: &Value) -> String {
    let texts: Vec<String> =
        queues(topic).iter().map(|(queue, first, next)| format!("{queue}: {first}..{next}")).collect();
    texts.join("  ")
}

fn groups(topic: &Value) -> String {
    let names = topic.get("groups").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

async fn create(
    client: &mut Client,
    args: &CreateArgs,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let mut settings = Map::new();
    if let Some(queues) = args.queues {
        settings.insert("queues".to_owned(), Value::from(queues));
    }
    if let Some(max_age) = args.max_age {
        settings.insert("max_age_ms".to_owned(), super::millis(max_age));
    }
    put(client, ("topic", args.topic.as_str()), settings, args.existing, printer).await
}

/// Makes or replaces a topic or a group. `kind` is its word in the singular, as in `/v1/{kind}s/{name}`.
pub(super) async fn put(
    client: &mut Client,
    (kind, name): (&str, &str),
    settings: Map<String, Value>,
    existing: ExistingArgs,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let mut call = Call::put(format!("/v1/{kind}s/{name}"), Value::from(settings).to_string());
    if !existing.replace {
        call = call.header(IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    let path = call.path.clone();
    match client.send(call).await {
        Ok(answer) => {
            let what = if answer.status == 201 { "made" } else { "replaced" };
            printer.done(&format!("{kind} {name} {what}"), answer.text()?)
        }
        Err(CliError::Refused(problem)) if existing.if_missing && problem.status == 412 => {
            let answer = client.send(Call::get(path)).await?;
            printer.done(&format!("{kind} {name} exists"), answer.text()?)
        }
        Err(error) => Err(error),
    }
}

/// Deletes a topic or a group; with `force` whatever it holds.
pub(super) async fn delete(
    client: &mut Client,
    kind: &str,
    name: &str,
    force: bool,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let confirm = if force { format!("?confirm={name}") } else { String::new() };
    client.send(Call::delete(format!("/v1/{kind}s/{name}{confirm}"))).await?;
    printer.done(&format!("{kind} {name} deleted"), &serde_json::json!({ "deleted": name }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::cli::tests::{FakeBroker, client};

    const EXISTING: ExistingArgs = ExistingArgs { if_missing: false, replace: false };

    async fn put_to(status: u16, existing: ExistingArgs) -> (Result<(), CliError>, String, FakeBroker) {
        let broker = FakeBroker::start(move |seen| match seen.method.as_str() {
            "PUT" => (status, r#"{"name":"t","code":"exists"}"#.to_owned()),
            _ => (200, r#"{"name":"t","queues":9}"#.to_owned()),
        })
        .await;
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Format::Table);
        let done = put(&mut client(&broker), ("topic", "t"), Map::new(), existing, &mut printer).await;
        (done, String::from_utf8(out).unwrap(), broker)
    }

    #[tokio::test]
    async fn create_makes_only_and_says_what_it_did() {
        let (done, said, broker) = put_to(201, EXISTING).await;
        assert_eq!((done.is_ok(), said.as_str()), (true, "topic t made\n"));
        assert_eq!(broker.seen()[0].headers["if-none-match"], "*");
        let (done, _, _) = put_to(412, EXISTING).await;
        assert!(done.unwrap_err().to_string().contains("--if-missing"));
        let (done, said, _) = put_to(412, ExistingArgs { if_missing: true, ..EXISTING }).await;
        assert_eq!((done.is_ok(), said.as_str()), (true, "topic t exists\n"));
        let (done, said, broker) = put_to(200, ExistingArgs { replace: true, ..EXISTING }).await;
        assert_eq!((done.is_ok(), said.as_str()), (true, "topic t replaced\n"));
        assert!(!broker.seen()[0].headers.contains_key("if-none-match"));
    }

    #[tokio::test]
    async fn deleting_what_holds_messages_must_be_meant() {
        let broker = FakeBroker::start(|_| (204, String::new())).await;
        let mut printer = Printer::new(Vec::new(), Format::Json);
        for force in [false, true] {
            delete(&mut client(&broker), "topic", "t", force, &mut printer).await.unwrap();
        }
        let paths: Vec<String> = broker.seen().into_iter().map(|seen| seen.path).collect();
        assert_eq!(paths, ["/v1/topics/t", "/v1/topics/t?confirm=t"]);
    }

    #[test]
    fn offsets_are_summed_and_shown() {
        let topic: Value = serde_json::from_str(
            r#"{"offsets":[{"queue":0,"first_kept":5,"next_offset":9},{"queue":1,"first_kept":0,"next_offset":2}]}"#,
        )
        .unwrap();
        assert_eq!((kept(&topic).as_str(), offsets(&topic).as_str()), ("6", "0: 5..9  1: 0..2"));
        assert_eq!(groups(&topic), "-");
    }
}
