//! Cancelling what waits for its time, on the real binary, over kill -9.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::calls::Calls;
use support::http::Http;
use support::process::Launch;

const BINARY: &str = env!("CARGO_BIN_EXE_whimbrel");
const MESSAGES: usize = 400;
/// Usually enough for two restarts before the first message is due.
const DELAY_MS: u64 = 8_000;

fn path(answer: &Value) -> String {
    format!("/v1/messages/{}", answer["id"].as_str().unwrap())
}

/// kill -9 while messages are being cancelled: what was confirmed stays cancelled, what nobody asked to cancel comes,
/// and each comes once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_stays_cancelled_over_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch::small(BINARY, &folder.path().join("data"));
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    let message = |number: usize| json!({"body": format!("m{number}"), "delay_ms": DELAY_MS});
    let answers = calls.publish_all("t", &(0..MESSAGES).map(message).collect::<Vec<_>>()).await;
    let paths: Vec<String> = answers.iter().map(path).collect();
    calls.expect(201, "PUT", "/v1/groups/g", &json!({"subscriptions": [{"topic": "t"}]})).await;

    // The even ones are cancelled one after the other until the broker is struck dead.
    let mut http = Http::new(broker.address());
    let (mut confirmed, mut in_doubt) = (BTreeSet::new(), None);
    for number in (0..MESSAGES).step_by(2) {
        if number == MESSAGES / 2 {
            broker.strike();
        }
        match http.call("DELETE", &paths[number], &[], b"").await {
            Ok(answer) if answer.status == 204 => drop(confirmed.insert(number)),
            // It took so long to get here that it is due. Then it has to come.
            Ok(answer) => assert_eq!(answer.json()["code"], "not_scheduled"),
            Err(_) => {
                in_doubt = Some(number);
                break;
            }
        }
    }
    drop(broker);
    let in_doubt = in_doubt.expect("the broker outlived a kill -9");
    assert!(!confirmed.is_empty());
    // Once more, so that it starts from what it wrote while it recovered.
    launch.start_or_fail().kill();
    let broker = launch.start_or_fail();
    let mut calls = Calls::to(broker.address());
    while calls.expect(200, "GET", "/v1/topics/t", &Value::Null).await["scheduled"] != 0 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let mut came = BTreeSet::new();
    for body in calls.drain("g", 500).await {
        assert!(came.insert(body.clone()), "{body} came twice");
    }
    for (number, path) in paths.iter().enumerate() {
        let came = came.contains(&format!("m{number}"));
        let shown = calls.expect(200, "GET", path, &Value::Null).await;
        assert!(number == in_doubt || came != confirmed.contains(&number), "came: {came}; {shown}");
        // What is shown is what happened, in doubt or not.
        let (state, status) = if came { (Value::Null, 409) } else { (json!("cancelled"), 204) };
        assert_eq!((&shown["state"], shown["offset"].is_u64()), (&state, came), "{shown}");
        assert_eq!(calls.call("DELETE", path, b"").await.status, status);
    }
}
