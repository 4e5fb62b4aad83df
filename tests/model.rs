//! Random commands against the machine, audited by a naive model that shares no code with it: a list of messages, and for
//! each group what became of each. `WHIMBREL_SEED` runs one seed, `WHIMBREL_CASES` says how many.
//!
//! It checks that no acknowledged message is lost (I1) or invented (I2), offsets (I4), order (I5), acks that stay (I6),
//! one lease at a time and no stale receipt (I7), attempts and dead letters (I8), groups apart (I10), schedules and what is
//! taken back of them (I13), keys that are remembered as long as promised, over restarts (I20);
//! the world beneath checks the machine's invariants and the digests of a second machine after every command.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod auditor;
mod world;

use std::collections::BTreeMap;

use whimbrel::machine::{PutMode, ReceiveRequest, Refusal, SeekTo, SettleOp};
use whimbrel::model::{
    Filter, GroupSettings, Position, Receipt, RetryPolicy, Subscription, Timestamp, TopicName, TopicSettings,
};

use auditor::CarriedOut;
use world::World;

const TOPICS: [&str; 2] = ["a", "b"];
/// How long a key is remembered at least, by topic.
const WINDOWS_MS: [u64; 2] = [20_000, 300_000];
const MAX_ATTEMPTS: u32 = 3;
const RETRY_MS: u64 = 1_000;
const LEASE_MS: u64 = 5_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Ready,
    Leased {
        receipt: Receipt,
        until: Timestamp,
    },
    Retrying {
        due: Timestamp,
    },
    Acked,
    Dead,
    Expired,
    /// A seek went over it.
    Skipped,
}

/// One message as one group sees it.
#[derive(Clone, Debug)]
struct Seen {
    state: State,
    failures: u32,
    /// The receipt whose lease ran out, or that nacked, while nobody took the message since.
    ran_out: Option<Receipt>,
    nacked: Option<Receipt>,
    /// Round and attempt of the last delivery, and whether the next must be higher.
    last: (u32, u32),
    failed_since: bool,
    /// Its place in the queue; another one after a redrive.
    place: (u64, u32),
    never_expires: bool,
}

/// A message that was accepted.
struct Sent {
    position: Position,
    topic: usize,
    queue: u16,
    offset: Option<u64>,
    due: Timestamp,
    /// Taken back while it was scheduled.
    cancelled: bool,
    ttl_ms: Option<u64>,
    tag: Option<&'static str>,
    colour: Option<&'static str>,
    size: Option<usize>,
    key: Option<String>,
    body: String,
    by_group: Vec<Seen>,
}

/// Which messages a group gets.
#[derive(Clone, Copy, Debug)]
enum Wants {
    All,
    Tag(&'static str),
    /// By SQL: red, and larger than 2 or of no size.
    LargeReds,
}

impl Wants {
    fn filter(self) -> Filter {
        match self {
            Wants::All => Filter::All,
            Wants::Tag(tag) => Filter::parse_tags(tag).unwrap(),
            Wants::LargeReds => {
                Filter::parse_sql("colour = 'red' AND (NOT size <= 2 OR size IS NULL)").unwrap()
            }
        }
    }

