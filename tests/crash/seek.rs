//! kill -9 amid seeks: after the restart a seek is wholly there or wholly not, and nothing is lost by it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::calls::Calls;
use crate::support::dice::{Dice, number_from_env, seed};
use crate::support::http::Http;
use crate::support::process::{Broker, Launch};

const GROUP: &str = "/v1/groups/readers";
const MESSAGES: u64 = 400;

async fn lag(calls: &mut Calls) -> u64 {
    let group = calls.expect(200, "GET", GROUP, &Value::Null).await;
    group["topics"][0]["lag"].as_u64().unwrap_or_else(|| panic!("no lag: {group}"))
}

/// Sends a seek and kills the broker a moment later; whether it was answered.
async fn killed_amid(broker: Broker, to: &str, moment: Duration) -> bool {
    let mut http = Http::new(broker.address());
    let body = json!({"topic": "t", "to": to}).to_string();
    // A first call opens the connection, so that the moment counts from the seek.
    http.get("/livez").await.expect("an answer");
    http.send("POST", &format!("{GROUP}/seek"), &[], body.as_bytes()).await.expect("sent");
    tokio::time::sleep(moment).await;
    tokio::task::block_in_place(|| broker.kill());
    http.answer().await.is_ok_and(|answer| answer.status == 200)
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
    let (mut rounds, mut cut_off, mut done, mut undone) = (0, 0, 0, 0);
    while rounds < kills || (cut_off == 0 && rounds < 3 * kills) {
        rounds += 1;
        let (to, sought) = if waiting == 0 { ("earliest", MESSAGES) } else { ("latest", 0) };
        let answered = killed_amid(broker, to, Duration::from_micros(dice.below(6_000))).await;
        broker = tokio::task::block_in_place(|| launch.start_or_fail());
        calls = Calls::to(broker.address());
        let found = lag(&mut calls).await;
        assert!(
            found == sought || found == waiting,
            "half a seek: {found} of {MESSAGES} are left; seed {seed}"
        );
        assert!(!answered || found == sought, "an answered seek is gone; seed {seed}");
        cut_off += u64::from(!answered);
        done += u64::from(found == sought);
        undone += u64::from(found != sought);
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
    println!("{rounds} kills · {cut_off} seeks cut off · {done} there · {undone} not");
    // A fault that met nothing proves nothing.
    assert!(cut_off > 0 && done > 0, "no kill met a seek");
}
