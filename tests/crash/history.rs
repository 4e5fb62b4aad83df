//! What really happened, as the clients saw it: every message sent, every delivery, every settle, with their outcomes.
//!
//! The history is written by the clients of a run and judged afterwards (`judge`). It knows the contract, not the
//! broker. Its clock counts events: a smaller stamp was seen earlier by some client of this process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::order;
use crate::support::dice::Dice;

/// A moment: the number of an event.
pub(crate) type Stamp = u64;

/// Which message: the producer that sent it and its number there. In the order it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) producer: u32,
    pub(crate) seq: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "p{}/{}", self.producer, self.seq)
    }
}

/// Where the broker says a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) queue: u64,
    pub(crate) offset: u64,
}

/// What became of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No answer, or one that says so: it may be there or not, once.
    Unknown,
    /// The broker promised to keep it.
    Acknowledged(Place),
    /// The broker promised that it is not there.
    Refused,
}

/// A message as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) topic: &'static str,
    pub(crate) ordering_key: Option<String>,
    pub(crate) outcome: Outcome,
}

/// One delivery of a message to a worker.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) round: u64,
    pub(crate) attempt: u64,
    pub(crate) receipt: String,
    pub(crate) place: Place,
    /// When the worker asked for it: the lease cannot have begun earlier.
    pub(crate) asked: Stamp,
    pub(crate) seen: Stamp,
    /// The lease cannot end before this (from the clock of this process); none when its begin is not known.
    pub(crate) lease_until: Option<Instant>,
}

/// What a settle does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Ack,
    Nack,
    Extend,
}

/// What the broker answered to a settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// No answer.
    Unknown,
    Ok,
    Already,
    Expired,
    Invalid,
}

/// One settle of one receipt.
#[derive(Clone, Debug)]
pub(crate) struct Settle {
    pub(crate) receipt: String,
    pub(crate) op: Op,
    pub(crate) asked: Stamp,
    /// When its answer was seen; the highest stamp while there is none.
    pub(crate) answered: Stamp,
    pub(crate) answered_at: Instant,
    pub(crate) outcome: Settled,
}

/// A message in one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journey {
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) settles: Vec<Settle>,
    /// How many dead letters of this message the broker lists.
    pub(crate) dead: u32,
}

/// A group and the rules that the run gave it.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) topics: &'static [&'static str],
    pub(crate) ordered: bool,
    pub(crate) max_attempts: u64,
    pub(crate) journeys: BTreeMap<Key, Journey>,
}

impl Group {
    pub(crate) fn new(name: &'static str, topics: &'static [&'static str]) -> Group {
        Group { name, topics, ordered: false, max_attempts: 1_000, journeys: BTreeMap::new() }
    }
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) seed: u64,
    clock: Stamp,
    pub(crate) sent: BTreeMap<Key, Sent>,
    pub(crate) groups: Vec<Group>,
    /// When answers may have been lost for everyone: kills, each from before to after, in order.
    pub(crate) kills: Vec<(Stamp, Stamp)>,
    /// What was wrong already when it was seen.
    pub(crate) wrong: Vec<String>,
    pub(crate) acknowledged: u64,
}

/// The shared history of a run.
#[derive(Debug)]
pub(crate) struct History(Mutex<Events>);

impl History {
    pub(crate) fn new(seed: u64, groups: Vec<Group>) -> History {
        History(Mutex::new(Events { seed, groups, ..Events::default() }))
    }

    /// Looks at it. Never hold it over an await.
    pub(crate) fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap()
    }

    /// The next stamp.
    pub(crate) fn now(&self) -> Stamp {
        self.events().tick()
    }
}

impl Events {
    pub(crate) fn tick(&mut self) -> Stamp {
        self.clock += 1;
        self.clock
    }

    /// The broker is killed now; [`Events::killed`] says when it is dead.
    pub(crate) fn killing(&mut self) {
        let now = self.tick();
        self.kills.push((now, Stamp::MAX));
    }

    /// It is dead: no answer of before comes any more.
    pub(crate) fn killed(&mut self) {
        let now = self.tick();
        if let Some((_, over)) = self.kills.last_mut() {
            *over = now;
        }
    }

    /// How many kills fell between two moments.
    pub(crate) fn kills_between(&self, from: Stamp, to: Stamp) -> u64 {
        self.kills.iter().filter(|(begun, over)| *begun < to && *over > from).count() as u64
    }

    /// A message goes out.
    pub(crate) fn sending(&mut self, key: Key, topic: &'static str, ordering_key: Option<String>) {
        let sent = Sent { topic, ordering_key, outcome: Outcome::Unknown };
        assert!(self.sent.insert(key, sent).is_none(), "{key} was sent before");
    }

    /// The answer to a publish.
    pub(crate) fn answered(&mut self, key: Key, outcome: Outcome) {
        self.acknowledged += u64::from(matches!(outcome, Outcome::Acknowledged(_)));
        self.sent.get_mut(&key).expect("sent before").outcome = outcome;
    }

