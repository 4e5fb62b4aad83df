//! One TCP connection of the load: bytes in, bytes out, one alarm, and just enough HTTP/1.1 to read an answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::frame::{self, Incoming};
use super::timer::Alarm;
use crate::cli::CliError;
use crate::cli::http::BaseUrl;
use crate::cli::problem::Problem;

/// Bytes made free before a read.
const READ_BYTES: usize = 64 << 10;
/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Bytes came in.
    Read,
    /// Nothing came in, and everything that waited is written: there may be more to send.
    Written,
    /// The alarm went off.
    Alarm,
}

/// A connection and its buffers.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// Bytes read; those before `used` are done with.
    input: Vec<u8>,
    used: usize,
    filled: usize,
    /// Bytes to write; those before `written` are gone.
    pub(super) output: Vec<u8>,
    written: usize,
    alarm: Alarm,
    url: BaseUrl,
}

impl Wire {
    /// Connects. With `fine` its alarm keeps to far less than a millisecond.
    pub(super) async fn connect(url: &BaseUrl, timeout: Duration, fine: bool) -> Result<Wire, CliError> {
        let unreachable = |reason: String| CliError::Unreachable { url: url.to_string(), reason };
        let stream = tokio::time::timeout(timeout, TcpStream::connect(url.authority()))
            .await
            .map_err(|_| unreachable("connecting took too long".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?;
        stream.set_nodelay(true).map_err(CliError::io("setting TCP_NODELAY"))?;
        let at = Instant::now() + timeout;
        let alarm = if fine { Alarm::fine(at)? } else { Alarm::coarse(at) };
        let (input, output) = (Vec::new(), Vec::with_capacity(READ_BYTES));
        Ok(Wire { stream, input, used: 0, filled: 0, output, written: 0, alarm, url: url.clone() })
    }

    /// When the next [`Turn::Alarm`] comes.
    pub(super) fn set_alarm(&mut self, at: Instant) {
        self.alarm.set(at);
    }

    /// Does nothing until then; the alarm is to be set again afterwards.
    pub(super) async fn pause_until(&mut self, at: Instant) -> Result<(), CliError> {
        self.alarm.set(at);
        std::future::poll_fn(|context| self.alarm.poll(context)).await.map_err(CliError::io("waiting"))
    }

    /// Bytes that wait to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.output.len() - self.written
    }

    /// Writes what there is to write and reads what there is to read, until something was read, the last byte was
    /// written, or the alarm went off.
    pub(super) async fn turn(&mut self) -> Result<Turn, CliError> {
        std::future::poll_fn(|context| self.poll_turn(context))
            .await
            .map_err(|error| CliError::Io { what: format!("talking to {}", self.url), source: error })
    }

    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<Turn>> {
        while let Some(rest @ [_, ..]) = self.output.get(self.written..) {
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        let waited = !self.output.is_empty();
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        let written = waited && self.output.is_empty();
        self.make_room();
        let room = self.input.get_mut(self.filled..).unwrap_or_default();
        let mut buffer = ReadBuf::new(room);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                Poll::Ready(Err(std::io::Error::other("the broker closed the connection")))
            }
            Poll::Ready(Ok(())) => {
                self.filled += buffer.filled().len();
                Poll::Ready(Ok(Turn::Read))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if written => Poll::Ready(Ok(Turn::Written)),
            Poll::Pending => self.alarm.poll(context).map_ok(|()| Turn::Alarm),
        }
    }

    fn make_room(&mut self) {
        if self.used == self.filled {
            (self.used, self.filled) = (0, 0);
        }
        if self.input.len() - self.filled >= READ_BYTES / 4 {
            return;
        }
        self.input.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        if self.input.len() - self.filled < READ_BYTES / 4 {
            let longer = (self.input.len() * 2).max(READ_BYTES);
            self.input.resize(longer, 0);
        }
    }

    fn unread(&self) -> &[u8] {
        self.input.get(self.used..self.filled).unwrap_or_default()
    }

    /// The next frame that came in completely; pings are answered on the way.
    pub(super) fn next_text(&mut self) -> Result<Option<&[u8]>, CliError> {
        loop {
            let bytes = self.input.get(self.used..self.filled).unwrap_or_default();
            let Some((incoming, used)) = frame::read(bytes)? else { return Ok(None) };
            match incoming {
                Incoming::Text(text) => {
                    let end = self.used + used;
                    let start = end - text.len();
                    self.used = end;
                    return Ok(self.input.get(start..end));
                }
                Incoming::Ping(payload) => frame::write_pong(&mut self.output, payload),
                Incoming::Nothing => {}
            }
            self.used += used;
        }
    }

    /// The next answer that came in completely.
    pub(super) fn next_answer(&mut self) -> Result<Option<HttpAnswer<'_>>, CliError> {
        let Some((status, head, length)) = read_head(self.unread())? else { return Ok(None) };
        let start = self.used + head;
        let end = start + length;
        if end > self.filled {
            return Ok(None);
        }
        self.used = end;
        let body = self.input.get(start..end).unwrap_or_default();
        Ok(Some(HttpAnswer { status, body }))
    }

