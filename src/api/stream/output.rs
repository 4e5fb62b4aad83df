//! Frames on their way out: fed to the socket many at a time, flushed once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::Sink;
use tokio::time::Sleep;

use super::ending::Ending;

/// Once this much waits, nothing is read and nothing is delivered; answers to what was read still come on top.
const FULL_BYTES: usize = 1 << 20;
/// A large frame may take longer, as long as it moves this fast.
const SLOWEST_BYTES_PER_S: u64 = 64 << 10;

/// The bounded queue of outgoing frames.
#[derive(Debug)]
pub(super) struct Output {
    frames: VecDeque<Message>,
    bytes: usize,
    /// Bytes of the frame handed to the socket last.
    last_bytes: usize,
    unflushed: bool,
    /// How long the socket may take nothing at all before the reader counts as stalled.
    patience: Duration,
    /// Runs while the socket takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
}

impl Output {
    /// An empty queue whose reader may stall for `patience`.
    pub(super) fn new(patience: Duration) -> Output {
        Output { frames: VecDeque::new(), bytes: 0, last_bytes: 0, unflushed: false, patience, stall: None }
    }

    /// Adds a text frame; the frame writer wrote it, so it is UTF-8.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        if let Ok(text) = Utf8Bytes::try_from(frame) {
            self.frames.push_back(Message::Text(text));
        } else {
            tracing::error!("a frame that is not UTF-8 was left out");
        }
    }

    /// Adds a ping.
    pub(super) fn ping(&mut self) {
        self.frames.push_back(Message::Ping(Bytes::new()));
    }

    /// Whether the producers of frames should wait.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES
    }

    /// Whether the socket has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && !self.unflushed
    }

    /// Hands over what the socket takes.
    ///
    /// # Errors
    /// The connection is gone, or its reader is stalled.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, socket: &mut WebSocket) -> Result<(), Ending> {
        let mut socket = Pin::new(socket);
        let (mut moved, mut blocked) = (false, false);
        while !self.frames.is_empty() {
            match socket.as_mut().poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(Ending::Gone),
                Poll::Pending => {
                    blocked = true;
                    break;
                }
            }
            let Some(frame) = self.frames.pop_front() else { break };
            self.last_bytes = if let Message::Text(text) = &frame { text.len() } else { 0 };
            self.bytes = self.bytes.saturating_sub(self.last_bytes);
            socket.as_mut().start_send(frame).map_err(|_| Ending::Gone)?;
            self.unflushed = true;
            moved = true;
        }
        if self.unflushed && !blocked {
            match socket.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(Ending::Gone),
                Poll::Pending => blocked = true,
            }
        }
        self.watch(cx, moved, blocked)
    }

    /// Keeps the time of a reader that does not read.
    fn watch(&mut self, cx: &mut Context<'_>, moved: bool, blocked: bool) -> Result<(), Ending> {
        if moved || !blocked {
            self.stall = None;
        }
        if !blocked {
            return Ok(());
        }
        let slack = u64::try_from(self.last_bytes).unwrap_or(u64::MAX) / SLOWEST_BYTES_PER_S;
        let patience = self.patience + Duration::from_secs(slack);
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if stall.as_mut().poll(cx).is_ready() { Err(Ending::Stalled) } else { Ok(()) }
    }
}
