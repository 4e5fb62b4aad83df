use std::io::Write;

use serde_json::{Value, json};

use super::CommonArgs;
use super::error::CliError;
use super::http::{Call, Client};
use super::list::{self, LimitArgs};
use super::output::{Column, Printer, cell, span};
use super::topic::{delete, put};
use crate::model::{GroupName, TopicName, write_duration};

/// Why nothing arrives.
mod explain;
/// Flags that become the settings of a group.
pub mod settings;

/// `whimbrel group …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum GroupCommand {
    /// List groups by name
    List {
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show one group
    Show(OneArgs),
    /// Say why nothing arrives in a group, the most important first
    Explain(OneArgs),
    /// Make a group
    Create(Box<settings::CreateArgs>),
    /// Delete a group, its progress and its dead letters
    Delete {
        /// The group
        group: GroupName,
        /// Delete it although messages wait for it or it holds dead letters
        #[arg(long)]
        force: bool,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Move a group to another place in a topic
    Seek(SeekArgs),
    /// Lease nothing more to the group; settling and timers go on
    Pause(OneArgs),
    /// Lease messages to the group again
    Resume(OneArgs),
}

/// One group.
#[derive(Clone, Debug, clap::Args)]
pub struct OneArgs {
    /// The group
    pub group: GroupName,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Options of `whimbrel group seek`.
#[derive(Clone, Debug, clap::Args)]
pub struct SeekArgs {
    /// The group
    pub group: GroupName,
    /// The topic to move in
    #[arg(long)]
    pub topic: TopicName,
    /// `earliest`, `latest`, a time such as 2026-01-31T12:00:00Z, or QUEUE/OFFSET
    #[arg(long, value_name = "PLACE", value_parser = place)]
    pub to: Value,
    /// Only say what it would skip, replay and cancel
    #[arg(long)]
    pub dry_run: bool,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Reads where to seek, as the JSON that the broker takes.
fn place(text: &str) -> Result<Value, String> {
    if matches!(text, "earliest" | "latest") || text.parse::<crate::model::Timestamp>().is_ok() {
        return Ok(Value::from(text));
    }
    let refuse = || "expected earliest, latest, an RFC 3339 time, or QUEUE/OFFSET such as 0/1500".to_owned();
    let (queue, offset) = text.split_once('/').ok_or_else(refuse)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| refuse());
    Ok(json!({ "queue": number(queue)?, "offset": number(offset)? }))
}

impl GroupCommand {
    /// Runs it.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn run(self) -> Result<(), CliError> {
        let common = self.common();
        let mut client = common.connect.client();
        let mut printer = Printer::stdout(common.output);
        match self {
            GroupCommand::List { limit, .. } => {
                list::print(&mut client, ("/v1/groups", "groups"), &COLUMNS, limit, &mut printer).await
            }
            GroupCommand::Show(args) => {
                let answer = client.send(Call::get(format!("/v1/groups/{}", args.group))).await?;
                printer.one(answer.text()?, &FIELDS)
            }
            GroupCommand::Explain(args) => explain::run(&mut client, &args.group, &mut printer).await,
            GroupCommand::Create(args) => {
                let (name, settings) = (args.group.to_string(), args.settings());
                put(&mut client, ("group", &name), settings, args.existing, &mut printer).await
            }
            GroupCommand::Delete { group, force, .. } => {
                delete(&mut client, "group", group.as_str(), force, &mut printer).await
            }
            GroupCommand::Seek(args) => seek(&mut client, &args, &mut printer).await,
            GroupCommand::Pause(args) => switch(&mut client, &args.group, "pause", &mut printer).await,
            GroupCommand::Resume(args) => switch(&mut client, &args.group, "resume", &mut printer).await,
        }
    }

    fn common(&self) -> CommonArgs {
        match self {
            GroupCommand::List { common, .. } | GroupCommand::Delete { common, .. } => common.clone(),
            GroupCommand::Show(args)
            | GroupCommand::Explain(args)
            | GroupCommand::Pause(args)
            | GroupCommand::Resume(args) => args.common.clone(),
            GroupCommand::Create(args) => args.common.clone(),
            GroupCommand::Seek(args) => args.common.clone(),
        }
    }
}

const COLUMNS: [Column; 10] = [
    Column::new("name", |group| cell(group, "name")),
    Column::new("state", state),
    Column::new("members", |group| cell(group, "members")),
    Column::new("lag", |group| sum(group, "lag")),
    Column::new("oldest", oldest),
    Column::new("ready", |group| sum(group, "ready")),
    Column::new("in flight", |group| cell(group, "in_flight")),
    Column::new("retrying", |group| sum(group, "retrying")),
    Column::new("dead", |group| cell(group, "dead_letters")),
    Column::new("topics", subscriptions),
];

const FIELDS: [Column; 17] = [
    Column::new("name", |group| cell(group, "name")),
    Column::new("state", state),
    Column::new("topics", subscriptions),
    Column::new("members", |group| cell(group, "members")),
    Column::new("lag", |group| sum(group, "lag")),
    Column::new("oldest waits", oldest),
    Column::new("ready", |group| sum(group, "ready")),
    Column::new("in flight", |group| cell(group, "in_flight")),
    Column::new("retrying", |group| sum(group, "retrying")),
    Column::new("dead letters", |group| cell(group, "dead_letters")),
    Column::new("ordered", |group| cell(group, "ordered")),
    Column::new("lease", |group| span(group, "lease_ms")),
    Column::new("max attempts", |group| cell(group, "max_attempts")),
    Column::new("max in flight", |group| cell(group, "max_in_flight")),
    Column::new("retry", retry),
    Column::new("start", |group| cell(group, "start")),
    Column::new("made at", |group| cell(group, "made_at")),
];

fn list_of<'a>(group: &'a Value, name: &str) -> &'a [Value] {
    group.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn state(group: &Value) -> String {
    let paused = group.get("paused").and_then(Value::as_bool).unwrap_or(false);
    if paused { "paused" } else { "running" }.to_owned()
}

