//! Connections that send.

use std::time::Instant;

use super::Workload;
use super::frame;
use super::load::{LOOK_AGAIN, Run};
use super::schedule::Turns;
use super::tally::SharedTally;
use super::template::Template;
use super::wire::{Turn, Wire};
use crate::cli::CliError;
use crate::cli::problem::Problem;

/// Bytes that may wait to be written before no more are added.
const UNWRITTEN_MAX: usize = 256 << 10;

/// Writes into a request from when on its messages count, and when they are due if they are scheduled; the request is
/// sent `now`.
fn stamp(template: &mut Template, run: &Run<'_>, begun: Instant, now: Instant) {
    let due = begun + run.plan.delay;
    template.set_time(run.nanos(due));
    if !run.plan.delay.is_zero() {
        // Rounded up: the broker counts from when it takes the message, which is later, so that none may come before
        // it is due.
        let delay = due.saturating_duration_since(now).as_nanos().div_ceil(1_000_000);
        template.set_delay(u64::try_from(delay).unwrap_or(u64::MAX));
    }
}

/// One request after the other over HTTP.
pub(super) struct HttpSender {
    wire: Wire,
    request: Template,
    number: usize,
    sent: u64,
}

impl HttpSender {
    pub(super) async fn open(run: &Run<'_>, number: usize) -> Result<HttpSender, CliError> {
        let plan = &run.plan;
        let (host, sample) = (plan.url.authority(), run.sample());
        let request = match plan.batch {
            1 => Template::single(host, &run.topic, &sample),
            count => Template::batch(host, &run.topic, &sample, count),
        };
        let request =
            if plan.keyed { request.keyed(&format!("{:016x}", rand::random::<u64>())) } else { request };
        let wire = Wire::connect(&plan.url, plan.timeout, plan.arrivals().is_some()).await?;
        Ok(HttpSender { wire, request, number, sent: 0 })
    }

    pub(super) async fn load(mut self, run: &Run<'_>, tally: SharedTally) -> Result<(), CliError> {
        let messages = run.plan.batch as u64;
        let mut turns = run.turns(self.number);
        loop {
            let now = Instant::now();
            let next = turns.next(now);
            if next >= run.send_until() || run.must_end(now) {
                break;
            }
            if next > now {
                self.wire.pause_until(next).await?;
                continue;
            }
            if !run.has_room() {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            run.sends(messages);
            let begun = turns.take(now);
            tally.borrow_mut().sends(begun, now);
            stamp(&mut self.request, run, begun, now);
            self.request.set_id(self.sent);
            self.sent += 1;
            self.wire.set_alarm(run.limit());
            let Some(answer) = self.wire.exchange(self.request.bytes()).await? else { break };
            check_stored(answer.status, answer.body)?;
            if run.plan.workload == Workload::Produce {
                let now = Instant::now();
                let mut tally = tally.borrow_mut();
                tally.done(now, messages);
                tally.took(begun, now);
            }
        }
        run.stops_sending();
        Ok(())
    }
}

/// 201 for one message; 200 for a batch, which must not hold a single failure.
pub(super) fn check_stored(status: u16, body: &[u8]) -> Result<(), CliError> {
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
    turns: Turns,
    sent: u64,
    answered: u64,
    /// From when on each unanswered publish counts, by id modulo the length.
    begun: Vec<Instant>,
    /// Whether the run was told that no more is sent.
    told: bool,
}

impl Publisher {
    /// Call it when all are connected: the sending times count from then.
    pub(super) fn new(run: &Run<'_>, number: usize) -> Publisher {
        let frame = Template::publish(&run.topic, &run.sample());
        let begun = vec![run.begin(); run.plan.depth];
        let (depth, turns) = (run.plan.depth as u64, run.turns(number));
        Publisher { frame, depth, turns, sent: 0, answered: 0, begun, told: false }
    }

