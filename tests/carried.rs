//! What messages carry besides their body, all the way through: trace context and CloudEvents.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod client;

use std::net::SocketAddr;

use client::Answer;
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

/// Runs blocking `work` against a node.
async fn with_node(work: impl FnOnce(SocketAddr) + Send + 'static) {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data];
    let node = Node::start(<Line as clap::Parser>::parse_from(line).serve).await.unwrap();
    let to = node.addr();
    tokio::task::spawn_blocking(move || work(to)).await.unwrap();
    node.stop().await;
}

fn send(to: SocketAddr, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    client::send(to, line.split_once(' ').unwrap(), headers, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_through_and_what_is_no_trace_stops_nothing() {
    with_node(|to| {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = [("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2")];
        assert_eq!(send(to, "POST /v1/topics/t/messages", &trace, b"header").status, 201);
        let line = format!(
            "{{\"messages\":[{{\"body\":\"json\",\"traceparent\":\"{parent}\",\"tracestate\":\"a=1,b=2\"}}]}}"
        );
        let batch = send(to, "POST /v1/topics/t/messages/batch", &[], line.as_bytes()).json();
        assert_eq!(batch["failed"], 0, "{batch}");
        let long = "x".repeat(600);
        for odd in [&[("traceparent", "rubbish")][..], &[("traceparent", parent), ("tracestate", &long)]] {
            assert_eq!(send(to, "POST /v1/topics/odd/messages", odd, b"m").status, 201);
        }
        let received = send(to, "POST /v1/groups/g/receive?topic=t", &[], b"").json();
        for message in received["messages"].as_array().unwrap() {
            assert_eq!(
                (&message["traceparent"], &message["tracestate"]),
                (&parent.into(), &"a=1,b=2".into())
            );
            let path = format!("GET /v1/messages/{}", message["id"].as_str().unwrap());
            assert_eq!(send(to, &path, &[], b"").json()["traceparent"], parent);
        }
        let raw =
            send(to, "POST /v1/groups/h/receive?topic=t", &[("Accept", "application/octet-stream")], b"");
        assert_eq!((raw.header("traceparent"), raw.header("tracestate")), (Some(parent), Some("a=1,b=2")));
        let event =
            send(to, "POST /v1/groups/i/receive?topic=t", &[("Accept", "application/cloudevents+json")], b"");
        assert_eq!(
            (&event.json()["traceparent"], event.header("traceparent")),
            (&parent.into(), Some(parent))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_back_byte_for_byte() {
    with_node(|to| {
        let event =
            br#"{"specversion":"1.0",  "id":"7","source":"/s","type":"t","data":{"z":1,"a":2},"rank":3}"#;
        let structured = [("Content-Type", "application/cloudevents+json; charset=utf-8")];
        let produced = send(to, "POST /v1/topics/t/messages", &structured, event);
        let stored = send(to, &format!("GET {}", produced.header("location").unwrap()), &[], b"").json();
        assert_eq!(stored["body"].as_str().unwrap().as_bytes(), event);
        assert_eq!(
            (&stored["properties"]["ce_id"], &stored["properties"]["ce_rank"]),
            (&"7".into(), &"3".into())
        );
        let asked = [("Accept", "application/cloudevents+json")];
        let got = send(to, "POST /v1/groups/g/receive?topic=t", &asked, b"");
        assert_eq!(
            (got.status, got.media_type(), &got.body[..]),
            (200, "application/cloudevents+json", &event[..])
        );
        let ack = format!("DELETE /v1/receipts/{}", got.header("mq-receipt").unwrap());
        assert_eq!(send(to, &ack, &[], b"").status, 204);
        assert_eq!(send(to, "POST /v1/groups/g/receive?wait=0s", &asked, b"").status, 204);
    })
    .await;
}
