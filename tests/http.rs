//! What every answer has in common, and what is refused before the broker is asked: against a real node over TCP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod client;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use client::Answer;
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

fn serve_args(data: &std::path::Path, more: &[&str]) -> ServeArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data, "--segment-bytes=1MiB"];
    <Line as clap::Parser>::parse_from(line.into_iter().chain(more.iter().copied())).serve
}

/// Runs blocking `work` against a node with these flags.
async fn with_node<T: Send + 'static>(
    more: &[&str],
    work: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path(), more)).await.unwrap();
    let to = node.addr();
    let result = tokio::task::spawn_blocking(move || work(to)).await.unwrap();
    node.stop().await;
    result
}

fn send(to: SocketAddr, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    client::send(to, line.split_once(' ').unwrap(), headers, body)
}

fn refusal(to: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let answer = send(to, line, headers, body.as_bytes());
    assert_eq!(answer.media_type(), "application/problem+json", "{line}");
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{line}");
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{line}");
    let page = send(to, &format!("GET {}", problem["type"].as_str().unwrap()), &[], b"");
    assert_eq!(page.status, 200, "the type of a problem leads to a page");
    (answer.status, problem["code"].as_str().unwrap().to_owned())
}

/// Request line, headers, body; status, and the kind of place and the place that is named.
type Named<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str, &'a str);

