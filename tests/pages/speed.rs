//! How long the server takes for each page of a node with much on it. A measurement, not a test: it asserts nothing
//! about time, and runs when it is asked for:
//!
//! ```sh
//! cargo test --release --test pages speed -- --ignored --nocapture
//! ```

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::House;
use crate::support::calls::Calls;
use crate::support::dice::number_from_env;
use crate::support::proc_fs::processor_ticks;

/// Requests that are sent at once while the node is filled.
const HANDS: u64 = 32;
/// How often each page is asked for.
const TIMES: usize = 30;

/// Sends `count` requests, several at a time; `request` makes the path and body of each.
async fn put_all(
    house: &House,
    count: u64,
    request: impl Fn(u64) -> (String, Value) + Clone + Send + 'static,
) {
    let hands = (0..HANDS).map(|hand| {
        let (address, request) = (house.address(), request.clone());
        tokio::spawn(async move {
            let mut calls = Calls::to(address);
            for number in (hand..count).step_by(usize::try_from(HANDS).unwrap()) {
                let (path, body) = request(number);
                calls.expect(201, "PUT", &path, &body).await;
            }
        })
    });
    for hand in hands.collect::<Vec<_>>() {
        hand.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn every_page_of_a_node_with_many_topics_and_groups() {
    let topics = number_from_env("WHIMBREL_TOPICS", 10_000);
    let groups = number_from_env("WHIMBREL_GROUPS", 1_000);
    let mut house = House::start().await;
    let things = house.fill().await;
    put_all(&house, topics, |number| (format!("/v1/topics/t{number:05}"), json!({"queues": 1}))).await;
    put_all(&house, groups, move |number| {
        let topic = |step: u64| json!({"topic": format!("t{:05}", (number * 10 + step) % topics)});
        let subscriptions: Vec<Value> = (0..10).map(topic).chain([json!({"topic": "orders"})]).collect();
        (format!("/v1/groups/g{number:04}"), json!({"subscriptions": subscriptions}))
    })
    .await;
    // Enough for every list: messages, failures with words, schedules.
    let some = |number: u64| json!({"body": format!("{{\"number\":{number}}}"), "tag": "eu", "keys": ["k"]});
    for batch in 0..20 {
        let messages: Vec<Value> = (0..1_000).map(|number| some(batch * 1_000 + number)).collect();
        house.calls.publish_all("orders", &messages).await;
    }
    for _ in 0..3 {
        let messages = house.calls.receive("g0000", 1_000, 20_000).await;
        let receipts: Vec<&Value> = messages.iter().map(|message| &message["receipt"]).collect();
        let body = json!({"receipts": receipts, "reason": "no stock for this article"});
        house.calls.expect(200, "POST", "/v1/groups/g0000/dead-letter", &body).await;
    }
    let later: Vec<Value> = (0..1_000).map(|_| json!({"body": "later", "delay_ms": 3_600_000})).collect();
    house.calls.publish_all("t00000", &later).await;

    let mut pages = things.pages();
    pages.extend(
        [
            "/topics?cursor=t05000",
            "/topics/orders?groups_after=g0500",
            "/groups?cursor=g0500",
            "/groups/g0000",
            "/search?q=t0",
            "/search?q=nothing-like-it",
            "/messages?topic=orders&contains=nothing%20like%20it",
            "/messages?topic=orders&key=k",
            "/dead-letters/g0000",
        ]
        .map(str::to_owned),
    );
    pages.push("/dead-letters/g0000?words=no%20stock".to_owned());
    pages.push("/dead-letters/g0000?words=nothing%20like%20it".to_owned());
    pages.push("/metrics".to_owned());
    // What nobody asks for: a sample of the history every second, and the rules of alerts every five.
    let ticks = || processor_ticks(std::process::id());
    let before = ticks();
    tokio::time::sleep(Duration::from_secs(10)).await;
    // A tick is a hundredth of a second: in ten seconds, a thousandth of a core.
    println!("{topics} topics, {groups} groups; idle: {} thousandths of a core", ticks() - before);
    println!("{TIMES} times each; milliseconds");
    println!("{:>8} {:>8}  page", "p50", "max");
    let mut worst = Duration::ZERO;
    for path in pages {
        let mut took = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let began = Instant::now();
            let answer = house.get(&path).await;
            took.push(began.elapsed());
            assert_eq!(answer.status, 200, "{path}");
        }
        took.sort();
        let (middle, most) = (took[TIMES / 2], took[TIMES - 1]);
        worst = worst.max(most);
        println!("{:>8.1} {:>8.1}  {path}", middle.as_secs_f64() * 1e3, most.as_secs_f64() * 1e3);
    }
    println!("the slowest answer took {:.1} ms", worst.as_secs_f64() * 1e3);
    house.stop().await;
}
