//! The WebSocket against a real node: what it promises, and what bad clients get.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

/// Long enough for the slowest machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}

struct Running {
    node: Node,
    _directory: tempfile::TempDir,
}

async fn start(extra: &[&str]) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data").display().to_string();
    let line = ["serve", "--listen", "127.0.0.1:0", "--data", &data];
    let serve = Line::parse_from(line.iter().chain(extra)).serve;
    Running { node: Node::start(serve).await.unwrap(), _directory: directory }
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Client {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/v1/ws")).await.unwrap();
        let mut client = Client { socket };
        let welcome = client.next().await;
        assert_eq!(welcome["type"], "welcome");
        assert_eq!(welcome["heartbeat_ms"], 20_000);
        assert!(welcome["limits"]["body_bytes_max"].is_u64());
        client
    }

    async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next message of any kind but pings.
    async fn raw(&mut self) -> Option<Message> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("nothing came") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    async fn next(&mut self) -> Value {
        match self.raw().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    /// Asks something that is answered at once, and so proves that nothing else came before.
    async fn nothing_came(&mut self) {
        self.send(json!({"type": "nonsense", "id": "probe"})).await;
        let frame = self.next().await;
        assert_eq!(frame["re"], "probe", "{frame}");
    }

    /// Collects `count` delivered messages, whatever frames they come in.
    async fn messages(&mut self, count: usize) -> Vec<Value> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let frame = self.next().await;
            assert_eq!(frame["type"], "messages", "{frame}");
            messages.extend(frame["messages"].as_array().unwrap().iter().cloned());
        }
        assert_eq!(messages.len(), count, "more than expected");
        messages
    }

    async fn publish(&mut self, topic: &str, body: &str) {
        self.send(json!({"type": "publish", "id": body, "topic": topic, "body": body})).await;
        let answer = self.next().await;
        assert_eq!((&answer["type"], &answer["re"]), (&json!("published"), &json!(body)), "{answer}");
    }

    async fn subscribe(&mut self, frame: Value) {
        self.send(frame).await;
        let answer = self.next().await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
    }

    async fn close(mut self, code: CloseCode) {
        self.socket.close(Some(CloseFrame { code, reason: "".into() })).await.unwrap();
        while self.raw().await.is_some_and(|message| !message.is_close()) {}
    }

    /// Waits for the close frame and says its code.
    async fn closed(&mut self) -> u16 {
        loop {
            match self.raw().await {
                Some(Message::Close(Some(frame))) => return frame.code.into(),
                Some(Message::Text(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }
}

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["body"].as_str().unwrap()).collect()
}

fn receipts(messages: &[Value]) -> Vec<&Value> {
    messages.iter().map(|message| &message["receipt"]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_comes_in_and_goes_out_with_its_message() {
    let running = start(&[]).await;
    let mut client = Client::connect(running.node.addr()).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let publish = json!({"type": "publish", "id": 1, "topic": "t", "body": "x", "traceparent": parent, "tracestate": "a=b"});
    client.send(publish).await;
    assert_eq!(client.next().await["type"], "published");
    client
        .send(json!({"type": "publish", "id": 2, "topic": "t", "body": "x", "traceparent": "rubbish"}))
        .await;
    let refused = client.next().await;
    assert_eq!(
        (&refused["re"], &refused["errors"][0]["pointer"]),
        (&json!(2), &json!("/traceparent")),
        "{refused}"
    );
    client.send(json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t"})).await;
    assert_eq!(client.next().await["type"], "subscribed");
    let message = &client.messages(1).await[0];
    assert_eq!((&message["traceparent"], &message["tracestate"]), (&json!(parent), &json!("a=b")));
    running.node.stop().await;
}

#[tokio::test]
async fn publish_receive_and_ack() {
    let running = start(&["--drain-timeout", "1s"]).await;
    let mut client = Client::connect(running.node.addr()).await;
    client.subscribe(json!({"type": "subscribe", "id": 1, "sub": "s", "group": "g", "topic": "t"})).await;
    client
        .send(json!({"type": "publish", "topic": "t", "body": "hi", "tag": "new", "properties": {"A": "1"}}))
        .await;
    // The answer and the delivery come from one entry of the log; either may be first.
    let frames = [client.next().await, client.next().await];
    let published = frames.iter().find(|frame| frame["type"] == "published").unwrap();
    let delivered = &frames.iter().find(|frame| frame["type"] == "messages").unwrap()["messages"][0];
    assert!(published.get("re").is_none());
    assert_eq!(published["id"], delivered["id"]);
    assert_eq!((&delivered["body"], &delivered["tag"]), (&json!("hi"), &json!("new")));
    assert_eq!((&delivered["attempt"], &delivered["properties"]["a"]), (&json!(1), &json!("1")));
    client.send(json!({"type": "ack", "id": 2, "receipts": [delivered["receipt"], "rubbish"]})).await;
    let settled = client.next().await;
    assert_eq!((&settled["type"], &settled["re"]), (&json!("settled"), &json!(2)));
    assert_eq!(settled["results"][0]["status"], "ok");
    assert_eq!(
        (&settled["results"][1]["status"], &settled["results"][1]["receipt"]),
        (&json!("invalid"), &json!("rubbish"))
    );
    // Without an id only what is not ok comes back.
    client.send(json!({"type": "ack", "receipts": [delivered["receipt"]]})).await;
    let settled = client.next().await;
    assert!(settled.get("re").is_none());
    assert_eq!(settled["results"][0]["status"], "already");
    running.node.stop().await;
}

#[tokio::test]
async fn publishes_keep_their_order_and_so_do_their_answers() {
    let running = start(&["--drain-timeout", "1s"]).await;
    let client = Client::connect(running.node.addr()).await;
    // More than may be unanswered; runs of two topics, and refused ones between. A reader of its own keeps it flowing.
    let count = 3_000;
    let (mut sink, mut stream) = client.socket.split();
    let writer = tokio::spawn(async move {
        for number in 0..count {
            let topic = if number % 100 < 70 { "a" } else { "b" };
            let mut frame = json!({"type": "publish", "id": number, "topic": topic, "body": number.to_string(), "queue": 0});
            if number % 10 == 3 {
                frame["tag"] = json!("");
            }
            sink.feed(Message::text(frame.to_string())).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink
    });
    let mut next_offset = [0, 0];
    for number in 0..count {
        let text = loop {
            let message = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
            if let Message::Text(text) = message {
                break text;
            }
        };
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["re"], number, "{answer}");
        if number % 10 == 3 {
            assert_eq!(
                (&answer["type"], &answer["status"], &answer["fatal"]),
                (&json!("error"), &json!(400), &json!(false))
            );
        } else {
            let offset = &mut next_offset[usize::from(number % 100 >= 70)];
            assert_eq!((&answer["type"], &answer["offset"]), (&json!("published"), &json!(*offset)));
            *offset += 1;
        }
    }
    drop(writer.await.unwrap());
    let mut client = Client::connect(running.node.addr()).await;
    client
        .send(json!({"type": "publish", "id": "m", "topic": "a", "messages": [{"body": "x"}, {"body": "y", "ttl_ms": 0}, {"body": "z"}]}))
        .await;
    let answer = client.next().await;
    assert_eq!((&answer["re"], &answer["failed"]), (&json!("m"), &json!(1)));
    assert_eq!(
        (&answer["results"][0]["state"], &answer["results"][1]["status"]),
        (&json!("ready"), &json!(400))
    );
    running.node.stop().await;
}

#[tokio::test]
async fn nothing_comes_beyond_credit() {
    let running = start(&["--drain-timeout", "1s"]).await;
    let mut client = Client::connect(running.node.addr()).await;
    for number in 0..10 {
        client.publish("t", &number.to_string()).await;
    }
    client
        .subscribe(json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t", "mode": "credit"}))
        .await;
    client.nothing_came().await;
    client.send(json!({"type": "credit", "sub": "s", "messages": 3})).await;
    client.messages(3).await;
    client.nothing_came().await;
    client.send(json!({"type": "credit", "sub": "s", "messages": 2})).await;
    client.send(json!({"type": "credit", "sub": "s", "messages": 2})).await;
    client.messages(4).await;
    client.nothing_came().await;
    running.node.stop().await;
}

#[tokio::test]
async fn prefetch_counts_what_is_unsettled() {
    let running = start(&["--drain-timeout", "1s"]).await;
    let mut client = Client::connect(running.node.addr()).await;
    for number in 0..6 {
        client.publish("t", &number.to_string()).await;
    }
    client
        .subscribe(json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t", "prefetch": 2}))
        .await;
    let first = client.messages(2).await;
    client.nothing_came().await;
    // An extend settles nothing; an ack makes room for exactly one.
    client
        .send(json!({"type": "extend", "id": "e", "receipts": [first[0]["receipt"]], "lease_ms": 90_000}))
        .await;
    assert_eq!(client.next().await["results"][0]["state"], "leased");
    client.nothing_came().await;
    client.send(json!({"type": "ack", "receipts": [first[0]["receipt"]]})).await;
    client.messages(1).await;
    client.nothing_came().await;
    running.node.stop().await;
}

#[tokio::test]
async fn pause_resume_and_unsubscribe() {
    let running = start(&["--drain-timeout", "1s"]).await;
    let mut client = Client::connect(running.node.addr()).await;
    client.subscribe(json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t"})).await;
    client.send(json!({"type": "pause", "sub": "s"})).await;
    client.publish("t", "a").await;
    client.nothing_came().await;
    client.send(json!({"type": "resume", "sub": "s"})).await;
    assert_eq!(bodies(&client.messages(1).await), ["a"]);
    client.send(json!({"type": "unsubscribe", "sub": "s"})).await;
    // Given back: ready at once, and it was no failure.
    client.subscribe(json!({"type": "subscribe", "sub": "s", "group": "g"})).await;
    let again = client.messages(1).await;
    assert_eq!((&again[0]["body"], &again[0]["attempt"]), (&json!("a"), &json!(1)));
    for kind in ["pause", "resume", "unsubscribe"] {
        client.send(json!({"type": kind, "id": 1, "sub": "nobody"})).await;
        let error = client.next().await;
        assert_eq!(
            (&error["type"], &error["status"], &error["re"]),
            (&json!("error"), &json!(404), &json!(1))
        );
    }
    running.node.stop().await;
}

#[tokio::test]
async fn an_orderly_close_gives_back_and_a_broken_one_fails_the_delivery() {
    let running = start(&["--drain-timeout", "1s"]).await;
    let address = running.node.addr();
    let mut client = Client::connect(address).await;
    client.publish("t", "a").await;
    client.subscribe(json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t"})).await;
    client.messages(1).await;
    client.close(CloseCode::Normal).await;
    let mut client = Client::connect(address).await;
    client.subscribe(json!({"type": "subscribe", "sub": "s", "group": "g"})).await;
    assert_eq!(client.messages(1).await[0]["attempt"], 1);
    // No close frame: the message waits its retry delay (10 s by default), and an ack in that time is still good.
    let lost = client;
    drop(lost);
    let mut client = Client::connect(address).await;
    client.subscribe(json!({"type": "subscribe", "sub": "s", "group": "g"})).await;
    let retried = client.messages(1).await;
    assert_eq!(retried[0]["attempt"], 2);
    client.send(json!({"type": "ack", "id": 1, "receipts": receipts(&retried)})).await;
    assert_eq!(client.next().await["results"][0]["status"], "ok");
    running.node.stop().await;
}

#[tokio::test]
async fn nack_and_dead_letter() {
    let running = start(&["--drain-timeout", "1s"]).await;
    let mut client = Client::connect(running.node.addr()).await;
    client.subscribe(json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t"})).await;
    client.send(json!({"type": "publish", "topic": "t", "body": "a"})).await;
    let frames = [client.next().await, client.next().await];
    let delivered = frames.iter().find(|frame| frame["type"] == "messages").unwrap();
    client.send(json!({"type": "nack", "receipts": [delivered["messages"][0]["receipt"]], "delay_ms": 0, "reason": "again"})).await;
    let again = client.messages(1).await;
    assert_eq!(again[0]["attempt"], 2);
    client.send(json!({"type": "dead_letter", "id": 1, "receipts": receipts(&again), "reason": "no"})).await;
    let settled = client.next().await;
    assert_eq!(
        (&settled["results"][0]["op"], &settled["results"][0]["state"]),
        (&json!("dead_letter"), &json!("dead"))
    );
    running.node.stop().await;
}

#[tokio::test]
async fn bad_frames_hurt_only_themselves() {
    let running = start(&["--drain-timeout", "1s"]).await;
    let address = running.node.addr();
    let mut client = Client::connect(address).await;
    for (frame, status) in [
        (json!({"type": "dance"}), 400),
        (json!({"kind": "ack"}), 400),
        (json!({"type": "ack", "receipts": [], "colour": 1}), 400),
        (json!({"type": "publish", "topic": "a b", "body": ""}), 400),
        (json!({"type": "subscribe", "sub": "s", "group": "nobody"}), 404),
        (json!({"type": "subscribe", "sub": "s", "group": "g", "filter": {"sql": "a"}}), 422),
        (json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t", "filter": {"tag": "a"}}), 409),
        (json!({"type": "credit", "sub": "s", "messages": 1}), 404),
    ] {
        let mut frame = frame;
        frame["id"] = json!("x");
        client.send(frame.clone()).await;
        let error = client.next().await;
        assert_eq!((&error["type"], &error["re"]), (&json!("error"), &json!("x")), "{frame}: {error}");
        assert_eq!((&error["status"], &error["fatal"]), (&json!(status), &json!(false)), "{frame}: {error}");
    }
    client.publish("t", "still fine").await;
    client.subscribe(json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t"})).await;
    client.messages(1).await;
    client.send(json!({"type": "subscribe", "id": 1, "sub": "s", "group": "g"})).await;
    assert_eq!(client.next().await["status"], 409);
    for (message, code) in
        [(Message::text("no json"), 4400), (Message::text("[]"), 4400), (Message::binary(vec![1, 2]), 1003)]
    {
        let mut bad = Client::connect(address).await;
        bad.socket.send(message).await.unwrap();
        let error = bad.next().await;
        assert_eq!((&error["type"], &error["fatal"]), (&json!("error"), &json!(true)));
        assert_eq!(bad.closed().await, code);
    }
    client.publish("t", "other sockets did not notice").await;
    running.node.stop().await;
}

#[tokio::test]
async fn the_upgrade_is_strict() {
    let running = start(&["--drain-timeout", "1s"]).await;
    let url = |query: &str| format!("ws://{}/v1/ws{query}", running.node.addr());
    let refusal = async |url: String, header: Option<(&'static str, &'static str)>| {
        let mut request = url.into_client_request().unwrap();
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => response.status().as_u16(),
            Err(other) => panic!("{other}"),
            Ok((_, response)) => response.status().as_u16(),
        }
    };
    assert_eq!(refusal(url("?colour=1"), None).await, 400);
    assert_eq!(refusal(url("?encoding=rot13"), None).await, 400);
    assert_eq!(refusal(url(""), Some(("sec-websocket-protocol", "soap"))).await, 400);
    assert_eq!(refusal(url(""), Some(("sec-websocket-protocol", "soap, mq.v1.json"))).await, 101);
    assert_eq!(refusal(url(""), Some(("mq-colour", "red"))).await, 400);
    assert_eq!(refusal(url(""), Some(("origin", "http://evil.example"))).await, 403);
    assert_eq!(refusal(url("?encoding=base64"), None).await, 101);
    running.node.stop().await;
}

#[tokio::test]
async fn a_stop_says_so_and_gives_back() {
    let running = start(&["--drain-timeout", "2s"]).await;
    let mut idle = Client::connect(running.node.addr()).await;
    let mut busy = Client::connect(running.node.addr()).await;
    busy.publish("t", "a").await;
    busy.subscribe(json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "t"})).await;
    let held = busy.messages(1).await;
    let Running { node, _directory } = running;
    let stopping = tokio::spawn(async move { node.stop().await });
    assert_eq!(idle.next().await["type"], "draining");
    assert_eq!(idle.closed().await, 1001);
    let draining = busy.next().await;
    assert_eq!(draining["type"], "draining");
    assert!(draining["deadline_ms"].as_u64().unwrap() <= 2_000);
    // Settling still works; after it nothing is open, and the socket need not wait for the deadline.
    busy.send(json!({"type": "ack", "id": 1, "receipts": receipts(&held)})).await;
    assert_eq!(busy.next().await["results"][0]["status"], "ok");
    assert_eq!(busy.closed().await, 1001);
    stopping.await.unwrap();
}
