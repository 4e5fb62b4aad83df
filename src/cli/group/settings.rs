use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::topic::ExistingArgs;
use crate::cli::{CommonArgs, duration, millis};
use crate::model::{GroupName, Start, TopicName};

/// Options of `whimbrel group create`.
#[derive(Clone, Debug, clap::Args)]
pub struct CreateArgs {
    /// The group
    pub group: GroupName,
    /// Topic to subscribe to; may be given several times. `orders:a || b` takes only messages with tag a or b
    #[arg(long = "topic", value_name = "TOPIC[:TAGS]", required = true, value_parser = subscription)]
    pub topics: Vec<Subscription>,
    /// Keep the order of each queue and ordering key, across retries
    #[arg(long)]
    pub ordered: bool,
    /// Most messages of one ordering key in one answer, for ordered groups [default: 1]
    #[arg(long, value_name = "N")]
    pub lane_batch: Option<u32>,
    /// How long a consumer has a message before it counts as failed [default: 60s]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub lease: Option<Duration>,
    /// Failed deliveries after which a message is a dead letter [default: 16]
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    /// Most leased messages at a time [default: 20000]
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<u32>,
    /// Delays before the tries after the first, the last one repeats [default: 10s,30s,1m,2m … 2h; ordered: 3s]
    #[arg(long, value_parser = duration, value_name = "DURATION,…", value_delimiter = ',')]
    pub retry: Vec<Duration>,
    /// Where to begin: `earliest`, `latest`, or a time [default: earliest]
    #[arg(long, value_name = "PLACE", value_parser = start)]
    pub start: Option<String>,
    /// Most dead letters; when full, what would be one waits [default: 1000000]
    #[arg(long, value_name = "N")]
    pub dead_letters_max: Option<u64>,
    /// Make a dead letter of a message that expires by its own TTL
    #[arg(long)]
    pub dead_letter_expired: bool,
    /// What to do when it exists.
    #[command(flatten)]
    pub existing: ExistingArgs,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// A topic and, unless all messages are wanted, an expression over tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    topic: TopicName,
    tags: Option<String>,
}

/// The name of a topic cannot hold a colon, so the first one ends it. The broker judges the expression.
fn subscription(text: &str) -> Result<Subscription, String> {
    let (topic, tags) = match text.split_once(':') {
        Some((topic, tags)) => (topic, Some(tags.to_owned())),
        None => (text, None),
    };
    let topic = topic.parse().map_err(|error: crate::model::NameError| error.to_string())?;
    Ok(Subscription { topic, tags })
}

/// Reads a start as the broker does.
fn start(text: &str) -> Result<String, String> {
    let read: Result<Start, _> = serde_json::from_value(Value::from(text));
    read.map(|_| text.to_owned()).map_err(|_| "expected earliest, latest or an RFC 3339 time".to_owned())
}

impl CreateArgs {
    /// The settings as the broker takes them; what was not given is not in them.
    #[must_use]
    pub fn settings(&self) -> Map<String, Value> {
        let subscriptions: Vec<Value> = self.topics.iter().map(Subscription::json).collect();
        let steps: Vec<Value> = self.retry.iter().copied().map(millis).collect();
        let given = [
            ("subscriptions", Some(Value::from(subscriptions))),
            ("ordered", self.ordered.then(|| Value::from(true))),
            ("lane_batch", self.lane_batch.map(Value::from)),
            ("lease_ms", self.lease.map(millis)),
            ("max_attempts", self.max_attempts.map(Value::from)),
            ("max_in_flight", self.max_in_flight.map(Value::from)),
            ("retry", (!steps.is_empty()).then(|| json!({ "kind": "table", "steps_ms": steps }))),
            ("start", self.start.clone().map(Value::from)),
            ("dead_letters_max", self.dead_letters_max.map(Value::from)),
            ("dead_letter_expired", self.dead_letter_expired.then(|| Value::from(true))),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

impl Subscription {
    fn json(&self) -> Value {
        match &self.tags {
            Some(tags) => json!({ "topic": self.topic.as_str(), "filter": { "tag": tags } }),
            None => json!({ "topic": self.topic.as_str() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ClientCommand;
    use crate::cli::group::GroupCommand;
    use crate::cli::tests::parsed;
    use crate::model::GroupSettings;

    fn settings(more: &[&str]) -> Value {
        let line: Vec<&str> = ["group", "create", "g"].iter().chain(more).copied().collect();
        match parsed(&line) {
            ClientCommand::Group(GroupCommand::Create(args)) => Value::from(args.settings()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_becomes_a_setting_that_the_broker_knows() {
        let line = "--topic a --topic b:x||y --ordered --lane-batch 2 --lease 5s --max-attempts 3 --max-in-flight 9 \
                    --retry 1s,2m --start latest --dead-letters-max 7 --dead-letter-expired";
        let settings = settings(&line.split_whitespace().collect::<Vec<_>>());
        let read: GroupSettings = serde_json::from_value(settings.clone()).unwrap();
        assert!(read.check().is_ok());
        assert_eq!(settings["subscriptions"][1], json!({"topic": "b", "filter": {"tag": "x||y"}}));
        assert_eq!(settings["retry"], json!({"kind": "table", "steps_ms": [1_000, 120_000]}));
        assert_eq!(settings.as_object().unwrap().len(), 10);
    }

    #[test]
    fn what_is_not_given_is_left_to_the_broker() {
        assert_eq!(settings(&["--topic", "a"]), json!({"subscriptions": [{"topic": "a"}]}));
    }
}
