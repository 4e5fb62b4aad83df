//! A file system that fills up. Needs the right to mount a small one; says so and passes when there is none.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::calls::Calls;
use crate::support::process::{Broker, Launch};

const SIZE_MIB: usize = 96;
const BODY_BYTES: usize = 128 << 10;
const MESSAGES: &str = "/v1/topics/big/messages";

/// A small file system in memory, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Small> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={SIZE_MIB}m");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "whimbrel-test"]).arg(at).output();
        if done.is_ok_and(|output| output.status.success()) {
            Some(Small(at.to_owned()))
        } else {
            eprintln!("skipped: a small file system cannot be mounted here (needs root)");
            None
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn body(number: usize) -> String {
    let mut body = format!("{number}:");
    body.push_str(&"full".repeat(BODY_BYTES / 4));
    body
}

fn number_of(body: &str) -> usize {
    body.split(':').next().and_then(|number| number.parse().ok()).expect("a body of this test")
}

/// Publishes until the broker refuses with 507; how many it took.
async fn fill(broker: &Broker, calls: &mut Calls) -> usize {
    let (taken, unknown) = fill_counting(broker, calls).await;
    assert_eq!(unknown, 0, "room went by the broker's own writing, so it must see the end come");
    taken
}

/// The same; how many it took and how many outcomes are unknown.
async fn fill_counting(broker: &Broker, calls: &mut Calls) -> (usize, usize) {
    let (mut taken, mut unknown) = (0, 0);
    for number in 0..2 * SIZE_MIB * (1 << 20) / BODY_BYTES {
        let answer = calls.call("POST", MESSAGES, body(number).as_bytes()).await;
        match answer.status {
            201 => taken += 1,
            503 => tokio::time::sleep(Duration::from_millis(100)).await,
            504 => unknown += 1,
            507 => {
                assert_eq!(answer.json()["code"], "disk_full", "{}", answer.text());
                return (taken, unknown);
            }
            _ => panic!("message {number}: {} {}\n{}", answer.status, answer.text(), broker.said()),
        }
    }
    panic!("more was acknowledged than fits on the disk");
}

async fn make_reader(calls: &mut Calls) {
    calls.expect(201, "PUT", "/v1/topics/big", &json!({"queues": 2, "max_age_ms": 1_000})).await;
    calls.expect(201, "PUT", "/v1/groups/readers", &json!({"subscriptions": [{"topic": "big"}]})).await;
}

async fn publish_again(broker: &Broker, calls: &mut Calls, text: &str) {
    let limit = Instant::now() + Duration::from_secs(90);
    loop {
        let answer = calls.call("POST", MESSAGES, text.as_bytes()).await;
        if answer.status == 201 {
            return;
        }
        assert_eq!(answer.status, 507, "{}", answer.text());
        assert!(Instant::now() < limit, "still refused: {}\n{}", answer.text(), broker.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Producers are refused, consumers go on, a crash in that state loses nothing, and room brings producers back.
#[tokio::test]
async fn a_full_disk_refuses_producers_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(&folder.path().join("small")) else { return };
    let launch = Launch::small(env!("CARGO_BIN_EXE_whimbrel"), &small.0.join("data"));
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    make_reader(&mut calls).await;
    let accepted = fill(&broker, &mut calls).await;
    assert!(accepted > 20, "refused after {accepted} messages of {BODY_BYTES} bytes on {SIZE_MIB} MiB");
    println!("507 after {accepted} messages of {BODY_BYTES} bytes on {SIZE_MIB} MiB");

    let some = calls.receive("readers", 10, 1_000).await;
    assert!(!some.is_empty(), "receive goes on");
    assert!(calls.ack("readers", &some).await.iter().all(|status| status == "ok"), "settle goes on");
    broker.kill();
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    let mut numbers: Vec<usize> =
        some.iter().map(|message| number_of(message["body"].as_str().unwrap())).collect();
    for text in calls.drain("readers", 1_000).await {
        let number = number_of(&text);
        assert_eq!(text.len(), body(number).len());
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..accepted).collect::<Vec<_>>(), "everything acknowledged came once, nothing else");

    // Everything is settled and older than the topic keeps it: the broker makes room by itself.
    publish_again(&broker, &mut calls, "0:room").await;
    assert_eq!(calls.drain("readers", 500).await, ["0:room"]);
}

/// Room taken by something else: the broker steps back before the disk is full, and comes back with the room.
#[tokio::test]
async fn room_taken_by_others_is_noticed_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(&folder.path().join("small")) else { return };
    let launch = Launch::small(env!("CARGO_BIN_EXE_whimbrel"), &small.0.join("data"));
    let broker = launch.with(&["--request-timeout", "2s"]).start_or_fail();
    let mut calls = Calls::to(broker.address());
    make_reader(&mut calls).await;
    for number in 0..50 {
        calls.publish("big", &format!("{number}:before")).await;
    }
    let ballast = small.0.join("ballast");
    // Writes until the file system has no room at all.
    let filled = std::fs::write(&ballast, vec![1u8; SIZE_MIB << 20]);
    assert!(filled.is_err(), "the ballast must not fit");
    // The room went in one moment: what was just submitted may have met the end before the broker saw it.
    let (accepted, unknown) = fill_counting(&broker, &mut calls).await;
    let received = calls.call("POST", "/v1/groups/readers/receive?max_messages=5&wait=1s", b"").await;
    assert!(matches!(received.status, 200 | 507), "{}", received.text());
    assert_eq!(calls.call("GET", "/livez", b"").await.status, 200);
    std::fs::remove_file(&ballast).unwrap();
    publish_again(&broker, &mut calls, "0:after").await;
    let held = received.json()["messages"].as_array().cloned().unwrap_or_default();
    for status in calls.ack("readers", &held).await {
        assert_eq!(status, "ok");
    }
    let came = calls.drain("readers", 1_000).await.len() + held.len();
    let acknowledged = 50 + accepted + 1;
    assert!(
        (acknowledged..=acknowledged + unknown).contains(&came),
        "{came} of {acknowledged} came, {unknown} unknown"
    );
}
