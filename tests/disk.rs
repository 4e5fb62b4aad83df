//! What a node does with its disk over a long life, compressed: retention, images, the index, damage, restarts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

#[allow(dead_code, reason = "each test binary uses its own part")]
mod client;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::Answer;
use whimbrel::config::ServeArgs;
use whimbrel::node::{Node, NodeError};

async fn start(data: &Path, more: &[&str]) -> Result<Node, NodeError> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let listen = more.iter().find(|flag| flag.starts_with("--listen=")).unwrap_or(&"--listen=127.0.0.1:0");
    let others = more.iter().filter(|flag| !flag.starts_with("--listen="));
    let line = ["whimbrel", listen, "--data", &data].into_iter().chain(others.copied());
    Node::start(<Line as clap::Parser>::parse_from(line).serve).await
}

/// Sends one request off the async threads.
async fn send(node: &Node, line: &str, body: impl Into<Vec<u8>>) -> Answer {
    let (to, line, body) = (node.addr(), line.to_owned(), body.into());
    tokio::task::spawn_blocking(move || request(to, &line, &body)).await.unwrap()
}

fn request(to: SocketAddr, line: &str, body: &[u8]) -> Answer {
    client::send(to, line.split_once(' ').unwrap(), &[], body)
}

async fn produce(node: &Node, topic: &str, body: &str) -> String {
    let answer = send(node, &format!("POST /v1/topics/{topic}/messages"), body).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Receives until all `wanted` bodies came; answers with all that came.
async fn bodies(node: &Node, group: &str, wanted: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let line = format!("POST /v1/groups/{group}/receive?wait=10s&max_messages=1000");
    while !wanted.is_subset(&found) {
        let answer = send(node, &line, "").await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let messages = answer.json()["messages"].as_array().unwrap().clone();
        let missing = || wanted.difference(&found).collect::<Vec<_>>();
        assert!(!messages.is_empty(), "{} arrived, missing are {:?}", found.len(), missing());
        found.extend(messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()));
    }
    found
}

