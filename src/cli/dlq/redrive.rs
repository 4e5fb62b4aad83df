use std::io::Write;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::cli::error::CliError;
use crate::cli::http::{Call, Client};
use crate::cli::output::{Column, Format, Printer, cell};
use crate::cli::{CommonArgs, duration, jobs};
use crate::model::{GroupName, MessageId, SETTLE_MAX, Timestamp, TopicName};

/// Options of `whimbrel dlq redrive`.
#[derive(Clone, Debug, clap::Args)]
pub struct RedriveArgs {
    /// The group
    pub group: GroupName,
    /// Ids of the messages
    #[arg(required_unless_present_any = CHOOSING, conflicts_with_all = CHOOSING, value_name = "ID")]
    pub ids: Vec<MessageId>,
    /// Every dead letter that the group has now
    #[arg(long, conflicts_with_all = ["reason", "topic", "tag", "key", "failure", "since", "until"])]
    pub all: bool,
    /// Which, when not by id.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Move them to this topic, as new messages that name their origin, instead of back to their group
    #[arg(long, value_name = "TOPIC")]
    pub to: Option<TopicName>,
    /// At most so many a second
    #[arg(long, value_name = "N", conflicts_with = "ids")]
    pub rate: Option<u32>,
    /// Only say how many would move
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until the job has ended, at most this long; behind the group 1h may be left out
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        num_args = 0..=1,
        default_missing_value = "1h",
        conflicts_with_all = ["ids", "dry_run"],
    )]
    pub wait: Option<Duration>,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The flags that choose dead letters without naming them.
const CHOOSING: [&str; 8] = ["all", "reason", "topic", "tag", "key", "failure", "since", "until"];

/// Dead letters for which everything that is given holds.
#[derive(Clone, Debug, clap::Args)]
pub struct FilterArgs {
    /// Those that died for this reason
    #[arg(long, value_parser = ["max_attempts", "rejected", "expired"])]
    pub reason: Option<String>,
    /// Those of this topic
    #[arg(long)]
    pub topic: Option<TopicName>,
    /// Those with this tag
    #[arg(long)]
    pub tag: Option<String>,
    /// Those with this key
    #[arg(long)]
    pub key: Option<String>,
    /// Those whose last failure was given a reason with these words in it
    #[arg(long, value_name = "WORDS")]
    pub failure: Option<String>,
    /// Those that died at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Those that died before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
}

impl FilterArgs {
    /// As the interface takes it.
    fn json(&self) -> Value {
        let fields = [
            ("reason", self.reason.clone()),
            ("topic", self.topic.as_ref().map(ToString::to_string)),
            ("tag", self.tag.clone()),
            ("key", self.key.clone()),
            ("failure_contains", self.failure.clone()),
            ("from", self.since.map(|time| time.to_string())),
            ("to", self.until.map(|time| time.to_string())),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        Value::Object(given.collect::<Map<_, _>>())
    }
}

pub(super) async fn run(
    client: &mut Client,
    args: &RedriveArgs,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let path = format!("/v1/groups/{}/dead-letters/redrive", args.group);
    if args.ids.is_empty() {
        return by_filter(client, args, &path, printer).await;
    }
    let mut failed = 0;
    let mut would_move = 0;
    if !args.dry_run {
        printer.begin("results")?;
    }
    for ids in args.ids.chunks(SETTLE_MAX) {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let form = order(args, ("ids", json!(ids)));
        let answer = client.send(Call::post(path.as_str(), form)).await?;
        if args.dry_run {
            would_move += answer.json::<DryRun>()?.would_move;
        } else {
            failed += results(answer.text()?, printer)?;
        }
    }
    if args.dry_run {
        return said(would_move, false, printer);
    }
    printer.end(None)?;
    match failed {
        0 => Ok(()),
        failed => Err(CliError::Failed(format!("{failed} dead letters were not redriven"))),
    }
}

/// The answer to a dry run.
#[derive(Deserialize)]
struct DryRun {
    would_move: u64,
    #[serde(default)]
    truncated: bool,
}

/// The request, with what both forms share.
fn order(args: &RedriveArgs, (name, which): (&str, Value)) -> String {
    let mut form = Map::new();
    form.insert(name.to_owned(), which);
    if let Some(to) = &args.to {
        form.insert("to".to_owned(), to.as_str().into());
    }
    if let Some(rate) = args.rate {
        form.insert("rate_per_s".to_owned(), rate.into());
    }
    if args.dry_run {
        form.insert("dry_run".to_owned(), true.into());
    }
    Value::Object(form).to_string()
}

/// Prints what became of each; answers how many were refused.
fn results(json: &str, printer: &mut Printer<impl Write>) -> Result<u64, CliError> {
    const RESULTS: [Column; 3] = [
        Column::new("id", |result| cell(result, "id")),
        Column::new("status", |result| cell(result, "status")),
        Column::new("why", |result| {
            result.get("problem").map_or_else(String::new, |why| cell(why, "detail"))
        }),
    ];
    #[derive(Deserialize)]
    struct Redriven {
        results: Vec<Box<RawValue>>,
        #[serde(default)]
        failed: u64,
    }
    let redriven: Redriven = serde_json::from_str(json).map_err(CliError::odd)?;
    let rows: Vec<&str> = redriven.results.iter().map(|row| row.get()).collect();
    printer.page(&rows, &RESULTS)?;
    Ok(redriven.failed)
}

fn said(would_move: u64, truncated: bool, printer: &mut Printer<impl Write>) -> Result<(), CliError> {
    let more = if truncated { ", and there are more that were not looked at" } else { "" };
    let json = json!({ "would_move": would_move, "truncated": truncated }).to_string();
    printer.done(&format!("{would_move} dead letters would move{more}"), &json)
}

async fn by_filter(
    client: &mut Client,
    args: &RedriveArgs,
    path: &str,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let form = order(args, ("filter", args.filter.json()));
    let answer = client.send(Call::post(path, form)).await?;
    if args.dry_run {
        let DryRun { would_move, truncated } = answer.json()?;
        return said(would_move, truncated, printer);
    }
    let id = cell(&answer.json::<Value>()?, "id");
    let Some(wait) = args.wait else {
        let text = format!("job {id} started; how far it is: whimbrel jobs show {id}");
        return printer.done(&text, answer.text()?);
    };
    if printer.format() == Format::Table {
        eprintln!("whimbrel: job {id} started");
    }
    jobs::wait(client, &id, wait, printer).await
}

#[cfg(test)]
mod tests {
    use super::super::DlqCommand;
    use super::*;
    use crate::cli::tests::{FakeBroker, Seen, client, parsed};
    use crate::cli::{Cli, ClientCommand};
    use clap::Parser;

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

