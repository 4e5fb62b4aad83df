//! kill -9 amid seeks: after the restart a seek is wholly there or wholly not, and nothing is lost by it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::calls::Calls;
use crate::support::dice::{Dice, number_from_env, seed};
use crate::support::http::{Http, Trouble};
use crate::support::process::Launch;

const GROUP: &str = "/v1/groups/readers";
const MESSAGES: u64 = 400;

async fn lag(calls: &mut Calls) -> u64 {
    let group = calls.expect(200, "GET", GROUP, &Value::Null).await;
    group["topics"][0]["lag"].as_u64().unwrap_or_else(|| panic!("no lag: {group}"))
}

/// One after the other, to the end and back, until the connection breaks; how many were answered.
async fn seek_to_and_fro(address: SocketAddr, mut waiting: u64) -> Sought {
    let mut http = Http::new(address);
    let mut answered = 0;
    loop {
        let to = if waiting == 0 { "earliest" } else { "latest" };
        let body = json!({"topic": "t", "to": to}).to_string();
        match http.post(&format!("{GROUP}/seek"), body.as_bytes()).await {
            Ok(answer) => assert_eq!(answer.status, 200, "{}", answer.text()),
            Err(trouble) => return Sought { answered, waiting, cut_off: trouble == Trouble::Lost },
        }
        answered += 1;
        waiting = MESSAGES - waiting;
    }
}

/// What came of them.
struct Sought {
    answered: u64,
    /// How many messages the last answered one left.
    waiting: u64,
    /// Whether one more was on its way.
    cut_off: bool,
}

/// `WHIMBREL_SEEK_KILLS` (16) says how often; more, up to three times, until a seek was cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seek_is_there_as_a_whole_or_not_at_all() {
    let seed = seed(20_261_128);
    let kills = number_from_env("WHIMBREL_SEEK_KILLS", 16);
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch::small(env!("CARGO_BIN_EXE_whimbrel"), folder.path());
    let mut broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.expect(201, "PUT", "/v1/topics/t", &json!({"queues": 16})).await;
    calls.expect(201, "PUT", GROUP, &json!({"subscriptions": [{"topic": "t"}]})).await;
    let all: Vec<Value> = (0..MESSAGES).map(|number| json!({"body": format!("m{number}")})).collect();
    calls.publish_all("t", &all).await;
    let wanted: BTreeSet<String> = (0..MESSAGES).map(|number| format!("m{number}")).collect();
    let mut dice = Dice::new(seed, 1);
    // What is to come: everything, or nothing once all is acked or skipped.
    let mut waiting = MESSAGES;
    let (mut rounds, mut answered, mut cut_off, mut done) = (0, 0, 0, 0);
    while rounds < kills || (cut_off == 0 && rounds < 3 * kills) {
        rounds += 1;
        let seeking = tokio::spawn(seek_to_and_fro(broker.address(), waiting));
        tokio::time::sleep(Duration::from_micros(5_000 + dice.below(30_000))).await;
        tokio::task::block_in_place(|| broker.kill());
        let sought = seeking.await.unwrap();
        broker = tokio::task::block_in_place(|| launch.start_or_fail());
        calls = Calls::to(broker.address());
        let found = lag(&mut calls).await;
        assert!(found == 0 || found == MESSAGES, "half a seek: {found} of {MESSAGES} are left; seed {seed}");
        assert!(sought.cut_off || found == sought.waiting, "an answered seek is gone; seed {seed}");
        answered += sought.answered;
        cut_off += u64::from(sought.cut_off);
        done += u64::from(sought.cut_off && found != sought.waiting);
        waiting = found;
        if dice.chance(1, 3) {
            let bodies = calls.drain("readers", 300).await;
            let came: BTreeSet<String> = bodies.iter().cloned().collect();
            assert_eq!(bodies.len(), came.len(), "something came twice");
            let expected = if waiting == 0 { &BTreeSet::new() } else { &wanted };
            assert_eq!(&came, expected, "what came is not what a whole seek leaves; seed {seed}");
            waiting = 0;
        }
    }
    let sought =
        calls.expect(200, "POST", &format!("{GROUP}/seek"), &json!({"topic": "t", "to": "earliest"})).await;
    assert_eq!(sought["replayed"].as_u64().unwrap_or(0) + waiting, MESSAGES, "{sought}");
    let came: BTreeSet<String> = calls.drain("readers", 300).await.into_iter().collect();
    assert_eq!(came, wanted, "nothing is lost");
    println!("{rounds} kills · {answered} seeks answered · {cut_off} cut off, {done} of them there");
    // A fault that met nothing proves nothing.
    assert!(answered > 0 && cut_off > 0, "no kill met a seek");
}
