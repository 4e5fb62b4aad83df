//! A large backlog: does memory stay, does speed stay, how long is a restart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::calls::Calls;
use crate::support::http::Http;
use crate::support::proc_fs;
use crate::support::process::{Broker, Launch};
use crate::{Figures, mib, rounded};

const BATCH: u64 = 1_000;
const CONNECTIONS: usize = 4;
/// Pairs of a loaded and an empty broker.
const ROUNDS: usize = 5;
/// What is stored in one of them.
const ROUND_MESSAGES: u64 = 500_000;
/// The longest one step may take.
const LIMIT: Duration = Duration::from_secs(1_200);

/// Loads `count` messages of 200 bytes and restarts in every way.
pub(crate) async fn measure(launch: &Launch, count: u64, figures: &mut Figures) {
    let broker = launch.start_or_fail();
    make_reader(&broker).await;
    load(&broker, count, figures).await;
    figures.add("backlog_peak_memory_mib", mib(proc_fs::peak_memory(broker.pid())));
    indexed(&broker, (count, Duration::ZERO), "backlog_index_caught_up", figures).await;
    beside_empty(&broker, launch, figures).await;

    let stopping = Instant::now();
    broker.terminate();
    figures.add("stop_s", rounded(stopping.elapsed().as_secs_f64()));
    let broker = launch.start_or_fail();
    restarted(&broker, "after_stop", figures).await;
    let broker = killed_under_load(broker, launch).await;
    restarted(&broker, "after_kill_under_load", figures).await;

    broker.terminate();
    std::fs::remove_dir_all(launch.data.join("index")).expect("an index");
    let broker = launch.start_or_fail();
    // Counted from the start of the process, because that is when it begins.
    let stored = count + ROUNDS as u64 * ROUND_MESSAGES;
    indexed(&broker, (stored, broker.ready_after), "index_rebuild", figures).await;
    restarted(&broker, "without_index", figures).await;
    figures.add("index_rebuild_peak_memory_mib", mib(proc_fs::peak_memory(broker.pid())));
    drain_some(&broker, figures).await;
    broker.kill();
    let _ = std::fs::remove_dir_all(&launch.data);
}

async fn make_reader(broker: &Broker) {
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/topics/backlog", &json!({"queues": 4})).await;
    calls.expect(201, "PUT", "/v1/groups/readers", &json!({"subscriptions": [{"topic": "backlog"}]})).await;
}