    async fn outcome(broker: &FakeBroker, more: &[&str]) -> (Result<(), CliError>, String) {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Format::Table);
        let done = run(&mut client(broker), &redrive_args(more), &mut printer).await;
        (done, String::from_utf8(out).unwrap())
    }

    #[tokio::test]
    async fn many_ids_travel_a_thousand_at_a_time_and_a_refusal_fails_the_command() {
        let refused = r#"{"results":[{"id":"x","status":"failed","problem":{"detail":"gone"}}],"failed":1}"#;
        let broker = FakeBroker::start(move |_| (200, refused.to_owned())).await;
        let ids: Vec<String> = (0..1_001).map(id).collect();
        let (done, out) = outcome(&broker, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(done.unwrap_err().exit_code(), 1);
        assert!(out.contains("gone"), "{out}");
        let counts: Vec<usize> = broker
            .seen()
            .iter()
            .map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap()["ids"].as_array().unwrap().len())
            .collect();
        assert_eq!(counts, [1_000, 1]);
    }

    /// A job that has ended at the third look.
    fn a_job(seen: &Seen, looks: &std::sync::atomic::AtomicU32) -> (u16, String) {
        let look = looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let state = if look < 2 { "running" } else { "done" };
        let status = if seen.method == "POST" { 202 } else { 200 };
        let job = json!({"id": "7", "group": "g", "state": state, "moved": look, "failed": 0, "total": 2});
        (status, job.to_string())
    }

    #[tokio::test]
    async fn a_filter_is_sent_as_it_was_said_and_waited_for() {
        let looks = std::sync::atomic::AtomicU32::new(0);
        let broker = FakeBroker::start(move |seen| a_job(seen, &looks)).await;
        let line = ["--tag", "eu", "--failure", "db down", "--since", "2026-01-31T12:00:00Z", "--to", "t"];
        let (done, out) = outcome(&broker, &[&line[..], &["--rate", "9", "--wait", "5s"]].concat()).await;
        done.unwrap();
        assert!(out.contains("done"), "{out}");
        let seen = broker.seen();
        let sent: Value = serde_json::from_slice(&seen[0].body).unwrap();
        let filter = json!({"tag": "eu", "failure_contains": "db down", "from": "2026-01-31T12:00:00.000Z"});
        assert_eq!(sent, json!({"filter": filter, "to": "t", "rate_per_s": 9}));
        assert_eq!((seen.len(), seen[1].path.as_str()), (3, "/v1/jobs/7"));
    }

    #[tokio::test]
    async fn without_a_wait_the_job_is_named_and_a_wait_that_is_over_says_so() {
        let running = || FakeBroker::start(|_| (202, r#"{"id":"7","state":"running"}"#.to_owned()));
        let (done, out) = outcome(&running().await, &["--all"]).await;
        assert!(done.is_ok() && out.contains("whimbrel jobs show 7"), "{out}");
        let (done, _) = outcome(&running().await, &["--all", "--wait=1ms"]).await;
        assert_eq!(done.unwrap_err().exit_code(), 4);
        let failed = |_: &Seen| (202, r#"{"id":"7","state":"failed","error":"why"}"#.to_owned());
        let (done, _) = outcome(&FakeBroker::start(failed).await, &["--all", "--wait"]).await;
        let error = done.unwrap_err();
        assert!(error.exit_code() == 1 && error.to_string().contains("why"), "{error}");
    }

    #[tokio::test]
    async fn a_dry_run_says_how_many() {
        let counted = r#"{"would_move":3,"looked":4,"truncated":true}"#;
        let broker = FakeBroker::start(move |_| (200, counted.to_owned())).await;
        let (done, out) = outcome(&broker, &["--all", "--dry-run"]).await;
        assert!(done.is_ok() && out.starts_with("3 dead letters would move, and there are more"), "{out}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let id = id(1);
        let id = id.as_str();
        let wrong: [&[&str]; 8] = [
            &[],
            &[id, "--all"],
            &[id, "--tag", "x"],
            &[id, "--rate", "3"],
            &[id, "--wait"],
            &["--all", "--tag", "x"],
            &["--all", "--wait", "--dry-run"],
            &["--reason", "odd"],
        ];
        for more in wrong {
            let line = ["whimbrel", "dlq", "redrive", "g"].iter().chain(more);
            assert!(Cli::try_parse_from(line).is_err(), "{more:?}");
        }
    }
}
