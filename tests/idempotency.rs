//! `Idempotency-Key` and `?atomic=true`, against a real node over TCP (I20).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod client;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

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
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data];
    let line = <Line as clap::Parser>::parse_from(line.into_iter().chain(more.iter().copied()));
    Node::start(line.serve).await.unwrap()
}

/// Runs blocking `work` against a node.
async fn with<T: Send + 'static>(node: &Node, work: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
    let to = node.addr();
    tokio::task::spawn_blocking(move || work(to)).await.unwrap()
}

/// Runs blocking `work` against a node of its own.
async fn alone(more: &[&str], work: impl FnOnce(SocketAddr) + Send + 'static) {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), more).await;
    with(&node, work).await;
    node.stop().await;
}

const ONE: &str = "POST /v1/topics/t/messages";
const BATCH: &str = "POST /v1/topics/t/messages/batch";

fn send(to: SocketAddr, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    client::send(to, line.split_once(' ').unwrap(), headers, body)
}

fn keyed(to: SocketAddr, line: &str, key: &str, body: &str) -> Answer {
    send(to, line, &[("Idempotency-Key", key)], body.as_bytes())
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// The second answer says the same as the first, and that it was given before.
fn assert_again(first: &Answer, again: &Answer) {
    assert!(!is_replay(first) && is_replay(again), "{:?} {:?}", first.headers, again.headers);
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("location"), first.header("location"));
}

/// Status, code and the named places of a problem.
fn problem(answer: &Answer) -> (u16, String, Vec<String>) {
    assert_eq!(
        answer.media_type(),
        "application/problem+json",
        "{:?}",
        String::from_utf8_lossy(&answer.body)
    );
    let problem = answer.json();
    let place =
        |error: &Value| error["pointer"].as_str().or(error["header"].as_str()).unwrap_or("").to_owned();
    let places = problem["errors"].as_array().into_iter().flatten().map(place).collect();
    (answer.status, problem["code"].as_str().unwrap().to_owned(), places)
}