    /// A message came. Says which one it is; none when it is none of ours (which is wrong).
    pub(crate) fn delivered(&mut self, group: usize, body: &str, mut delivery: Delivery) -> Option<Key> {
        delivery.seen = self.tick();
        let key = key_of(body).filter(|key| body == body_of(self.seed, *key));
        let Some(key) = key else {
            let shown: String = body.chars().take(60).collect();
            self.wrong.push(format!(
                "I2: a body nobody sent, or changed on its way: {} bytes '{shown}'",
                body.len()
            ));
            return None;
        };
        self.groups[group].journeys.entry(key).or_default().deliveries.push(delivery);
        Some(key)
    }

    /// A settle goes out; its outcome is filled in by [`Events::settled`].
    pub(crate) fn settling(&mut self, group: usize, key: Key, receipt: &str, op: Op) -> usize {
        let asked = self.tick();
        let journey = self.groups[group].journeys.entry(key).or_default();
        let settle = Settle {
            receipt: receipt.to_owned(),
            op,
            asked,
            answered: Stamp::MAX,
            answered_at: Instant::now(),
            outcome: Settled::Unknown,
        };
        journey.settles.push(settle);
        journey.settles.len() - 1
    }

    /// The answer to a settle.
    pub(crate) fn settled(&mut self, group: usize, key: Key, settle: usize, outcome: Settled) {
        let answered = self.tick();
        let journey = self.groups[group].journeys.get_mut(&key).expect("delivered before");
        let settle = &mut journey.settles[settle];
        settle.outcome = outcome;
        settle.answered = answered;
        settle.answered_at = Instant::now();
    }

    /// An extend that was done moves the end of its lease.
    pub(crate) fn extended(&mut self, group: usize, key: Key, receipt: &str, until: Instant) {
        let journey = self.groups[group].journeys.get_mut(&key).expect("delivered before");
        for delivery in journey.deliveries.iter_mut().filter(|delivery| delivery.receipt == receipt) {
            delivery.lease_until = Some(until);
        }
    }

    /// The dead letters of a group, as listed now, by message id.
    pub(crate) fn dead_letters(&mut self, group: usize, ids: &[String]) {
        let names: BTreeMap<&str, Key> =
            order::places(self).map(|(key, _, place)| (place.id.as_str(), key)).collect();
        let keys: Vec<Option<Key>> = ids.iter().map(|id| names.get(id.as_str()).copied()).collect();
        for journey in self.groups[group].journeys.values_mut() {
            journey.dead = 0;
        }
        for (key, id) in keys.into_iter().zip(ids) {
            match key {
                Some(key) => self.groups[group].journeys.entry(key).or_default().dead += 1,
                None => self.wrong.push(format!("I2: the dead letter {id} is nothing that was sent")),
            }
        }
    }

    /// Messages that were acknowledged and are not settled yet in this group.
    pub(crate) fn unsettled(&self, group: usize) -> Vec<Key> {
        let group = &self.groups[group];
        let open = |key: &Key, sent: &Sent| {
            let expected =
                matches!(sent.outcome, Outcome::Acknowledged(_)) && group.topics.contains(&sent.topic);
            match group.journeys.get(key) {
                Some(journey) => !journey.ended(),
                None => expected,
            }
        };
        self.sent.iter().filter(|(key, sent)| open(key, sent)).map(|(key, _)| *key).collect()
    }
}

impl Journey {
    /// Whether the broker has said that it will not come again.
    pub(crate) fn ended(&self) -> bool {
        self.dead > 0 || self.final_settle().is_some()
    }

    /// The first ack that the broker confirmed.
    pub(crate) fn final_settle(&self) -> Option<&Settle> {
        let done = |settle: &&Settle| matches!(settle.outcome, Settled::Ok | Settled::Already);
        self.settles.iter().filter(|settle| settle.op == Op::Ack).find(done)
    }
}

impl Journey {
    /// When the first ack was sent that may have been done.
    pub(crate) fn first_ack_asked(&self) -> Option<Stamp> {
        let maybe = |settle: &&Settle| {
            settle.op == Op::Ack && !matches!(settle.outcome, Settled::Expired | Settled::Invalid)
        };
        self.settles.iter().find(maybe).map(|settle| settle.asked)
    }
}

/// The text of a message: its name, whether workers always refuse it, and filler of a length that only chance knows.
pub(crate) fn body_of(seed: u64, key: Key) -> String {
    let mut dice = Dice::new(seed ^ 0xB0D1, (u64::from(key.producer) << 32) | u64::from(key.seq));
    let length = match dice.below(200) {
        0 => 20_000 + dice.below(60_000),
        1..40 => 1_000 + dice.below(1_000),
        _ => dice.below(300),
    };
    let mut body = format!("p{}/{}/", key.producer, key.seq);
    while (body.len() as u64) < length {
        body.push_str(&format!("{:016x}", dice.roll()));
    }
    body
}

/// Whether workers always refuse this message, so that it ends as a dead letter.
pub(crate) fn is_poison(key: Key) -> bool {
    key.seq % 97 == 13
}

fn key_of(body: &str) -> Option<Key> {
    let mut parts = body.split('/');
    let producer = parts.next()?.strip_prefix('p')?.parse().ok()?;
    let seq = parts.next()?.parse().ok()?;
    Some(Key { producer, seq })
}

/// When a lease that was asked for now can end at the earliest. The broker's clock may run 5 % fast to catch up with
/// the wall clock; a tenth is left for that.
pub(crate) fn lease_until(asked: Instant, lease_ms: u64) -> Instant {
    asked + Duration::from_millis(lease_ms * 9 / 10)
}
