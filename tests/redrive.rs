//! Redrive by filter, jobs and the export of dead letters, over HTTP against a real node.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod client;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

const REDRIVE: &str = "/v1/groups/g/dead-letters/redrive";

fn serve_args(data: &std::path::Path) -> ServeArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data, "--segment-bytes=1MiB"];
    <Line as clap::Parser>::parse_from(line).serve
}

/// Runs `story` against a fresh node, on a thread that may wait.
async fn on_a_node(story: impl FnOnce(SocketAddr) + Send + 'static) {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path())).await.unwrap();
    let to = node.addr();
    tokio::task::spawn_blocking(move || story(to)).await.unwrap();
    node.stop().await;
}

fn call(to: SocketAddr, status: u16, line: &str, body: &Value) -> Value {
    let (method, path) = line.split_once(' ').unwrap();
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client::send(to, (method, path), &[], text.as_bytes());
    let said = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{line} {body}: {said}");
    answer.json()
}

/// Dead letters of group `g`: every message failed, with these words, in this order.
fn with_letters(to: SocketAddr, letters: &[(Value, &str)]) {
    call(to, 201, "PUT /v1/groups/g", &json!({"subscriptions": [{"topic": "t"}], "ordered": true}));
    for (message, words) in letters {
        let mut message = message.clone();
        message["queue"] = 0.into();
        call(to, 200, "POST /v1/topics/t/messages/batch", &json!({"messages": [message]}));
        let leased = call(to, 200, "POST /v1/groups/g/receive", &json!({"max_messages": 1}));
        let receipt = &leased["messages"][0]["receipt"];
        let form = json!({"receipts": [receipt], "reason": words});
        call(to, 200, "POST /v1/groups/g/dead-letter", &form);
    }
}

