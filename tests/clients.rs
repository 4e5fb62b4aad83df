//! Members over HTTP and WebSocket: who is listed, who is sent away, whose filter is compared, and why nothing arrives.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::calls::Calls;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

/// Long enough for the slowest machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    node: Node,
    _directory: tempfile::TempDir,
}

async fn start() -> Running {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    let line =
        ["serve", "--listen=127.0.0.1:0", "--drain-timeout=1s", "--stall-timeout=60s", "--data", &data];
    let serve = <Line as clap::Parser>::parse_from(line).serve;
    Running { node: Node::start(serve).await.unwrap(), _directory: directory }
}

type Stream = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// A WebSocket of the client `name`, welcomed.
async fn socket(to: SocketAddr, name: &str) -> Stream {
    let mut request = format!("ws://{to}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert("Mq-Client", name.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(frame(&mut socket).await["type"], "welcome");
    socket
}

async fn say(socket: &mut Stream, frame: Value) {
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

/// The next message but pings.
async fn raw(socket: &mut Stream) -> Message {
    loop {
        let next = tokio::time::timeout(PATIENCE, socket.next()).await.expect("nothing came");
        match next.unwrap().unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}

async fn frame(socket: &mut Stream) -> Value {
    match raw(socket).await {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("expected a frame, got {other:?}"),
    }
}

/// A receive of the client `name` that waits.
async fn receive_as(to: SocketAddr, name: &str) -> Value {
    let headers = [("mq-client", name)];
    let answer = Calls::to(to).0.call("POST", "/v1/groups/g/receive?wait=20s", &headers, b"").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn produce(calls: &mut Calls, topic: &str, body: &str) {
    let batch = json!({"messages": [{"body": body}]});
    calls.expect(200, "POST", &format!("/v1/topics/{topic}/messages/batch"), &batch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_only_compared_with_the_groups_own() {
    let running = start().await;
    let to = running.node.addr();
    let mut calls = Calls::to(to);
    let group = json!({"subscriptions": [{"topic": "t", "filter": {"tag": "a || b"}}, {"topic": "u"}]});
    calls.expect(201, "PUT", "/v1/groups/g", &group).await;
    let receive = "/v1/groups/g/receive?wait=0";
    let same = json!({"topic": "t", "filter": {"tag": " b||a||b "}});
    calls.expect(200, "POST", receive, &same).await;
    calls.expect(200, "POST", receive, &json!({"topic": "u", "filter": {"tag": "*"}})).await;
    calls.expect(200, "POST", &format!("{receive}&topic=t&filter=b%7C%7Ca"), &Value::Null).await;
    for (other, asked, own) in [
        (json!({"topic": "t", "filter": {"tag": "a"}}), "a", "a || b"),
        (json!({"topic": "t", "filter": {"tag": "*"}}), "*", "a || b"),
        (json!({"filter": {"tag": "a||b"}}), "a || b", "*"),
    ] {
        let problem = calls.expect(409, "POST", receive, &other).await;
        let said = format!("the filter asked for is [tag {asked}], group 'g' has [tag {own}]");
        assert_eq!((&problem["code"], &problem["detail"]), (&json!("filter_differs"), &json!(said)));
    }
    let fresh = "/v1/groups/fresh/receive?wait=0";
    let problem = calls.expect(409, "POST", fresh, &json!({"topic": "t", "filter": {"tag": "a"}})).await;
    assert_eq!(problem["code"], "filter_differs", "it would be made without a filter");
    calls.expect(404, "GET", "/v1/groups/fresh", &Value::Null).await;

    let mut client = socket(to, "c").await;
    let subscribe = |id: u32, tags: &str| json!({"type": "subscribe", "id": id, "sub": "s", "group": "g", "topic": "t", "filter": {"tag": tags}});
    say(&mut client, subscribe(1, "b")).await;
    let refused = frame(&mut client).await;
    assert_eq!(
        (&refused["type"], &refused["re"], &refused["fatal"]),
        (&json!("error"), &json!(1), &json!(false))
    );
    assert_eq!(refused["code"], "filter_differs");
    assert!(refused["detail"].as_str().unwrap().contains("asked for is [tag b], group 'g' has [tag a || b]"));
    say(&mut client, subscribe(2, "b||a")).await;
    assert_eq!(frame(&mut client).await["type"], "subscribed");
    running.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_with_what_they_hold_and_may_still_get() {
    let running = start().await;
    let to = running.node.addr();
    let mut calls = Calls::to(to);
    calls.expect(201, "PUT", "/v1/topics/t", &json!({"queues": 1})).await;
    for body in ["1", "2", "3"] {
        produce(&mut calls, "t", body).await;
    }
    let mut client = socket(to, "pusher").await;
    let subscribe = json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t", "prefetch": 2, "client": "page 7"});
    say(&mut client, subscribe).await;
    assert_eq!(frame(&mut client).await["type"], "subscribed");
    let mut receipts = Vec::new();
    while receipts.len() < 2 {
        let pushed = frame(&mut client).await;
        receipts
            .extend(pushed["messages"].as_array().unwrap().iter().map(|message| message["receipt"].clone()));
    }
    // What it holds is shown a moment after it has it.
    let row = loop {
        let listed = calls.expect(200, "GET", "/v1/clients?group=g", &Value::Null).await;
        if listed["clients"][0]["groups"][0]["in_flight"] == 2 {
            break listed["clients"][0].clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(
        (&row["name"], &row["kind"], &row["slow"]),
        (&json!("pusher"), &json!("socket"), &json!(false))
    );
    let of_group = &row["groups"][0];
    let expected = json!({"group": "g", "mode": "prefetch", "client": "page 7", "in_flight": 2, "sub": "s",
                          "topic": "t", "credit": 0, "paused": false});
    assert_eq!(*of_group, expected);
    let explained = calls.expect(200, "GET", "/v1/groups/g/explain", &Value::Null).await;
    assert_eq!(explained["findings"][0]["code"], "no_credit", "{explained}");
    let leased =
        explained["findings"].as_array().unwrap().iter().find(|row| row["code"] == "leased").unwrap();
    assert_eq!(
        (&leased["client"], &leased["count"]),
        (&json!("page 7"), &json!(2)),
        "its own name for the lease"
    );

    // Another one over HTTP, which takes what the prefetch left.
    let taken = receive_as(to, "worker").await;
    assert_eq!(taken["messages"][0]["body"], "3");
    let waits = tokio::spawn(receive_as(to, "waiter"));
    let row = loop {
        let listed = calls.expect(200, "GET", "/v1/clients?group=g", &Value::Null).await;
        let rows = listed["clients"].as_array().unwrap();
        if let Some(row) = rows.iter().find(|row| row["name"] == "waiter") {
            assert_eq!(rows.len(), 3);
            break [rows[1].clone(), row.clone()];
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let of_group = |in_flight: u64, waiting: u64, name: &str| json!([{"group": "g", "mode": "receive", "client": name, "in_flight": in_flight, "waiting": waiting}]);
    assert_eq!(row[0]["groups"], of_group(1, 0, "worker"));
    assert_eq!((&row[1]["groups"], &row[1]["kind"]), (&of_group(0, 1, "waiter"), &json!("http")));
    assert_eq!(calls.expect(200, "GET", "/v1/groups/g", &Value::Null).await["members"], 3);
    produce(&mut calls, "t", "4").await;
    assert_eq!(waits.await.unwrap()["messages"][0]["body"], "4");
    say(&mut client, json!({"type": "unsubscribe", "sub": "s"})).await;
    say(&mut client, json!({"type": "ack", "id": 9, "receipts": receipts})).await;
    assert_eq!(frame(&mut client).await["re"], 9);
    let listed = calls.expect(200, "GET", "/v1/clients?group=g", &Value::Null).await;
    let rows = listed["clients"].as_array().unwrap();
    assert!(
        rows.iter().all(|row| row["name"] != "pusher"),
        "the socket is open and a member no more: {listed}"
    );
    running.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_disconnected_hears_why_and_gives_back_what_it_holds() {
    let running = start().await;
    let to = running.node.addr();
    let mut calls = Calls::to(to);
    produce(&mut calls, "t", "1").await;
    let mut client = socket(to, "worker").await;
    say(&mut client, json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t"})).await;
    assert_eq!(frame(&mut client).await["type"], "subscribed");
    assert_eq!(frame(&mut client).await["messages"][0]["attempt"], 1);
    let listed = calls.expect(200, "GET", "/v1/clients", &Value::Null).await;
    let path = format!("/v1/clients/{}", listed["clients"][0]["id"].as_str().unwrap());
    calls.expect(204, "DELETE", &path, &Value::Null).await;
    let error = frame(&mut client).await;
    assert_eq!((&error["code"], &error["fatal"]), (&json!("disconnected"), &json!(true)), "{error}");
    match raw(&mut client).await {
        Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 4409),
        other => panic!("expected a close, got {other:?}"),
    }
    let again = calls.expect(200, "POST", "/v1/groups/g/receive?wait=20s", &Value::Null).await;
    assert_eq!((&again["messages"][0]["body"], &again["messages"][0]["attempt"]), (&json!("1"), &json!(1)));
    calls.expect(404, "DELETE", &path, &Value::Null).await;
    running.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_lets_nothing_through_and_a_schedule_are_explained() {
    let running = start().await;
    let mut calls = Calls::to(running.node.addr());
    let group = json!({"subscriptions": [{"topic": "t", "filter": {"tag": "a"}}]});
    calls.expect(201, "PUT", "/v1/groups/g", &group).await;
    let messages: Vec<Value> = (0..20).map(|_| json!({"body": "x", "tag": "b"})).collect();
    calls.expect(200, "POST", "/v1/topics/t/messages/batch", &json!({ "messages": messages })).await;
    let receive = "/v1/groups/g/receive?wait=0";
    assert_eq!(calls.expect(200, "POST", receive, &Value::Null).await["messages"], json!([]));
    let explained = calls.expect(200, "GET", "/v1/groups/g/explain", &Value::Null).await;
    let first = &explained["findings"][0];
    assert_eq!(
        (&first["code"], &first["affects"]),
        (&json!("filter_excludes"), &json!("some")),
        "{explained}"
    );
    assert_eq!((&first["count"], &first["of"], &first["topic"]), (&json!(20), &json!(20), &json!("t")));
    let later = json!({"messages": [{"body": "x", "tag": "a"}, {"body": "later", "delay_ms": 3_600_000}]});
    calls.expect(200, "POST", "/v1/topics/t/messages/batch", &later).await;
    let explained = calls.expect(200, "GET", "/v1/groups/g/explain", &Value::Null).await;
    let findings = explained["findings"].as_array().unwrap();
    let find =
        |code: &str| findings.iter().find(|row| row["code"] == code).unwrap_or_else(|| panic!("{explained}"));
    let (excludes, scheduled) = (find("filter_excludes"), find("scheduled"));
    assert_eq!(
        (&excludes["count"], &excludes["of"], &excludes["affects"]),
        (&json!(20), &json!(21), &json!("none"))
    );
    assert_eq!(scheduled["count"], 1);
    assert!(scheduled["until"].is_string() && scheduled["id"].is_string(), "{scheduled}");
    assert_eq!((&find("ready")["count"], &find("all_well")["affects"]), (&json!(1), &json!("none")));
    running.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_does_not_read_is_shown_as_slow() {
    let running = start().await;
    let to = running.node.addr();
    let mut calls = Calls::to(to);
    let mut client = socket(to, "sleeper").await;
    let subscribe = json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t", "prefetch": 1_000});
    say(&mut client, subscribe).await;
    assert_eq!(frame(&mut client).await["type"], "subscribed");
    let body = "x".repeat(1 << 20);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let listed = calls.expect(200, "GET", "/v1/clients?group=g", &Value::Null).await;
        if listed["clients"][0]["slow"] == true {
            break;
        }
        // However much the two kernels take, at some point it is enough.
        assert!(tokio::time::Instant::now() < deadline, "{listed}");
        produce(&mut calls, "t", &body).await;
    }
    drop(client);
    running.node.stop().await;
}
