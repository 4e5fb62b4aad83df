//! kill -9 in the middle of requests that are sent again under their key until they are answered: nothing is lost (I1),
//! nothing is stored twice (I3), and what was answered once is answered the same after every restart (I20).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::calls::Calls;
use crate::support::dice::{Dice, number_from_env, seed};
use crate::support::http::{Answer, Http, Trouble};
use crate::support::process::Launch;

const SENDERS: u64 = 16;
const QUEUES: u64 = 2;
/// Longest time for the answers between two kills.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// One request, and what it was answered.
#[derive(Clone, Debug)]
struct Request {
    key: String,
    /// More than one message is an atomic batch.
    bodies: Vec<String>,
    answer: Vec<u8>,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    /// Sent, and the connection broke before the answer.
    cut_off: AtomicU64,
    /// Answered at last with what an earlier try had stored.
    rescued: AtomicU64,
}

struct Shared {
    address: watch::Sender<Option<SocketAddr>>,
    stop: AtomicBool,
    counts: Counts,
}

impl Shared {
    async fn address(&self) -> SocketAddr {
        let mut address = self.address.subscribe();
        let found = address.wait_for(Option::is_some).await.expect("the test outlives its senders");
        found.expect("waited for")
    }
}

impl Request {
    fn new(sender: u64, number: u64, dice: &mut Dice) -> Request {
        let count = if dice.chance(1, 3) { 2 + dice.below(4) } else { 1 };
        let filler = "x".repeat(usize::try_from(dice.below(2_000)).unwrap());
        let body = |at| format!("{sender}/{number}/{at}/{filler}");
        Request {
            key: format!("s{sender}-{number}"),
            bodies: (0..count).map(body).collect(),
            answer: Vec::new(),
        }
    }

    async fn call(&self, http: &mut Http) -> Result<Answer, Trouble> {
        let headers = [("idempotency-key", self.key.as_str())];
        if let [body] = self.bodies.as_slice() {
            return http.call("POST", "/v1/topics/t/messages", &headers, body.as_bytes()).await;
        }
        let messages: Vec<Value> = self.bodies.iter().map(|body| json!({ "body": body })).collect();
        let body = json!({ "messages": messages }).to_string();
        http.call("POST", "/v1/topics/t/messages/batch?atomic=true", &headers, body.as_bytes()).await
    }

