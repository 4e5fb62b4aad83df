//! Connections that receive and ack; WebSockets publish with the other hand.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Workload;
use super::frame;
use super::load::{END_SEEN_AFTER, LOOK_AGAIN, Run};
use super::send::Publisher;
use super::tally::SharedTally;
use super::template;
use super::wire::Wire;
use crate::cli::CliError;
use crate::cli::problem::Problem;

/// Messages of one receive over HTTP, but for consume.
const RECEIVE_MESSAGES: usize = 100;
/// How long a receive over HTTP waits for messages: short where the end of the run is when they are used up.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_NEAR_END: Duration = Duration::from_millis(100);
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

    /// Counts the way of every message of this run, but for a backlog, whose messages have been waiting.
    fn count(&self, run: &Run<'_>, tally: &SharedTally, now: Instant) {
        if run.plan.workload == Workload::Consume {
            return;
        }
        let mut tally = tally.borrow_mut();
        for message in &self.messages {
            if let Some(begun) = template::sent_nanos(run.id, message.body) {
                tally.took(run.begin() + Duration::from_nanos(begun), now);
            }
        }
    }

    /// The list of receipts as JSON.
    fn receipts(&self) -> String {
        let mut receipts = String::with_capacity(self.messages.len() * 80 + 2);
        let mut separator = '[';
        for message in &self.messages {
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

/// Takes a list of settle results, asked for at `begun`: counts the `ok` ones as done.
fn settled(text: &[u8], run: &Run<'_>, tally: &SharedTally, begun: Instant) {
    let acked = frame::count(text, b"\"status\":\"ok\"");
    run.settles(acked);
    let now = Instant::now();
    let mut tally = tally.borrow_mut();
    tally.done(now, acked);
    if run.plan.workload == Workload::Consume {
        tally.took(begun, now);
    }
}

/// Receives and acks over HTTP.
pub(super) struct HttpReceiver {
    wire: Wire,
    ask: Vec<u8>,
    ack_path: String,
}

impl HttpReceiver {
    /// Receiver `number` of the run; the groups take turns.
    pub(super) async fn open(run: &Run<'_>, number: usize) -> Result<HttpReceiver, CliError> {
        let (plan, group) = (&run.plan, group_of(run, number));
        let consumes = plan.workload == Workload::Consume;
        let most = if consumes { plan.batch } else { RECEIVE_MESSAGES };
        let wait = if consumes || plan.arrivals().is_some() { WAIT_NEAR_END } else { WAIT };
        let topic = &run.topic;
        let ask =
            format!("{{\"max_messages\":{most},\"wait_ms\":{},\"topic\":\"{topic}\"}}", wait.as_millis());
        let ask = template::post_json(plan.url.authority(), &format!("/v1/groups/{group}/receive"), &ask);
        let ack_path = format!("/v1/groups/{group}/ack");
        Ok(HttpReceiver { wire: Wire::connect(&plan.url, plan.timeout, false).await?, ask, ack_path })
    }

    pub(super) async fn load(mut self, run: &Run<'_>, tally: SharedTally) -> Result<(), CliError> {
        let host = run.plan.url.authority();
        self.wire.set_alarm(run.limit());
        loop {
            let asked = Instant::now();
            if run.is_over(asked) {
                return Ok(());
            }
            let Some(answer) = self.wire.exchange(&self.ask).await? else { return Ok(()) };
            check(answer.status, answer.body)?;
            let delivery = Delivery::read(answer.body)?;
            if delivery.messages.is_empty() {
                continue;
            }
            delivery.count(run, &tally, Instant::now());
            let ack = format!("{{\"receipts\":{}}}", delivery.receipts());
            let ack = template::post_json(host, &self.ack_path, &ack);
            let Some(answer) = self.wire.exchange(&ack).await? else { return Ok(()) };
            check(answer.status, answer.body)?;
            settled(answer.body, run, &tally, asked);
        }
    }
}

fn group_of<'a>(run: &'a Run<'_>, number: usize) -> &'a str {
    run.groups.iter().cycle().nth(number % run.groups.len().max(1)).map_or("", String::as_str)
}

fn check(status: u16, body: &[u8]) -> Result<(), CliError> {
    if status == 200 { Ok(()) } else { Err(CliError::Refused(Box::new(Problem::read(status, body)))) }
}

/// A WebSocket that receives and acks, and publishes unless a backlog is worked off.
pub(super) struct WsReceiver {
    wire: Wire,
    number: usize,
    acks: Acks,
}

/// Deliveries on their way to being acked; as many as the prefetch at most, because each holds a message.
#[derive(Default)]
struct Acks {
    /// Receipts not sent back yet, and when they came.
    owed: Vec<(String, Instant)>,
    /// When the deliveries came whose acks are not answered, oldest first.
    waiting: VecDeque<(u64, Instant)>,
    /// The id of the next ack.
    next: u64,
}

impl Acks {
    fn send(&mut self, wire: &mut Wire) {
        for (receipts, came) in self.owed.drain(..) {
            let id = self.next;
            self.next += 1;
            self.waiting.push_back((id, came));
            let ack = format!("{{\"type\":\"ack\",\"id\":\"{id}\",\"receipts\":{receipts}}}");
            frame::write_text(&mut wire.output, ack.as_bytes());
        }
    }

    /// When the delivery came that this answer settles.
    fn answered(&mut self, text: &[u8]) -> Option<Instant> {
        let id = frame::re(text)?;
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == id)?;
        self.waiting.remove(at).map(|(_, came)| came)
    }
}

impl WsReceiver {
    /// Connection `number` of the run; the groups take turns. A backlog is not asked for before the run begins.
    pub(super) async fn open(run: &Run<'_>, number: usize) -> Result<WsReceiver, CliError> {
        let plan = &run.plan;
        let mut wire = Wire::connect(&plan.url, plan.timeout, plan.arrivals().is_some()).await?;
        wire.upgrade().await?;
        let mut receiver = WsReceiver { wire, number, acks: Acks::default() };
        if plan.workload != Workload::Consume {
            receiver.subscribe(run).await?;
        }
        Ok(receiver)
    }

    async fn subscribe(&mut self, run: &Run<'_>) -> Result<(), CliError> {
        let (group, topic) = (group_of(run, self.number), &run.topic);
        let prefetch = run.plan.depth.max(PREFETCH_MIN);
        let subscribe = format!(
            "{{\"type\":\"subscribe\",\"id\":\"s\",\"sub\":\"bench\",\"group\":\"{group}\",\"topic\":\"{topic}\",\
             \"mode\":\"prefetch\",\"prefetch\":{prefetch}}}"
        );
        frame::write_text(&mut self.wire.output, subscribe.as_bytes());
        self.wire.wait_for(b"subscribed").await
    }

    pub(super) async fn load(mut self, run: &Run<'_>, tally: SharedTally) -> Result<(), CliError> {
        let consumes = run.plan.workload == Workload::Consume;
        let mut publisher = None;
        if consumes {
            self.wire.set_alarm(run.limit());
            self.subscribe(run).await?;
        } else {
            publisher = Some(Publisher::new(run, self.number));
        }
        let mut now = Instant::now();
        while !run.is_over(now) {
            if let Some(publisher) = &mut publisher {
                publisher.send(&mut self.wire, run, &tally, now);
            }
            let look_at = publisher.as_ref().and_then(|publisher| publisher.look_at(&self.wire, run, now));
            let timed = run.plan.arrivals().is_some();
            let alarm = match look_at {
                Some(at) if timed => at,
                Some(at) => at.max(now + LOOK_AGAIN / 4),
                None if timed || consumes => now + END_SEEN_AFTER,
                None => run.limit(),
            };
            self.wire.set_alarm(alarm.min(run.limit()));
            self.wire.turn().await?;
            now = Instant::now();
            self.read(run, &tally, publisher.as_mut(), now)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        run: &Run<'_>,
        tally: &SharedTally,
        mut publisher: Option<&mut Publisher>,
        now: Instant,
    ) -> Result<(), CliError> {
        while let Some(text) = self.wire.next_text()? {
            match frame::kind(text) {
                b"published" => {
                    if let Some(publisher) = &mut publisher {
                        publisher.answered(text)?;
                    }
                }
                b"messages" => {
                    let delivery = Delivery::read(text)?;
                    delivery.count(run, tally, now);
                    self.acks.owed.push((delivery.receipts(), now));
                }
                b"settled" => {
                    let came = self.acks.answered(text).unwrap_or(now);
                    settled(text, run, tally, came);
                }
                b"error" => return Err(frame::refusal(text)),
                _ => {}
            }
        }
        self.acks.send(&mut self.wire);
        Ok(())
    }
}
