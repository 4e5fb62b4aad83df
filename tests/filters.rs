//! SQL filters over HTTP, against a real node: what is delivered, what lag counts, what is refused and how.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

#[allow(dead_code, reason = "each test binary uses its own part")]
mod client;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use client::Answer;
use serde_json::{Value, json};
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

/// Runs blocking `work` against a node over this directory.
async fn with_node<T: Send + 'static>(data: &Path, work: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data, "--segment-bytes=1MiB"];
    let node = Node::start(<Line as clap::Parser>::parse_from(line).serve).await.unwrap();
    let to = node.addr();
    let result = tokio::task::spawn_blocking(move || work(to)).await.unwrap();
    node.stop().await;
    result
}

fn send(to: SocketAddr, line: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    client::send(to, line.split_once(' ').unwrap(), &[], body.as_bytes())
}

fn put_group(to: SocketAddr, group: &str, filter: &Value) -> Answer {
    let settings = json!({"subscriptions": [{"topic": "orders", "filter": filter}]});
    send(to, &format!("PUT /v1/groups/{group}"), &settings)
}

/// Produces messages in one batch, in one queue so that they keep their order.
fn produce(to: SocketAddr, messages: &[Value]) {
    let in_order = |message: &Value| {
        let mut message = message.clone();
        message["queue"] = json!(0);
        message
    };
    let messages: Vec<Value> = messages.iter().map(in_order).collect();
    let answer = send(to, "POST /v1/topics/orders/messages/batch", &json!({"messages": messages}));
    assert_eq!((answer.status, &answer.json()["failed"]), (200, &json!(0)), "{}", answer.json());
}

fn order(body: &str, region: &str, amount: &str) -> Value {
    json!({"body": body, "tag": "created", "properties": {"Region": region, "amount": amount}})
}