    /// Sends one HTTP request and waits for its answer; `None` when the alarm went off first.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Option<HttpAnswer<'_>>, CliError> {
        self.output.extend_from_slice(request);
        loop {
            if self.turn().await? == Turn::Alarm {
                return Ok(None);
            }
            if read_head(self.unread())?.is_some_and(|(_, head, length)| self.unread().len() >= head + length)
            {
                return self.next_answer();
            }
        }
    }

    /// Turns the connection into a WebSocket (RFC 6455, section 4.1) and waits for `welcome`.
    pub(super) async fn upgrade(&mut self) -> Result<(), CliError> {
        let host = self.url.authority().to_owned();
        // The key only proves that the server speaks WebSocket; the sample of RFC 6455 does as well as any other.
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mq.v1.json\r\n\r\n"
        );
        let Some(answer) = self.exchange(request.as_bytes()).await? else { return Err(self.silent()) };
        if answer.status != 101 {
            return Err(CliError::Refused(Box::new(Problem::read(answer.status, answer.body))));
        }
        self.wait_for(b"welcome").await
    }

    /// Waits for a message of this type, dropping others.
    pub(super) async fn wait_for(&mut self, kind: &[u8]) -> Result<(), CliError> {
        loop {
            while let Some(text) = self.next_text()? {
                if frame::kind(text) == b"error" {
                    return Err(frame::refusal(text));
                }
                if frame::kind(text) == kind {
                    return Ok(());
                }
            }
            if self.turn().await? == Turn::Alarm {
                return Err(self.silent());
            }
        }
    }

    fn silent(&self) -> CliError {
        CliError::TimedOut { what: format!("GET {}/v1/ws", self.url), waited: Duration::ZERO }
    }
}

/// An HTTP answer inside the read buffer.
#[derive(Debug)]
pub(super) struct HttpAnswer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

/// Status, bytes of the head and bytes of the body; `None` while the head is not complete.
fn read_head(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>, CliError> {
    let odd = |what: &str| CliError::Failed(format!("the broker's HTTP answer: {what}"));
    let Some(end) = frame::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX { Err(odd("a head without end")) } else { Ok(None) };
    };
    let head = bytes.get(..end).unwrap_or_default();
    let status = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse::<u16>().ok())
        .ok_or_else(|| odd("not HTTP/1.1"))?;
    let mut length = None;
    for line in head.split(|byte| *byte == b'\n') {
        if let Some(value) = header(line, b"content-length:") {
            length = std::str::from_utf8(value.trim_ascii()).ok().and_then(|text| text.parse().ok());
        }
    }
    let bodiless = status == 101 || status == 204;
    let length = if bodiless { Some(0) } else { length };
    Ok(Some((status, end + 4, length.ok_or_else(|| odd("no Content-Length"))?)))
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_complete() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-LENGTH: 5\r\nx-request-id: r\r\n\r\nhello";
        assert_eq!(read_head(answer).unwrap(), Some((201, answer.len() - 5, 5)));
        assert_eq!(read_head(&answer[..40]).unwrap(), None);
        assert_eq!(read_head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Some((204, 27, 0)));
    }

    #[test]
    fn what_cannot_be_framed_is_refused() {
        for answer in [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(),
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"\r\n\r\n",
            &[b'x'; HEAD_BYTES_MAX + 1],
        ] {
            assert_eq!(read_head(answer).unwrap_err().exit_code(), 1);
        }
    }
}
