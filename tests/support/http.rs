//! A small HTTP/1.1 client: one connection, kept alive, one request at a time.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest time for one answer. The broker answers every request within its own timeout of 30 s, and a receive after its wait.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There was no connection: the request was never sent.
    NotSent,
    /// The connection ended before the answer: the request may have had its effect or not.
    Lost,
    /// Neither an answer nor the end of the connection came in time.
    Hung,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection to a broker; opened when needed.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Http {
    /// A client of `address`, not connected yet.
    pub fn new(address: SocketAddr) -> Http {
        Http { address, stream: None, buffer: Vec::new() }
    }

    /// Follows the broker to a new address.
    pub fn move_to(&mut self, address: SocketAddr) {
        if self.address != address {
            *self = Http::new(address);
        }
    }

    /// GET.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn get(&mut self, path: &str) -> Result<Answer, Trouble> {
        self.call("GET", path, &[], b"").await
    }

    /// POST.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn post(&mut self, path: &str, body: &[u8]) -> Result<Answer, Trouble> {
        self.call("POST", path, &[], body).await
    }

    /// Any request. After trouble the next call opens a new connection.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Trouble> {
        self.send(method, path, headers, body).await?;
        self.answer().await
    }

    /// Sends a request without waiting for its answer.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(), Trouble> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).await.map_err(|_| Trouble::NotSent)?;
            let _ = stream.set_nodelay(true);
            self.stream = Some(stream);
            self.buffer.clear();
        }
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        let stream = self.stream.as_mut().ok_or(Trouble::NotSent)?;
        match stream.write_all(&bytes).await {
            Ok(()) => Ok(()),
            Err(_) => {
                self.stream = None;
                Err(Trouble::Lost)
            }
        }
    }

    /// The answer to the request sent before.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn answer(&mut self) -> Result<Answer, Trouble> {
        let read = tokio::time::timeout(ANSWER_LIMIT, self.read_answer()).await;
        let outcome = match read {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Trouble::Lost),
            Err(_) => Err(Trouble::Hung),
        };
        let closing = outcome
            .as_ref()
            .is_ok_and(|answer| answer.header("connection").is_some_and(|value| value == "close"));
        if outcome.is_err() || closing {
            self.stream = None;
        }
        outcome
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        loop {
            let head_end = loop {
                match self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                    Some(at) => break at + 4,
                    None => self.more().await?,
                }
            };
            let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
            self.buffer.drain(..head_end);
            let mut lines = head.split("\r\n");
            let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            if status < 200 {
                continue;
            }
            let mut answer = Answer { status, headers, body: Vec::new() };
            answer.body = self.read_body(&answer).await?;
            return Some(answer);
        }
    }

    async fn read_body(&mut self, answer: &Answer) -> Option<Vec<u8>> {
        if matches!(answer.status, 204 | 304) {
            return Some(Vec::new());
        }
        if answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            let mut body = Vec::new();
            loop {
                let length = self.line().await?;
                let length = usize::from_str_radix(length.split(';').next()?.trim(), 16).ok()?;
                body.extend(self.take(length).await?);
                self.line().await?;
                if length == 0 {
                    return Some(body);
                }
            }
        }
        let length = answer.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        self.take(length).await
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Some(line);
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    async fn more(&mut self) -> Option<()> {
        let stream = self.stream.as_mut()?;
        self.buffer.reserve(16 << 10);
        match stream.read_buf(&mut self.buffer).await {
            Ok(count) if count > 0 => Some(()),
            _ => None,
        }
    }
}
