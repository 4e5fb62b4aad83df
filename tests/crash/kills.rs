//! kill -9 under load, again and again; at the end everything is drained and the history is judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::disk;
use crate::field::{Field, KEYED, LEASE_MS, MAX_ATTEMPTS, ORDERED, PLAIN, Phase, UNORDERED};
use crate::history::{Group, History};
use crate::judge;
use crate::producers::{Way, produce};
use crate::support::calls::Calls;
use crate::support::dice::{Dice, number_from_env, seed};
use crate::support::process::{Broker, Launch};
use crate::workers::{work, work_on_socket};

const PRODUCERS: u32 = 32;
const WORKERS: u64 = 8;
/// Every so many kills the tail of the log is scribbled on, as a power cut could.
const SCRIBBLE_EVERY: u64 = 4;
/// Longest time to settle what is left at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(90);
/// Longest time for the acknowledgements between two kills.
const LOAD_LIMIT: Duration = Duration::from_secs(90);

/// What the kills met.
#[derive(Debug, Default)]
struct Report {
    kills: u64,
    fewest_between_kills: u64,
    scribbled: u64,
    torn_tails_cut: u64,
    slowest_start: Duration,
}

/// `WHIMBREL_KILLS` (12) says how often, `WHIMBREL_ACKED_BETWEEN` (1,000) how many acknowledged messages lie between two kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load_lose_nothing_and_undo_nothing() {
    let seed = seed(20_260_101);
    let kills = number_from_env("WHIMBREL_KILLS", 12);
    let between = number_from_env("WHIMBREL_ACKED_BETWEEN", 1_000);
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch::small(env!("CARGO_BIN_EXE_whimbrel"), folder.path());
    let started = Instant::now();

    let broker = launch.start_or_fail();
    make_groups(&broker).await;
    let mut unordered = Group::new("unordered", &[PLAIN, KEYED]);
    unordered.max_attempts = MAX_ATTEMPTS;
    let mut ordered = Group::new("ordered", &[KEYED]);
    ordered.ordered = true;
    let field = Field::new(seed, History::new(seed, vec![unordered, ordered]));
    field.set_address(Some(broker.address()));
    let everyone = start_everyone(&field);

    let mut report = Report { fewest_between_kills: u64::MAX, ..Report::default() };
    let mut broker = broker;
    let mut dice = Dice::new(seed, 9_999);
    while report.kills < kills && !field.is_spoiled() {
        broker = one_kill(broker, &launch, &field, (between, &mut dice), &mut report).await;
    }
    field.set_phase(Phase::Drain);
    drain(&field, &broker).await;
    field.set_phase(Phase::Stop);
    for one in everyone {
        one.await.unwrap();
    }
    let broker = nothing_comes_back(broker, &launch).await;
    let mut calls = Calls::to(broker.address());
    list_dead_letters(&field, &mut calls).await;
    let (status, said) = broker.terminate();
    assert!(status.is_some_and(|status| status.success()), "SIGTERM ended with {status:?}:\n{said}");
    judge_all(&field, &report, started);
}

async fn make_groups(broker: &Broker) {
    let mut calls = Calls::to(broker.address());
    for topic in [PLAIN, KEYED] {
        calls.expect(201, "PUT", &format!("/v1/topics/{topic}"), &json!({"queues": 4})).await;
    }
    let retry = json!({"kind": "table", "steps_ms": [100, 200]});
    let unordered = json!({
        "subscriptions": [{"topic": PLAIN}, {"topic": KEYED}],
        "lease_ms": LEASE_MS, "max_attempts": MAX_ATTEMPTS, "retry": retry,
    });
    calls.expect(201, "PUT", "/v1/groups/unordered", &unordered).await;
    let ordered = json!({
        "subscriptions": [{"topic": KEYED}], "ordered": true,
        "lease_ms": LEASE_MS, "max_attempts": 1_000, "retry": {"kind": "table", "steps_ms": [100]},
    });
    calls.expect(201, "PUT", "/v1/groups/ordered", &ordered).await;
}

fn start_everyone(field: &Arc<Field>) -> Vec<tokio::task::JoinHandle<()>> {
    let mut everyone = Vec::new();
    for number in 0..PRODUCERS {
        let way = match number % 8 {
            0..4 => Way::Single,
            4..6 => Way::Batch,
            _ => Way::Socket,
        };
        everyone.push(tokio::spawn(produce(Arc::clone(field), number, way)));
    }
    for number in 0..WORKERS {
        let group = if number % 2 == 0 { UNORDERED } else { ORDERED };
        if number < 6 {
            everyone.push(tokio::spawn(work(Arc::clone(field), group, number)));
        } else {
            everyone.push(tokio::spawn(work_on_socket(Arc::clone(field), group, number)));
        }
    }
    everyone
}

