//! Search by key in a large topic: how long one answer takes, also right after a start and while messages come in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::calls::Calls;
use crate::support::http::Http;
use crate::support::process::{Broker, Launch};
use crate::{Figures, backlog, rounded};

const BATCH: u64 = 1_000;
const CONNECTIONS: u64 = 4;
/// Searches of each kind.
const SEARCHES: u64 = 200;

/// Loads `count` messages of 200 bytes, each with a key of its own, and searches for some.
pub(crate) async fn measure(launch: &Launch, count: u64, figures: &mut Figures) {
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/topics/orders", &json!({"queues": 4})).await;
    let started = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    load(broker.address(), &next, count).await;
    figures.add("keyed_messages", count);
    figures.add("keyed_load_messages_per_s", rounded(count as f64 / started.elapsed().as_secs_f64()));
    backlog::indexed(&broker, (count, Duration::ZERO), "keyed_index_caught_up", figures).await;
    search(&broker, count, "", figures).await;
    // The same keys again, so that every answer is a list; the load goes on until the searches are done.
    let loading = tokio::spawn({
        let address = broker.address();
        async move { load(address, &Arc::new(AtomicU64::new(0)), count / 10).await }
    });
    search(&broker, count, "_under_load", figures).await;
    loading.abort();
    broker.terminate();
    let broker = launch.start_or_fail();
    search(&broker, count, "_after_restart", figures).await;
    broker.kill();
    let _ = std::fs::remove_dir_all(&launch.data);
}

async fn load(address: SocketAddr, next: &Arc<AtomicU64>, count: u64) {
    let senders: Vec<_> =
        (0..CONNECTIONS).map(|_| tokio::spawn(send(address, Arc::clone(next), count))).collect();
    for sender in senders {
        sender.await.expect("a sender that does not panic");
    }
}

/// Sends batches until `count` messages have their number.
async fn send(address: SocketAddr, next: Arc<AtomicU64>, count: u64) {
    let body = "x".repeat(200);
    let mut http = Http::new(address);
    let headers = [("content-type", "application/x-ndjson")];
    loop {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        if first >= count {
            return;
        }
        let line = |number| format!("{{\"body\":\"{body}\",\"keys\":[\"order-{number}\"]}}\n");
        let lines: String = (first..(first + BATCH).min(count)).map(line).collect();
        let path = "/v1/topics/orders/messages/batch";
        let answer = http.call("POST", path, &headers, lines.as_bytes()).await.expect("an answer");
        assert_eq!((answer.status, &answer.json()["failed"]), (200, &json!(0)), "{}", answer.text());
    }
}

/// Searches for keys all over the topic, and as many times for one that nobody has.
async fn search(broker: &Broker, count: u64, when: &str, figures: &mut Figures) {
    let mut calls = Calls::to(broker.address());
    let mut took = Vec::new();
    for at in 0..2 * SEARCHES {
        let there = at < SEARCHES;
        let number = if there { at.wrapping_mul(7_919_317) % count } else { count + at };
        let path = format!("/v1/topics/orders/messages?key=order-{number}");
        let asked = Instant::now();
        let page = calls.expect(200, "GET", &path, &Value::Null).await;
        took.push(asked.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(page["messages"].as_array().expect("messages").is_empty(), !there, "{path}");
    }
    took.sort_by(f64::total_cmp);
    figures.add(&format!("key_search{when}_p50_ms"), rounded(took[took.len() / 2]));
    figures.add(&format!("key_search{when}_p99_ms"), rounded(took[took.len() * 99 / 100]));
    figures.add(&format!("key_search{when}_max_ms"), rounded(took[took.len() - 1]));
}
