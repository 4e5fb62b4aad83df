//! Slow and failing fdatasync: 504, 503, the end of the process, and the torn tail that a kill then leaves.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::disk;
use crate::strace::{self, Strace};
use crate::support::calls::Calls;
use crate::support::dice::{Dice, seed};
use crate::support::http::{Http, Trouble};
use crate::support::process::Launch;

const TOPIC: &str = "slow";
const MESSAGES: &str = "/v1/topics/slow/messages";

fn launch(data: &std::path::Path) -> Launch {
    Launch::small(env!("CARGO_BIN_EXE_whimbrel"), data)
}

/// Submitted and not confirmed in time is 504 and may be there; never submitted is 503 and is not.
#[tokio::test]
async fn a_slow_disk_makes_outcomes_unknown_and_refuses_what_still_waits() {
    if !strace::available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let broker = launch(&data).with(&["--request-timeout", "1s"]).start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.publish(TOPIC, "before").await;

    let strace =
        Strace::inject(&broker, "inject=fdatasync:delay_enter=4000000", &folder.path().join("strace"));
    let mut first = Http::new(broker.address());
    first.send("POST", MESSAGES, &[], b"submitted").await.unwrap();
    let submitted = Instant::now();
    // A delayed call is written down when it returns; half a second after the request it is certainly made.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut second = Http::new(broker.address());
    let queued = second.post(MESSAGES, b"queued").await.unwrap();
    let unknown = first.answer().await.unwrap();
    assert_eq!(
        (unknown.status, unknown.json()["code"].clone()),
        (504, json!("outcome_unknown")),
        "{}",
        unknown.text()
    );
    assert_eq!(queued.status, 503, "{}", queued.text());
    assert!(queued.header("retry-after").is_some(), "{:?}", queued.headers);
    let alive = calls.call("GET", "/livez", b"").await;
    assert_eq!(alive.status, 200, "other connections do not notice");

    while strace.hits() == 0 {
        assert!(submitted.elapsed() < Duration::from_secs(30), "no fdatasync was delayed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(strace);
    calls.publish(TOPIC, "after").await;
    make_reader(&mut calls).await;
    let mut bodies = calls.drain("readers", 500).await;
    bodies.sort();
    assert_eq!(bodies, ["after", "before", "submitted"], "the unknown one once, the refused one never");
}

/// A failed fdatasync is the end: nothing is acknowledged after it, the process says why, and a new one starts clean.
#[tokio::test]
async fn a_failed_sync_ends_the_process_and_loses_nothing() {
    if !strace::available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(&folder.path().join("data"));
    let mut broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    for number in 0..20 {
        calls.publish(TOPIC, &format!("acknowledged {number}")).await;
    }
    let strace = Strace::inject(&broker, "inject=fdatasync:error=EIO", &folder.path().join("strace"));
    let mut late = Vec::new();
    for _ in 0..8 {
        let mut http = Http::new(broker.address());
        late.push(tokio::spawn(async move { http.post(MESSAGES, b"after the fault").await }));
    }
    for answer in late {
        match answer.await.unwrap() {
            Ok(answer) => assert!(answer.status >= 500, "acknowledged after the fault: {}", answer.text()),
            Err(Trouble::Hung) => panic!("no answer and no end of the connection"),
            Err(Trouble::Lost | Trouble::NotSent) => {}
        }
    }
    let ended = tokio::task::spawn_blocking(move || broker.wait_for_end(Duration::from_secs(30)));
    let (status, said) = ended.await.unwrap().expect("the process ends by itself");
    assert!(strace.hits() > 0, "no fdatasync failed");
    drop(strace);
    assert!(!status.success(), "{status:?}");
    assert_ne!(status.code(), None, "it ends in order, not by a signal: {status:?}");
    assert!(said.contains(".log") && said.contains("os error 5"), "says which file and why:\n{said}");
    assert!(!said.contains("panicked"), "{said}");

    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    calls.publish(TOPIC, "new").await;
    make_reader(&mut calls).await;
    let mut bodies = calls.drain("readers", 500).await;
    let unknown = bodies.iter().filter(|body| *body == "after the fault").count();
    assert!(unknown <= 8, "{unknown} from 8 publishes");
    bodies.retain(|body| body != "after the fault");
    bodies.sort();
    let mut expected: Vec<String> = (0..20).map(|number| format!("acknowledged {number}")).collect();
    expected.push("new".to_owned());
    expected.sort();
    assert_eq!(bodies, expected);
}

/// Written and never confirmed: whatever part of it a crash leaves, it is cut off and nothing else is.
#[tokio::test]
async fn a_tail_torn_anywhere_is_cut_and_nothing_else() {
    if !strace::available() {
        return;
    }
    let seed = seed(504);
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("data");
    let broker = launch(&original).start_or_fail();
    let mut calls = Calls::to(broker.address());
    for number in 0..20 {
        calls.publish(TOPIC, &format!("acknowledged {number}")).await;
    }
    make_reader(&mut calls).await;
    let segment = disk::newest_segment(&original);
    let strace =
        Strace::inject(&broker, "inject=fdatasync:delay_enter=60000000", &folder.path().join("strace"));
    let before = disk::records_end(&segment);
    let mut http = Http::new(broker.address());
    http.send("POST", MESSAGES, &[], "never acknowledged ".repeat(10_000).as_bytes()).await.unwrap();
    let sent = Instant::now();
    let mut after = before;
    while after < before + 150_000 {
        assert!(sent.elapsed() < Duration::from_secs(20), "nothing was written: {before} .. {after}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        after = disk::records_end(&segment);
    }
    broker.strike();
    drop(strace);
    broker.kill();
    let name = segment.strip_prefix(&original).unwrap();

    let mut dice = Dice::new(seed, 0);
    let mut cuts = vec![before + 1, before + 40, before + 80, after - 1];
    cuts.extend((0..6).map(|_| before + 1 + dice.below(after - before - 1)));
    for cut in cuts {
        let copy = folder.path().join(format!("cut-{cut}"));
        disk::copy(&original, &copy);
        disk::tear(&copy.join(name), cut);
        let broker = launch(&copy).start_or_fail();
        assert!(broker.said().contains("torn tail"), "cut at {cut} of {before}..{after}:\n{}", broker.said());
        let mut bodies = Calls::to(broker.address()).drain("readers", 300).await;
        bodies.sort();
        let mut expected: Vec<String> = (0..20).map(|number| format!("acknowledged {number}")).collect();
        expected.sort();
        assert_eq!(bodies, expected, "cut at {cut} of {before}..{after}");
    }
}

async fn make_reader(calls: &mut Calls) {
    let settings = json!({"subscriptions": [{"topic": TOPIC}]});
    calls.expect(201, "PUT", "/v1/groups/readers", &settings).await;
}
