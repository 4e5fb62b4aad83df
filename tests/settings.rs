//! Settings of topics and groups under several hands: entity tags, conditions, merge patches, and lists page by page.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod client;

use std::net::SocketAddr;
use std::path::Path;

use client::Answer;
use serde_json::{Value, json};
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

async fn with_node_on(data: &Path, work: impl FnOnce(SocketAddr) + Send + 'static) {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let path = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &path];
    let node = Node::start(<Line as clap::Parser>::parse_from(line).serve).await.unwrap();
    let to = node.addr();
    tokio::task::spawn_blocking(move || work(to)).await.unwrap();
    node.stop().await;
}

async fn with_node(work: impl FnOnce(SocketAddr) + Send + 'static) {
    let directory = tempfile::tempdir().unwrap();
    with_node_on(directory.path(), work).await;
}

fn send(to: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    client::send(to, line.split_once(' ').unwrap(), headers, body.as_bytes())
}

fn tag(answer: &Answer) -> String {
    answer.header("etag").expect("an ETag").to_owned()
}

/// Status and code of a refusal.
fn outcome(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.media_type(), "application/problem+json");
    (answer.status, answer.json()["code"].as_str().unwrap_or("").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_what_somebody_else_changed_is_refused() {
    with_node(|to| {
        for (path, first, second) in [
            ("/v1/topics/t", "{\"queues\":2}", "{\"queues\":3}"),
            ("/v1/groups/g", "{\"lease_ms\":2000}", "{\"lease_ms\":3000}"),
        ] {
            let (get, put, patch, delete) = (
                format!("GET {path}"),
                format!("PUT {path}"),
                format!("PATCH {path}"),
                format!("DELETE {path}"),
            );
            let stale = |answer: &Answer| assert_eq!(outcome(answer), (412, "stale".to_owned()), "{path}");
            // Nothing is there yet.
            stale(&send(to, &put, &[("If-Match", "*")], first));
            stale(&send(to, &put, &[("If-Match", "\"0000000000000000\"")], first));
            assert_eq!(send(to, &patch, &[("If-Match", "*")], first).status, 404);
            assert_eq!(send(to, &delete, &[("If-Match", "*")], "").status, 404);
            let made = send(to, &put, &[("If-None-Match", "*")], first);
            assert_eq!(made.status, 201);
            for line in [&put, &patch, &delete] {
                let answer = send(to, line, &[("If-None-Match", "*")], first);
                assert_eq!(outcome(&answer), (412, "exists".to_owned()), "{line}");
            }
            // The tag follows the settings and nothing else.
            let seen = tag(&made);
            assert_eq!(tag(&send(to, &get, &[], "")), seen);
            assert_eq!(tag(&send(to, &put, &[], first)), seen, "unchanged");
            let changed = send(to, &put, &[("If-Match", &seen)], second);
            assert_eq!(changed.status, 200);
            assert_ne!(tag(&changed), seen);
            for line in [&put, &patch, &delete] {
                stale(&send(to, line, &[("If-Match", &seen)], first));
            }
            let now = format!("\"other\", {}", tag(&changed));
            assert_eq!(send(to, &patch, &[("If-Match", &now)], second).status, 200);
            assert_eq!(send(to, &delete, &[("If-Match", &now)], "").status, 204);
            // Made again with the same settings it is another one.
            let again = send(to, &put, &[], second);
            assert_eq!(again.status, 201);
            assert_ne!(tag(&again), tag(&changed));
        }
        // Messages, leases and a pause are no settings.
        let before = tag(&send(to, "GET /v1/groups/g", &[], ""));
        assert_eq!(tag(&send(to, "POST /v1/groups/g/pause", &[], "")), before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let (told, hear) = std::sync::mpsc::channel();
    with_node_on(directory.path(), move |to| {
        let body = r#"{"subscriptions":[{"topic":"t","filter":{"tag":"b || a"}}],"retry":{"kind":"exponential","multiplier":1.5}}"#;
        assert_eq!(send(to, "PUT /v1/groups/g", &[], body).status, 201);
        for path in ["GET /v1/groups/g", "GET /v1/topics/t"] {
            told.send(tag(&send(to, path, &[], ""))).unwrap();
        }
    })
    .await;
    with_node_on(directory.path(), move |to| {
        for path in ["GET /v1/groups/g", "GET /v1/topics/t"] {
            assert_eq!(tag(&send(to, path, &[], "")), hear.recv().unwrap(), "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_what_it_names_and_null_is_the_default() {
    with_node(|to| {
        let made = r#"{"subscriptions":[{"topic":"t"}],"lease_ms":5000,"max_attempts":3,
            "retry":{"kind":"exponential","initial_ms":500}}"#;
        assert_eq!(send(to, "PUT /v1/groups/g", &[], made).status, 201);
        let merge = [("Content-Type", "application/merge-patch+json")];
        let patched =
            send(to, "PATCH /v1/groups/g", &merge, r#"{"lease_ms":null,"retry":{"max_ms":9000}}"#).json();
        assert_eq!(
            (&patched["lease_ms"], &patched["max_attempts"]),
            (&json!(60_000), &json!(3)),
            "{patched}"
        );
        assert_eq!(patched["retry"]["initial_ms"], 500);
        assert_eq!(patched["retry"]["max_ms"], 9_000);
        assert_eq!(patched["subscriptions"][0]["topic"], "t");
        let patched =
            send(to, "PATCH /v1/groups/g", &[], r#"{"subscriptions":[{"topic":"u"}],"retry":null}"#).json();
        assert_eq!(
            (&patched["subscriptions"][0]["topic"], &patched["retry"]["kind"]),
            (&json!("u"), &json!("table"))
        );
        assert_eq!(send(to, "GET /v1/topics/u", &[], "").status, 200, "a topic that a patch names is made");
        assert_eq!(send(to, "PATCH /v1/groups/g", &[], "").status, 200, "nothing to change");
        for (body, status, pointer) in [
            ("{\"colour\":null}", 400, "/colour"),
            ("{\"colour\":1}", 400, "/colour"),
            ("{\"lease_ms\":\"1m\"}", 400, "/lease_ms"),
            ("{\"lease_ms\":1}", 422, "/lease_ms"),
            ("{\"retry\":{\"kind\":\"table\"}}", 400, "/retry/steps_ms"),
            (
                "{\"subscriptions\":[{\"topic\":\"t\",\"filter\":{\"tag\":\"a ||\"}}]}",
                422,
                "/subscriptions/0/filter/tag",
            ),
            ("[]", 400, ""),
        ] {
            let answer = send(to, "PATCH /v1/groups/g", &merge, body);
            assert_eq!(
                (answer.status, &answer.json()["errors"][0]["pointer"]),
                (status, &json!(pointer)),
                "{body}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_at_once_all_take_effect() {
    const ROUNDS: u64 = 20;
    with_node(|to| {
        assert_eq!(send(to, "PUT /v1/groups/g", &[], "").status, 201);
        let fields =
            [("lease_ms", 1_000), ("max_attempts", 1), ("max_in_flight", 1), ("dead_letters_max", 1)];
        std::thread::scope(|scope| {
            for (field, least) in fields {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let body = json!({field: least + round}).to_string();
                        let answer = send(to, "PATCH /v1/groups/g", &[], &body);
                        assert_eq!(answer.status, 200, "{}", answer.json());
                        assert_eq!(answer.json()[field], least + round, "nobody else changes this field");
                    }
                });
            }
        });
        let group = send(to, "GET /v1/groups/g", &[], "").json();
        for (field, least) in fields {
            assert_eq!(group[field], least + ROUNDS - 1, "{group}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_read_page_by_page_with_its_own_cursor() {
    with_node(|to| {
        let lines: String = (0..7).map(|n| format!("{{\"body\":{n},\"queue\":0}}\n")).collect();
        let ndjson = [("Content-Type", "application/x-ndjson")];
        assert_eq!(send(to, "POST /v1/topics/t/messages/batch", &ndjson, &lines).json()["failed"], 0);
        for n in 0..6 {
            assert_eq!(send(to, &format!("PUT /v1/topics/t{n}"), &[], "").status, 201);
            assert_eq!(send(to, &format!("PUT /v1/groups/g{n}"), &[], "").status, 201);
        }
        let leased = send(to, "POST /v1/groups/g/receive?topic=t&max_messages=7", &[], "").json();
        let receipts: Vec<&Value> =
            leased["messages"].as_array().unwrap().iter().map(|message| &message["receipt"]).collect();
        let body = json!({ "receipts": receipts }).to_string();
        assert_eq!(send(to, "POST /v1/groups/g/dead-letter", &[], &body).status, 200);
        let lists = [
            ("/v1/topics", "topics"),
            ("/v1/groups", "groups"),
            ("/v1/groups/g/dead-letters", "dead_letters"),
            ("/v1/topics/t/queues/0/messages", "messages"),
        ];
        let mut cursors = Vec::new();
        for (path, plural) in lists {
            let whole = send(to, &format!("GET {path}"), &[], "").json();
            assert_eq!(
                (whole[plural].as_array().unwrap().len(), &whole["next_cursor"]),
                (7, &Value::Null),
                "{path}"
            );
            let (mut rows, mut cursor) = (Vec::new(), String::new());
            for size in [3, 3, 1] {
                let page = send(to, &format!("GET {path}?limit=3{cursor}"), &[], "").json();
                assert_eq!(page[plural].as_array().unwrap().len(), size, "{page}");
                rows.extend(page[plural].as_array().unwrap().clone());
                cursor = page["next_cursor"].as_str().map_or(String::new(), |next| format!("&cursor={next}"));
                cursors.extend(page["next_cursor"].as_str().map(|next| (plural, next.to_owned())));
            }
            assert_eq!((&cursor, &Value::Array(rows)), (&String::new(), &whole[plural]), "{path}");
        }
        for (path, plural) in lists {
            for (_, cursor) in cursors.iter().filter(|(kind, _)| *kind != plural) {
                let answer = send(to, &format!("GET {path}?cursor={cursor}"), &[], "");
                assert_eq!(
                    (answer.status, &answer.json()["errors"][0]["parameter"]),
                    (400, &json!("cursor")),
                    "{path}"
                );
            }
        }
        let both = send(to, "GET /v1/topics/t/queues/0/messages?offset=1&cursor=bWVzc2FnZXMgMw", &[], "");
        assert_eq!(both.status, 400);
    })
    .await;
}