/// Sends batches on one connection while there are some left; stops when the broker is gone.
async fn send(address: SocketAddr, left: Arc<AtomicU64>, stored: Arc<AtomicU64>) {
    let line = format!("{}\n", json!({"body": "x".repeat(200)}));
    let lines = line.repeat(usize::try_from(BATCH).expect("small"));
    let mut http = Http::new(address);
    let headers = [("content-type", "application/x-ndjson")];
    let take = |left: u64| left.checked_sub(BATCH);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
        let path = "/v1/topics/backlog/messages/batch";
        match http.call("POST", path, &headers, lines.as_bytes()).await {
            Ok(answer) if answer.status == 200 && answer.json()["failed"] == 0 => {
                stored.fetch_add(BATCH, Ordering::Relaxed);
            }
            Ok(answer) if answer.status == 200 || answer.status == 503 => {
                left.fetch_add(BATCH, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
            Err(_) => return,
        }
    }
}

async fn load(broker: &Broker, count: u64, figures: &mut Figures) {
    let part = (count / 10).max(BATCH);
    let (left, stored) = (Arc::new(AtomicU64::new(count)), Arc::new(AtomicU64::new(0)));
    for _ in 0..CONNECTIONS {
        tokio::spawn(send(broker.address(), Arc::clone(&left), Arc::clone(&stored)));
    }
    let started = Instant::now();
    let mut parts: Vec<f64> = Vec::new();
    let (mut since, mut before) = (started, 0);
    while before < count {
        assert!(started.elapsed() < LIMIT, "loading takes too long: {before} of {count}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = stored.load(Ordering::Relaxed);
        if now - before >= part || now >= count {
            parts.push((now - before) as f64 / since.elapsed().as_secs_f64());
            let memory = mib(proc_fs::peak_memory(broker.pid()));
            println!("  {now} stored, {:.0}/s, peak memory {memory} MiB", parts[parts.len() - 1]);
            (since, before) = (Instant::now(), now);
        }
    }
    figures.add("backlog_messages", count);
    figures.add("load_messages_per_s", rounded(count as f64 / started.elapsed().as_secs_f64()));
    figures.add("load_first_tenth_per_s", rounded(parts[0]));
    figures.add("load_last_tenth_per_s", rounded(parts[parts.len() - 1]));
}

/// Loads more onto the backlog and the same onto an empty broker, in turns. Over the minute that the backlog takes to
/// load a machine changes its speed by more than what is looked for, so only neighbours in time are compared.
async fn beside_empty(full: &Broker, launch: &Launch, figures: &mut Figures) {
    let mut ratios: Vec<f64> = Vec::new();
    for round in 0..ROUNDS {
        let data = launch.data.with_extension(format!("empty-{round}"));
        let empty = Launch { data, ..launch.clone() };
        let broker = empty.start_or_fail();
        make_reader(&broker).await;
        let (on_full, on_empty) = if round % 2 == 0 {
            let first = rate(full).await;
            (first, rate(&broker).await)
        } else {
            let first = rate(&broker).await;
            (rate(full).await, first)
        };
        println!("  round {round}: {on_full:.0}/s on the backlog, {on_empty:.0}/s on an empty broker");
        ratios.push(on_full / on_empty);
        broker.kill();
        let _ = std::fs::remove_dir_all(&empty.data);
    }
    ratios.sort_by(f64::total_cmp);
    figures.add("load_on_backlog_to_empty_median", rounded(ratios[ROUNDS / 2]));
    figures.add("load_on_backlog_to_empty_lowest", rounded(ratios[0]));
}

/// Messages per second while [`ROUND_MESSAGES`] are stored.
async fn rate(broker: &Broker) -> f64 {
    let (left, stored) = (Arc::new(AtomicU64::new(ROUND_MESSAGES)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(send(broker.address(), Arc::clone(&left), Arc::clone(&stored))))
        .collect();
    for sender in senders {
        sender.await.expect("a sender that does not panic");
    }
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(stored.load(Ordering::Relaxed), ROUND_MESSAGES);
    ROUND_MESSAGES as f64 / seconds
}

async fn killed_under_load(broker: Broker, launch: &Launch) -> Broker {
    let (left, stored) = (Arc::new(AtomicU64::new(u64::MAX / 2)), Arc::new(AtomicU64::new(0)));
    for _ in 0..CONNECTIONS {
        tokio::spawn(send(broker.address(), Arc::clone(&left), Arc::clone(&stored)));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(stored.load(Ordering::Relaxed) > 0, "no load");
    broker.kill();
    launch.start_or_fail()
}

async fn restarted(broker: &Broker, how: &str, figures: &mut Figures) {
    figures.add(&format!("ready_{how}_s"), rounded(broker.ready_after.as_secs_f64()));
    let asked = Instant::now();
    let mut calls = Calls::to(broker.address());
    let messages = calls.receive("readers", 100, 60_000).await;
    assert!(!messages.is_empty(), "nothing came");
    figures.add(&format!("first_receive_{how}_s"), rounded(asked.elapsed().as_secs_f64()));
    assert!(calls.ack("readers", &messages).await.iter().all(|status| status == "ok"));
    figures.add(&format!("peak_memory_{how}_mib"), mib(proc_fs::peak_memory(broker.pid())));
}

/// How long until the index has everything, and how many messages a second that is.
pub(crate) async fn indexed(
    broker: &Broker,
    (count, before): (u64, Duration),
    name: &str,
    figures: &mut Figures,
) {
    let started = Instant::now();
    let mut calls = Calls::to(broker.address());
    loop {
        let ready = calls.expect(200, "GET", "/readyz?verbose", &Value::Null).await;
        let checks = ready["checks"].as_array().expect("checks");
        let index = checks.iter().find(|check| check["name"] == "index").expect("a check of the index");
        if index["found"].as_str().is_some_and(|found| found.starts_with("made up to")) {
            break;
        }
        assert!(started.elapsed() < LIMIT, "{name} takes too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = (before + started.elapsed()).as_secs_f64();
    figures.add(&format!("{name}_s"), rounded(seconds));
    // There at the first look: no rate can be told from that.
    if seconds >= 0.02 {
        figures.add(&format!("{name}_messages_per_s"), rounded(count as f64 / seconds));
    }
}

/// Receives and acks for ten seconds.
async fn drain_some(broker: &Broker, figures: &mut Figures) {
    let mut calls = Calls::to(broker.address());
    let started = Instant::now();
    let mut done = 0usize;
    while started.elapsed() < Duration::from_secs(10) {
        let messages = calls.receive("readers", 1_000, 1_000).await;
        if messages.is_empty() {
            break;
        }
        calls.ack("readers", &messages).await;
        done += messages.len();
    }
    figures.add("drain_one_worker_per_s", rounded(done as f64 / started.elapsed().as_secs_f64()));
    figures.add("drain_peak_memory_mib", mib(proc_fs::peak_memory(broker.pid())));
}