    /// Puts into the output what may be sent now.
    pub(super) fn send(&mut self, wire: &mut Wire, run: &Run<'_>, tally: &SharedTally, now: Instant) {
        while self.is_free() && wire.unwritten() < UNWRITTEN_MAX && run.has_room() {
            let next = self.turns.next(now);
            if next >= run.send_until() || next > now {
                break;
            }
            run.sends(1);
            let begun = self.turns.take(now);
            tally.borrow_mut().sends(begun, now);
            self.frame.set_id(self.sent);
            stamp(&mut self.frame, run, begun, now);
            wire.output.extend_from_slice(self.frame.bytes());
            if let Some(place) = place(&mut self.begun, self.sent) {
                *place = begun;
            }
            self.sent += 1;
        }
        if !self.told && self.has_ended(run, now) {
            self.told = true;
            run.stops_sending();
        }
    }

    fn is_free(&self) -> bool {
        self.sent - self.answered < self.depth
    }

    /// Whether no more is to be sent.
    pub(super) fn has_ended(&self, run: &Run<'_>, now: Instant) -> bool {
        self.turns.next(now) >= run.send_until()
    }

    /// Whether all that was sent is answered.
    pub(super) fn all_answered(&self) -> bool {
        self.sent == self.answered
    }

    /// When to look again although nothing was read, if there is a time to wait for.
    pub(super) fn look_at(&self, wire: &Wire, run: &Run<'_>, now: Instant) -> Option<Instant> {
        // An answer, or written bytes, wake the connection by themselves.
        if !self.is_free() || wire.unwritten() >= UNWRITTEN_MAX || self.has_ended(run, now) {
            return None;
        }
        // Room is made by other connections too, and they do not wake this one.
        if !run.has_room() {
            return Some(now + LOOK_AGAIN);
        }
        self.turns.are_timed().then(|| self.turns.next(now))
    }

    /// Takes a `published` message; from when on it counts.
    pub(super) fn answered(&mut self, text: &[u8]) -> Result<Instant, CliError> {
        let id = frame::re(text).filter(|id| *id < self.sent && *id + self.depth >= self.sent);
        let Some(begun) = id.and_then(|id| place(&mut self.begun, id).copied()) else {
            let text = String::from_utf8_lossy(text.get(..text.len().min(200)).unwrap_or_default());
            return Err(CliError::Failed(format!("an answer to nothing that was asked: {text}")));
        };
        self.answered += 1;
        Ok(begun)
    }
}

fn place(times: &mut [Instant], id: u64) -> Option<&mut Instant> {
    let at = id.checked_rem(times.len() as u64)?;
    times.get_mut(usize::try_from(at).ok()?)
}

/// A WebSocket that only publishes.
pub(super) struct WsSender {
    wire: Wire,
    number: usize,
}

impl WsSender {
    pub(super) async fn open(run: &Run<'_>, number: usize) -> Result<WsSender, CliError> {
        let plan = &run.plan;
        let mut wire = Wire::connect(&plan.url, plan.timeout, plan.arrivals().is_some()).await?;
        wire.upgrade().await?;
        Ok(WsSender { wire, number })
    }

    pub(super) async fn load(mut self, run: &Run<'_>, tally: SharedTally) -> Result<(), CliError> {
        let mut publisher = Publisher::new(run, self.number);
        let mut now = Instant::now();
        while !run.must_end(now) {
            publisher.send(&mut self.wire, run, &tally, now);
            if publisher.has_ended(run, now) && publisher.all_answered() {
                break;
            }
            let look_at = publisher.look_at(&self.wire, run, now).unwrap_or(run.limit());
            self.wire.set_alarm(look_at.min(run.limit()));
            let turn = self.wire.turn().await?;
            now = Instant::now();
            if turn == Turn::Alarm {
                continue;
            }
            let mut tally = tally.borrow_mut();
            while let Some(text) = self.wire.next_text()? {
                match frame::kind(text) {
                    b"published" => {
                        let begun = publisher.answered(text)?;
                        tally.done(now, 1);
                        tally.took(begun, now);
                    }
                    b"error" => return Err(frame::refusal(text)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