type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused_by_name() {
    let cases: &'static [Case<'static>] = &[
        ("GET /v2", &[], "", 404, "not_found"),
        ("POST /v1/topics/a", &[], "", 405, "method_not_allowed"),
        ("PATCH /v1/topics/a", &[], "", 404, "topic_not_found"),
        ("PUT /v1/topics/a/messages", &[], "", 405, "method_not_allowed"),
        ("GET /v1/topics/a%2Fb", &[], "", 400, "invalid_request"),
        ("GET /v1/topics/%ff", &[], "", 400, "invalid_request"),
        ("GET /v1/topics?colour=1", &[], "", 400, "invalid_request"),
        ("GET /v1/topics?limit=1&limit=2", &[], "", 400, "invalid_request"),
        ("GET /v1/topics", &[("Mq-Tag", "x")], "", 400, "invalid_request"),
        ("PUT /v1/topics/a", &[("If-Match", "\"1\"")], "", 412, "stale"),
        ("PUT /v1/topics/a", &[("If-Match", "1")], "", 400, "invalid_request"),
        ("GET /v1/topics?cursor=orders", &[], "", 400, "invalid_request"),
        ("PUT /v1/topics/a", &[("If-None-Match", "\"1\"")], "", 400, "invalid_request"),
        ("PUT /v1/topics/a", &[], "{\"idempotency_window_ms\":1}", 422, "invalid_settings"),
        ("POST /v1/topics/a/messages?atomic=true", &[], "", 400, "invalid_request"),
        ("POST /v1/topics/a/messages", &[("Idempotency-Key", "")], "", 400, "invalid_request"),
        ("POST /v1/topics/a/messages", &[("ce-id", "1"), ("ce-id", "2")], "", 400, "invalid_request"),
        ("POST /v1/topics/a/messages/batch", &[("Idempotency-Key", "\"1")], "", 400, "invalid_request"),
        ("POST /v1/topics/a/messages/batch?atomic=yes", &[], "", 400, "invalid_request"),
        ("POST /v1/groups/g/receive", &[("Mq-Client", "")], "", 400, "invalid_request"),
        ("POST /v1/groups/g/settle", &[], "[]", 400, "invalid_json"),
        ("POST /v1/groups/g/settle", &[], "{\"acks\":[[\"r\"]]}", 400, "invalid_json"),
        ("POST /v1/groups/g/settle", &[], "{\"nacks\":[[\"r\",1,\"no\"]]}", 400, "invalid_json"),
        ("POST /v1/groups/g/settle", &[], "{\"extends\":[[\"r\",1]]}", 400, "invalid_json"),
        ("POST /v1/groups/g/settle", &[], "{\"dead_letters\":[[\"r\",\"no\"]]}", 400, "invalid_json"),
        ("PUT /v1/groups/g", &[], "{\"subscriptions\":[[\"a\"]]}", 400, "invalid_json"),
        ("PUT /v1/groups/g", &[], "{\"retry\":[\"table\",[100]]}", 400, "invalid_json"),
        (
            "PUT /v1/groups/g",
            &[],
            "{\"subscriptions\":[{\"topic\":\"a\",\"filter\":[\"x\"]}]}",
            400,
            "invalid_request",
        ),
        ("PUT /v1/topics/a", &[], "[4]", 400, "invalid_json"),
        ("POST /v1/topics/a/messages/batch", &[], "{\"messages\":[[\"x\"]]}", 400, "invalid_json"),
        ("PUT /v1/groups/g?auto_create=maybe", &[], "", 400, "invalid_request"),
        ("POST /v1/groups/g/nack", &[], "{\"receipts\":[],\"delay_ms\":43200001}", 400, "invalid_request"),
        ("POST /v1/groups/g/dead-letters/redrive", &[], "{\"ids\":[\"x\"]}", 400, "invalid_request"),
        ("POST /v1/topics/a/messages", &[("Origin", "http://evil.example")], "", 403, "foreign_origin"),
        ("DELETE /v1/topics/a", &[("Sec-Fetch-Site", "cross-site")], "", 403, "foreign_origin"),
    ];
    with_node(&[], move |to| {
        for (line, headers, body, status, code) in cases {
            assert_eq!(refusal(to, line, headers, body), (*status, (*code).to_owned()), "{line} {body}");
        }
        let allow = send(to, "POST /v1/topics/a", &[], b"");
        assert!(allow.header("allow").unwrap().contains("PUT"));
        // None of it left a trace.
        assert_eq!(send(to, "GET /v1/topics", &[], b"").json()["topics"], serde_json::json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_where_it_stands() {
    let cases: &'static [Named<'static>] = &[
        ("GET /v1/topics/%ff", &[], "", 400, "path", "topic"),
        ("POST /v1/groups/%ff/pause", &[], "", 400, "path", "group"),
        ("GET /v1/groups/g/dead-letters/%ff", &[], "", 400, "path", "id"),
        ("GET /v1/topics?%00=1", &[], "", 400, "parameter", "\0"),
        ("GET /v1/topics?limit=%ff", &[], "", 400, "parameter", "limit"),
        ("GET /v1/topics?limit=99999999999999999999", &[], "", 400, "parameter", "limit"),
        ("POST /v1/groups/g/receive?wait=61s", &[], "", 400, "parameter", "wait"),
        ("POST /v1/groups/g/receive", &[], "{\"wait\":\"61s\"}", 400, "pointer", "/wait"),
        (
            "POST /v1/groups/g/receive",
            &[("Mq-Client", "a"), ("Mq-Client", "b")],
            "",
            400,
            "header",
            "mq-client",
        ),
        ("POST /v1/topics/t/messages", &[("Mq-Client", "%00")], "", 400, "header", "mq-client"),
        ("POST /v1/topics/t/messages", &[("Mq-Queue", "9")], "", 404, "header", "Mq-Queue"),
        (
            "POST /v1/topics/t/messages",
            &[("Mq-Deliver-At", "2999-01-01T00:00:00Z")],
            "",
            400,
            "header",
            "Mq-Deliver-At",
        ),
        ("POST /v1/groups/g/seek", &[], "{\"to\":\"latest\"}", 400, "pointer", "/topic"),
        ("POST /v1/groups/g/ack", &[], "{}", 400, "pointer", "/receipts"),
        ("POST /v1/groups/g/settle", &[], "{\"acks\":[{}]}", 400, "pointer", "/acks/0/receipt"),
        (
            "POST /v1/topics/t/messages/batch",
            &[],
            "{\"messages\":[{\"tag\":\"x\"}]}",
            400,
            "pointer",
            "/messages/0/body",
        ),
        ("PUT /v1/topics/t", &[], "{\"queues\":1e999}", 400, "pointer", "/queues"),
    ];
    with_node(&[], move |to| {
        assert_eq!(send(to, "PUT /v1/topics/t", &[], b"").status, 201);
        for (line, headers, body, status, kind, place) in cases {
            let answer = send(to, line, headers, body.as_bytes());
            let error = &answer.json()["errors"][0];
            assert_eq!(
                (answer.status, error[kind].as_str()),
                (*status, Some(*place)),
                "{line} {body}: {error}"
            );
        }
        // A message that is refused when its turn comes is named like one that is malformed.
        let lines =
            b"{\"body\":1}\n\n{\"body\":1,\"queue\":9}\n{\"body\":1,\"queue\":0,\"ordering_key\":\"k\"}";
        let ndjson = [("Content-Type", "application/x-ndjson")];
        let results = send(to, "POST /v1/topics/t/messages/batch", &ndjson, lines).json();
        assert_eq!(results["results"][1]["errors"][0]["pointer"], "/2/queue", "{results}");
        assert_eq!(results["results"][2]["errors"][0]["pointer"], "/3/queue", "{results}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_odd_json_is_refused_or_kept_and_hurts_nobody() {
    with_node(&[], |to| {
        let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for body in
            [deep("[", "]"), deep("{\"a\":", "}"), format!("{{\"subscriptions\":{}}}", deep("[", "]"))]
        {
            assert_eq!(refusal(to, "PUT /v1/groups/g", &[], &body).0, 400);
            assert_eq!(refusal(to, "POST /v1/groups/g/receive?topic=t", &[], &body).0, 400);
        }
        for body in
            [&b"{\"queues\":\"\xff\"}"[..], b"{\"\xff\":1}", b"\xef\xbb\xbf{}", b"\0", b"{\"queues\": NaN}"]
        {
            let answer = send(to, "PUT /v1/topics/t", &[], body);
            assert_eq!((answer.status, &answer.json()["code"]), (400, &"invalid_json".into()));
        }
        // As a payload it is only bytes.
        let kept = format!("{{\"messages\":[{{\"body\":{}}}]}}", deep("[", "]"));
        assert_eq!(send(to, "POST /v1/topics/t/messages/batch", &[], kept.as_bytes()).json()["failed"], 0);
        let got = send(to, "POST /v1/groups/g/receive?topic=t&encoding=json", &[], b"");
        assert!(got.status == 200 && got.body.len() > 200_000);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_message_received_raw_stays_leased() {
    with_node(&[], |to| {
        assert_eq!(send(to, "POST /v1/topics/a/messages", &[], b"").status, 201);
        let raw = [("Accept", "application/octet-stream")];
        let first = send(to, "POST /v1/groups/g/receive?topic=a&wait=20s", &raw, b"");
        assert_eq!((first.status, &first.body[..], first.header("mq-attempt")), (200, &b""[..], Some("1")));
        let again = send(to, "POST /v1/groups/g/receive?wait=300ms", &raw, b"");
        assert_eq!(again.status, 204, "the lease was given back although its answer was read");
        let ack = format!("DELETE /v1/receipts/{}", first.header("mq-receipt").unwrap());
        assert_eq!(send(to, &ack, &[], b"").status, 204);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_receive_of_a_group_finds_what_is_there_without_waiting() {
    with_node(&[], |to| {
        assert_eq!(send(to, "POST /v1/topics/a/messages", &[], b"x").status, 201);
        let first = send(to, "POST /v1/groups/g/receive?topic=a&wait=0s", &[], b"");
        assert_eq!((first.status, &first.json()["messages"][0]["body"]), (200, &"x".into()));
        assert_eq!(
            refusal(to, "POST /v1/groups/h/receive?wait=0s", &[], ""),
            (404, "group_not_found".to_owned())
        );
        let paths = "POST /v1/groups/h/receive?topic=b&wait=0s&auto_create=false";
        assert_eq!(refusal(to, paths, &[], ""), (404, "topic_not_found".to_owned()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_names_the_limit() {
    with_node(&[], |to| {
        let body = vec![b'x'; (4 << 20) + 1];
        let answer = send(to, "POST /v1/topics/a/messages", &[], &body);
        assert_eq!((answer.status, answer.json()["limit"].as_u64()), (413, Some(4_194_304)));
        let answer = send(to, "POST /v1/groups/g/ack", &[], &vec![b' '; (1 << 20) + 1]);
        assert_eq!((answer.status, answer.json()["limit"].as_u64()), (413, Some(1_048_576)));
        let answer = send(to, "POST /v1/topics/a/messages", &[], &body[..4 << 20]);
        assert_eq!(answer.status, 201, "the limit itself is accepted");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_of_allowed_origins_get_in() {
    with_node(&["--allowed-origin=https://app.example"], |to| {
        let origin = ("Origin", "https://app.example");
        let asks = ("Access-Control-Request-Method", "PUT");
        let answer = send(to, "OPTIONS /v1/topics/a", &[origin, asks], b"");
        assert_eq!(answer.status, 204);
        assert!(answer.header("access-control-allow-methods").unwrap().contains("PUT"));
        let answer = send(to, "PUT /v1/topics/a", &[origin], b"");
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (201, Some("https://app.example"))
        );
        let answer = send(to, "OPTIONS /v1/topics/a", &[("Origin", "http://evil.example"), asks], b"");
        assert_eq!(answer.status, 403);
    })
    .await;
}

/// Sends raw bytes and reads until the node closes.
fn exchange(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    if let Err(error) = stream.read_to_string(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the node did not close: {error}");
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn host_request_id_and_head_are_settled_at_the_edge() {
    with_node(&[], |to| {
        let close = "Connection: close\r\n\r\n";
        let answer = exchange(to, &format!("GET /livez HTTP/1.1\r\nHost: evil.example\r\n{close}"));
        assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
        let answer = exchange(
            to,
            &format!("HEAD /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: mine\r\n{close}"),
        );
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("x-request-id: mine\r\n"), "{answer}");
        assert!(
            answer.contains("x-content-type-options: nosniff\r\n") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        for (request, code) in [
            ("rubbish\r\n\r\n".to_owned(), "400 Bad Request"),
            ("GET /livez HTTP/3.0\r\nHost: localhost\r\n\r\n".to_owned(), "400 Bad Request"),
            (format!("GET /livez HTTP/1.1\r\n{close}"), "400 Bad Request"),
            (
                format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n{close}"),
                "400 Bad Request",
            ),
            (
                format!("POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n{close}"),
                "400 Bad Request",
            ),
            (
                format!("GET /livez?{} HTTP/1.1\r\nHost: localhost\r\n{close}", "a".repeat(70_000)),
                "414 URI Too Long",
            ),
            (
                format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{}{close}", "X-F: x\r\n".repeat(120)),
                "431 Request Header Fields Too Large",
            ),
        ] {
            let answer = exchange(to, &request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}\r\n")), "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.to_lowercase().contains("\r\ncontent-type: application/problem+json"), "{answer}");
            let problem: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(problem["status"].to_string(), code.split(' ').next().unwrap());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_produces_keep_their_order() {
    with_node(&[], |to| {
        let mut requests = String::new();
        for n in 0..100 {
            let last = if n == 99 { "Connection: close\r\n" } else { "" };
            requests.push_str(&format!(
                "POST /v1/topics/a/messages HTTP/1.1\r\nHost: localhost\r\nMq-Queue: 0\r\n{last}Content-Length: 2\r\n\r\n{n:02}"
            ));
        }
        let answers = exchange(to, &requests);
        assert_eq!(answers.matches("HTTP/1.1 201 ").count(), 100);
        let page = send(to, "GET /v1/topics/a/queues/0/messages?limit=1000", &[], b"").json();
        let bodies: Vec<&str> =
            page["messages"].as_array().unwrap().iter().map(|message| message["body"].as_str().unwrap()).collect();
        let expected: Vec<String> = (0..100).map(|n| format!("{n:02}")).collect();
        assert_eq!(bodies, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_slow_connections_are_closed_and_others_do_not_notice() {
    with_node(&["--header-timeout=100ms", "--idle-timeout=200ms"], |to| {
        // Nothing sent, half a head, and silence after a request: each ends by itself, whenever that is.
        assert_eq!(exchange(to, ""), "");
        assert_eq!(exchange(to, "GET /livez HTTP/1.1\r\nHost: local"), "");
        let answer = exchange(to, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
        // A receive that waits longer than every one of those deadlines is not silent.
        assert_eq!(send(to, "PUT /v1/topics/a", &[], b"").status, 201);
        let answer = send(to, "POST /v1/groups/g/receive?topic=a&wait=1s", &[], b"");
        assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"messages": []})));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_so() {
    with_node(&["--max-connections=2", "--idle-timeout=60s"], |to| {
        let mut held: Vec<TcpStream> = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            held.push(stream);
        }
        let answer = exchange(to, "");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        drop(held.pop());
        // The place is free as soon as the node has noticed.
        while !exchange(to, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .contains(" 200 ")
        {
            std::thread::yield_now();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_waits_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path(), &["--drain-timeout=60s"])).await.unwrap();
    let to = node.addr();
    let (told, wait_until_told) = std::sync::mpsc::channel();
    let waiting = tokio::task::spawn_blocking(move || {
        assert_eq!(send(to, "PUT /v1/topics/a", &[], b"").status, 201);
        let empty = send(to, "POST /v1/groups/g/receive?topic=a&wait=0", &[], b"");
        assert_eq!(empty.status, 200);
        // An idle connection must not hold the stop up either.
        let idle = TcpStream::connect(to).unwrap();
        told.send(idle).unwrap();
        send(to, "POST /v1/groups/g/receive?wait=60s", &[], b"")
    });
    let idle = tokio::task::spawn_blocking(move || wait_until_told.recv().unwrap()).await.unwrap();
    let started = std::time::Instant::now();
    // The receive is on its way or waiting already; both end empty. Give it the better chance to wait.
    tokio::time::sleep(Duration::from_millis(200)).await;
    node.stop().await;
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"messages": []})));
    assert!(started.elapsed() < Duration::from_secs(30), "the stop waited for the wait");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receive_whose_client_vanished_holds_no_lease() {
    with_node(&[], |to| {
        assert_eq!(send(to, "PUT /v1/topics/t", &[], b"{\"queues\":1}").status, 201);
        for round in 0..5 {
            let mut vanishing = TcpStream::connect(to).unwrap();
            let head = format!(
                "POST /v1/groups/g/receive?topic=t&wait=60s HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\n\r\n"
            );
            vanishing.write_all(head.as_bytes()).unwrap();
            while send(to, "GET /v1/groups/g", &[], b"").status != 200 {
                std::thread::sleep(Duration::from_millis(10));
            }
            std::thread::sleep(Duration::from_millis(100));
            drop(vanishing);
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(send(to, "POST /v1/topics/t/messages", &[], b"m").status, 201);
            let answer = send(to, "POST /v1/groups/g/receive?wait=10s", &[], b"").json();
            assert_eq!(answer["messages"][0]["attempt"], 1, "round {round}: {answer}");
            let receipt = answer["messages"][0]["receipt"].as_str().unwrap();
            assert_eq!(send(to, &format!("DELETE /v1/receipts/{receipt}"), &[], b"").status, 204);
        }
        let group = send(to, "GET /v1/groups/g", &[], b"").json();
        assert_eq!((&group["in_flight"], &group["topics"][0]["lag"]), (&0.into(), &0.into()), "{group}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_called_scheduled_only_until_it_is_due() {
    with_node(&[], |to| {
        assert_eq!(send(to, "PUT /v1/topics/t", &[], b"{\"queues\":1}").status, 201);
        let produced = send(to, "POST /v1/topics/t/messages", &[("Mq-Delay", "2s")], b"m");
        let path = format!("GET {}", produced.header("location").unwrap());
        let shown = send(to, &path, &[], b"").json();
        assert_eq!((&shown["state"], &shown["offset"]), (&"scheduled".into(), &serde_json::Value::Null));
        let received = send(to, "POST /v1/groups/g/receive?topic=t&wait=30s", &[], b"").json();
        assert_eq!(received["messages"][0]["body"], "m", "{received}");
        for path in [path.as_str(), "GET /v1/topics/t/queues/0/messages"] {
            let shown = send(to, path, &[], b"").json();
            let shown = shown["messages"].get(0).cloned().unwrap_or(shown);
            assert_eq!((&shown["body"], shown.get("state")), (&"m".into(), None), "{path}: {shown}");
        }
    })
    .await;
}
