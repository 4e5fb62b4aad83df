//! Workers: they ack most, refuse some, forget some, extend some, ack some too late, and write everything down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::field::{Field, LEASE_MS, ORDERED, Phase, UNORDERED, add, settled};
use crate::history::{Delivery, Key, Op, Place, Settled, Stamp, is_poison, lease_until};
use crate::support::dice::Dice;
use crate::support::http::{Http, Trouble};
use crate::support::socket::Socket;

/// How long an extended lease is.
const EXTENDED_MS: u64 = 5_000;

/// A settle that has to be done.
#[derive(Clone, Debug)]
struct Todo {
    key: Key,
    receipt: String,
    op: Op,
}

struct Worker {
    field: Arc<Field>,
    group: usize,
    name: &'static str,
    dice: Dice,
    http: Http,
    /// What is acked later, and when.
    pocket: Vec<(Instant, Todo)>,
}

/// Runs a worker that asks by POST until the run stops.
pub(crate) async fn work(field: Arc<Field>, group: usize, number: u64) {
    let mut worker = Worker::new(field, group, number).await;
    while worker.field.phase() < Phase::Stop {
        let todos = worker.receive().await;
        worker.settle(todos).await;
        let due = worker.due();
        worker.settle(due).await;
    }
}

/// Runs a worker that is pushed messages over a WebSocket until the run stops.
pub(crate) async fn work_on_socket(field: Arc<Field>, group: usize, number: u64) {
    let mut worker = Worker::new(field, group, number).await;
    while worker.field.phase() < Phase::Stop {
        let mut open = HashMap::new();
        if let Err(trouble) = worker.socket_turn(&mut open).await {
            add(&worker.field.counts.broken_sockets);
            worker.field.after(&trouble, "a subscription").await;
        }
        // What was sent and not answered is sent again by another way: a receipt outlives its connection.
        let rest = open.into_values().flatten().map(|(todo, _)| todo).collect();
        worker.settle(rest).await;
        let due = worker.due();
        worker.settle(due).await;
    }
}

impl Worker {
    async fn new(field: Arc<Field>, group: usize, number: u64) -> Worker {
        let dice = Dice::new(field.seed, 1_000 + number);
        let name = field.events().groups[group].name;
        let http = Http::new(field.address().await);
        Worker { field, group, name, dice, http, pocket: Vec::new() }
    }

