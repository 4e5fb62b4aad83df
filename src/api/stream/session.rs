//! One socket from welcome to close.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::{Stream, StreamExt};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::api::frame::{self, Frame, FrameError, Re};
use crate::api::message_out::BodyEncoding;
use crate::api::node::write_limits;
use crate::api::options::Api;
use crate::api::problem::{Code, Problem};
use crate::broker::Connected;

use super::ending::Ending;
use super::heartbeat::{self, Beat, Heartbeat};
use super::output::Output;
use super::publishes::Publishes;
use super::settles::Settles;
use super::subscriptions::Subscriptions;

/// Bytes taken from the socket before the broker is called. Large enough to gather, small enough to answer soon.
const BURST_BYTES: usize = 1 << 20;
/// Frames taken from the socket before the broker is called.
const BURST_FRAMES: usize = 1_024;
/// Rounds of one turn, after which other sockets get a chance.
const ROUNDS: usize = 8;
/// How long a closing socket waits for the other side.
const LINGER: Duration = Duration::from_secs(1);

/// One socket and everything that goes on on it.
pub(super) struct Session {
    socket: WebSocket,
    client: Arc<str>,
    connected: Connected,
    dismissed: Pin<Box<WaitForCancellationFutureOwned>>,
    output: Output,
    publishes: Publishes,
    settles: Settles,
    subscriptions: Subscriptions,
    heartbeat: Heartbeat,
    drain: Drain,
    drain_timeout: Duration,
    stall_timeout: Duration,
    /// Messages written here whose leases this socket has not ended.
    unsettled: u64,
}

/// The node's stop, as this socket sees it.
enum Drain {
    NotYet(Pin<Box<WaitForCancellationFutureOwned>>),
    Until(Pin<Box<Sleep>>),
}

impl Session {
    /// A session that says welcome first.
    pub(super) fn new(
        api: &Api,
        socket: WebSocket,
        (client, peer): (Arc<str>, Arc<str>),
        encoding: BodyEncoding,
    ) -> Session {
        let (broker, options) = (&api.broker, &api.options);
        let connected = broker.connect(Arc::clone(&client), peer);
        let heartbeat_ms = u64::try_from(heartbeat::PERIOD.as_millis()).unwrap_or(u64::MAX);
        let mut output = Output::new(options.stall_timeout);
        output.push(frame::welcome(heartbeat_ms, |json| write_limits(json, api)));
        Session {
            socket,
            client,
            dismissed: Box::pin(connected.dismissed().cancelled_owned()),
            connected,
            output,
            publishes: Publishes::new(broker.clone(), options.auto_create_topics),
            settles: Settles::new(broker.clone()),
            subscriptions: Subscriptions::new(broker.clone(), options.auto_create_topics, encoding),
            heartbeat: Heartbeat::new(),
            drain: Drain::NotYet(Box::pin(options.draining.clone().cancelled_owned())),
            drain_timeout: options.drain_timeout,
            stall_timeout: options.stall_timeout,
            unsettled: 0,
        }
    }

    /// Serves the socket until it ends.
    pub(super) async fn run(mut self) {
        let ending = poll_fn(|cx| self.turn(cx)).await;
        self.end(ending).await;
    }

    /// Does all there is to do now; ready when the socket is over.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        for _ in 0..ROUNDS {
            match self.round(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(ending) => return Poll::Ready(ending),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Read, call, answer, deliver, send; whether another round may find more.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let read = self.read(cx);
        // What came before the end is still meant.
        self.submit(cx);
        let mut busy = read?;
        busy |= self.publishes.poll(cx, &mut self.output);
        busy |= self.settles.poll(cx, &mut self.output);
        if matches!(self.drain, Drain::NotYet(_)) {
            busy |= self.subscriptions.poll(cx, &mut self.output);
        }
        self.unsettled =
            (self.unsettled + self.subscriptions.take_delivered()).saturating_sub(self.settles.take_ended());
        match self.heartbeat.poll(cx, self.may_read()) {
            Beat::Nothing => {}
            Beat::Ping => self.output.ping(),
            Beat::Silent => {
                return Err(Ending::fatal(Problem::new(Code::RequestTimeout, "no answer to two pings")));
            }
        }
        self.poll_drain(cx)?;
        if self.dismissed.as_mut().poll(cx).is_ready() {
            return Err(Ending::dismissed());
        }
        let was_full = self.output.is_full();
        self.output.poll_send(cx, &mut self.socket)?;
        self.connected.set_slow(self.output.is_full());
        if self.is_drained() {
            return Err(Ending::Drained);
        }
        Ok(busy || was_full && !self.output.is_full())
    }

    fn may_read(&self) -> bool {
        !self.output.is_full() && !self.publishes.is_full() && !self.settles.is_full()
    }

