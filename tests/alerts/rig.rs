//! A node that watches every second and may tell the receiver of the test.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whimbrel::broker::Broker;
use whimbrel::config::ServeArgs;
use whimbrel::machine::Expected;
use whimbrel::model::AlertName;
use whimbrel::model::alert::{AlertRule, Notification, Origin, Receiver, Routing, Silence};
use whimbrel::node::Node;

use crate::support::calls::Calls;

/// Longest time anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Watches every second, and may tell receivers on this host.
pub const WATCHING: [&str; 3] = ["--alert-interval=1s", "--webhook-allow=127.0.0.1", "--segment-bytes=1MiB"];

/// A node in this process, and calls to it.
pub struct Rig {
    pub node: Node,
    pub calls: Calls,
}

impl Rig {
    pub async fn start(data: &Path, flags: &[&str]) -> Rig {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            serve: ServeArgs,
        }
        let data = data.display().to_string();
        let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data].into_iter();
        let args = <Line as clap::Parser>::parse_from(line.chain(flags.iter().copied())).serve;
        let node = Node::start(args).await.unwrap();
        let calls = Calls::to(node.addr());
        Rig { node, calls }
    }

    pub fn broker(&self) -> &Broker {
        self.node.broker()
    }

    /// Makes a receiver of webhooks.
    pub async fn receiver(&self, url: &str, secret: Option<&str>) {
        let receiver = json!({"kind": "webhook", "url": url, "secret": secret});
        let receiver: Receiver = serde_json::from_value(receiver).unwrap();
        self.broker().put_receiver(name("ops"), receiver, Origin::Api, Expected::Anything).await.unwrap();
    }

    /// Has every alert go to that receiver at once, and its changes a second later at most.
    pub async fn route(&self, more: Value) {
        let route = json!({"receiver": "ops", "group_wait_ms": 0, "group_interval_ms": 1_000});
        let mut routing = json!({"routes": [route]});
        routing.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let routing: Routing = serde_json::from_value(routing).unwrap();
        routing.check().unwrap();
        self.broker().put_routing(routing, Origin::Api, Expected::Anything).await.unwrap();
    }

    pub async fn rule(&self, rule_name: &str, rule: Value) {
        let rule = read_rule(rule);
        self.broker().put_alert_rule(name(rule_name), rule, Origin::Api, Expected::Anything).await.unwrap();
    }

    pub async fn silence(&self, silence: Value) {
        let silence: Silence = serde_json::from_value(silence).unwrap();
        silence.check().unwrap();
        self.broker().make_silence(silence).await.unwrap();
    }

    /// A group `g` that was handed three messages of each topic and does not ack them; the messages.
    pub async fn stuck_group(&mut self, topics: &[&str]) -> Vec<Value> {
        let subscriptions: Vec<Value> = topics.iter().map(|topic| json!({"topic": topic})).collect();
        for topic in topics {
            self.calls.expect(201, "PUT", &format!("/v1/topics/{topic}"), &json!({"queues": 1})).await;
        }
        let group = json!({"subscriptions": subscriptions, "lease_ms": 600_000});
        self.calls.expect(201, "PUT", "/v1/groups/g", &group).await;
        for topic in topics {
            for number in 0..3 {
                self.calls.publish(topic, &format!("{topic}-{number}")).await;
            }
        }
        let mut messages = Vec::new();
        while messages.len() < 3 * topics.len() {
            messages.extend(self.calls.receive("g", 100, 1_000).await);
        }
        messages
    }

    /// Where the alerts of a rule stand, and about which topics they are.
    pub fn alerts(&self, rule: &str) -> Vec<(String, &'static str)> {
        let alerting = self.broker().alerting();
        let own = alerting.alerts().filter(|(key, _)| key.rule == rule);
        own.map(|(key, alert)| (key.topic.clone().unwrap_or_default(), alert.phase.as_str())).collect()
    }

    /// Waits until the alerts of a rule are these.
    pub async fn wait_for_alerts(&self, rule: &str, expected: &[(&str, &str)]) {
        let expected: Vec<(String, &str)> =
            expected.iter().map(|(topic, phase)| ((*topic).to_owned(), *phase)).collect();
        until(|| async { self.alerts(rule) == expected }, || format!("{rule}: {:?}", self.alerts(rule)))
            .await;
    }

    /// All notifications, the oldest first.
    pub fn notifications(&self) -> Vec<Notification> {
        self.broker().alerting().notifications().map(|(_, it)| Notification::clone(it)).collect()
    }

    /// Waits until the leader has looked this many times more.
    pub async fn wait_for_looks(&mut self, count: f64) {
        let start = sample(&mut self.calls, "whimbrel_alert_evaluations_total").await;
        wait_for_sample(&mut self.calls, "whimbrel_alert_evaluations_total", start + count).await;
    }
}

pub fn name(text: &str) -> AlertName {
    text.parse().unwrap()
}

pub fn read_rule(rule: Value) -> AlertRule {
    let rule: AlertRule = serde_json::from_value(rule).unwrap();
    rule.check().unwrap();
    rule
}

/// A rule that is true of every topic of which group `g` has more than two messages unsettled.
pub fn lag_rule(for_ms: u64) -> Value {
    json!({
        "metric": "lag_messages", "threshold": 2, "for_ms": for_ms, "severity": "critical",
        "annotations": {"summary": "{{ group }} is {{ value }} behind on {{ topic }}"},
    })
}

/// Waits until something is so; `otherwise` says what is, when it does not come to be.
pub async fn until<F: Future<Output = bool>>(mut so: impl FnMut() -> F, otherwise: impl Fn() -> String) {
    let give_up = Instant::now() + PATIENCE;
    while !so().await {
        assert!(Instant::now() < give_up, "{}", otherwise());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The value of a sample at `/metrics`, named as it stands there; 0 while it does not.
pub async fn sample(calls: &mut Calls, named: &str) -> f64 {
    let answer = calls.call("GET", "/metrics", b"").await;
    let text = answer.text();
    let found = text.lines().find_map(|line| line.strip_prefix(named)?.strip_prefix(' '));
    found.map_or(0.0, |value| value.parse().expect("a number"))
}

/// Waits until a sample is at least this.
pub async fn wait_for_sample(calls: &mut Calls, named: &str, least: f64) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let value = sample(calls, named).await;
        if value >= least {
            return;
        }
        assert!(Instant::now() < give_up, "{named} is {value}, and not {least}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