    async fn receive(&mut self) -> Vec<Todo> {
        self.http.move_to(self.field.address().await);
        let (asked, asked_at) = (self.field.history.now(), Instant::now());
        let request = json!({"max_messages": 1 + self.dice.below(16), "wait_ms": 500});
        let path = format!("/v1/groups/{}/receive", self.name);
        match self.http.post(&path, request.to_string().as_bytes()).await {
            Ok(answer) if answer.status == 200 => {
                let until = Some(lease_until(asked_at, LEASE_MS));
                self.take(&answer.json(), asked, until)
            }
            Ok(answer) if answer.status == 503 => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Vec::new()
            }
            Ok(answer) => {
                self.field.complain(format!("receive answered {}: {}", answer.status, answer.text()));
                Vec::new()
            }
            Err(trouble) => {
                self.field.after(&trouble, "a receive").await;
                Vec::new()
            }
        }
    }

    /// Writes deliveries down and decides what to do with each.
    fn take(&mut self, answer: &Value, asked: Stamp, lease_until: Option<Instant>) -> Vec<Todo> {
        let Some(messages) = answer["messages"].as_array() else {
            self.field.complain(format!("no messages in {answer}"));
            return Vec::new();
        };
        let mut todos = Vec::new();
        for message in messages {
            let text = |field: &str| message[field].as_str().unwrap_or("").to_owned();
            let number = |field: &str| message[field].as_u64().unwrap_or(u64::MAX);
            let delivery = Delivery {
                round: number("round"),
                attempt: number("attempt"),
                receipt: text("receipt"),
                place: Place { id: text("id"), queue: number("queue"), offset: number("offset") },
                asked,
                seen: 0,
                lease_until,
            };
            let (attempt, receipt) = (delivery.attempt, delivery.receipt.clone());
            if attempt > 1 {
                add(&self.field.counts.redelivered);
            }
            let key = self.field.events().delivered(self.group, &text("body"), delivery);
            if let Some(key) = key {
                todos.extend(self.decide(key, receipt, attempt));
            }
        }
        todos
    }

    fn decide(&mut self, key: Key, receipt: String, attempt: u64) -> Option<Todo> {
        if self.group == UNORDERED && is_poison(key) {
            return Some(Todo { key, receipt, op: Op::Nack });
        }
        let ack = Todo { key, receipt, op: Op::Ack };
        if self.field.phase() > Phase::Load || attempt > 3 {
            return Some(ack);
        }
        let now = Instant::now();
        match self.dice.below(1_000) {
            0..40 => Some(Todo { op: Op::Nack, ..ack }),
            // Never acked: the lease runs out. In an ordered group that holds a lane, so seldom.
            40..43 => {
                add(&self.field.counts.left);
                None
            }
            43..55 if self.group != ORDERED => {
                add(&self.field.counts.left);
                None
            }
            // Acked after the lease: done when nobody has leased it meanwhile, else expired.
            55..60 => {
                add(&self.field.counts.late_acks);
                self.pocket.push((now + Duration::from_millis(LEASE_MS + self.dice.below(300)), ack));
                None
            }
            // Extended, and acked when the first lease would be over.
            60..80 => {
                self.pocket.push((now + Duration::from_millis(LEASE_MS + 200), ack.clone()));
                Some(Todo { op: Op::Extend, ..ack })
            }
            // Slow work.
            80..160 => {
                self.pocket.push((now + Duration::from_millis(self.dice.below(900)), ack));
                None
            }
            _ => Some(ack),
        }
    }

    fn due(&mut self) -> Vec<Todo> {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.pocket).into_iter().partition(|(at, _)| *at <= now);
        self.pocket = later;
        let due: Vec<(Instant, Todo)> = due;
        due.into_iter().map(|(_, todo)| todo).collect()
    }

    /// Settles by POST; asks again after a kill until every outcome is known.
    async fn settle(&mut self, mut todos: Vec<Todo>) {
        todos.sort_by_key(|todo| todo.op as u8);
        for chunk in todos.chunks(500) {
            while !self.settle_once(chunk).await {}
        }
    }

    async fn settle_once(&mut self, todos: &[Todo]) -> bool {
        let list = |op: Op, more: Value| -> Vec<Value> {
            let wanted = todos.iter().filter(|todo| todo.op == op);
            wanted
                .map(|todo| {
                    let mut entry = more.clone();
                    entry["receipt"] = json!(todo.receipt);
                    entry
                })
                .collect()
        };
        let delay_ms = self.dice.below(2) * 50;
        let request = json!({
            "acks": list(Op::Ack, json!({})),
            "nacks": list(Op::Nack, json!({"delay_ms": delay_ms, "reason": "by chance"})),
            "extends": list(Op::Extend, json!({"lease_ms": EXTENDED_MS})),
        });
        self.http.move_to(self.field.address().await);
        let (marks, asked_at) = (self.begin(todos), Instant::now());
        let path = format!("/v1/groups/{}/settle", self.name);
        match self.http.post(&path, request.to_string().as_bytes()).await {
            Ok(answer) if answer.status == 200 => {
                let answer = answer.json();
                let empty = Vec::new();
                let results = answer["results"].as_array().unwrap_or(&empty);
                if results.len() != todos.len() {
                    self.field.complain(format!("{} results for {} receipts", results.len(), todos.len()));
                }
                for ((todo, mark), result) in todos.iter().zip(marks).zip(results) {
                    self.end(todo, mark, result, asked_at);
                }
                true
            }
            Ok(answer) if matches!(answer.status, 503 | 504) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                false
            }
            Ok(answer) => {
                self.field.complain(format!("settle answered {}: {}", answer.status, answer.text()));
                true
            }
            Err(trouble) => {
                add(&self.field.counts.unknown_settles);
                self.field.after(&trouble, "a settle").await;
                false
            }
        }
    }

    fn begin(&self, todos: &[Todo]) -> Vec<usize> {
        let mut events = self.field.events();
        todos.iter().map(|todo| events.settling(self.group, todo.key, &todo.receipt, todo.op)).collect()
    }

    fn end(&self, todo: &Todo, mark: usize, result: &Value, asked_at: Instant) {
        let status = result["status"].as_str().unwrap_or("");
        let Some(outcome) = settled(status).filter(|_| result["receipt"] == json!(todo.receipt)) else {
            self.field.complain(format!("{:?} was answered by {result}", todo));
            return;
        };
        let mut events = self.field.events();
        events.settled(self.group, todo.key, mark, outcome);
        if outcome == Settled::Ok {
            let counts = &self.field.counts;
            match todo.op {
                Op::Ack if self.group == UNORDERED => add(&counts.acked),
                Op::Ack => {}
                Op::Nack => add(&counts.nacked),
                Op::Extend => {
                    add(&counts.extended);
                    events.extended(self.group, todo.key, &todo.receipt, lease_until(asked_at, EXTENDED_MS));
                }
            }
        }
    }

    /// One connection: subscribes, takes what is pushed, settles by frames, until it breaks or the run stops.
    /// `open` holds what was sent and not answered.
    async fn socket_turn(&mut self, open: &mut HashMap<String, Vec<(Todo, usize)>>) -> Result<(), Trouble> {
        let asked = self.field.history.now();
        let mut socket = Socket::open(self.field.address().await).await?;
        let subscribe =
            json!({"type": "subscribe", "id": "s", "sub": "s", "group": self.name, "prefetch": 30});
        socket.send(&subscribe).await?;
        let mut next_id = 0u64;
        loop {
            if self.field.phase() == Phase::Stop {
                socket.close().await;
                return Ok(());
            }
            let mut todos = Vec::new();
            if let Ok(frame) = tokio::time::timeout(Duration::from_millis(100), socket.next()).await {
                let frame = frame?;
                match frame["type"].as_str() {
                    Some("messages") => todos = self.take(&frame, asked, None),
                    Some("settled") => self.socket_settled(&frame, open),
                    Some("subscribed") => {}
                    _ => self.field.complain(format!("a worker was sent {frame}")),
                }
            }
            todos.extend(self.due());
            for op in [Op::Ack, Op::Nack, Op::Extend] {
                let some: Vec<Todo> = todos.iter().filter(|todo| todo.op == op).cloned().collect();
                if !some.is_empty() {
                    next_id += 1;
                    let id = format!("{op:?}{next_id}");
                    let frame = self.settle_frame(op, &id, &some);
                    let marks = self.begin(&some);
                    open.insert(id, some.into_iter().zip(marks).collect());
                    socket.send(&frame).await?;
                }
            }
        }
    }

    fn settle_frame(&mut self, op: Op, id: &str, todos: &[Todo]) -> Value {
        let receipts: Vec<&str> = todos.iter().map(|todo| todo.receipt.as_str()).collect();
        let mut frame = json!({"id": id, "receipts": receipts});
        frame["type"] = json!(match op {
            Op::Ack => "ack",
            Op::Nack => "nack",
            Op::Extend => "extend",
        });
        match op {
            Op::Ack => {}
            Op::Nack => frame["delay_ms"] = json!(self.dice.below(2) * 50),
            Op::Extend => frame["lease_ms"] = json!(EXTENDED_MS),
        }
        frame
    }

    fn socket_settled(&mut self, frame: &Value, open: &mut HashMap<String, Vec<(Todo, usize)>>) {
        let todos = frame["re"].as_str().and_then(|id| open.remove(id)).unwrap_or_default();
        let empty = Vec::new();
        let results = frame["results"].as_array().unwrap_or(&empty);
        if results.len() != todos.len() {
            self.field.complain(format!("{} results for {} receipts: {frame}", results.len(), todos.len()));
        }
        for ((todo, mark), result) in todos.iter().zip(results) {
            // Its lease may have begun when the connection did: no end can be promised from here.
            self.end(todo, *mark, result, Instant::now() - Duration::from_millis(EXTENDED_MS));
        }
    }
}