/// Waits for acknowledged messages and a random moment, kills, sometimes scribbles, starts again.
async fn one_kill(
    broker: Broker,
    launch: &Launch,
    field: &Arc<Field>,
    (between, dice): (u64, &mut Dice),
    report: &mut Report,
) -> Broker {
    let before = field.events().acknowledged;
    let limit = Instant::now() + LOAD_LIMIT;
    while field.events().acknowledged < before + between {
        if Instant::now() > limit || field.is_spoiled() {
            let now = field.events().acknowledged;
            field.complain(format!("only {} messages were acknowledged in {LOAD_LIMIT:?}", now - before));
            return broker;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_micros(dice.below(200_000))).await;
    field.events().killing();
    field.set_address(None);
    broker.kill();
    field.events().killed();
    report.kills += 1;
    report.fewest_between_kills = report.fewest_between_kills.min(field.events().acknowledged - before);
    if report.kills.is_multiple_of(SCRIBBLE_EVERY) {
        disk::scribble(&launch.data, dice);
        report.scribbled += 1;
    }
    let broker = tokio::task::block_in_place(|| launch.start_or_fail());
    count_torn(report, &broker.said());
    report.slowest_start = report.slowest_start.max(broker.ready_after);
    field.set_address(Some(broker.address()));
    if report.kills.is_multiple_of(20) {
        println!("kill {}: {} acknowledged so far", report.kills, field.events().acknowledged);
    }
    broker
}

/// The broker says when it starts, before it serves, that it cut a tail.
fn count_torn(report: &mut Report, said: &str) {
    report.torn_tails_cut += u64::from(said.contains("torn tail"));
}

/// Until every acknowledged message has its end in both groups.
async fn drain(field: &Arc<Field>, broker: &Broker) {
    let limit = Instant::now() + DRAIN_LIMIT;
    let mut calls = Calls::to(broker.address());
    loop {
        list_dead_letters(field, &mut calls).await;
        let plain = field.events().unsettled(UNORDERED).len();
        let ordered = field.events().unsettled(ORDERED).len();
        if plain + ordered == 0 || field.is_spoiled() {
            return;
        }
        if Instant::now() > limit {
            println!("drained for {DRAIN_LIMIT:?}; unsettled: {plain} unordered, {ordered} ordered");
            for group in ["unordered", "ordered"] {
                let explain = calls.call("GET", &format!("/v1/groups/{group}"), b"").await;
                println!("{group}: {}", explain.text());
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn list_dead_letters(field: &Arc<Field>, calls: &mut Calls) {
    let mut ids: Vec<String> = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/groups/unordered/dead-letters?limit=1000{cursor}");
        let page = calls.expect(200, "GET", &path, &Value::Null).await;
        let rows = page["dead_letters"].as_array().expect("dead letters");
        ids.extend(rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    field.events().dead_letters(UNORDERED, &ids);
    let page = calls.expect(200, "GET", "/v1/groups/ordered/dead-letters", &Value::Null).await;
    if page["dead_letters"].as_array().is_none_or(|rows| !rows.is_empty()) {
        field.complain(format!("the ordered group has dead letters: {page}"));
    }
}

/// Everything is settled: after one more kill and one clean stop neither group is given anything.
async fn nothing_comes_back(broker: Broker, launch: &Launch) -> Broker {
    broker.kill();
    let broker = tokio::task::block_in_place(|| launch.start_or_fail());
    for group in ["unordered", "ordered"] {
        let messages = Calls::to(broker.address()).receive(group, 10, LEASE_MS + 500).await;
        assert_eq!(messages, Vec::<Value>::new(), "came back after a kill");
    }
    let (status, said) = broker.terminate();
    assert!(status.is_some_and(|status| status.success()), "SIGTERM ended with {status:?}:\n{said}");
    let broker = tokio::task::block_in_place(|| launch.start_or_fail());
    for group in ["unordered", "ordered"] {
        let messages = Calls::to(broker.address()).receive(group, 10, 200).await;
        assert_eq!(messages, Vec::<Value>::new(), "came back after a clean stop");
    }
    broker
}

fn judge_all(field: &Field, report: &Report, started: Instant) {
    let events = field.events();
    let wrong = judge::complaints(&events, true);
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = &field.counts;
    println!("{report:?}");
    println!(
        "sent {} · acknowledged {} · {counts:?} · dead letters {} · {:.0} s",
        events.sent.len(),
        events.acknowledged,
        events.groups[UNORDERED].journeys.values().filter(|journey| journey.dead > 0).count(),
        started.elapsed().as_secs_f64()
    );
    let of = |invariant: &str| wrong.iter().filter(|complaint| complaint.starts_with(invariant)).count();
    println!("acknowledged lost {} · acks undone {} · out of order {}", of("I1"), of("I6"), of("I5"));
    for complaint in wrong.iter().take(40) {
        println!("  {complaint}");
    }
    assert!(
        wrong.is_empty(),
        "{} complaints, the first 40 are above; WHIMBREL_SEED={}",
        wrong.len(),
        field.seed
    );
    // A fault that met nothing proves nothing.
    assert!(read(&counts.unknown_publishes) > 0, "no publish was cut off by a kill");
    assert!(read(&counts.unknown_settles) > 0, "no settle was cut off by a kill");
    assert!(read(&counts.redelivered) > 0 && read(&counts.nacked) > 0 && read(&counts.extended) > 0);
    assert!(report.torn_tails_cut >= report.scribbled, "not every torn tail was noticed");
    assert!(report.scribbled > 0 || report.kills < SCRIBBLE_EVERY);
}
