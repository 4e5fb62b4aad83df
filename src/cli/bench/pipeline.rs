//! Connections that receive and ack, and WebSockets that do both halves.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Deserialize;

use super::frame;
use super::load::{Run, SharedTally};
use super::produce::{LOOK_AGAIN, Publisher};
use super::template;
use super::wire::Wire;
use crate::cli::CliError;
use crate::cli::problem::Problem;

/// Messages of one receive over HTTP.
const RECEIVE_MESSAGES: usize = 100;
/// Fewest messages a subscription may hold unsettled, as the interface's default.
const PREFETCH_MIN: usize = 100;

/// The messages of a delivery, borrowed from the read buffer. Bodies of a run need no JSON escapes.
#[derive(Deserialize)]
struct Delivery<'a> {
    #[serde(borrow)]
    messages: Vec<Delivered<'a>>,
}

#[derive(Deserialize)]
struct Delivered<'a> {
    body: &'a str,
    receipt: &'a str,
}

impl<'a> Delivery<'a> {
    fn read(text: &'a [u8]) -> Result<Delivery<'a>, CliError> {
        serde_json::from_slice(text)
            .map_err(|error| CliError::Failed(format!("a delivery that cannot be read: {error}")))
    }

    /// Counts the way of every message of this run and writes the list of receipts as JSON.
    fn count(&self, run: &Run, tally: &SharedTally, now: Instant) -> String {
        let mut receipts = String::with_capacity(self.messages.len() * 80 + 2);
        let mut separator = '[';
        let mut tally = tally.borrow_mut();
        for message in &self.messages {
            if let Some(sent) = template::sent_nanos(run.id, message.body) {
                tally.took(now, run.nanos(now).saturating_sub(sent));
            }
            receipts.push(separator);
            separator = ',';
            receipts.push('"');
            receipts.push_str(message.receipt);
            receipts.push('"');
        }
        receipts.push(']');
        receipts
    }
}

/// Takes a list of settle results: counts the `ok` ones as done.
fn settled(text: &[u8], run: &Run, tally: &SharedTally) {
    let acked = frame::count(text, b"\"status\":\"ok\"");
    run.in_pipe.fetch_sub(i64::try_from(acked).unwrap_or(0), Ordering::Relaxed);
    tally.borrow_mut().done(Instant::now(), acked);
}

/// Receives and acks over HTTP.
pub(super) struct HttpReceiver {
    wire: Wire,
}

impl HttpReceiver {
    pub(super) async fn open(run: &Run) -> Result<HttpReceiver, CliError> {
        Ok(HttpReceiver { wire: Wire::connect(&run.plan.url, run.plan.timeout).await? })
    }

    pub(super) async fn load(mut self, run: &Run, tally: SharedTally) -> Result<(), CliError> {
        let host = run.plan.url.authority();
        let topic = &run.plan.topic;
        let ask = format!("{{\"max_messages\":{RECEIVE_MESSAGES},\"wait_ms\":1000,\"topic\":\"{topic}\"}}");
        let ask = template::post_json(host, &format!("/v1/groups/{}/receive", run.group), &ask);
        let ack_path = format!("/v1/groups/{}/ack", run.group);
        self.wire.set_alarm(run.end());
        while Instant::now() < run.end() {
            let Some(answer) = self.wire.exchange(&ask).await? else { return Ok(()) };
            check(answer.status, answer.body)?;
            let delivery = Delivery::read(answer.body)?;
            if delivery.messages.is_empty() {
                continue;
            }
            let receipts = delivery.count(run, &tally, Instant::now());
            let ack = template::post_json(host, &ack_path, &format!("{{\"receipts\":{receipts}}}"));
            let Some(answer) = self.wire.exchange(&ack).await? else { return Ok(()) };
            check(answer.status, answer.body)?;
            settled(answer.body, run, &tally);
        }
        Ok(())
    }
}

fn check(status: u16, body: &[u8]) -> Result<(), CliError> {
    if status == 200 { Ok(()) } else { Err(CliError::Refused(Box::new(Problem::read(status, body)))) }
}

/// A WebSocket that publishes with one hand and receives with the other.
pub(super) struct WsBoth {
    wire: Wire,
    publisher: Publisher,
    /// Deliveries acked so far; also the id of the next ack.
    acks: u64,
    /// Receipts of deliveries not acked yet: (time it came is counted already).
    owed: Vec<String>,
}

impl WsBoth {
    pub(super) async fn open(run: &Run) -> Result<WsBoth, CliError> {
        let mut wire = Wire::connect(&run.plan.url, run.plan.timeout).await?;
        wire.upgrade().await?;
        let (group, topic) = (&run.group, &run.plan.topic);
        let prefetch = run.plan.depth.max(PREFETCH_MIN);
        let subscribe = format!(
            "{{\"type\":\"subscribe\",\"id\":\"s\",\"sub\":\"bench\",\"group\":\"{group}\",\"topic\":\"{topic}\",\
             \"mode\":\"prefetch\",\"prefetch\":{prefetch}}}"
        );
        frame::write_text(&mut wire.output, subscribe.as_bytes());
        wire.wait_for(b"subscribed").await?;
        Ok(WsBoth { wire, publisher: Publisher::new(run), acks: 0, owed: Vec::new() })
    }

    pub(super) async fn load(mut self, run: &Run, tally: SharedTally) -> Result<(), CliError> {
        let mut now = Instant::now();
        while now < run.end() {
            while run.has_room() && self.publisher.may_send(&self.wire, now) {
                run.in_pipe.fetch_add(1, Ordering::Relaxed);
                self.publisher.send(&mut self.wire, run, now);
            }
            // Room is made by other connections too, and they do not wake this one.
            let look_again = if run.has_room() { run.end() } else { now + LOOK_AGAIN };
            self.wire.set_alarm(
                self.publisher.next_at().unwrap_or(look_again).max(now + LOOK_AGAIN / 4).min(run.end()),
            );
            self.wire.turn().await?;
            now = Instant::now();
            self.read(run, &tally, now)?;
        }
        Ok(())
    }

    fn read(&mut self, run: &Run, tally: &SharedTally, now: Instant) -> Result<(), CliError> {
        while let Some(text) = self.wire.next_text()? {
            match frame::kind(text) {
                b"published" => {
                    self.publisher.answered(text, now)?;
                }
                b"messages" => self.owed.push(Delivery::read(text)?.count(run, tally, now)),
                b"settled" => settled(text, run, tally),
                b"error" => return Err(frame::refusal(text)),
                _ => {}
            }
        }
        for receipts in self.owed.drain(..) {
            let id = self.acks;
            self.acks += 1;
            let ack = format!("{{\"type\":\"ack\",\"id\":\"a{id}\",\"receipts\":{receipts}}}");
            frame::write_text(&mut self.wire.output, ack.as_bytes());
        }
        Ok(())
    }
}
