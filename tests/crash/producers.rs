//! Producers: each sends one thing after the other and writes down what it was told.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::field::{Field, KEYED, PLAIN, Phase, add};
use crate::history::{Key, Outcome, Place, body_of};
use crate::support::dice::Dice;
use crate::support::http::{Answer, Http, Trouble};
use crate::support::socket::Socket;

/// How a producer sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// One message a request, the body as it is.
    Single,
    /// NDJSON.
    Batch,
    /// Several frames at once on a WebSocket.
    Socket,
}

/// One message on its way.
struct Draft {
    key: Key,
    ordering_key: Option<String>,
    body: String,
}

struct Producer {
    field: Arc<Field>,
    number: u32,
    seq: u32,
    dice: Dice,
}

/// Runs producer `number` until the load phase ends.
pub(crate) async fn produce(field: Arc<Field>, number: u32, way: Way) {
    let dice = Dice::new(field.seed, u64::from(number));
    let mut producer = Producer { field, number, seq: 0, dice };
    match way {
        Way::Single => producer.singles().await,
        Way::Batch => producer.batches().await,
        Way::Socket => producer.frames().await,
    }
}

impl Producer {
    /// Whether to go on, after a pause of a random length.
    async fn go_on(&mut self) -> bool {
        tokio::time::sleep(Duration::from_millis(self.dice.below(20))).await;
        while self.field.phase() == Phase::Load && self.field.is_behind() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.field.phase() == Phase::Load
    }