/// The job, once it has ended.
fn ended(to: SocketAddr, job: &Value) -> Value {
    let line = format!("GET /v1/jobs/{}", job["id"].as_str().unwrap());
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let job = call(to, 200, &line, &Value::Null);
        if job["state"] != "running" {
            return job;
        }
        assert!(Instant::now() < limit, "{job}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn letters(to: SocketAddr, query: &str) -> Vec<Value> {
    let path = format!("/v1/groups/g/dead-letters/export{query}");
    let answer = client::send(to, ("GET", &path), &[], b"");
    assert_eq!((answer.status, answer.media_type()), (200, "application/x-ndjson"));
    answer
        .body
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn bodies(messages: &Value) -> Vec<&str> {
    messages["messages"].as_array().unwrap().iter().map(|one| one["body"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_takes_what_fits_and_leaves_the_rest() {
    on_a_node(|to| {
        let some = [
            (json!({"body": "a", "tag": "eu", "keys": ["k1"]}), "db down"),
            (json!({"body": "b", "tag": "us", "keys": ["k1", "k2"]}), "the db down again"),
            (json!({"body": "c", "tag": "eu"}), "no such card"),
            (json!({"body": "d", "tag": "eu", "keys": ["k2"]}), "db down"),
        ];
        with_letters(to, &some);
        for (filter, fit) in [
            (json!({}), 4),
            (json!({"tag": "eu"}), 3),
            (json!({"key": "k2"}), 2),
            (json!({"failure_contains": "db down"}), 3),
            (json!({"failure_contains": "db down", "tag": "eu"}), 2),
            (json!({"reason": "rejected", "topic": "t"}), 4),
            (json!({"reason": "max_attempts"}), 0),
            (json!({"topic": "other"}), 0),
            (json!({"from": "2100-01-01T00:00:00Z"}), 0),
            (json!({"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}), 4),
        ] {
            let counted =
                call(to, 200, &format!("POST {REDRIVE}"), &json!({"filter": filter, "dry_run": true}));
            assert_eq!(counted, json!({"would_move": fit, "looked": 4, "truncated": false}), "{filter}");
        }
        let order = json!({"filter": {"failure_contains": "db down", "tag": "eu"}});
        let job = ended(to, &call(to, 202, &format!("POST {REDRIVE}"), &order));
        let counts = json!([job["state"], job["total"], job["looked"], job["moved"], job["failed"]]);
        assert_eq!(counts, json!(["done", 4, 4, 2, 0]), "{job}");
        assert_eq!(job["filter"], order["filter"]);
        let left: Vec<Value> = letters(to, "").iter().map(|line| line["message"]["body"].clone()).collect();
        assert_eq!(left, ["b", "c"]);
        let came = call(to, 200, "POST /v1/groups/g/receive", &json!({"wait_ms": 5_000}));
        assert_eq!((bodies(&came), &came["messages"][0]["round"]), (vec!["a"], &json!(2)), "its lane");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_keeps_what_it_was_and_names_where_it_came_from() {
    on_a_node(|to| {
        let message = json!({
            "body": "AP8=", "encoding": "base64", "tag": "eu", "keys": ["k"],
            "properties": {"colour": "red", "dlq_origin_id": "a lie"}, "content_type": "image/png", "ttl_ms": 60_000,
        });
        with_letters(to, &[(message, "no"), (json!({"body": "second"}), "no")]);
        call(to, 404, &format!("POST {REDRIVE}"), &json!({"filter": {}, "to": "other"}));
        call(to, 201, "PUT /v1/topics/other", &Value::Null);
        let ids: Vec<Value> = letters(to, "").iter().map(|letter| letter["id"].clone()).collect();
        // By id, the unknown and the doubled one are refused, each for itself.
        let order = json!({"ids": [ids[0], ids[0]], "to": "other"});
        let moved = call(to, 200, &format!("POST {REDRIVE}"), &order);
        assert_eq!((&moved["failed"], &moved["results"][0]["status"]), (&json!(1), &json!("ok")), "{moved}");
        assert_eq!(moved["results"][1]["problem"]["code"], "dead_letter_not_found");
        let read = call(to, 200, "POST /v1/groups/readers/receive?topic=other", &json!({"wait_ms": 5_000}));
        let copy = &read["messages"][0];
        assert_ne!(copy["id"], ids[0], "a new message");
        let kept = json!([copy["body"], copy["tag"], copy["keys"], copy["content_type"], copy["attempt"]]);
        assert_eq!(kept, json!(["AP8=", "eu", ["k"], "image/png", 1]));
        let origin = json!({
            "colour": "red", "dlq_origin_id": ids[0], "dlq_origin_topic": "t", "dlq_origin_group": "g",
            "dlq_origin_reason": "rejected",
        });
        assert_eq!(copy["properties"], origin);
        let trace = call(to, 200, &format!("GET /v1/messages/{}/trace", ids[0].as_str().unwrap()), &Value::Null);
        assert_eq!(trace["events"].as_array().unwrap().last().unwrap()["event"], "moved", "{trace}");
        // Without its topic a letter cannot go back, but on; a job says what it could not move, and goes on.
        call(to, 204, "DELETE /v1/topics/t?confirm=t", &Value::Null);
        let stuck = ended(to, &call(to, 202, &format!("POST {REDRIVE}"), &json!({"filter": {}})));
        assert_eq!(json!([stuck["state"], stuck["moved"], stuck["failed"]]), json!(["done", 0, 1]), "{stuck}");
        let gone = ended(to, &call(to, 202, &format!("POST {REDRIVE}"), &json!({"filter": {}, "to": "other"})));
        assert_eq!(json!([gone["state"], gone["moved"], gone["failed"]]), json!(["done", 1, 0]), "{gone}");
        assert_eq!(letters(to, ""), Vec::<Value>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_and_a_cancelled_job_stops() {
    on_a_node(|to| {
        let some: Vec<(Value, &str)> =
            (0..30).map(|number| (json!({"body": format!("{number}")}), "no")).collect();
        with_letters(to, &some);
        let started = Instant::now();
        let order = json!({"filter": {}, "rate_per_s": 20});
        let job = ended(to, &call(to, 202, &format!("POST {REDRIVE}"), &order));
        // The first step is free, a quarter of a second may be caught up with, and log time may run 5 % ahead.
        let least = Duration::from_millis(1_500 - 100 - 250 - 150);
        assert!(started.elapsed() >= least, "30 letters at 20 a second took {:?}", started.elapsed());
        assert_eq!(job["moved"], 30);

        // Each is leased and dead again, one after the other: the lane keeps their order.
        for number in 0..30 {
            let came =
                call(to, 200, "POST /v1/groups/g/receive", &json!({"max_messages": 1, "wait_ms": 5_000}));
            assert_eq!(bodies(&came), [number.to_string()]);
            let receipts = json!({"receipts": [came["messages"][0]["receipt"]]});
            call(to, 200, "POST /v1/groups/g/dead-letter", &receipts);
        }
        let job = call(to, 202, &format!("POST {REDRIVE}"), &json!({"filter": {}, "rate_per_s": 1}));
        assert!(job["eta_ms"].as_u64().is_some_and(|eta| eta > 1_000), "{job}");
        call(to, 409, &format!("POST {REDRIVE}"), &json!({"filter": {}}));
        let line = format!("DELETE /v1/jobs/{}", job["id"].as_str().unwrap());
        let cancelled = call(to, 200, &line, &Value::Null);
        assert_eq!((&cancelled["state"], &cancelled["eta_ms"]), (&json!("cancelled"), &Value::Null));
        let moved = cancelled["moved"].as_u64().unwrap();
        let shown = call(to, 200, "GET /v1/groups/g", &Value::Null);
        assert_eq!(
            shown["dead_letters"].as_u64().unwrap() + moved,
            30,
            "nothing moves after it was cancelled"
        );
        let next = call(to, 202, &format!("POST {REDRIVE}"), &json!({"filter": {}}));
        assert_eq!(ended(to, &next)["moved"].as_u64().unwrap() + moved, 30);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_named() {
    on_a_node(|to| {
        with_letters(to, &[(json!({"body": "a"}), "no")]);
        for (form, place) in [
            (json!({}), ""),
            (json!({"ids": [], "filter": {}}), ""),
            (json!({"ids": [], "rate_per_s": 1}), "/rate_per_s"),
            (json!({"filter": {}, "rate_per_s": 0}), "/rate_per_s"),
            (json!({"filter": {}, "rate_per_s": 100_001}), "/rate_per_s"),
            (json!({"filter": {"tag": ""}}), "/filter/tag"),
            (json!({"filter": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}}), "/filter/to"),
            (json!({"filter": {"colour": 1}}), "/filter/colour"),
            (json!({"filter": {"reason": "odd"}}), "/filter/reason"),
            (json!({"filter": {}, "colour": 1}), "/colour"),
        ] {
            let problem = call(to, 400, &format!("POST {REDRIVE}"), &form);
            assert_eq!(problem["errors"][0]["pointer"], place, "{form}: {problem}");
        }
        let nobody = "POST /v1/groups/nobody/dead-letters/redrive";
        for form in
            [json!({"filter": {}}), json!({"filter": {}, "dry_run": true}), json!({"ids": [], "to": "t"})]
        {
            assert_eq!(call(to, 404, nobody, &form)["code"], "group_not_found", "{form}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_comes_in_pages_and_goes_on_behind_any_letter() {
    on_a_node(|to| {
        // More than one page by bytes, then by number.
        let large = json!({"body": "x".repeat(400_000)});
        let some: Vec<(Value, &str)> = (0..130)
            .map(|number| {
                (if number < 4 { large.clone() } else { json!({"body": format!("{number}")}) }, "no")
            })
            .collect();
        with_letters(to, &some);
        let all = letters(to, "");
        assert_eq!(all.len(), 130);
        assert_eq!(all[129]["message"]["body"], "129");
        assert_eq!(all[129]["failures"][0]["reason"], "no");
        let shown = call(
            to,
            200,
            &format!("GET /v1/groups/g/dead-letters/{}", all[7]["id"].as_str().unwrap()),
            &Value::Null,
        );
        assert_eq!(all[7], shown, "a line is what one letter is answered as");
        let rest = letters(to, &format!("?after={}&encoding=base64", all[126]["id"].as_str().unwrap()));
        assert_eq!(rest.len(), 3);
        assert_eq!(rest[2]["message"]["encoding"], "base64");
    })
    .await;
}