    /// Sends it until it is answered.
    async fn carry_out(&mut self, http: &mut Http, shared: &Shared) {
        let mut tries = 0;
        loop {
            tries += 1;
            http.move_to(shared.address().await);
            match self.call(http).await {
                Ok(answer) if matches!(answer.status, 200 | 201) => {
                    let replayed = answer.header("idempotency-replayed").is_some();
                    assert!(tries > 1 || !replayed, "I20: {} was answered before it was sent", self.key);
                    shared.counts.rescued.fetch_add(u64::from(replayed), Ordering::Relaxed);
                    shared.counts.answered.fetch_add(1, Ordering::Relaxed);
                    self.answer = answer.body;
                    return;
                }
                Ok(answer) => assert!(matches!(answer.status, 503 | 504), "{}: {}", self.key, answer.text()),
                Err(Trouble::NotSent) => {}
                Err(trouble) => {
                    assert_ne!(trouble, Trouble::Hung, "I9: no answer and no end of the connection");
                    shared.counts.cut_off.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The ids it was answered.
    fn ids(&self) -> Vec<String> {
        let answer: Value = serde_json::from_slice(&self.answer).expect("JSON");
        let id = |one: &Value| one["id"].as_str().expect("an id").to_owned();
        match answer["results"].as_array() {
            Some(results) => results.iter().map(id).collect(),
            None => vec![id(&answer)],
        }
    }
}

async fn send_all(shared: Arc<Shared>, sender: u64, seed: u64) -> Vec<Request> {
    let mut dice = Dice::new(seed, sender);
    let mut http = Http::new(shared.address().await);
    let mut done = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let mut request = Request::new(sender, done.len() as u64, &mut dice);
        request.carry_out(&mut http, &shared).await;
        done.push(request);
        tokio::time::sleep(Duration::from_millis(dice.below(8))).await;
    }
    done
}

/// Everything the topic holds: the name of each message by its id.
async fn stored(address: SocketAddr) -> BTreeMap<String, String> {
    let mut calls = Calls::to(address);
    // After a kill the index is made again from the log, and until then a page may have gaps.
    let limit = Instant::now() + LOAD_LIMIT;
    loop {
        let node = calls.expect(200, "GET", "/readyz?verbose", &Value::Null).await["node"].clone();
        if node["indexed"].as_u64() >= node["applied"].as_u64() {
            break;
        }
        assert!(Instant::now() < limit, "the index is not made again: {node}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut found = BTreeMap::new();
    for queue in 0..QUEUES {
        let mut offset = 0;
        loop {
            let path = format!("/v1/topics/t/queues/{queue}/messages?limit=1000&offset={offset}");
            let page = calls.expect(200, "GET", &path, &Value::Null).await;
            let messages = page["messages"].as_array().expect("messages");
            for message in messages {
                let id = message["id"].as_str().expect("an id").to_owned();
                let body = message["body"].as_str().expect("a body");
                assert!(found.insert(id, name_of(body)).is_none(), "one id, two places");
                offset = message["offset"].as_u64().expect("an offset") + 1;
            }
            if messages.is_empty() {
                break;
            }
        }
    }
    found
}

/// A body without its filler, which is told by its length.
fn name_of(body: &str) -> String {
    format!("{} and {} bytes", body.trim_end_matches('x'), body.len())
}

/// `WHIMBREL_RETRY_KILLS` (6) says how often, at most three times as often until a retry met what an earlier try stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_amid_idempotent_retries_lose_nothing_and_double_nothing() {
    let seed = seed(20_261_126);
    let kills = number_from_env("WHIMBREL_RETRY_KILLS", 6);
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch::small(env!("CARGO_BIN_EXE_whimbrel"), folder.path());
    let mut broker = launch.start_or_fail();
    let settings = json!({"queues": QUEUES, "idempotency_window_ms": 3_600_000});
    Calls::to(broker.address()).expect(201, "PUT", "/v1/topics/t", &settings).await;
    let address = watch::Sender::new(Some(broker.address()));
    let shared = Arc::new(Shared { address, stop: AtomicBool::new(false), counts: Counts::default() });
    let senders: Vec<_> =
        (0..SENDERS).map(|sender| tokio::spawn(send_all(Arc::clone(&shared), sender, seed))).collect();
    let mut dice = Dice::new(seed, 9_999);
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut killed = 0;
    while killed < kills || (read(&shared.counts.rescued) == 0 && killed < 3 * kills) {
        let before = read(&shared.counts.answered);
        let limit = Instant::now() + LOAD_LIMIT;
        while read(&shared.counts.answered) < before + 200 {
            assert!(Instant::now() < limit, "the load stands still; WHIMBREL_SEED={seed}");
            assert!(!senders.iter().any(tokio::task::JoinHandle::is_finished), "a sender gave up");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_micros(dice.below(20_000))).await;
        shared.address.send_replace(None);
        broker.kill();
        killed += 1;
        broker = tokio::task::block_in_place(|| launch.start_or_fail());
        shared.address.send_replace(Some(broker.address()));
    }
    shared.stop.store(true, Ordering::Relaxed);
    let mut requests = Vec::new();
    for sender in senders {
        requests.extend(sender.await.expect("a sender says what is wrong"));
    }
    broker.kill();
    let broker = tokio::task::block_in_place(|| launch.start_or_fail());
    judge(&requests, &stored(broker.address()).await);
    let mut http = Http::new(broker.address());
    for request in requests.iter().rev().step_by(7) {
        let again = request.call(&mut http).await.expect("an answer");
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "I20: {} was forgotten", request.key);
        assert_eq!(again.body, request.answer, "I20: {} is answered anew", request.key);
    }
    let counts = &shared.counts;
    let (cut_off, rescued) = (read(&counts.cut_off), read(&counts.rescued));
    println!("{killed} kills · {} requests · {cut_off} cut off · {rescued} rescued", requests.len());
    // A fault that met nothing proves nothing.
    assert!(cut_off > 0, "no request was cut off by a kill");
    assert!(rescued > 0, "no retry met what an earlier try had stored");
    let (status, said) = broker.terminate();
    assert!(status.is_some_and(|status| status.success()), "SIGTERM ended with {status:?}:\n{said}");
}

/// I1, I3: what is stored is exactly what was answered, every message once and under the id that was said.
fn judge(requests: &[Request], stored: &BTreeMap<String, String>) {
    let mut expected = BTreeMap::new();
    for request in requests {
        let ids = request.ids();
        assert_eq!(ids.len(), request.bodies.len(), "{}: not one answer a message", request.key);
        expected.extend(ids.into_iter().zip(request.bodies.iter().map(|body| name_of(body))));
    }
    let lost: Vec<_> = expected.iter().filter(|(id, body)| stored.get(*id) != Some(*body)).collect();
    assert!(lost.is_empty(), "I1: {} answered messages are missing: {:?}", lost.len(), lost.first());
    let more: Vec<_> = stored.iter().filter(|(id, _)| !expected.contains_key(*id)).collect();
    assert!(more.is_empty(), "I3: {} messages are stored twice: {:?}", more.len(), more.first());
}
