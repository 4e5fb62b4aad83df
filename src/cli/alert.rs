use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::CliError;
use super::http::{Call, Client};
use super::list::{self, LimitArgs};
use super::output::{Column, Printer, cell, span};
use super::{CommonArgs, duration};
use crate::model::alert::{NotificationId, SilenceId};
use crate::model::{AlertName, Timestamp};

/// `whimbrel alert …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum AlertCommand {
    /// List alerts that are pending, firing or just over, the most urgent first
    List(ListArgs),
    /// List the rules, also those that come with the broker
    Rules {
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// List silences, the newest first
    Silences {
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Keep alerts quiet for a while: nobody is told of them
    Silence(SilenceArgs),
    /// End a silence now
    Unsilence {
        /// The id, as listed
        id: SilenceId,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// List who is told of alerts
    Receivers {
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Send a test to a receiver now; fails when it does not arrive
    Test {
        /// The receiver
        receiver: AlertName,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// List what was sent to receivers and how that went, the newest first
    Deliveries {
        /// Only to this receiver
        #[arg(long, value_name = "RECEIVER")]
        receiver: Option<AlertName>,
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Send something again that was delivered or given up
    Redeliver {
        /// The id, as listed
        id: NotificationId,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
}

/// Options of `whimbrel alert list`.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// Only alerts in this state
    #[arg(long, value_name = "STATE", value_parser = ["pending", "firing", "resolved"])]
    pub state: Option<String>,
    /// Only alerts this bad
    #[arg(long, value_name = "SEVERITY", value_parser = ["info", "warning", "critical"])]
    pub severity: Option<String>,
    /// Only alerts of this rule
    #[arg(long, value_name = "RULE")]
    pub rule: Option<AlertName>,
    /// How many.
    #[command(flatten)]
    pub limit: LimitArgs,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Options of `whimbrel alert silence`.
#[derive(Clone, Debug, clap::Args)]
pub struct SilenceArgs {
    /// Labels that an alert must have, all of them: alertname=GroupLag, group=billing.*, severity!=critical
    #[arg(required = true, value_name = "LABEL=VALUE", value_parser = matcher)]
    pub matchers: Vec<(String, bool, String)>,
    /// For how long
    #[arg(long = "for", value_parser = duration, default_value = "4h", value_name = "DURATION")]
    pub length: Duration,
    /// Why, for whoever wonders
    #[arg(long, value_name = "TEXT")]
    pub comment: String,
    /// Who you are
    #[arg(long, env = "USER", value_name = "NAME")]
    pub created_by: String,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `label=value` or `label!=value`.
fn matcher(text: &str) -> Result<(String, bool, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as label=value or label!=value")?;
    let (name, is_equal) = name.strip_suffix('!').map_or((name, true), |name| (name, false));
    Ok((name.to_owned(), is_equal, value.to_owned()))
}

const ALERTS: [Column; 8] = [
    Column::new("state", |alert| cell(alert, "state")),
    Column::new("severity", |alert| cell(alert, "severity")),
    Column::new("rule", |alert| cell(alert, "rule")),
    Column::new("about", about),
    Column::new("value", |alert| cell(alert, "value")),
    Column::new("since", |alert| cell(alert, "since")),
    Column::new("silenced by", |alert| cell(alert, "silenced_by")),
    Column::new("summary", |alert| {
        alert.get("annotations").map_or_else(String::new, |annotations| cell(annotations, "summary"))
    }),
];

const RULES: [Column; 7] = [
    Column::new("name", |rule| cell(rule, "name")),
    Column::new("metric", |rule| cell(rule, "metric")),
    Column::new("fires", |rule| format!("{} {}", cell(rule, "op"), cell(rule, "threshold"))),
    Column::new("for", |rule| span(rule, "for_ms")),
    Column::new("severity", |rule| cell(rule, "severity")),
    Column::new("enabled", |rule| cell(rule, "enabled")),
    Column::new("origin", |rule| cell(rule, "origin")),
];

const SILENCES: [Column; 6] = [
    Column::new("id", |silence| cell(silence, "id")),
    Column::new("state", |silence| cell(silence, "state")),
    Column::new("alerts", matchers),
    Column::new("ends at", |silence| cell(silence, "ends_at")),
    Column::new("by", |silence| cell(silence, "created_by")),
    Column::new("comment", |silence| cell(silence, "comment")),
];

const RECEIVERS: [Column; 5] = [
    Column::new("name", |receiver| cell(receiver, "name")),
    Column::new("kind", |receiver| cell(receiver, "kind")),
    Column::new("url", |receiver| cell(receiver, "url")),
    Column::new("resolved too", |receiver| cell(receiver, "send_resolved")),
    Column::new("origin", |receiver| cell(receiver, "origin")),
];

const DELIVERIES: [Column; 8] = [
    Column::new("id", |delivery| cell(delivery, "id")),
    Column::new("receiver", |delivery| cell(delivery, "receiver")),
    Column::new("state", |delivery| cell(delivery, "state")),
    Column::new("made at", |delivery| cell(delivery, "created_at")),
    Column::new("tries", |delivery| cell(delivery, "attempts")),
    Column::new("next", |delivery| cell(delivery, "next_at")),
    Column::new("status", |delivery| cell(delivery, "status")),
    Column::new("answer", |delivery| cell(delivery, "excerpt")),
];

/// The topic, group or receiver of an alert; an alert of the node has none.
fn about(alert: &Value) -> String {
    let named = ["group", "topic", "receiver"]
        .into_iter()
        .filter(|name| alert.get(*name).is_some_and(Value::is_string));
    let named: Vec<String> = named.map(|name| format!("{name} {}", cell(alert, name))).collect();
    if named.is_empty() { "node".to_owned() } else { named.join(", ") }
}

/// As [`matcher`] reads them.
fn matchers(silence: &Value) -> String {
    let all = silence.get("matchers").and_then(Value::as_array).into_iter().flatten();
    let one = |matcher: &Value| {
        let sign = if matcher.get("is_equal") == Some(&Value::Bool(false)) { "!=" } else { "=" };
        format!("{}{sign}{}", cell(matcher, "name"), cell(matcher, "value"))
    };
    all.map(one).collect::<Vec<_>>().join(" ")
}

impl AlertCommand {
    /// Runs it.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn run(self) -> Result<(), CliError> {
        let common = self.common();
        let mut client = common.connect.client();
        let mut printer = Printer::stdout(common.output);
        let mut list = async |path: &str, plural, columns: &[Column], limit| {
            list::print(&mut client, (path, plural), columns, limit, &mut printer).await
        };
        match self {
            AlertCommand::List(args) => list(&path_of(&args), "alerts", &ALERTS, args.limit).await,
            AlertCommand::Rules { limit, .. } => list("/v1/alerts/rules", "rules", &RULES, limit).await,
            AlertCommand::Silences { limit, .. } => {
                list("/v1/alerts/silences", "silences", &SILENCES, limit).await
            }
            AlertCommand::Receivers { limit, .. } => {
                list("/v1/alerts/receivers", "receivers", &RECEIVERS, limit).await
            }
            AlertCommand::Deliveries { receiver, limit, .. } => {
                let path = receiver.map_or_else(
                    || "/v1/alerts/deliveries".to_owned(),
                    |receiver| format!("/v1/alerts/deliveries?receiver={receiver}"),
                );
                list(&path, "deliveries", &DELIVERIES, limit).await
            }
            AlertCommand::Silence(args) => silence(&mut client, &args, &mut printer).await,
            AlertCommand::Unsilence { id, .. } => {
                let call = Call::delete(format!("/v1/alerts/silences/{id}")).repeatable();
                let answer = client.send(call).await?;
                printer.done(&format!("silence {id} ended"), answer.text()?)
            }
            AlertCommand::Test { receiver, .. } => test(&mut client, &receiver, &mut printer).await,
            AlertCommand::Redeliver { id, .. } => {
                let call = Call::post(format!("/v1/alerts/deliveries/{id}/redeliver"), "");
                let answer = client.send(call).await?;
                printer.done(&format!("{id} is sent again"), answer.text()?)
            }
        }
    }

    fn common(&self) -> &CommonArgs {
        match self {
            AlertCommand::List(args) => &args.common,
            AlertCommand::Silence(args) => &args.common,
            AlertCommand::Rules { common, .. }
            | AlertCommand::Silences { common, .. }
            | AlertCommand::Unsilence { common, .. }
            | AlertCommand::Receivers { common, .. }
            | AlertCommand::Test { common, .. }
            | AlertCommand::Deliveries { common, .. }
            | AlertCommand::Redeliver { common, .. } => common,
        }
    }
}

fn path_of(args: &ListArgs) -> String {
    let rule = args.rule.as_ref().map(AlertName::as_str);
    let asked = [("state", args.state.as_deref()), ("severity", args.severity.as_deref()), ("rule", rule)];
    let asked: Vec<String> =
        asked.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
    if asked.is_empty() { "/v1/alerts".to_owned() } else { format!("/v1/alerts?{}", asked.join("&")) }
}

/// From now on by the clock of this machine: the broker is told both times.
async fn silence(
    client: &mut Client,
    args: &SilenceArgs,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let now = Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default());
    let end = now.plus(u64::try_from(args.length.as_millis()).unwrap_or(u64::MAX));
    let matchers = args.matchers.iter();
    let matchers: Vec<Value> = matchers
        .map(|(name, is_equal, value)| json!({"name": name, "value": value, "is_equal": is_equal}))
        .collect();
    let body = json!({"matchers": matchers, "starts_at": now.to_string(), "ends_at": end.to_string(),
        "created_by": args.created_by, "comment": args.comment});
    let answer = client.send(Call::post("/v1/alerts/silences", body.to_string())).await?;
    let made: Value = answer.json()?;
    let said = format!("silence {} until {}", cell(&made, "id"), cell(&made, "ends_at"));
    printer.done(&said, answer.text()?)
}

async fn test(
    client: &mut Client,
    receiver: &AlertName,
    printer: &mut Printer<impl Write>,
) -> Result<(), CliError> {
    let answer = client.send(Call::post(format!("/v1/alerts/receivers/{receiver}/test"), "")).await?;
    let found: Value = answer.json()?;
    let (status, excerpt) = (cell(&found, "status"), cell(&found, "excerpt"));
    if found.get("is_delivered") == Some(&Value::Bool(true)) {
        return printer.done(&format!("the test arrived at {receiver} (status {status})"), answer.text()?);
    }
    if printer.format() != super::output::Format::Table {
        printer.done("", answer.text()?)?;
    }
    Err(CliError::Failed(format!("the test did not arrive at {receiver} (status {status}): {excerpt}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::cli::tests::{FakeBroker, client, parsed};

    fn args(line: &[&str]) -> AlertCommand {
        match parsed(&[&["alert"], line].concat()) {
            crate::cli::ClientCommand::Alert(command) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_asked_for_stands_in_the_address() {
        let AlertCommand::List(all) = args(&["list"]) else { panic!() };
        assert_eq!(path_of(&all), "/v1/alerts");
        let AlertCommand::List(some) = args(&["list", "--state", "firing", "--rule", "GroupLag"]) else {
            panic!()
        };
        assert_eq!(path_of(&some), "/v1/alerts?state=firing&rule=GroupLag");
        let alert = json!({"topic": "orders", "group": "billing", "receiver": null});
        assert_eq!(
            (about(&alert), about(&json!({"topic": null}))),
            ("group billing, topic orders".to_owned(), "node".to_owned())
        );
    }

    #[tokio::test]
    async fn a_silence_has_its_labels_and_its_length() {
        let broker =
            FakeBroker::start(|_| (201, r#"{"id":"s","ends_at":"2030-01-01T00:00:00.000Z"}"#.to_owned()))
                .await;
        let line = [
            "silence",
            "group=billing.*",
            "severity!=critical",
            "--for",
            "1h",
            "--comment",
            "moving",
            "--created-by",
            "ann",
        ];
        let AlertCommand::Silence(asked) = args(&line) else { panic!() };
        let mut out = Vec::new();
        silence(&mut client(&broker), &asked, &mut Printer::new(&mut out, Format::Table)).await.unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "silence s until 2030-01-01T00:00:00.000Z\n");
        let body: Value = serde_json::from_slice(&broker.seen()[0].body).unwrap();
        assert_eq!(matchers(&body), "group=billing.* severity!=critical");
        let time = |name: &str| body[name].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert_eq!(time("ends_at").since(time("starts_at")), 3_600_000);
        assert_eq!((&body["comment"], &body["created_by"]), (&"moving".into(), &"ann".into()));
        assert!(matcher("billing").is_err());
    }

    #[tokio::test]
    async fn a_test_that_does_not_arrive_fails_and_says_why() {
        let broker = FakeBroker::start(|_| {
            (200, r#"{"is_delivered":false,"status":500,"excerpt":"no such hook","took_ms":3}"#.to_owned())
        })
        .await;
        let mut printer = Printer::new(Vec::new(), Format::Table);
        let error = test(&mut client(&broker), &"ops".parse().unwrap(), &mut printer).await.unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert_eq!(error.to_string(), "the test did not arrive at ops (status 500): no such hook");
    }
}
