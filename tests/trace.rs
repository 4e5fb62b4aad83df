//! The trace of a message: its whole life from the log alone, over sealed segments, restarts and damaged trails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

#[allow(dead_code, reason = "each test binary uses its own part")]
mod client;
#[allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#[path = "support/dice.rs"]
mod dice;
#[path = "trace/random.rs"]
mod random;

use std::path::Path;
use std::time::Duration;

use client::Answer;
use serde_json::{Value, json};
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

async fn start(data: &Path, more: &[&str]) -> Node {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data].into_iter().chain(more.iter().copied());
    Node::start(<Line as clap::Parser>::parse_from(line).serve).await.unwrap()
}

/// Sends one request off the async threads; `headers` are `Name: value`.
async fn send(node: &Node, line: &str, headers: &[&str], body: impl Into<Vec<u8>>) -> Answer {
    let (to, line, body) = (node.addr(), line.to_owned(), body.into());
    let headers: Vec<String> = headers.iter().map(|header| (*header).to_owned()).collect();
    let sending = move || {
        let headers: Vec<_> = headers.iter().map(|header| header.split_once(": ").unwrap()).collect();
        client::send(to, line.split_once(' ').unwrap(), &headers, &body)
    };
    tokio::task::spawn_blocking(sending).await.unwrap()
}