fn files(data: &Path, folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn flip_a_bit(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

fn check(node: &Node, name: &str) -> (bool, String) {
    let checks = node.broker().readiness().checks;
    let (_, passed, text) = checks.into_iter().find(|(known, _, _)| *known == name).unwrap();
    (passed, text)
}

const SMALL: [&str; 2] = ["--segment-bytes=64KiB", "--image-facts=40"];

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_go_and_what_stands_before_and_behind_the_gap_is_delivered() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &SMALL).await.unwrap();
    let put = send(&node, "PUT /v1/topics/flow", "{\"queues\":1,\"max_age_ms\":1000}").await;
    assert_eq!(put.status, 201);
    assert_eq!(send(&node, "POST /v1/groups/slow/receive?topic=kept&wait=0s", "").await.status, 200);
    produce(&node, "kept", "before").await;
    let first = files(data.path(), "log")[0].clone();
    let filler = "x".repeat(4_000);
    let gone = produce(&node, "flow", &filler).await;
    for _ in 0..120 {
        produce(&node, "flow", &filler).await;
    }
    let full = files(data.path(), "log");
    assert!(full.len() > 5, "{full:?}");
    // Each round may bring the image or the age that was missing; the count only bounds a failure.
    let mut rounds = 0;
    while full[1..4].iter().any(|segment| segment.exists()) {
        rounds += 1;
        assert!(rounds < 100, "the segments stay: {:?}", files(data.path(), "log"));
        for _ in 0..10 {
            produce(&node, "flow", &filler).await;
        }
        node.broker().tend().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(first.exists(), "an unsettled message pins its segment");
    assert!(files(data.path(), "images").len() <= 2);
    assert_eq!(send(&node, &format!("GET /v1/messages/{gone}"), "").await.status, 410);
    for number in 0..5 {
        produce(&node, "kept", &format!("behind {number}")).await;
    }
    node.stop().await;

    std::fs::remove_dir_all(data.path().join("index")).unwrap();
    let node = start(data.path(), &SMALL).await.unwrap();
    produce(&node, "kept", "after").await;
    let mut wanted: BTreeSet<String> = (0..5).map(|number| format!("behind {number}")).collect();
    wanted.extend(["before".to_owned(), "after".to_owned()]);
    assert_eq!(bodies(&node, "slow", &wanted).await, wanted);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_is_refused_and_a_failed_start_leaves_nothing_behind() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &[]).await.unwrap();
    let refused = start(data.path(), &[]).await.err().unwrap().to_string();
    assert!(refused.contains("another") && refused.contains("lock"), "{refused}");
    produce(&node, "t", "x").await;
    let address = format!("--listen={}", node.addr());
    node.stop().await;

    let image = files(data.path(), "images").pop().unwrap();
    let (good, log) = (std::fs::read(&image).unwrap(), files(data.path(), "log").pop().unwrap());
    let aside = data.path().join("aside");
    std::fs::rename(&log, &aside).unwrap();
    let refused = start(data.path(), &[&address]).await.err().unwrap();
    assert!(matches!(refused, NodeError::Storage(_)), "{refused}");
    std::fs::rename(&aside, &log).unwrap();
    assert_eq!(std::fs::read(&image).unwrap(), good, "a refused start changes nothing");
    let node = start(data.path(), &[&address]).await.unwrap();
    let found = send(&node, "POST /v1/groups/g/receive?topic=t&wait=5s", "").await.json();
    assert_eq!(found["messages"][0]["body"], "x");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_image_is_shown_until_the_next_one_takes_its_place() {
    let data = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let node = start(data.path(), &[]).await.unwrap();
        produce(&node, "t", &format!("message {round}")).await;
        assert_eq!(check(&node, "images"), (true, "no damage found".to_owned()));
        node.stop().await;
    }
    let newest = files(data.path(), "images").pop().unwrap();
    flip_a_bit(&newest);
    let node = start(data.path(), &[]).await.unwrap();
    let (passed, text) = check(&node, "images");
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(!passed && text.contains(name), "{text}");
    assert!(node.broker().readiness().ready, "the spare does its work");
    produce(&node, "t", "message 2").await;
    node.stop().await;
    assert!(!newest.exists(), "the damaged one is gone");
    assert_eq!(files(data.path(), "images").len(), 2);
    let node = start(data.path(), &[]).await.unwrap();
    assert!(check(&node, "images").0);
    let put = send(&node, "PUT /v1/groups/g", "{\"subscriptions\":[{\"topic\":\"t\"}]}").await;
    assert_eq!(put.status, 201);
    let wanted: BTreeSet<String> = (0..3).map(|number| format!("message {number}")).collect();
    assert_eq!(bodies(&node, "g", &wanted).await, wanted);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrub_names_a_flipped_bit_before_anybody_reads_it() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &["--segment-bytes=64KiB"]).await.unwrap();
    for _ in 0..40 {
        produce(&node, "t", &"y".repeat(4_000)).await;
    }
    let scrub = |node: &Node| {
        let broker = node.broker().clone();
        tokio::task::spawn_blocking(move || broker.scrub())
    };
    scrub(&node).await.unwrap();
    assert_eq!(check(&node, "log"), (true, "no damage found".to_owned()));
    let harmed = files(data.path(), "log")[0].clone();
    flip_a_bit(&harmed);
    scrub(&node).await.unwrap();
    let (passed, text) = check(&node, "log");
    assert!(!passed && text.contains(harmed.file_name().unwrap().to_str().unwrap()), "{text}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_made_says_why() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &["--segment-bytes=64KiB"]).await.unwrap();
    for _ in 0..40 {
        produce(&node, "t", &"z".repeat(4_000)).await;
    }
    assert!(check(&node, "index").0);
    node.stop().await;
    // With a second image the agreement needs nothing before the first: only the index reads there.
    let node = start(data.path(), &["--segment-bytes=64KiB"]).await.unwrap();
    produce(&node, "t", "more").await;
    node.stop().await;
    let harmed = files(data.path(), "log")[0].clone();
    flip_a_bit(&harmed);
    std::fs::remove_dir_all(data.path().join("index")).unwrap();
    let node = start(data.path(), &["--segment-bytes=64KiB"]).await.unwrap();
    for _ in 0..200 {
        if !check(&node, "index").0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (passed, text) = check(&node, "index");
    assert!(!passed && text.contains(harmed.file_name().unwrap().to_str().unwrap()), "{text}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let node = start(data.path(), &SMALL).await.unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..8)
        .map(|producer| {
            let (to, ended) = (node.addr(), ended.clone());
            std::thread::spawn(move || {
                let mut accepted = Vec::new();
                for number in 0.. {
                    let body = format!("{producer}/{number}");
                    let sent = std::panic::catch_unwind(|| {
                        request(to, "POST /v1/topics/load/messages", body.as_bytes()).status
                    });
                    match sent {
                        Ok(201) => accepted.push(body),
                        _ if ended.load(Ordering::Acquire) => break,
                        _ => {}
                    }
                }
                accepted
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    node.stop().await;
    ended.store(true, Ordering::Release);
    let accepted: BTreeSet<String> = tokio::task::spawn_blocking(move || {
        producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect()
    })
    .await
    .unwrap();
    assert!(accepted.len() > 20, "only {} were accepted", accepted.len());
    let node = start(data.path(), &SMALL).await.unwrap();
    assert_eq!(
        send(&node, "PUT /v1/groups/g", "{\"subscriptions\":[{\"topic\":\"load\"}]}").await.status,
        201
    );
    bodies(&node, "g", &accepted).await;
    node.stop().await;
}
