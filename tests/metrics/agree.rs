//! I24: when it is quiet, `/metrics` says what the tester counted itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::text::Scrape;
use super::{call, scrape, with_node};

const ORDERS: (&str, &str) = ("topic", "orders");
const BILLING: (&str, &str) = ("group", "billing");
const BOTH: [(&str, &str); 2] = [ORDERS, BILLING];

/// The sample `whimbrel_` + `name`, which must be there.
fn value(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    let name = format!("whimbrel_{name}");
    scrape.value(&name, labels).unwrap_or_else(|| panic!("no {name} {labels:?}"))
}

/// Holds what is expected of the subscription of `billing` to `orders` against a scrape.
#[track_caller]
fn expect(scrape: &Scrape, expected: &[(&str, f64)]) {
    for (name, expected) in expected {
        let (name, class) = name.split_once(' ').map_or((*name, None), |(name, class)| (name, Some(class)));
        let mut labels = BOTH.to_vec();
        if let Some(class) = class {
            labels.push(if name.starts_with("failed") { ("cause", class) } else { ("reason", class) });
        }
        assert_eq!(value(scrape, name, &labels), *expected, "{name} {class:?}");
    }
}

/// Leases so many messages; how many answers they come in does not matter.
fn receive(to: SocketAddr, count: usize) -> Vec<String> {
    let mut receipts = Vec::new();
    while receipts.len() < count {
        let left = count - receipts.len();
        let answer = call(to, &format!("POST /v1/groups/billing/receive?max_messages={left}"), "");
        let messages = answer["messages"].as_array().unwrap();
        assert!(!messages.is_empty(), "{count} messages should come, {} did", receipts.len());
        receipts.extend(messages.iter().map(|message| message["receipt"].as_str().unwrap().to_owned()));
    }
    receipts
}

