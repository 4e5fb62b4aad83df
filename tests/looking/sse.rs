//! A client of a tail: server-sent events out of a chunked answer.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest time without any byte: two heartbeats and more.
const SILENCE_LIMIT: Duration = Duration::from_secs(40);

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// An open tail.
pub(crate) struct Tail {
    stream: TcpStream,
    /// What came and is not taken apart yet.
    raw: Vec<u8>,
    text: String,
    /// The id of the last block, also of one without data.
    pub(crate) last_id: String,
}

impl Tail {
    /// Opens a tail, which must be accepted; `query` begins with `?` or is empty.
    pub(crate) async fn open(address: SocketAddr, topic: &str, query: &str, last_id: Option<&str>) -> Tail {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let last_id = last_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let head = format!("GET /v1/topics/{topic}/tail{query} HTTP/1.1\r\nhost: {address}\r\n{last_id}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut tail = Tail { stream, raw: Vec::new(), text: String::new(), last_id: String::new() };
        let end = loop {
            if let Some(at) = tail.raw.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(tail.more().await, "no answer: {}", String::from_utf8_lossy(&tail.raw));
        };
        let head = String::from_utf8(tail.raw.drain(..end).collect()).unwrap().to_ascii_lowercase();
        assert!(
            head.starts_with("http/1.1 200 ") && head.contains("content-type: text/event-stream\r\n"),
            "{head}"
        );
        assert!(head.contains("cache-control: no-store\r\n"), "{head}");
        tail
    }

    /// The next event; none at the end of the stream, or when the connection breaks.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(at) = self.text.find("\n\n") {
                let block: String = self.text.drain(..at + 2).collect();
                if let Some(event) = self.read(&block) {
                    return Some(event);
                }
                continue;
            }
            while !self.take_chunk() {
                if !self.more().await {
                    return None;
                }
            }
        }
    }

    /// As [`Tail::next`] for an event that must come.
    pub(crate) async fn expect(&mut self, name: &str) -> Event {
        let event = self.next().await.expect("the stream ended");
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    fn read(&mut self, block: &str) -> Option<Event> {
        let (mut name, mut data) = ("message", Vec::new());
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("event", value)) => name = value,
                Some(("id", value)) => value.clone_into(&mut self.last_id),
                Some(("data", value)) => data.push(value),
                Some(("retry", _)) => {}
                _ if line.is_empty() || line == ":" || line == "data: " => {}
                _ => panic!("an odd line: {line}"),
            }
        }
        if data.is_empty() {
            return None;
        }
        let data = serde_json::from_str(&data.join("\n")).unwrap();
        Some(Event { name: name.to_owned(), id: self.last_id.clone(), data })
    }

    /// Takes one chunk of the body apart; false when it is not whole yet.
    fn take_chunk(&mut self) -> bool {
        let Some(line) = self.raw.windows(2).position(|window| window == b"\r\n") else { return false };
        let length = usize::from_str_radix(std::str::from_utf8(&self.raw[..line]).unwrap(), 16).unwrap();
        let end = line + 2 + length + 2;
        if self.raw.len() < end || length == 0 {
            return false;
        }
        self.text.push_str(std::str::from_utf8(&self.raw[line + 2..line + 2 + length]).unwrap());
        self.raw.drain(..end);
        true
    }

    async fn more(&mut self) -> bool {
        if self.raw.ends_with(b"0\r\n\r\n") {
            return false;
        }
        let read = tokio::time::timeout(SILENCE_LIMIT, self.stream.read_buf(&mut self.raw)).await;
        matches!(read.expect("not even a heartbeat came"), Ok(count) if count > 0)
    }
}
