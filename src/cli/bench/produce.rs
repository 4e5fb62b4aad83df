//! Connections that only send.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Workload;
use super::frame;
use super::load::{Run, SharedTally};
use super::template::{self, Template};
use super::wire::{Turn, Wire};
use crate::cli::CliError;
use crate::cli::problem::Problem;

/// Bytes that may wait to be written before no more are added.
const UNWRITTEN_MAX: usize = 256 << 10;
/// How soon a sender looks again whether there is room.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// One request after the other over HTTP.
pub(super) struct HttpProducer {
    wire: Wire,
    request: Template,
    sent: u64,
}

impl HttpProducer {
    pub(super) async fn open(run: &Run) -> Result<HttpProducer, CliError> {
        let plan = &run.plan;
        let body = template::body(run.id, plan.size);
        let host = plan.url.authority();
        let request = match plan.batch {
            1 => Template::single(host, &plan.topic, &body),
            count => Template::batch(host, &plan.topic, &body, count),
        };
        let request =
            if plan.keyed { request.keyed(&format!("{:016x}", rand::random::<u64>())) } else { request };
        Ok(HttpProducer { wire: Wire::connect(&plan.url, plan.timeout).await?, request, sent: 0 })
    }

    pub(super) async fn load(mut self, run: &Run, tally: SharedTally) -> Result<(), CliError> {
        let messages = run.plan.batch as u64;
        let pipeline = run.plan.workload == Workload::Pipeline;
        self.wire.set_alarm(run.end());
        loop {
            let sent = Instant::now();
            if sent >= run.end() {
                return Ok(());
            }
            if pipeline {
                if !run.has_room() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                run.in_pipe.fetch_add(i64::try_from(messages).unwrap_or(0), Ordering::Relaxed);
                self.request.set_time(run.nanos(sent));
            }
            self.request.set_id(self.sent);
            self.sent += 1;
            let Some(answer) = self.wire.exchange(self.request.bytes()).await? else { return Ok(()) };
            check_stored(answer.status, answer.body)?;
            let now = Instant::now();
            if !pipeline {
                let nanos = u64::try_from((now - sent).as_nanos()).unwrap_or(u64::MAX);
                let mut tally = tally.borrow_mut();
                tally.done(now, messages);
                tally.took(now, nanos);
            }
            if let Some(interval) = run.plan.interval {
                tokio::time::sleep_until((sent + interval).min(run.end()).into()).await;
            }
        }
    }
}

/// 201 for one message; 200 for a batch, which must not hold a single failure.
fn check_stored(status: u16, body: &[u8]) -> Result<(), CliError> {
    match status {
        201 => Ok(()),
        200 => {
            // `failed` stands after the results, so it is looked for from the end.
            let tail = body.get(body.len().saturating_sub(64)..).unwrap_or_default();
            if frame::find(tail, b"\"failed\":0").is_some() || frame::find(tail, b"\"failed\": 0").is_some() {
                return Ok(());
            }
            let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            match answer.get("failed").and_then(serde_json::Value::as_u64) {
                Some(0) => Ok(()),
                failed => {
                    Err(CliError::Failed(format!("{} messages of a batch were refused", failed.unwrap_or(0))))
                }
            }
        }
        _ => Err(CliError::Refused(Box::new(Problem::read(status, body)))),
    }
}

/// The sending half of a WebSocket: publishes as long as fewer than the depth are unanswered.
pub(super) struct Publisher {
    frame: Template,
    depth: u64,
    interval: Option<Duration>,
    sent: u64,
    answered: u64,
    next_at: Instant,
    /// When each unanswered publish was sent, by id modulo the length.
    times: Vec<Instant>,
}

impl Publisher {
    pub(super) fn new(run: &Run) -> Publisher {
        let plan = &run.plan;
        let frame = Template::publish(&plan.topic, &template::body(run.id, plan.size));
        let now = Instant::now();
        let times = vec![now; plan.depth];
        let depth = plan.depth as u64;
        Publisher { frame, depth, interval: plan.interval, sent: 0, answered: 0, next_at: now, times }
    }

    /// Whether another publish may be sent now.
    pub(super) fn may_send(&self, wire: &Wire, now: Instant) -> bool {
        self.sent - self.answered < self.depth && wire.unwritten() < UNWRITTEN_MAX && now >= self.next_at
    }

    /// When to look again although nothing was read, if an interval is kept.
    pub(super) fn next_at(&self) -> Option<Instant> {
        (self.interval.is_some() && self.sent - self.answered < self.depth).then_some(self.next_at)
    }

    /// Puts one publish into the output.
    pub(super) fn send(&mut self, wire: &mut Wire, run: &Run, now: Instant) {
        self.frame.set_id(self.sent);
        self.frame.set_time(run.nanos(now));
        wire.output.extend_from_slice(self.frame.bytes());
        if let Some(place) = place(&mut self.times, self.sent) {
            *place = now;
        }
        self.sent += 1;
        if let Some(interval) = self.interval {
            self.next_at = now + interval;
        }
    }

    /// Takes a `published` message; how long it took.
    pub(super) fn answered(&mut self, text: &[u8], now: Instant) -> Result<u64, CliError> {
        let id = frame::re(text).filter(|id| *id < self.sent && *id + self.depth >= self.sent);
        let sent = id.and_then(|id| place(&mut self.times, id).copied());
        let Some(sent) = sent else {
            let text = String::from_utf8_lossy(text.get(..text.len().min(200)).unwrap_or_default());
            return Err(CliError::Failed(format!("an answer to nothing that was asked: {text}")));
        };
        self.answered += 1;
        Ok(u64::try_from(now.saturating_duration_since(sent).as_nanos()).unwrap_or(u64::MAX))
    }
}

fn place(times: &mut [Instant], id: u64) -> Option<&mut Instant> {
    let at = id.checked_rem(times.len() as u64)?;
    times.get_mut(usize::try_from(at).ok()?)
}

/// A WebSocket that only publishes.
pub(super) struct WsProducer {
    wire: Wire,
    publisher: Publisher,
}

impl WsProducer {
    pub(super) async fn open(run: &Run) -> Result<WsProducer, CliError> {
        let mut wire = Wire::connect(&run.plan.url, run.plan.timeout).await?;
        wire.upgrade().await?;
        Ok(WsProducer { wire, publisher: Publisher::new(run) })
    }

    pub(super) async fn load(mut self, run: &Run, tally: SharedTally) -> Result<(), CliError> {
        let mut now = Instant::now();
        while now < run.end() {
            while self.publisher.may_send(&self.wire, now) {
                self.publisher.send(&mut self.wire, run, now);
            }
            self.wire.set_alarm(self.publisher.next_at().unwrap_or(run.end()).min(run.end()));
            let turn = self.wire.turn().await?;
            now = Instant::now();
            if turn == Turn::Alarm {
                continue;
            }
            let mut tally = tally.borrow_mut();
            while let Some(text) = self.wire.next_text()? {
                match frame::kind(text) {
                    b"published" => {
                        let nanos = self.publisher.answered(text, now)?;
                        tally.done(now, 1);
                        tally.took(now, nanos);
                    }
                    b"error" => return Err(frame::refusal(text)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