/// The JSON of a request that must succeed.
async fn ask(node: &Node, line: &str, body: Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = send(node, line, &[], body).await;
    assert!(answer.status < 300, "{line}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

async fn produce(node: &Node, topic: &str, headers: &[&str], body: &str) -> String {
    let answer = send(node, &format!("POST /v1/topics/{topic}/messages"), headers, body).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Leases the next message of a group as `client`; its receipt.
async fn lease(node: &Node, group: &str, client: &str) -> String {
    let line = format!("POST /v1/groups/{group}/receive?max_messages=1&wait=20s");
    let answer = send(node, &line, &[&format!("Mq-Client: {client}")], "").await;
    let answer = answer.json();
    answer["messages"][0]["receipt"].as_str().unwrap_or_else(|| panic!("nothing came: {answer}")).to_owned()
}

/// Has segments sealed: other messages, more than a segment of them.
async fn fill(node: &Node) {
    for _ in 0..4 {
        produce(node, "filler", &[], &"x".repeat(20_000)).await;
    }
}

/// One event without its times, as a line.
fn line(event: &Value) -> String {
    let words = ["event", "group", "client", "attempt", "round", "cause", "reason", "dead_reason"];
    let times = ["lease_expires_at", "ready_at"];
    let told = words.iter().filter_map(|name| event.get(*name)).map(|value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let timed = times.iter().filter(|name| event.get(**name).is_some()).map(|name| (*name).to_owned());
    told.chain(timed).collect::<Vec<_>>().join(" ")
}

fn lines(trace: &Value) -> Vec<String> {
    trace["events"].as_array().unwrap().iter().map(line).collect()
}

async fn trace(node: &Node, id: &str) -> Value {
    let trace = ask(node, &format!("GET /v1/messages/{id}/trace?limit=1000"), Value::Null).await;
    assert_eq!((&trace["truncated"], &trace["next_cursor"]), (&json!(false), &Value::Null), "{trace}");
    trace
}

/// The events, one page each.
async fn page_by_page(node: &Node, id: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut path = format!("GET /v1/messages/{id}/trace?limit=1");
    loop {
        let page = ask(node, &path, Value::Null).await;
        assert!(page["events"].as_array().unwrap().len() <= 1);
        events.extend(page["events"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { return events };
        path = format!("GET /v1/messages/{id}/trace?limit=1&cursor={cursor}");
    }
}

/// Does now what the node does in the background.
async fn lay_trails(node: &Node) {
    let broker = node.broker().clone();
    tokio::task::spawn_blocking(move || broker.lay_trails()).await.unwrap();
}

const SMALL: [&str; 1] = ["--segment-bytes=64KiB"];

const LIFE: &str = "\
accepted
delivered billing w1 1 1 lease_expires_at
extended billing 1 lease_expires_at
failed billing 1 nack not now ready_at
retry_due billing
delivered billing w2 2 1 lease_expires_at
failed billing 2 lease_expired ready_at
retry_due billing
delivered billing w1 3 1 lease_expires_at
dead_lettered billing 3 nack never max_attempts
redriven billing 2
delivered billing w3 1 2 lease_expires_at
dead_lettered billing 1 rejected rejected
redriven billing 3
delivered billing w3 1 3 lease_expires_at
acked billing";

/// Everything that one message can go through in one group, with segments sealed in between.
async fn live(node: &Node) -> String {
    let settings = json!({
        "subscriptions": [{"topic": "jobs"}], "max_attempts": 3, "lease_ms": 1_000,
        "retry": {"kind": "table", "steps_ms": [100]},
    });
    ask(node, "PUT /v1/groups/billing", settings).await;
    let id = produce(node, "jobs", &[], "job").await;
    let settle = |verb: &str| format!("POST /v1/groups/billing/{verb}");
    let receipt = lease(node, "billing", "w1").await;
    ask(node, &settle("extend"), json!({"receipts": [receipt], "lease_ms": 60_000})).await;
    fill(node).await;
    ask(node, &settle("nack"), json!({"receipts": [receipt], "reason": "not now"})).await;
    lease(node, "billing", "w2").await;
    fill(node).await;
    // The lease of one second runs out.
    let receipt = lease(node, "billing", "w1").await;
    ask(node, &settle("nack"), json!({"receipts": [receipt], "reason": "never"})).await;
    fill(node).await;
    let redrive = || json!({"ids": [id]});
    ask(node, &settle("dead-letters/redrive"), redrive()).await;
    let receipt = lease(node, "billing", "w3").await;
    fill(node).await;
    ask(node, &settle("dead-letter"), json!({"receipts": [receipt]})).await;
    ask(node, &settle("dead-letters/redrive"), redrive()).await;
    let receipt = lease(node, "billing", "w3").await;
    fill(node).await;
    ask(node, &settle("ack"), json!({"receipts": [receipt]})).await;
    fill(node).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_life_of_a_message_is_told() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &SMALL).await;
    let id = live(&node).await;
    let read_all = trace(&node, &id).await;
    assert_eq!(lines(&read_all).join("\n"), LIFE);
    assert_eq!((&read_all["topic"], &read_all["offset"]), (&json!("jobs"), &json!(0)));
    let times: Vec<&str> =
        read_all["events"].as_array().unwrap().iter().map(|event| event["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(read_all["segments_passed"], 0, "there are no trails yet");
    assert_eq!(json!(page_by_page(&node, &id).await), read_all["events"]);

    lay_trails(&node).await;
    let passed = |trace: &Value| trace["segments_passed"].as_u64().unwrap();
    let with_trails = trace(&node, &id).await;
    assert_eq!(with_trails["events"], read_all["events"]);
    assert!(passed(&with_trails) > 0, "{with_trails}");
    assert!(with_trails["scanned_bytes"].as_u64() < read_all["scanned_bytes"].as_u64(), "{with_trails}");
    assert_eq!(json!(page_by_page(&node, &id).await), read_all["events"]);
    node.stop().await;

    // After a restart it is the same; and with trails that were damaged meanwhile, which are then made again.
    let trails = || -> Vec<_> {
        std::fs::read_dir(data.path().join("trails")).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    for trail in trails() {
        let mut bytes = std::fs::read(&trail).unwrap();
        // In every page a bit that was set is not any more: this is how something could be missed.
        for page in bytes[64..].chunks_mut(4_100) {
            page[..4_096].fill(0);
            // One that knows of nothing has no bit set.
            page[0] = 1;
        }
        std::fs::write(&trail, bytes).unwrap();
    }
    let count = trails().len();
    let node = start(data.path(), &SMALL).await;
    let damaged = trace(&node, &id).await;
    assert_eq!(damaged["events"], read_all["events"]);
    assert_eq!(passed(&damaged), 0, "no damaged trail is believed");
    assert!(trails().len() < count, "and those that were met are gone");
    lay_trails(&node).await;
    let again = trace(&node, &id).await;
    assert_eq!((&again["events"], passed(&again) > 0), (&read_all["events"], true), "{again}");
    // A trail of another segment, or cut short, is none.
    let mut paths = trails();
    paths.sort();
    std::fs::copy(&paths[0], &paths[1]).unwrap();
    let bytes = std::fs::read(&paths[2]).unwrap();
    std::fs::write(&paths[2], &bytes[..100]).unwrap();
    std::fs::write(&paths[3], b"").unwrap();
    assert_eq!(trace(&node, &id).await["events"], read_all["events"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_cancelled_says_so_also_from_sealed_segments() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &SMALL).await;
    let id = produce(&node, "t", &["Mq-Delay: 1h"], "never").await;
    fill(&node).await;
    ask(&node, &format!("DELETE /v1/messages/{id}"), Value::Null).await;
    fill(&node).await;
    let told = ["accepted ready_at", "cancelled"];
    assert_eq!(lines(&trace(&node, &id).await), told);
    lay_trails(&node).await;
    assert_eq!(lines(&trace(&node, &id).await), told);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_groups_do_to_a_message_without_delivering_it_is_told() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &SMALL).await;
    let subscribed = |filter: Value| json!({"subscriptions": [{"topic": "t", "filter": filter}]});
    ask(&node, "PUT /v1/topics/t", json!({"queues": 1})).await;
    ask(&node, "PUT /v1/groups/picky", subscribed(json!({"tag": "b"}))).await;
    ask(&node, "PUT /v1/groups/seeker", json!({"subscriptions": [{"topic": "t"}]})).await;
    ask(&node, "PUT /v1/groups/leaver", json!({"subscriptions": [{"topic": "t"}]})).await;
    let ordered = json!({"subscriptions": [{"topic": "t"}], "ordered": true});
    ask(&node, "PUT /v1/groups/ordered", ordered).await;
    let first = produce(&node, "t", &["Mq-Ordering-Key: k"], "first").await;
    let id = produce(&node, "t", &["Mq-Tag: a", "Mq-Ordering-Key: k"], "second").await;
    for group in ["picky", "ordered", "leaver"] {
        let line = format!("POST /v1/groups/{group}/receive?wait=0s");
        send(&node, &line, &["Mq-Client: c"], "").await;
    }
    let seek = |to: &str| json!({"topic": "t", "to": to});
    ask(&node, "POST /v1/groups/seeker/seek", seek("latest")).await;
    ask(&node, "POST /v1/groups/seeker/seek", seek("earliest")).await;
    // Made later, and begins behind it: a seek forward means nothing to it, one back does.
    let late = json!({"subscriptions": [{"topic": "t"}], "start": "latest"});
    ask(&node, "PUT /v1/groups/late", late).await;
    ask(&node, "POST /v1/groups/late/seek", seek("latest")).await;
    ask(&node, "POST /v1/groups/late/seek", seek("earliest")).await;
    ask(&node, "PUT /v1/groups/leaver", json!({"subscriptions": []})).await;
    assert_eq!(send(&node, "DELETE /v1/groups/ordered?confirm=ordered", &[], "").await.status, 204);
    let told = trace(&node, &id).await;
    let number = told["events"][2]["group_number"].clone();
    assert_eq!(
        lines(&told),
        [
            "accepted",
            "passed_over picky",
            // Of a deleted group there is a number, and no name.
            "parked 1",
            "delivered leaver c 1 1 lease_expires_at",
            "skipped_by_seek seeker",
            "replayed_by_seek seeker",
            "replayed_by_seek late",
            "unsubscribed leaver",
            "group_deleted",
        ],
        "{told}"
    );
    assert_eq!((number.is_u64(), &told["events"][8]["group_number"]), (true, &number));

    // A scheduled one, which outlives its TTL before anybody looks; one group keeps what expires.
    let keeper = json!({"subscriptions": [{"topic": "late"}], "dead_letter_expired": true});
    ask(&node, "PUT /v1/groups/keeper", keeper).await;
    let late = produce(&node, "late", &["Mq-Delay: 200ms", "Mq-Ttl: 1ms"], "late").await;
    let scheduled = trace(&node, &late).await;
    assert_eq!(
        (lines(&scheduled), &scheduled["offset"]),
        (vec!["accepted ready_at".to_owned()], &Value::Null)
    );
    tokio::time::sleep(Duration::from_millis(600)).await;
    let line = "POST /v1/groups/keeper/receive?wait=0s";
    for _ in 0..100 {
        send(&node, line, &[], "").await;
        if lines(&trace(&node, &late).await).len() > 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ask(&node, "POST /v1/groups/keeper/dead-letters/purge", Value::Null).await;
    let told = trace(&node, &late).await;
    assert_eq!(lines(&told), ["accepted ready_at", "ready", "dead_lettered keeper expired", "purged keeper"]);
    assert_eq!(told["offset"], 0);
    let first = trace(&node, &first).await;
    assert!(lines(&first).contains(&"delivered c 1 1 lease_expires_at".to_owned()), "{first}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_messages_gone_ones_and_stretches_that_are_gone_are_told_apart() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &["--segment-bytes=64KiB", "--image-facts=40"]).await;
    ask(&node, "PUT /v1/topics/flow", json!({"queues": 1, "max_age_ms": 1_000})).await;
    ask(&node, "PUT /v1/groups/slow", json!({"subscriptions": [{"topic": "kept"}]})).await;
    let kept = produce(&node, "kept", &[], "kept").await;
    let filler = "x".repeat(4_000);
    let gone = produce(&node, "flow", &[], &filler).await;
    for _ in 0..100 {
        produce(&node, "flow", &[], &filler).await;
    }
    lay_trails(&node).await;
    let segment = |number: u32| data.path().join(format!("log/{number:012}.log"));
    let trail = |number: u32| data.path().join(format!("trails/{number:012}.trail"));
    assert!(segment(4).exists() && trail(4).exists());
    let mut rounds = 0;
    while (2..5).any(|number| segment(number).exists()) {
        rounds += 1;
        assert!(rounds < 100, "the segments stay");
        for _ in 0..10 {
            produce(&node, "flow", &[], &filler).await;
        }
        node.broker().tend().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let receipt = lease(&node, "slow", "s").await;
    ask(&node, "POST /v1/groups/slow/ack", json!({"receipts": [receipt]})).await;
    let told = trace(&node, &kept).await;
    assert_eq!(lines(&told), ["accepted", "delivered slow s 1 1 lease_expires_at", "acked slow"]);
    let gaps = told["gone"].as_array().unwrap();
    let accepted = told["events"][0]["at"].as_str().unwrap();
    assert!(!gaps.is_empty(), "{told}");
    for gap in gaps {
        let (from, to) = (gap["from"].as_str().unwrap(), gap["to"].as_str().unwrap());
        assert!(accepted <= from && from < to, "{told}");
    }
    lay_trails(&node).await;
    assert!(!trail(4).exists(), "a trail goes with its segment");
    assert_eq!(lines(&trace(&node, &kept).await), lines(&told));

    let answer = send(&node, &format!("GET /v1/messages/{gone}/trace"), &[], "").await;
    assert_eq!((answer.status, &answer.json()["code"]), (410, &json!("gone")), "{}", answer.json());
    // Somebody else's cursor.
    let page = ask(&node, &format!("GET /v1/messages/{kept}/trace?limit=1"), Value::Null).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let other = produce(&node, "kept", &[], "other").await;
    let answer = send(&node, &format!("GET /v1/messages/{other}/trace?cursor={cursor}"), &[], "").await;
    assert_eq!(answer.status, 400);
    node.stop().await;
}