    /// Half of what is sent has ordering keys. A few messages of that topic have none: they are a lane of their own.
    fn topic(&mut self) -> &'static str {
        if self.dice.chance(1, 2) { KEYED } else { PLAIN }
    }

    fn draft(&mut self, topic: &'static str) -> Draft {
        let key = Key { producer: self.number, seq: self.seq };
        self.seq += 1;
        let keyed = topic == KEYED && !self.dice.chance(1, 50);
        let ordering_key = keyed.then(|| format!("k{}-{}", self.number, self.dice.below(4)));
        self.field.events().sending(key, topic, ordering_key.clone());
        Draft { key, ordering_key, body: body_of(self.field.seed, key) }
    }

    async fn singles(&mut self) {
        let mut http = Http::new(self.field.address().await);
        while self.go_on().await {
            let topic = self.topic();
            let draft = self.draft(topic);
            let headers: Vec<(&str, &str)> =
                draft.ordering_key.iter().map(|lane| ("mq-ordering-key", lane.as_str())).collect();
            let path = format!("/v1/topics/{topic}/messages");
            http.move_to(self.field.address().await);
            let answer = http.call("POST", &path, &headers, draft.body.as_bytes()).await;
            let outcome = self.outcome_of(answer, &path).await;
            self.field.published(draft.key, outcome);
        }
    }

    async fn outcome_of(&self, answer: Result<Answer, Trouble>, what: &str) -> Outcome {
        match answer {
            Ok(answer) => outcome(&self.field, answer.status, &answer.json()),
            Err(trouble) => {
                self.field.after(&trouble, what).await;
                if trouble == Trouble::NotSent { Outcome::Refused } else { Outcome::Unknown }
            }
        }
    }

    async fn batches(&mut self) {
        let mut http = Http::new(self.field.address().await);
        let headers = [("content-type", "application/x-ndjson")];
        while self.go_on().await {
            let topic = self.topic();
            let count = 1 + self.dice.below(20);
            let drafts: Vec<Draft> = (0..count).map(|_| self.draft(topic)).collect();
            let lines: String = drafts.iter().map(|draft| format!("{}\n", draft.json())).collect();
            let path = format!("/v1/topics/{topic}/messages/batch");
            http.move_to(self.field.address().await);
            let answer = http.call("POST", &path, &headers, lines.as_bytes()).await;
            let results = match &answer {
                Ok(answer) if answer.status == 200 => answer.json()["results"].as_array().cloned(),
                _ => None,
            };
            match results {
                Some(results) if results.len() == drafts.len() => {
                    for (draft, result) in drafts.iter().zip(&results) {
                        let status = result["status"].as_u64().unwrap_or(201);
                        let outcome = outcome(&self.field, u16::try_from(status).unwrap(), result);
                        self.field.published(draft.key, outcome);
                    }
                }
                Some(results) => {
                    self.field.complain(format!("{} results for {count} messages", results.len()));
                }
                None => {
                    let outcome = self.outcome_of(answer, &path).await;
                    for draft in &drafts {
                        self.field.published(draft.key, outcome.clone());
                    }
                }
            }
        }
    }

    async fn frames(&mut self) {
        let mut socket: Option<Socket> = None;
        while self.go_on().await {
            let mut open = match socket.take() {
                Some(open) => open,
                None => match Socket::open(self.field.address().await).await {
                    Ok(open) => open,
                    Err(trouble) => {
                        self.field.after(&trouble, "opening a WebSocket").await;
                        continue;
                    }
                },
            };
            let topic = self.topic();
            let count = 1 + self.dice.below(8);
            let drafts: Vec<Draft> = (0..count).map(|_| self.draft(topic)).collect();
            match self.exchange(&mut open, topic, &drafts).await {
                Ok(()) => socket = Some(open),
                Err((answered, trouble)) => {
                    add(&self.field.counts.broken_sockets);
                    for draft in &drafts[answered..] {
                        self.field.published(draft.key, Outcome::Unknown);
                    }
                    self.field.after(&trouble, "a publish on a WebSocket").await;
                }
            }
        }
    }

    /// Sends all frames, then reads all answers, which come in the same order. On trouble: how many were answered.
    async fn exchange(
        &self,
        socket: &mut Socket,
        topic: &str,
        drafts: &[Draft],
    ) -> Result<(), (usize, Trouble)> {
        for draft in drafts {
            let mut frame = draft.json();
            frame["type"] = json!("publish");
            frame["topic"] = json!(topic);
            frame["id"] = json!(draft.key.to_string());
            socket.send(&frame).await.map_err(|trouble| (0, trouble))?;
        }
        for (at, draft) in drafts.iter().enumerate() {
            let frame = socket.next().await.map_err(|trouble| (at, trouble))?;
            if frame["re"] != json!(draft.key.to_string()) {
                self.field.complain(format!("{} was answered by {frame}", draft.key));
            }
            let status = if frame["type"] == "published" { 201 } else { status_of(&frame) };
            let outcome = outcome(&self.field, status, &frame);
            self.field.published(draft.key, outcome);
        }
        Ok(())
    }
}

impl Draft {
    fn json(&self) -> Value {
        match &self.ordering_key {
            Some(ordering_key) => json!({"body": self.body, "ordering_key": ordering_key}),
            None => json!({"body": self.body}),
        }
    }
}

/// The status inside an error frame: the problem may be the frame or a part of it.
fn status_of(frame: &Value) -> u16 {
    let status = [&frame["status"], &frame["problem"]["status"], &frame["error"]["status"]];
    let found = status.iter().find_map(|status| status.as_u64()).unwrap_or(0);
    u16::try_from(found).unwrap_or(0)
}

/// What an answer promises.
fn outcome(field: &Field, status: u16, answer: &Value) -> Outcome {
    match status {
        201 => {
            let place = Place {
                id: answer["id"].as_str().unwrap_or("").to_owned(),
                queue: answer["queue"].as_u64().unwrap_or(u64::MAX),
                offset: answer["offset"].as_u64().unwrap_or(u64::MAX),
            };
            if place.id.is_empty() || place.offset == u64::MAX {
                field.complain(format!("an answer without a place: {answer}"));
            }
            Outcome::Acknowledged(place)
        }
        429 | 503 | 507 => Outcome::Refused,
        504 => Outcome::Unknown,
        _ => {
            field.complain(format!("status {status} for a good message: {answer}"));
            Outcome::Unknown
        }
    }
}