    fn includes(self, sent: &Sent) -> bool {
        match self {
            Wants::All => true,
            Wants::Tag(tag) => sent.tag == Some(tag),
            Wants::LargeReds => sent.colour == Some("red") && sent.size.is_none_or(|size| size > 2),
        }
    }
}

struct Group {
    name: &'static str,
    topics: &'static [usize],
    wants: Wants,
    lane_batch: Option<usize>,
    turns: BTreeMap<(usize, u16), u32>,
}

struct Model {
    world: World,
    random: u64,
    groups: Vec<Group>,
    sent: Vec<Sent>,
    receipts: Vec<(usize, Receipt)>,
    carried_out: Vec<CarriedOut>,
}

type Checked = Result<(), String>;

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Model {
    fn new(seed: u64) -> Model {
        let group = |name, topics, wants, lane_batch| Group {
            name,
            topics,
            wants,
            lane_batch,
            turns: BTreeMap::new(),
        };
        let groups = vec![
            group("plain", &[0, 1][..], Wants::All, None),
            group("ordered", &[0][..], Wants::All, Some(1)),
            group("batched", &[0, 1][..], Wants::All, Some(3)),
            group("filtered", &[0][..], Wants::Tag("red"), None),
            group("asking", &[0, 1][..], Wants::LargeReds, None),
            group("asking-in-order", &[1][..], Wants::LargeReds, Some(2)),
        ];
        let mut world = World::new();
        world.decide(|draft, candidates| {
            for (topic, idempotency_window_ms) in TOPICS.into_iter().zip(WINDOWS_MS) {
                let settings = TopicSettings { queues: 2, idempotency_window_ms, ..TopicSettings::default() };
                draft.put_topic(topic.parse().unwrap(), settings, PutMode::Upsert).unwrap();
            }
            for group in &groups {
                let filter = group.wants.filter();
                let subscription =
                    |topic: &usize| Subscription { topic: name(*topic), filter: filter.clone() };
                let settings = GroupSettings {
                    subscriptions: group.topics.iter().map(subscription).collect(),
                    ordered: group.lane_batch.is_some(),
                    lane_batch: u32::try_from(group.lane_batch.unwrap_or(1)).unwrap(),
                    lease_ms: LEASE_MS,
                    max_attempts: MAX_ATTEMPTS,
                    retry: Some(RetryPolicy::Table { steps_ms: vec![RETRY_MS] }),
                    ..GroupSettings::default()
                };
                draft
                    .put_group(
                        group.name.parse().unwrap(),
                        settings,
                        (PutMode::CreateOnly, false),
                        candidates,
                    )
                    .unwrap();
            }
        });
        Model { world, random: seed, groups, sent: Vec::new(), receipts: Vec::new(), carried_out: Vec::new() }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn run(&mut self, commands: usize) -> Checked {
        for _ in 0..commands {
            self.world.window = [2, 5, usize::MAX][self.below(3)];
            self.world.known = [0, 3, usize::MAX, usize::MAX][self.below(4)];
            match self.below(20) {
                0..=3 => self.produce()?,
                4 => self.send_again()?,
                5..=10 => self.receive(None)?,
                11..=16 => self.settle()?,
                17 => self.wait()?,
                18 if self.below(2) == 0 => self.cancel()?,
                18 => self.redrive()?,
                _ if self.below(4) == 0 => self.seek()?,
                _ => self.wait()?,
            }
        }
        self.drain()
    }

    fn end(&self, topic: usize, queue: u16) -> u64 {
        let there = |sent: &&Sent| sent.topic == topic && sent.queue == queue && sent.offset.is_some();
        self.sent.iter().filter(there).count() as u64
    }

    fn receive(&mut self, only: Option<usize>) -> Result<(), String> {
        let group = only.unwrap_or(self.below(self.groups.len()));
        let most = if only.is_some() { 1_000 } else { 1 + self.below(6) };
        let request = ReceiveRequest {
            group: self.groups[group].name.parse().unwrap(),
            topic: None,
            auto_create: false,
            max_messages: u32::try_from(most).unwrap(),
            max_bytes: 1_000_000,
            lease_ms: None,
            session: 0,
            client: "auditor".into(),
            turn: u32::try_from(self.below(4)).unwrap(),
        };
        let (answer, index) = self.world.decide(|draft, candidates| draft.receive(&request, candidates));
        let received = answer.map_err(|refusal| refusal.to_string())?;
        ensure(received.messages.len() <= most, || "more than was asked for".into())?;
        let receipts: Vec<Receipt> =
            received.messages.iter().map(|leased| leased.receipt(received.group, index)).collect();
        for (leased, receipt) in received.messages.iter().zip(&receipts) {
            self.audit(group, leased, *receipt)?;
        }
        for receipt in &receipts {
            self.audit_lane(group, receipt.position, &receipts)?;
        }
        self.receipts.extend(receipts.into_iter().map(|receipt| (group, receipt)));
        Ok(())
    }

    fn settle(&mut self) -> Checked {
        if self.receipts.is_empty() {
            return Ok(());
        }
        // Mostly recent receipts, sometimes any, so that stale ones are tried as well.
        let recent = self.receipts.len().saturating_sub(if self.below(3) == 0 { usize::MAX } else { 6 });
        let at = recent + self.below(self.receipts.len() - recent);
        let (group, receipt) = self.receipts[at];
        let op = match self.below(10) {
            0..=4 => SettleOp::Ack,
            5 | 6 => SettleOp::Nack { delay_ms: None, reason: None },
            7 => SettleOp::Nack { delay_ms: Some(0), reason: None },
            8 => SettleOp::DeadLetter { reason: None },
            _ => [SettleOp::GiveBack, SettleOp::Broken, SettleOp::Extend { lease_ms: None }][self.below(3)]
                .clone(),
        };
        let expected = self.expect(group, receipt, &op);
        let (status, _) = self.world.decide(|draft, _| draft.settle_anywhere(&receipt, &op));
        ensure(status == expected, || {
            format!("I6, I7: {op:?} of {receipt:?} is {status:?}, not {expected:?}")
        })
    }

    fn wait(&mut self) -> Checked {
        let millis = [300, 1_000, 2_000, 6_000][self.below(4)];
        self.world.now = self.world.now.plus(millis);
        let now = self.world.now;
        // What becomes ready by schedule does so in (due, position) order.
        let mut due: Vec<usize> = (0..self.sent.len())
            .filter(|at| {
                self.sent[*at].offset.is_none() && !self.sent[*at].cancelled && self.sent[*at].due <= now
            })
            .collect();
        due.sort_by_key(|at| (self.sent[*at].due, self.sent[*at].position));
        for at in due {
            let end = self.end(self.sent[at].topic, self.sent[at].queue);
            self.sent[at].offset = Some(end);
            self.sent[at].by_group.iter_mut().for_each(|seen| seen.place = (end, 0));
        }
        // Leases of a lane run out together or front first, because they were made together; an extended one may
        // outlive those in front of it, and is given back with them.
        for group in 0..self.groups.len() {
            let mut out: Vec<(Timestamp, Position, usize)> = Vec::new();
            for (at, sent) in self.sent.iter().enumerate() {
                if let State::Leased { until, .. } = sent.by_group[group].state
                    && until <= now
                {
                    out.push((until, sent.position, at));
                }
            }
            out.sort();
            for (_, _, at) in out {
                let seen = &mut self.sent[at].by_group[group];
                let State::Leased { receipt, .. } = seen.state else { continue };
                seen.fail(now.plus(RETRY_MS), now);
                seen.ran_out = Some(receipt);
                self.give_back_behind(group, at);
            }
            for at in 0..self.sent.len() {
                let expired = self.is_expired(&self.sent[at], group);
                let seen = &mut self.sent[at].by_group[group];
                if expired {
                    seen.state = State::Expired;
                    (seen.ran_out, seen.nacked) = (None, None);
                } else if matches!(seen.state, State::Retrying { due } if due <= now) {
                    seen.state = State::Ready;
                }
            }
        }
        self.world.settle_time();
        Ok(())
    }

    /// Takes back what is scheduled, or tries to although it is not.
    fn cancel(&mut self) -> Checked {
        let scheduled = |sent: &Sent| sent.offset.is_none() && !sent.cancelled;
        let meant = self.below(4) > 0;
        let choice: Vec<usize> =
            (0..self.sent.len()).filter(|at| !meant || scheduled(&self.sent[*at])).collect();
        if choice.is_empty() {
            return Ok(());
        }
        let at = choice[self.below(choice.len())];
        let expected = if scheduled(&self.sent[at]) { Ok(()) } else { Err(Refusal::NotScheduled) };
        let (topic, key) = self.world.schedule_key(self.sent[at].position);
        let (answer, _) = self.world.decide(|draft, _| draft.cancel(topic, key));
        ensure(answer == expected, || format!("I13: cancelling is {answer:?}, not {expected:?}"))?;
        self.sent[at].cancelled |= answer.is_ok();
        Ok(())
    }

    fn seek(&mut self) -> Checked {
        let group = self.below(self.groups.len());
        let topics = self.groups[group].topics;
        let topic = topics[self.below(topics.len())];
        let back = self.below(2) == 0;
        let to = if back { SeekTo::Earliest } else { SeekTo::Latest };
        let group_name = self.groups[group].name.parse().unwrap();
        let (answer, _) = self
            .world
            .decide(|draft, candidates| draft.seek((&group_name, &name(topic)), to, false, candidates));
        answer.map_err(|refusal| refusal.to_string())?;
        for sent in self.sent.iter_mut().filter(|sent| sent.topic == topic && sent.offset.is_some()) {
            let seen = &mut sent.by_group[group];
            (seen.ran_out, seen.nacked) = (None, None);
            let unsettled =
                matches!(seen.state, State::Ready | State::Leased { .. } | State::Retrying { .. });
            if seen.place.1 > 0 && unsettled {
                seen.state = State::Ready;
            } else if back && (unsettled || matches!(seen.state, State::Acked | State::Skipped)) {
                seen.state = State::Ready;
                seen.failures = 0;
                // A message that died, went back and was acked is read again at its own offset, its TTL with it.
                seen.place = (sent.offset.unwrap(), 0);
                seen.never_expires = false;
                seen.failed_since = true;
            } else if !back && unsettled {
                seen.state = State::Skipped;
            }
        }
        Ok(())
    }

    /// I1: in the end every message reaches every group that is to get it.
    fn drain(&mut self) -> Checked {
        (self.world.window, self.world.known) = (usize::MAX, usize::MAX);
        for _ in 0..40 {
            self.world.now = self.world.now.plus(2_000);
            self.wait()?;
            for group in 0..self.groups.len() {
                let before = self.receipts.len();
                self.receive(Some(group))?;
                for at in before..self.receipts.len() {
                    let (group, receipt) = self.receipts[at];
                    let expected = self.expect(group, receipt, &SettleOp::Ack);
                    let (status, _) =
                        self.world.decide(|draft, _| draft.settle_anywhere(&receipt, &SettleOp::Ack));
                    ensure(status == expected, || format!("ack of {receipt:?} is {status:?}"))?;
                }
            }
        }
        for sent in &self.sent {
            for (group, of) in self.groups.iter().enumerate() {
                let meant = of.topics.contains(&sent.topic) && of.wants.includes(sent) && !sent.cancelled;
                let state = sent.by_group[group].state;
                let settled = matches!(state, State::Acked | State::Dead | State::Expired | State::Skipped);
                ensure(!meant || settled, || {
                    format!("I1: {} never reached {}: {state:?}", sent.body, of.name)
                })?;
            }
        }
        Ok(())
    }
}

fn name(topic: usize) -> TopicName {
    TOPICS[topic].parse().unwrap()
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Runs one seed; a violation, also one that the world found, as text.
fn run(seed: u64, commands: usize) -> Checked {
    let outcome = std::panic::catch_unwind(|| Model::new(seed).run(commands));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

#[test]
fn the_machine_keeps_its_promises() {
    let cases = number_from("WHIMBREL_CASES").unwrap_or(30);
    let seeds = number_from("WHIMBREL_SEED").map_or(1..=cases, |seed| seed..=seed);
    for seed in seeds {
        if let Err(broken) = run(seed, 200) {
            panic!("WHIMBREL_SEED={seed}: {broken}");
        }
    }
}

#[cfg(feature = "seeded-bugs")]
mod seeded {
    use whimbrel::model::seeded::{SeededBug, switch_on};

    fn is_caught(bug: SeededBug, report: &str) {
        let _bug = switch_on(bug);
        let caught = (1..=30).find_map(|seed| super::run(seed, 200).err());
        let caught = caught.expect("the bug went unnoticed");
        assert!(caught.contains(report), "noticed as something else: {caught}");
    }

    #[test]
    fn seeded_bug_7_is_caught() {
        is_caught(SeededBug::StaleReceipt, "I6, I7");
    }

    #[test]
    fn seeded_bug_10_is_caught() {
        is_caught(SeededBug::SuccessorEarly, "lane");
    }
}