/// A number summed over the topics; `~` in front while the broker is still counting.
fn sum(group: &Value, name: &str) -> String {
    let topics = list_of(group, "topics");
    let sum: u64 = topics.iter().filter_map(|topic| topic.get(name)?.as_u64()).sum();
    let counting = topics.iter().any(|topic| topic.get("counting").and_then(Value::as_bool) == Some(true));
    if counting && name == "lag" { format!("~{sum}") } else { sum.to_string() }
}

/// How long the oldest unsettled message has been ready.
fn oldest(group: &Value) -> String {
    let ages = list_of(group, "topics").iter().filter_map(|topic| topic.get("lag_ms")?.as_u64());
    // Digits below a second are noise once it is more than one.
    let age = ages.max().unwrap_or(0);
    write_duration(if age > 1_000 { age / 1_000 * 1_000 } else { age })
}

/// `orders, events (a || b)`
fn subscriptions(group: &Value) -> String {
    let texts: Vec<String> = list_of(group, "subscriptions").iter().map(subscription).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

fn subscription(subscription: &Value) -> String {
    let topic = cell(subscription, "topic");
    // A filter has one member, named after its language.
    let filter =
        subscription.get("filter").and_then(Value::as_object).and_then(|filter| filter.values().next());
    match filter.and_then(Value::as_str) {
        Some(filter) => format!("{topic} ({})", super::output::visible(filter)),
        None => topic,
    }
}

fn retry(group: &Value) -> String {
    let Some(retry) = group.get("retry") else { return "-".to_owned() };
    let steps: Vec<String> =
        list_of(retry, "steps_ms").iter().filter_map(Value::as_u64).map(write_duration).collect();
    if !steps.is_empty() {
        return steps.join(" ");
    }
    let (initial, max) = (span(retry, "initial_ms"), span(retry, "max_ms"));
    format!("{initial}, times {}, at most {max}", cell(retry, "multiplier"))
}

async fn switch(
    client: &mut Client,
    group: &GroupName,
    verb: &str,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let answer = client.send(Call::post(format!("/v1/groups/{group}/{verb}"), "")).await?;
    printer.done(&format!("group {group} {verb}d"), answer.text()?)
}

async fn seek(
    client: &mut Client,
    args: &SeekArgs,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let form = json!({ "topic": args.topic.as_str(), "to": args.to, "dry_run": args.dry_run });
    let answer = client.send(Call::post(format!("/v1/groups/{}/seek", args.group), form.to_string())).await?;
    printer.one(
        answer.text()?,
        &[
            Column::new("skipped", |counts| cell(counts, "skipped")),
            Column::new("replayed", |counts| cell(counts, "replayed")),
            Column::new("leases cancelled", |counts| cell(counts, "leases_cancelled")),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!(place("earliest"), Ok(json!("earliest")));
        assert_eq!(place("2030-01-01T00:00:00Z"), Ok(json!("2030-01-01T00:00:00Z")));
        assert_eq!(place("1/7"), Ok(json!({"queue": 1, "offset": 7})));
        for bad in ["", "soon", "1/", "/1", "1/-1", "1/2/3"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_group_is_shown_in_the_words_of_its_answer() {
        let group = json!({
            "paused": true,
            "subscriptions": [{"topic": "a"}, {"topic": "b", "filter": {"tag": "x || y"}}],
            "topics": [
                {"lag": 3, "counting": false, "lag_ms": 61_234, "ready": 2},
                {"lag": 4, "counting": true, "lag_ms": 5, "ready": 0},
            ],
            "retry": {"kind": "exponential", "initial_ms": 1_000, "multiplier": 2, "max_ms": 60_000},
        });
        assert_eq!(state(&group), "paused");
        assert_eq!(subscriptions(&group), "a, b (x || y)");
        assert_eq!((sum(&group, "lag"), sum(&group, "ready")), ("~7".to_owned(), "2".to_owned()));
        assert_eq!(oldest(&group), "1m1s");
        assert_eq!(retry(&group), "1s, times 2, at most 1m");
        assert_eq!(retry(&json!({"retry": {"kind": "table", "steps_ms": [1_000, 60_000]}})), "1s 1m");
    }
}