/// Bodies received at once, in order.
fn receive(to: SocketAddr, group: &str, more: &str) -> Vec<String> {
    let line = format!("POST /v1/groups/{group}/receive?max_messages=1000&{more}");
    let answer = send(to, &line, &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.json());
    let messages = answer.json()["messages"].as_array().unwrap().clone();
    messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

fn lag(to: SocketAddr, group: &str) -> (u64, bool) {
    let view = send(to, &format!("GET /v1/groups/{group}"), &Value::Null).json()["topics"][0].clone();
    (view["lag"].as_u64().unwrap(), view["counting"].as_bool().unwrap())
}

/// The lag once nothing is left to count.
fn final_lag(to: SocketAddr, group: &str) -> u64 {
    let began = Instant::now();
    loop {
        match lag(to, group) {
            (lag, false) => return lag,
            _ if began.elapsed() > Duration::from_secs(60) => panic!("the count of {group} does not end"),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_matches_is_delivered_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    with_node(directory.path(), |to| {
        let sql = json!({"sql": "region STARTSWITH 'eu' and amount>=10.5"});
        let made = put_group(to, "dear", &sql);
        assert_eq!(made.status, 201);
        let canonical = json!({"sql": "region STARTSWITH 'eu' AND amount >= 10.5"});
        assert_eq!(made.json()["subscriptions"][0]["filter"], canonical);
        assert_eq!(put_group(to, "dear", &canonical).status, 200);
        assert_eq!(put_group(to, "all", &json!({"tag": "*"})).status, 201);
        produce(
            to,
            &[
                order("1", "eu-west", "10.50"),
                order("2", "eu-west", "10.49"),
                order("3", "us-east", "99"),
                order("4", "eu-north", "1e3"),
                json!({"body": "5", "properties": {"region": "eu-west"}}),
                json!({"body": "6"}),
            ],
        );
        assert_eq!((final_lag(to, "dear"), final_lag(to, "all")), (2, 6));
        assert_eq!(receive(to, "dear", "wait=5s"), ["1", "4"]);
        assert_eq!(final_lag(to, "dear"), 2, "leased and not settled");
        assert_eq!(receive(to, "dear", "wait=0"), [""; 0]);
        assert_eq!(receive(to, "all", "wait=5s").len(), 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_receive_gets_what_matches_and_sleeps_through_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    with_node(directory.path(), |to| {
        assert_eq!(put_group(to, "dear", &json!({"sql": "amount > 5 OR KEYS CONTAINS 'vip'"})).status, 201);
        let waiting = std::thread::spawn(move || receive(to, "dear", "wait=30s"));
        for n in 0..20 {
            produce(to, &[order(&n.to_string(), "eu", "1")]);
        }
        assert!(!waiting.is_finished());
        let vip = json!({"body": "vip", "keys": ["a", "vip-7"], "delay_ms": 100});
        produce(to, &[vip]);
        assert_eq!(waiting.join().unwrap(), ["vip"]);
        assert_eq!(final_lag(to, "dear"), 1);
    })
    .await;
}

/// More than one look may count, in small messages and large ones; the filter is kept through a restart.
#[tokio::test(flavor = "multi_thread")]
async fn the_observer_counts_a_backlog_and_a_restart_keeps_the_filter() {
    let directory = tempfile::tempdir().unwrap();
    with_node(directory.path(), |to| {
        assert_eq!(put_group(to, "dear", &json!({"sql": "amount BETWEEN 3 AND 5"})).status, 201);
        let large = "x".repeat(100_000);
        for batch in 0..6 {
            let message = |n: usize| order(if n == 0 { &large } else { "m" }, "eu", &(n % 10).to_string());
            produce(to, &(0..1_000).map(|n| message(n * (batch + 1) % 1_000)).collect::<Vec<_>>());
        }
    })
    .await;
    with_node(directory.path(), |to| {
        let shown = send(to, "GET /v1/groups/dear", &Value::Null).json();
        assert_eq!(shown["subscriptions"][0]["filter"], json!({"sql": "amount BETWEEN 3 AND 5"}));
        let counted = final_lag(to, "dear");
        let mut received = 0;
        loop {
            let more = receive(to, "dear", "wait=2s&max_bytes=16777216").len();
            if more == 0 {
                break;
            }
            received += u64::try_from(more).unwrap();
        }
        assert_eq!(received, counted);
        assert_eq!(final_lag(to, "dear"), counted);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_filter_is_refused_with_its_column() {
    let directory = tempfile::tempdir().unwrap();
    with_node(directory.path(), |to| {
        let refused = put_group(to, "g", &json!({"sql": "price > 5 AND (colour = red' OR size IS NULL)"}));
        let problem = refused.json();
        assert_eq!((refused.status, &problem["code"]), (422, &json!("invalid_filter")));
        let field = &problem["errors"][0];
        assert_eq!(field["pointer"], "/subscriptions/0/filter/sql");
        assert_eq!(field["column"], 28, "{problem}");
        for (sql, column) in [("a = ", 5), ("a LIKE 5", 8), ("größe > 'x'", 9), ("", 1)] {
            let problem = put_group(to, "g", &json!({"sql": sql})).json();
            assert_eq!(problem["errors"][0]["column"], column, "{problem}");
        }
        assert_eq!(put_group(to, "g", &json!({"sql": "a = 1", "tag": "b"})).status, 400);
        assert_eq!(send(to, "GET /v1/groups/g", &Value::Null).status, 404, "nothing was made");
        let receive = json!({"filter": {"sql": "a ="}, "topic": "orders"});
        assert_eq!(send(to, "POST /v1/groups/g/receive", &receive).status, 422);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_in_a_receive_is_compared_and_both_are_shown() {
    let directory = tempfile::tempdir().unwrap();
    with_node(directory.path(), |to| {
        assert_eq!(put_group(to, "g", &json!({"sql": "amount > 5"})).status, 201);
        let receive =
            |filter: Value| send(to, "POST /v1/groups/g/receive", &json!({"wait_ms": 0, "filter": filter}));
        assert_eq!(receive(json!({"sql": "(AMOUNT  >  5.0)"})).status, 200, "the same but for its looks");
        for other in [json!({"sql": "amount > 6"}), json!({"tag": "amount"}), json!({"tag": "*"})] {
            let differs = receive(other.clone());
            let problem = differs.json();
            assert_eq!((differs.status, &problem["code"]), (409, &json!("filter_differs")));
            let detail = problem["detail"].as_str().unwrap();
            let (kind, text) = other.as_object().unwrap().iter().next().unwrap();
            for shown in [format!("[{kind} {}]", text.as_str().unwrap()), "[sql amount > 5]".to_owned()] {
                assert!(detail.contains(&shown), "{detail}");
            }
        }
    })
    .await;
}