    /// Takes in what the socket has, up to a burst; whether it had anything.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let (mut frames, mut bytes) = (0, 0);
        while self.may_read() && frames < BURST_FRAMES && bytes < BURST_BYTES {
            let message = match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Err(Ending::Gone),
                Poll::Ready(Some(Err(error))) => return Err(Ending::of_read(error)),
                Poll::Ready(Some(Ok(message))) => message,
            };
            self.heartbeat.heard();
            frames += 1;
            match message {
                Message::Text(text) => {
                    bytes += text.len();
                    self.take(cx, text.as_str())?;
                }
                Message::Binary(_) => return Err(Ending::binary()),
                Message::Close(frame) => return Err(Ending::closed(frame.as_ref())),
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
        if frames > 0 {
            self.connected.heard();
        }
        Ok(frames > 0)
    }

    /// Takes one frame in.
    fn take(&mut self, cx: &mut Context<'_>, text: &str) -> Result<(), Ending> {
        match frame::read(text) {
            Ok((re, Frame::Publish(publish))) => self.publishes.add(cx, re, publish),
            Ok((re, Frame::Settle(settle))) => {
                let subscriptions = &self.subscriptions;
                self.settles.add(cx, re, settle, |id| subscriptions.group_name(id));
            }
            Ok((re, frame)) => {
                // What came before takes effect before.
                self.submit(cx);
                if let Err((re, problem)) = self.steer(re, frame) {
                    self.output.push(frame::error(re.as_deref(), None, &problem, false));
                }
            }
            Err(FrameError::Refused { re, problem, publish: true }) => self.publishes.refuse(re, problem),
            Err(FrameError::Refused { re, problem, publish: false }) => {
                self.output.push(frame::error(re.as_deref(), None, &problem, false));
            }
            Err(FrameError::NotJson(problem)) => return Err(Ending::fatal(problem)),
        }
        Ok(())
    }

    /// Frames about subscriptions.
    fn steer(&mut self, re: Re, frame: Frame) -> Result<(), (Re, Problem)> {
        let done = match frame {
            Frame::Subscribe(_) if matches!(self.drain, Drain::Until(_)) => {
                Err(Problem::new(Code::NotReady, "this node is stopping"))
            }
            Frame::Subscribe(wish) => {
                self.subscriptions.open(re.clone(), wish, (&self.client, &self.connected))
            }
            Frame::Credit { sub, messages, bytes } => self.subscriptions.credit(&sub, messages, bytes),
            Frame::Pause { sub, paused } => self.subscriptions.pause(&sub, paused),
            Frame::Unsubscribe { sub } => self.subscriptions.unsubscribe(&sub),
            Frame::Publish(_) | Frame::Settle(_) => Ok(()),
        };
        done.map_err(|problem| (re, problem))
    }

    fn submit(&mut self, cx: &mut Context<'_>) {
        self.publishes.submit(cx);
        self.settles.submit(cx);
    }

    /// Says that the node stops, and ends the socket when its time is over.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        if let Drain::NotYet(stopping) = &mut self.drain {
            if stopping.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            // A little is left for closing, so that the node need not cut the connection.
            let deadline = self.drain_timeout.saturating_sub(LINGER).max(self.drain_timeout / 2);
            self.drain = Drain::Until(Box::pin(tokio::time::sleep(deadline)));
            self.subscriptions.drain();
            let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            self.output.push(frame::draining(deadline_ms));
        }
        if let Drain::Until(deadline) = &mut self.drain
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Err(Ending::Drained);
        }
        Ok(())
    }

    /// Whether a stopping node need not wait for this socket any longer. Asked after sending, so that the last answer
    /// is out.
    fn is_drained(&self) -> bool {
        matches!(self.drain, Drain::Until(_))
            && self.publishes.is_empty()
            && self.settles.is_empty()
            && self.unsettled == 0
            && self.output.is_empty()
    }

    /// Ends the leases, says why, and closes.
    async fn end(mut self, ending: Ending) {
        tracing::debug!(client = %self.client, ?ending, "a socket ends");
        self.subscriptions.close(ending.close_how());
        if let Some(problem) = ending.problem() {
            self.output.push(frame::error(None, None, problem, true));
        }
        let farewell = async {
            if let Some(frame) = ending.close_frame() {
                poll_fn(|cx| match self.output.poll_send(cx, &mut self.socket) {
                    Ok(()) if !self.output.is_empty() => Poll::Pending,
                    Ok(()) | Err(_) => Poll::Ready(()),
                })
                .await;
                if self.socket.send(Message::Close(Some(frame))).await.is_err() {
                    return;
                }
            }
            // The other side's close, or the end of the handshake that it began.
            while let Some(Ok(_)) = self.socket.next().await {}
        };
        // A stalled reader must take all that waits before it can hear why; it gets as long again for that.
        let patience =
            if matches!(ending, Ending::Stalled) { self.stall_timeout.max(LINGER) } else { LINGER };
        let _ = tokio::time::timeout(patience, pin!(farewell)).await;
    }
}