/// Every body of topic `t`, queue by queue.
fn stored(to: SocketAddr) -> Vec<String> {
    let topic = send(to, "GET /v1/topics/t", &[], b"").json();
    let queues = topic["queues"].as_u64().unwrap();
    let page = |queue| {
        let page = send(to, &format!("GET /v1/topics/t/queues/{queue}/messages?limit=1000"), &[], b"").json();
        let messages = page["messages"].as_array().unwrap().clone();
        messages.into_iter().map(|message| message["body"].as_str().unwrap().to_owned())
    };
    (0..queues).flat_map(page).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_at_the_same_time_are_stored_once_and_answered_alike() {
    alone(&[], |to| {
        for round in 0..5 {
            let key = format!("round-{round}");
            let answers: Vec<Answer> = std::thread::scope(|scope| {
                let one = || scope.spawn(|| keyed(to, ONE, &key, "m"));
                let threads: Vec<_> = (0..16).map(|_| one()).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let (first, again): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|it| !is_replay(it));
            assert_eq!((first.len(), first[0].status), (1, 201), "round {round}");
            again.iter().for_each(|again| assert_again(first[0], again));
            assert_eq!(stored(to).len(), round + 1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_one_request_to_one_topic() {
    alone(&[], |to| {
        let first = keyed(to, ONE, "k-1", "m");
        assert_eq!(first.status, 201);
        assert_again(&first, &keyed(to, ONE, "\"k-1\"", "m"));
        let tracing = [("Idempotency-Key", "k-1"), ("traceparent", "00-1"), ("Mq-Client", "me")];
        assert_again(&first, &send(to, ONE, &tracing, b"m"));
        let mismatch = (422, "idempotency_mismatch".to_owned(), vec![]);
        assert_eq!(problem(&keyed(to, ONE, "k-1", "other")), mismatch);
        let tagged = [("Idempotency-Key", "k-1"), ("Mq-Tag", "a")];
        assert_eq!(problem(&send(to, ONE, &tagged, b"m")), mismatch);
        assert_eq!(problem(&keyed(to, BATCH, "k-1", "{\"messages\":[{\"body\":\"m\"}]}")), mismatch);
        let elsewhere = keyed(to, "POST /v1/topics/u/messages", "k-1", "other");
        assert!(elsewhere.status == 201 && !is_replay(&elsewhere));
        assert_eq!(stored(to), ["m"]);
        let malformed = (400, "invalid_request".to_owned(), vec!["Idempotency-Key".to_owned()]);
        assert_eq!(problem(&keyed(to, ONE, "\"k", "m")), malformed);
        assert_eq!(problem(&keyed(to, BATCH, "", "{\"messages\":[]}")), malformed);
        // What was refused is not remembered.
        let refused = send(to, ONE, &[("Idempotency-Key", "k-2"), ("Mq-Queue", "9")], b"m");
        assert_eq!(problem(&refused).1, "queue_not_found");
        assert!(!is_replay(&keyed(to, ONE, "k-2", "m")));
        // A scheduled message answers as scheduled.
        let later = [("Idempotency-Key", "k-3"), ("Mq-Delay", "1h")];
        let first = send(to, ONE, &later, b"later");
        assert_eq!(first.json()["state"], "scheduled");
        assert_again(&first, &send(to, ONE, &later, b"later"));
        // A topic that is made again is another topic.
        assert_eq!(send(to, "DELETE /v1/topics/t?confirm=t", &[], b"").status, 204);
        assert!(!is_replay(&keyed(to, ONE, "k-1", "m")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_batch_has_one_key() {
    alone(&[], |to| {
        let json = json!({"messages": [
            {"body": "a"}, {"body": "b", "tag": "x|y"}, {"body": "c", "queue": 9}, {"body": "d", "delay_ms": 60_000},
            {"body": "e", "queue": 1, "ordering_key": "k"}, {"body": "f"},
        ]})
        .to_string();
        let first = keyed(to, BATCH, "k-1", &json);
        let results = first.json()["results"].clone();
        let code = |at: usize| results[at]["code"].as_str().map(ToOwned::to_owned);
        assert_eq!((first.status, &first.json()["failed"]), (200, &3.into()));
        assert_eq!(code(2).as_deref(), Some("queue_not_found"));
        assert_eq!((code(0), code(3), code(5)), (None, None, None));
        assert_again(&first, &keyed(to, BATCH, "k-1", &json));
        assert_eq!(stored(to).len(), 2, "one is scheduled");
        assert_eq!(problem(&keyed(to, BATCH, "k-1", &json.replace("\"f\"", "\"g\""))).0, 422);
        let atomic = keyed(to, &format!("{BATCH}?atomic=true"), "k-1", &json);
        assert_eq!(problem(&atomic).0, 400, "what is malformed is said first");

        let lines: String = (0..1_000).map(|at| format!("{{\"body\":\"line {at}\"}}\n")).collect();
        let headers = [("Idempotency-Key", "k-2"), ("Content-Type", "application/x-ndjson")];
        let first = send(to, BATCH, &headers, lines.as_bytes());
        assert_eq!(first.json()["failed"], 0);
        assert_again(&first, &send(to, BATCH, &headers, lines.as_bytes()));
        assert_eq!(stored(to).len(), 1_002);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_batch_is_stored_whole_or_not_at_all() {
    alone(&[], |to| {
        let line = format!("{BATCH}?atomic=true");
        let lines = [("Content-Type", "application/x-ndjson")];
        assert_eq!(send(to, "PUT /v1/topics/t", &[], b"{\"queues\":2}").status, 201);
        // Found before the broker is asked.
        let bad = b"{\"messages\":[{\"body\":\"a\"},{\"body\":\"b\",\"tag\":\"x|y\"},{\"body\":\"c\",\"keys\":[\"\"]}]}";
        let refused = send(to, &line, &[], bad);
        let places = ["/messages/1/tag", "/messages/2/keys/0"].map(ToOwned::to_owned).to_vec();
        assert_eq!(problem(&refused), (400, "invalid_request".to_owned(), places));
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("nothing was stored: 2 of 3 messages are refused"), "{detail}");
        // Found by the rules; blank lines count as lines.
        let bad = b"{\"body\":\"a\"}\n\n{\"body\":\"b\",\"queue\":7}\n{\"body\":\"c\",\"queue\":1}\n";
        let place = vec!["/2/queue".to_owned()];
        assert_eq!(problem(&send(to, &line, &lines, bad)), (404, "queue_not_found".to_owned(), place));
        let bad = b"{\"messages\":[{\"body\":\"a\"},{\"body\":\"b\",\"queue\":7}]}";
        let place = vec!["/messages/1/queue".to_owned()];
        assert_eq!(problem(&send(to, &line, &[], bad)), (404, "queue_not_found".to_owned(), place));
        assert_eq!(problem(&keyed(to, &line, "k", std::str::from_utf8(bad).unwrap())).0, 404);
        assert_eq!(stored(to), Vec::<String>::new());
        assert_eq!(problem(&send(to, &format!("{BATCH}?atomic=maybe"), &[], bad)).0, 400);
        let missing = "POST /v1/topics/missing/messages/batch?atomic=true";
        assert_eq!(problem(&send(to, missing, &[], bad)).0, 404);
        assert_eq!(send(to, "GET /v1/topics/missing", &[], b"").status, 404, "not even the topic was made");

        let good = "{\"messages\":[{\"body\":\"a\"},{\"body\":\"b\"}]}";
        let first = keyed(to, &line, "k", good);
        assert_eq!((first.status, &first.json()["failed"]), (200, &0.into()));
        assert_again(&first, &keyed(to, &line, "k", good));
        assert_eq!(problem(&keyed(to, BATCH, "k", good)).1, "idempotency_mismatch", "without ?atomic it is another");
        assert_eq!(stored(to).len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &[]).await;
    let batch = "{\"messages\":[{\"body\":\"a\"},{\"body\":\"b\",\"queue\":9}]}";
    let first = with(&node, move |to| (keyed(to, ONE, "k-1", "m"), keyed(to, BATCH, "k-2", batch))).await;
    node.stop().await;
    for _ in 0..2 {
        let node = start(data.path(), &[]).await;
        let again = with(&node, move |to| {
            assert_eq!(problem(&keyed(to, ONE, "k-1", "other")).0, 422);
            (keyed(to, ONE, "k-1", "m"), keyed(to, BATCH, "k-2", batch))
        });
        let again = again.await;
        assert_again(&first.0, &again.0);
        assert_again(&first.1, &again.1);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_forgotten_when_its_window_is_over_and_not_before() {
    alone(&[], |to| {
        let settings = b"{\"idempotency_window_ms\":1000}";
        let made = send(to, "PUT /v1/topics/t", &[], settings);
        assert_eq!((made.status, &made.json()["idempotency_window_ms"]), (201, &1_000.into()));
        let sent = Instant::now();
        let first = keyed(to, ONE, "k", "m");
        let mut replays = 0;
        loop {
            let again = keyed(to, ONE, "k", "m");
            if !is_replay(&again) {
                // Log time may run 5 % fast.
                assert!(sent.elapsed() >= Duration::from_millis(950), "after {:?}", sent.elapsed());
                assert_ne!(again.json()["id"], first.json()["id"]);
                break;
            }
            assert_again(&first, &again);
            replays += 1;
            assert!(sent.elapsed() < Duration::from_secs(60), "never forgotten");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(replays > 0, "the window was over before it was tried");
        let usual = send(to, "PUT /v1/topics/u", &[], b"").json();
        assert_eq!(usual["idempotency_window_ms"], 300_000);
        let refused = send(to, "PUT /v1/topics/u", &[], b"{\"idempotency_window_ms\":86400001}");
        let place = vec!["/idempotency_window_ms".to_owned()];
        assert_eq!(problem(&refused), (422, "invalid_settings".to_owned(), place));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_remembers_all_it_may_refuses_new_keys_and_keeps_the_old_ones() {
    alone(&["--idempotency-keys-max=2"], |to| {
        let first = keyed(to, ONE, "k-1", "m");
        assert_eq!(keyed(to, ONE, "k-2", "m").status, 201);
        let refused = keyed(to, ONE, "k-3", "m");
        assert_eq!(problem(&refused), (503, "idempotency_full".to_owned(), vec![]));
        assert_eq!((refused.header("retry-after"), &refused.json()["retryable"]), (Some("1"), &true.into()));
        assert_again(&first, &keyed(to, ONE, "k-1", "m"));
        assert_eq!(send(to, ONE, &[], b"without a key").status, 201);
        assert_eq!(stored(to).len(), 3);
        assert_eq!(send(to, "DELETE /v1/topics/t?confirm=t", &[], b"").status, 204);
        assert_eq!(keyed(to, ONE, "k-3", "m").status, 201, "the keys went with their topic");
    })
    .await;
}

/// Retention may remove everything around it: the entry that answers a key stays as long as the key does.
#[tokio::test(flavor = "multi_thread")]
async fn what_answers_a_key_outlives_the_topics_max_age() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &["--segment-bytes=64KiB", "--image-facts=40"]).await;
    let filler = "x".repeat(4_000);
    let body = filler.clone();
    let first = with(&node, move |to| {
        assert_eq!(send(to, "PUT /v1/topics/t", &[], b"{\"queues\":1,\"max_age_ms\":1000}").status, 201);
        let first = keyed(to, ONE, "k-1", "m");
        (0..120).for_each(|_| drop(send(to, ONE, &[], body.as_bytes())));
        first
    })
    .await;
    let segments = || {
        let entries = std::fs::read_dir(data.path().join("log")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let full = segments();
    assert!(full.len() > 5, "{full:?}");
    let mut rounds = 0;
    while full[1..4].iter().any(|segment| segment.exists()) {
        rounds += 1;
        assert!(rounds < 100, "the segments stay: {:?}", segments());
        let body = filler.clone();
        with(&node, move |to| (0..10).for_each(|_| drop(send(to, ONE, &[], body.as_bytes())))).await;
        node.broker().tend().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(full[0].exists(), "a key pins the segment of its answer");
    let again = with(&node, |to| keyed(to, ONE, "k-1", "m")).await;
    assert_again(&first, &again);
    node.stop().await;
}