/// Scrapes until `done`; how long that takes does not matter.
fn scrape_until(to: SocketAddr, what: &str, done: impl Fn(&Scrape) -> bool) -> Scrape {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let found = scrape(to, "/metrics");
        if done(&found) {
            return found;
        }
        assert!(Instant::now() < until, "in vain waited for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn set_up(to: SocketAddr) {
    call(to, "PUT /v1/topics/orders", "{\"queues\": 2}");
    let retry = json!({"kind": "table", "steps_ms": [100]});
    let group = json!({
        "subscriptions": [{"topic": "orders"}], "max_attempts": 2, "retry": retry, "lease_ms": 600_000
    });
    call(to, "PUT /v1/groups/billing", &group.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_those_of_what_was_done() {
    with_node(|to| {
        set_up(to);
        starts_at_zero(to);
        produce(to);
        settle(to);
        redrive_and_finish(to);
        deleted_objects_take_their_series_along(to);
    })
    .await;
}

fn starts_at_zero(to: SocketAddr) {
    let now = scrape(to, "/metrics");
    assert_eq!(value(&now, "produced_messages_total", &[ORDERS]), 0.0);
    assert_eq!(value(&now, "group_dead_letters", &[BILLING]), 0.0);
    assert_eq!(value(&now, "group_consumers", &[BILLING]), 0.0);
    expect(
        &now,
        &[
            ("group_lag_messages", 0.0),
            ("group_lag_seconds", 0.0),
            ("delivered_messages_total", 0.0),
            ("acked_messages_total", 0.0),
            ("failed_deliveries_total nack", 0.0),
            ("dead_lettered_messages_total max_attempts", 0.0),
        ],
    );
    assert_eq!(value(&now, "raft_leader", &[]), 1.0);
    assert_eq!(value(&now, "serving", &[]), 1.0);
}

fn produce(to: SocketAddr) {
    for number in 0..4 {
        call(to, "POST /v1/topics/orders/messages", &format!("order {number}"));
    }
    let batch = json!({"messages": [{"body": "a"}, {"body": "bc"}, {"body": "", "delay_ms": 3_600_000}]});
    call(to, "POST /v1/topics/orders/messages/batch", &batch.to_string());
    let now = scrape(to, "/metrics");
    assert_eq!(value(&now, "produced_messages_total", &[ORDERS]), 7.0);
    assert_eq!(value(&now, "produced_bytes_total", &[ORDERS]), 4.0 * 7.0 + 3.0);
    assert_eq!(value(&now, "scheduled_messages", &[ORDERS]), 1.0);
    assert_eq!(value(&now, "kept_messages", &[ORDERS]), 6.0);
    assert_eq!(value(&now, "produce_duration_seconds_count", &[]), 5.0);
    expect(&now, &[("group_lag_messages", 6.0), ("group_ready_messages", 6.0)]);
}

fn settle(to: SocketAddr) {
    let receipts = receive(to, 6);
    let now = scrape(to, "/metrics");
    expect(
        &now,
        &[
            ("group_lag_messages", 6.0),
            ("group_ready_messages", 0.0),
            ("group_in_flight_messages", 6.0),
            ("delivered_messages_total", 6.0),
            ("delivered_bytes_total", 31.0),
        ],
    );
    assert_eq!(value(&now, "end_to_end_duration_seconds_count", &[]), 6.0);
    assert!(value(&now, "group_consumers", &[BILLING]) >= 1.0);
    let ops = json!({
        "acks": [{"receipt": receipts[0]}, {"receipt": receipts[1]}],
        "nacks": [{"receipt": receipts[2], "delay_ms": 0}],
        "dead_letters": [{"receipt": receipts[3]}],
        "extends": [{"receipt": receipts[4], "lease_ms": 1_000}],
    });
    call(to, "POST /v1/groups/billing/settle", &ops.to_string());
    let now = scrape_until(to, "the lease to run out and its retry to come due", |now| {
        let expired = [ORDERS, BILLING, ("cause", "lease_expired")];
        value(now, "failed_deliveries_total", &expired) == 1.0
            && value(now, "retried_messages_total", &BOTH) == 2.0
    });
    expect(
        &now,
        &[
            ("acked_messages_total", 2.0),
            ("failed_deliveries_total nack", 1.0),
            ("failed_deliveries_total rejected", 1.0),
            ("failed_deliveries_total connection_lost", 0.0),
            ("dead_lettered_messages_total rejected", 1.0),
            ("dead_lettered_messages_total max_attempts", 0.0),
            ("group_lag_messages", 3.0),
            ("group_ready_messages", 2.0),
            ("group_in_flight_messages", 1.0),
            ("group_retrying_messages", 0.0),
        ],
    );
    assert_eq!(value(&now, "group_dead_letters", &[BILLING]), 1.0);
    assert_eq!(value(&now, "held_messages", &[]), 5.0);
    // Both that failed once fail for good.
    let again = receive(to, 2);
    let nacks: Vec<Value> = again.iter().map(|receipt| json!({"receipt": receipt})).collect();
    call(to, "POST /v1/groups/billing/settle", &json!({ "nacks": nacks }).to_string());
    call(to, "POST /v1/groups/billing/ack", &json!({"receipts": [receipts[5]]}).to_string());
    expect(
        &scrape(to, "/metrics"),
        &[
            ("delivered_messages_total", 8.0),
            ("failed_deliveries_total nack", 3.0),
            ("dead_lettered_messages_total max_attempts", 2.0),
            ("acked_messages_total", 3.0),
            ("group_lag_messages", 0.0),
            ("group_lag_seconds", 0.0),
            ("group_oldest_in_flight_seconds", 0.0),
        ],
    );
}

fn redrive_and_finish(to: SocketAddr) {
    let dead = call(to, "GET /v1/groups/billing/dead-letters", "");
    let ids: Vec<&Value> = dead["dead_letters"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids.len(), 3);
    call(to, "POST /v1/groups/billing/dead-letters/redrive", &json!({"ids": ids[..2]}).to_string());
    let receipts = receive(to, 2);
    call(to, "POST /v1/groups/billing/ack", &json!({ "receipts": receipts }).to_string());
    call(to, "POST /v1/groups/billing/pause", "");
    let now = scrape(to, "/metrics");
    assert_eq!(value(&now, "redriven_messages_total", &[BILLING]), 2.0);
    assert_eq!(value(&now, "group_dead_letters", &[BILLING]), 1.0);
    assert_eq!(value(&now, "group_paused", &[BILLING]), 1.0);
    expect(&now, &[("acked_messages_total", 5.0), ("delivered_messages_total", 10.0)]);
    // Every delivery ended in one way.
    let sum = |name: &str| {
        let family = &now.families[&format!("whimbrel_{name}")];
        family.samples.iter().map(|(.., value)| value).sum::<f64>()
    };
    let ended =
        sum("acked_messages_total") + sum("failed_deliveries_total") + sum("given_back_messages_total");
    assert_eq!(sum("delivered_messages_total"), ended);
    // One at a time: each flush of a batch, an election, a vote. What matters is that it counts.
    assert!(value(&now, "fsync_duration_seconds_count", &[]) >= 10.0);
    assert!(value(&now, "batch_facts_count", &[]) >= 10.0);
    assert!(value(&now, "connections_accepted_total", &[]) >= 10.0);
    assert!(value(&now, "raft_applied_index", &[]) <= value(&now, "raft_last_index", &[]));
    assert!(now.value("process_resident_memory_bytes", &[]).unwrap() > 1e6);
}

fn deleted_objects_take_their_series_along(to: SocketAddr) {
    call(to, "DELETE /v1/groups/billing?confirm=billing", "");
    call(to, "DELETE /v1/topics/orders?confirm=orders", "");
    let now = scrape(to, "/metrics");
    for (name, family) in &now.families {
        for (_, labels, _) in &family.samples {
            assert!(labels.iter().all(|(_, value)| value != "orders" && value != "billing"), "{name}");
        }
    }
    // Made again, it is another one.
    set_up(to);
    expect(&scrape(to, "/metrics"), &[("acked_messages_total", 0.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_have_a_page_of_their_own() {
    with_node(|to| {
        set_up(to);
        call(to, "PUT /v1/topics/other", "{\"queues\": 1}");
        let batch = json!({"messages": [{"body": "a", "queue": 1}, {"body": "b", "queue": 1}]});
        call(to, "POST /v1/topics/orders/messages/batch", &batch.to_string());
        let receipts = receive(to, 1);
        call(to, "POST /v1/groups/billing/ack", &json!({ "receipts": receipts }).to_string());
        let queue = |number| [ORDERS, ("queue", number)];
        let read = |number| [ORDERS, ("queue", number), BILLING];
        let all = scrape(to, "/metrics/per-object");
        let narrow = scrape(to, "/metrics/per-object?topic=orders");
        for now in [&all, &narrow] {
            assert_eq!(value(now, "queue_next_offset", &queue("0")), 0.0);
            assert_eq!(value(now, "queue_next_offset", &queue("1")), 2.0);
            assert_eq!(value(now, "queue_first_kept_offset", &queue("1")), 0.0);
            assert_eq!(value(now, "queue_lag_messages", &read("1")), 1.0);
            assert_eq!(value(now, "queue_cursor_offset", &read("1")), 1.0);
            assert_eq!(value(now, "metrics_queue_samples_omitted", &[]), 0.0);
        }
        let other = [("topic", "other"), ("queue", "0")];
        assert_eq!(value(&all, "queue_next_offset", &other), 0.0);
        assert_eq!(narrow.value("whimbrel_queue_next_offset", &other), None);
        let names = |scrape: &Scrape| scrape.families.keys().cloned().collect::<Vec<_>>();
        assert!(names(&all).iter().all(|name| name.contains("_queue_")), "{:?}", names(&all));
        let main = scrape(to, "/metrics");
        assert!(names(&main).iter().all(|name| !name.contains("_queue_")), "{:?}", names(&main));
    })
    .await;
}
