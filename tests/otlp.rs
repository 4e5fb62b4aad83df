//! With the feature `otlp`, requests arrive at a collector as spans, within the trace of their caller.
#![cfg(feature = "otlp")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Ends the broker with the test.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads one request; answers its first line and its body.
fn read_request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, body))
}

#[test]
fn a_request_is_a_span_in_the_trace_of_its_caller() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let (came, coming) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in collector.incoming().flatten() {
            if let Some(request) = read_request(&stream) {
                let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                let _ = came.send(request);
            }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_whimbrel"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(directory.path())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .stdout(Stdio::piped())
        .spawn();
    let mut broker = Broker(child.unwrap());
    let mut said = BufReader::new(broker.0.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address = line.trim().rsplit("http://").next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /v1/version HTTP/1.1\r\nhost: {address}\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let trace: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&TRACE[at * 2..at * 2 + 2], 16).unwrap()).collect();
    loop {
        let (first, body) = coming.recv_timeout(PATIENCE).expect("no span came");
        assert!(first.starts_with("POST /v1/traces "), "{first}");
        let holds = |wanted: &[u8]| body.windows(wanted.len()).any(|window| window == wanted);
        if holds(&trace) {
            assert!(holds(b"whimbrel") && holds(b"/v1/version"));
            return;
        }
    }
}
