//! kill -9 in the middle of a redrive job: in the end every dead letter has moved exactly once, back to its group or on to
//! another topic. Nothing is lost (I1), nothing is doubled (I3).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::calls::Calls;
use crate::support::dice::{Dice, number_from_env, seed};
use crate::support::process::{Broker, Launch};

const LETTERS: usize = 3_000;
/// So fast a job goes, so that the kills meet it under way.
const RATE: u64 = 600;
/// Longest time between two states that are waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// `WHIMBREL_REDRIVE_KILLS` (6) says how often; no kill meets a job that has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_amid_a_redrive_back_to_the_group_move_every_letter_once() {
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch::small(env!("CARGO_BIN_EXE_whimbrel"), folder.path());
    let (broker, bodies) = with_letters(&launch).await;
    let broker = redrive_under_kills(broker, &launch, json!({"filter": {}, "rate_per_s": RATE})).await;
    let mut calls = Calls::to(broker.address());
    let came = calls.drain("g", 1_000).await;
    assert_eq!(came.len(), LETTERS, "I1, I3: so many came back");
    assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), bodies, "I1: other messages came back");
    assert_eq!(letters_left(&mut calls).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_amid_a_redrive_to_another_topic_move_every_letter_once() {
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch::small(env!("CARGO_BIN_EXE_whimbrel"), folder.path());
    let (broker, bodies) = with_letters(&launch).await;
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/topics/other", &json!({"queues": 2})).await;
    let order = json!({"filter": {}, "to": "other", "rate_per_s": RATE});
    let broker = redrive_under_kills(broker, &launch, order).await;
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/groups/readers", &json!({"subscriptions": [{"topic": "other"}]})).await;
    let mut came = BTreeSet::new();
    let mut origins = BTreeSet::new();
    loop {
        let messages = calls.receive("readers", 1_000, 1_000).await;
        if messages.is_empty() {
            break;
        }
        calls.ack("readers", &messages).await;
        for message in messages {
            let origin = message["properties"]["dlq_origin_id"].as_str().expect("an origin").to_owned();
            assert!(origins.insert(origin), "I3: one letter, two messages: {message}");
            came.insert(message["body"].as_str().expect("a body").to_owned());
        }
    }
    assert_eq!(origins.len(), LETTERS, "I1, I3: so many went on");
    assert_eq!(came, bodies, "I1: other messages went on");
    assert_eq!(letters_left(&mut calls).await, 0);
    assert_eq!(calls.receive("g", 1, 0).await, Vec::<Value>::new(), "I3: it went on and back");
}

/// A broker whose group `g` has dead letters, and their bodies.
async fn with_letters(launch: &Launch) -> (Broker, BTreeSet<String>) {
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/topics/t", &json!({"queues": 2})).await;
    calls.expect(201, "PUT", "/v1/groups/g", &json!({"subscriptions": [{"topic": "t"}]})).await;
    let bodies: Vec<String> =
        (0..LETTERS).map(|number| format!("{number} {}", "x".repeat(number % 700))).collect();
    for some in bodies.chunks(500) {
        let messages: Vec<Value> = some.iter().map(|body| json!({ "body": body })).collect();
        calls.publish_all("t", &messages).await;
    }
    let mut dead = 0;
    while dead < LETTERS {
        let messages = calls.receive("g", 1_000, 5_000).await;
        assert!(!messages.is_empty(), "{dead} of {LETTERS} came");
        let receipts: Vec<&Value> = messages.iter().map(|message| &message["receipt"]).collect();
        let body = json!({ "receipts": receipts });
        calls.expect(200, "POST", "/v1/groups/g/dead-letter", &body).await;
        dead += messages.len();
    }
    assert_eq!(letters_left(&mut calls).await, LETTERS as u64);
    (broker, bodies.into_iter().collect())
}

async fn letters_left(calls: &mut Calls) -> u64 {
    let group = calls.expect(200, "GET", "/v1/groups/g", &Value::Null).await;
    group["dead_letters"].as_u64().expect("a count")
}

/// Starts the job, kills the broker again and again while it runs, and waits for its end.
async fn redrive_under_kills(mut broker: Broker, launch: &Launch, order: Value) -> Broker {
    let seed = seed(20_261_127);
    let mut dice = Dice::new(seed, 1);
    let kills = number_from_env("WHIMBREL_REDRIVE_KILLS", 6);
    let mut calls = Calls::to(broker.address());
    let job = calls.expect(202, "POST", "/v1/groups/g/dead-letters/redrive", &order).await;
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    let mut moved = 0;
    for kill in 0..kills {
        // At least one step further, and then any moment.
        let job = until(broker.address(), &path, |job| job["moved"].as_u64() > Some(moved)).await;
        assert_eq!(job["state"], "running", "kill {kill} met a job that had ended; WHIMBREL_SEED={seed}");
        moved = job["moved"].as_u64().expect("a count");
        tokio::time::sleep(Duration::from_micros(dice.below(120_000))).await;
        broker.kill();
        broker = tokio::task::block_in_place(|| launch.start_or_fail());
        let job = Calls::to(broker.address()).expect(200, "GET", &path, &Value::Null).await;
        assert!(job["moved"].as_u64() >= Some(moved), "I1: a job went back: {moved}, then {job}");
    }
    let job = until(broker.address(), &path, |job| job["state"] != "running").await;
    println!("{kills} kills, then {job}");
    let count = |name: &str| job[name].as_u64().expect("a count");
    assert_eq!(
        (&job["state"], count("looked"), count("failed")),
        (&json!("done"), LETTERS as u64, 0),
        "{job}"
    );
    assert_eq!(count("moved"), LETTERS as u64, "I1: {job}");
    broker
}

/// The job, once it is as it should be.
async fn until(address: SocketAddr, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut calls = Calls::to(address);
    let limit = Instant::now() + LIMIT;
    loop {
        let job = calls.expect(200, "GET", path, &Value::Null).await;
        if fits(&job) {
            return job;
        }
        assert!(Instant::now() < limit, "the job stands still: {job}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
