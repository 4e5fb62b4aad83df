//! Clients that send too much, too slowly, or do not read: each gets a clear answer where one can reach it, holds its
//! place for a bounded time only, and nobody else notices. Against a real node over raw sockets. Where a test waits for
//! the node to act, it looks until it has; no time is asserted.

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

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use whimbrel::config::ServeArgs;
use whimbrel::node::Node;

/// Long enough for the slowest machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);
const PLAIN: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn serve_args(data: &std::path::Path, more: &[&str]) -> ServeArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let data = data.display().to_string();
    let line = ["whimbrel", "--listen=127.0.0.1:0", "--data", &data];
    <Line as clap::Parser>::parse_from(line.into_iter().chain(more.iter().copied())).serve
}

/// Runs blocking `work` against a node with these flags.
async fn with_node(more: &[&str], work: impl FnOnce(SocketAddr) + Send + 'static) {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path(), more)).await.unwrap();
    let to = node.addr();
    tokio::task::spawn_blocking(move || work(to)).await.unwrap();
    node.stop().await;
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything up to the end of the connection, which must come in order and not as a reset.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an orderly end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn exchange(to: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(to);
    stream.write_all(request).expect("the node takes what it refuses");
    read_to_end(&mut stream)
}

/// Looks until a place is free; a node that is full answers 503 at once.
fn wait_for_a_place(to: SocketAddr) {
    let until = std::time::Instant::now() + PATIENCE;
    while !exchange(to, PLAIN.as_bytes()).starts_with("HTTP/1.1 200 ") {
        assert!(std::time::Instant::now() < until, "the place was never given up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// More than the buffers of both kernels together, so that the sender is really held up while the node refuses.
const FLOOD: usize = 24 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_too_much_sends_on_and_reads_its_answer() {
    with_node(&[], |to| {
        let too_large = |answer: &str| {
            assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
            assert!(answer.contains("\"limit\":4194304"), "{answer}");
        };
        let head = |how: &str| {
            format!("POST /v1/topics/a/messages HTTP/1.1\r\nHost: localhost\r\n{how}\r\n\r\n").into_bytes()
        };
        let mut announced = head(&format!("Content-Length: {FLOOD}"));
        announced.resize(announced.len() + FLOOD, b'x');
        too_large(&exchange(to, &announced));

        let mut chunked = head("Transfer-Encoding: chunked");
        for _ in 0..FLOOD >> 20 {
            chunked.extend_from_slice(b"100000\r\n");
            chunked.resize(chunked.len() + (1 << 20), b'x');
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        too_large(&exchange(to, &chunked));

        // Refused for another reason, and before the body was looked at.
        let refused = format!(
            "POST /v1/topics/-/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {FLOOD}\r\n\r\n"
        );
        let mut refused = refused.into_bytes();
        refused.resize(refused.len() + FLOOD, b'x');
        let answer = exchange(to, &refused);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_request"), "{answer}");

        // A head that never ends.
        let mut endless = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Filler: ".to_vec();
        endless.resize(FLOOD, b'x');
        let answer = exchange(to, &endless);
        assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("head_too_large"), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sender_is_not_listened_to_for_ever() {
    with_node(&["--max-connections=1"], |to| {
        let head = format!(
            "POST /v1/topics/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            1_u64 << 40
        );
        let mut endless = connect(to);
        endless.write_all(head.as_bytes()).unwrap();
        let block = vec![b'x'; 1 << 20];
        let taken = (0..1_000).take_while(|_| endless.write_all(&block).is_ok()).count();
        assert!((16..1_000).contains(&taken), "{taken} MiB were taken before the connection was cut");
        wait_for_a_place(to);

        // One who stops sending and does not go away loses its place just so.
        let mut silent = connect(to);
        silent.write_all(head.as_bytes()).unwrap();
        let answer = read_to_end(&mut silent);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        wait_for_a_place(to);
        drop(silent);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_reads_why_although_it_has_asked_already() {
    with_node(&["--max-connections=1"], |to| {
        let mut held = connect(to);
        held.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        held.read_exact(&mut [0; 12]).unwrap();
        let mut flood = PLAIN.as_bytes().to_vec();
        flood.resize(FLOOD, b'x');
        let answer = exchange(to, &flood);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
        let problem: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&json!("overloaded"), &json!(503)));
        drop(held);
        wait_for_a_place(to);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_408() {
    with_node(&["--transfer-timeout=200ms"], |to| {
        let head = "POST /v1/topics/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc";
        let answer = exchange(to, head.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
        let topics = exchange(to, PLAIN.replace("/livez", "/v1/topics").as_bytes());
        assert!(topics.contains("{\"topics\":[],"), "nothing was stored: {topics}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_is_cut_however_busy_it_looks() {
    with_node(&["--header-timeout=100ms"], |to| {
        let mut stream = connect(to);
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Filler: ").unwrap();
        let mut sent = 0;
        // Never silent for as long as the timeout, and still it ends.
        while stream.write_all(b"x").is_ok() {
            sent += 1;
            assert!(sent < 6_000, "still connected after {sent} bytes, one every 10 ms");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(exchange(to, PLAIN.as_bytes()).starts_with("HTTP/1.1 200 "));
    })
    .await;
}

/// A connection that takes only a little before its reader reads.
fn narrow(to: SocketAddr) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None).unwrap();
    // Before connecting, so that the window is never announced larger.
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Fills queue 0 of topic `big` with 24 messages of 1 MiB.
fn fill(to: SocketAddr) {
    // With one place only, the connection before may hold it a moment longer.
    let done = |line: (&str, &str), body: &[u8]| loop {
        match client::send(to, line, &[], body).status {
            503 => std::thread::sleep(Duration::from_millis(10)),
            status => break assert_eq!(status, 201),
        }
    };
    done(("PUT", "/v1/topics/big"), b"{\"queues\":1}");
    for _ in 0..24 {
        done(("POST", "/v1/topics/big/messages"), &vec![b'x'; 1 << 20]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_is_cut() {
    with_node(&["--max-connections=1", "--transfer-timeout=300ms"], |to| {
        fill(to);
        wait_for_a_place(to);
        let mut reader: TcpStream = narrow(to).into();
        reader
            .write_all(b"GET /v1/topics/big/queues/0/messages?limit=24 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut first = [0; 12];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        // The only place; it comes free although the reader never lets go.
        wait_for_a_place(to);
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
        assert!(rest.len() < 24 << 20, "the whole answer came: nothing was cut");
    })
    .await;
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

async fn open_socket(to: SocketAddr) -> Socket {
    let stream: TcpStream = narrow(to).into();
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let (mut socket, _) =
        tokio_tungstenite::client_async(format!("ws://{to}/v1/ws"), stream).await.expect("an upgrade");
    let welcome = socket.next().await.unwrap().unwrap();
    assert!(welcome.to_text().unwrap().contains("\"welcome\""));
    socket
}

async fn group(to: SocketAddr) -> Value {
    let answer = tokio::task::spawn_blocking(move || client::send(to, ("GET", "/v1/groups/g"), &[], b""));
    answer.await.unwrap().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_does_not_read_loses_its_leases_and_hears_1013() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path(), &["--stall-timeout=3s"])).await.unwrap();
    let to = node.addr();
    tokio::task::spawn_blocking(move || fill(to)).await.unwrap();
    let mut socket = open_socket(to).await;
    let subscribe = json!({"type": "subscribe", "sub": "s", "group": "g", "topic": "big", "prefetch": 24});
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    // All of it is leased, and its failure is what a broken reader means: nothing but the stall can end these leases.
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut leased = false;
    loop {
        let group = group(to).await;
        leased |= group["in_flight"].as_u64() > Some(0);
        if leased && group["topics"][0]["retrying"].as_u64() > Some(0) {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "never given up: {group}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It reads on now, and among what was on its way finds why.
    let mut messages = 0;
    let close = loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("an end") {
            Some(Ok(Message::Close(Some(frame)))) => break frame,
            Some(Ok(Message::Text(_))) => messages += 1,
            Some(Ok(_)) => {}
            other => panic!("the end came without a close frame: {other:?}"),
        }
    };
    assert_eq!(u16::from(close.code), 1013, "{close:?}");
    assert!(messages < 24, "the reader was served while it did not read");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_too_many_is_told_so_and_places_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(serve_args(directory.path(), &["--max-sockets=2"])).await.unwrap();
    let to = node.addr();
    let (first, mut second) = (open_socket(to).await, open_socket(to).await);
    let upgrade = move || {
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        client::send(to, ("GET", "/v1/ws"), &headers, b"")
    };
    let refused = tokio::task::spawn_blocking(upgrade).await.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(
        (refused.media_type(), &refused.json()["code"]),
        ("application/problem+json", &json!("overloaded"))
    );
    let limits = move || client::send(to, ("GET", "/v1/limits"), &[], b"").json();
    assert_eq!(tokio::task::spawn_blocking(limits).await.unwrap()["sockets_max"], 2);
    second.close(None).await.unwrap();
    // The place comes back when the node has seen the close.
    let until = std::time::Instant::now() + PATIENCE;
    while tokio::task::spawn_blocking(upgrade).await.unwrap().status != 101 {
        assert!(std::time::Instant::now() < until, "the place never came back");
    }
    drop(first);
    node.stop().await;
}
