//! Golden scripts: each file in `tests/machine/` is a story of commands (at the left edge), answers and state (indented).
//! `UPDATE_GOLDEN=1 cargo test --test machine` writes the answers anew; review the difference.
//!
//! `sql=` is an SQL filter with `~` for spaces; `props=` are properties, `name:value,name:value`.
//! Commands joined by ` & ` are decided in one batch. Receipts are called r1, r2 … in the order they were handed out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

#[path = "machine/jobs.rs"]
mod jobs;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use whimbrel::machine::{
    Candidates, Delay, Draft, Item, ItemState, Leased, NewMessage, OWN_ENTRY, ProduceOutcome, ProduceRequest,
    PutMode, ReceiveRequest, SeekTo, SettleOp, SettleStatus, SettledAs, Terms,
};
use whimbrel::model::{
    Attributes, Filter, Fingerprint, GroupId, GroupSettings, KeyHash, Message, Place, Position, Receipt,
    RequestKey, RetryPolicy, Start, Subscription, Timestamp, TopicSettings, parse_duration,
};

use world::{START, World};

#[test]
fn every_script_tells_the_same_story() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine");
    let mut scripts: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "script"));
    scripts.sort();
    assert!(!scripts.is_empty());
    let mut different = Vec::new();
    for path in scripts {
        let told = std::fs::read_to_string(&path).unwrap();
        let happened = Story::new().run(&told);
        if told == happened {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &happened).unwrap();
        } else {
            let line = told.lines().zip(happened.lines()).position(|(told, happened)| told != happened);
            let at = line.unwrap_or(0);
            let (told, happened) = (told.lines().nth(at), happened.lines().nth(at));
            different.push(format!(
                "{}:{}\n  told     {told:?}\n  happened {happened:?}",
                path.display(),
                at + 1
            ));
        }
    }
    assert!(different.is_empty(), "{}\nUPDATE_GOLDEN=1 accepts", different.join("\n"));
}

struct Story {
    world: World,
    receipts: BTreeMap<String, Receipt>,
}

/// What a command answered; leases are named once the entry has its index.
enum Answer {
    Text(String),
    Leases(GroupId, Vec<Leased>, String),
}

/// A command's words: plain ones, and `name=value`.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Words<'a> {
        let mut words = Words { plain: Vec::new(), named: BTreeMap::new() };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => drop(words.named.insert(name, value)),
                None => words.plain.push(word),
            }
        }
        words
    }

    fn millis(&self, name: &str) -> Option<u64> {
        self.named.get(name).map(|text| parse_duration(text).unwrap())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.named.get(name).map(|text| text.parse().unwrap())
    }

    fn has(&self, flag: &str) -> bool {
        self.plain.contains(&flag)
    }
}

/// Time as scripts show it: milliseconds since the story began.
fn clock(time: Timestamp) -> String {
    format!("{}ms", time.since(START))
}

impl Story {
    fn new() -> Story {
        Story { world: World::new(), receipts: BTreeMap::new() }
    }

    fn run(&mut self, told: &str) -> String {
        let mut happened = String::new();
        for line in told.lines().filter(|line| !line.starts_with(' ')) {
            happened.push_str(line);
            happened.push('\n');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            for answer in self.command(line).lines() {
                writeln!(happened, "    {answer}").unwrap();
            }
        }
        happened
    }

    fn command(&mut self, line: &str) -> String {
        let words = Words::new(line);
        match words.plain[0] {
            "wait" => {
                self.world.now = self.world.now.plus(parse_duration(words.plain[1]).unwrap());
                return format!("it is {}", clock(self.world.now));
            }
            "show" => return self.show(words.plain[1]),
            "keys" => return format!("{} remembered", self.world.machine.remembered_keys()),
            "jobs" => return jobs::all(&self.world),
            "peek" => return jobs::peek(&self.world, words.plain[1]),
            _ => {}
        }
        let receipts = self.receipts.clone();
        let offsets = words.named.get("time").map(|_| {
            let time = START.plus(words.millis("time").unwrap());
            self.world.offsets_at(time)
        });
        let step = match words.plain[0] {
            "step" => {
                let id = words.plain[1].parse().unwrap();
                let looks = words.number("looks").map_or(usize::MAX, |looks| usize::try_from(looks).unwrap());
                self.world.job_step(id, looks)
            }
            _ => None,
        };
        let sweep = self.world.expired();
        let bodies: BTreeMap<_, _> =
            self.world.messages.keys().map(|position| (self.world.body(*position), *position)).collect();
        let schedules: BTreeMap<_, _> = bodies
            .iter()
            .map(|(body, position)| (body.clone(), self.world.schedule_key(*position)))
            .collect();
        let (answers, index) = self.world.decide(|draft, candidates| {
            let mut candidates = candidates.clone();
            candidates.offsets = offsets.unwrap_or_default();
            let run = |part| {
                let words = Words::new(part);
                match words.plain[0] {
                    "sweep" => Answer::Text(format!("{} expired", draft.expire_sweep(&sweep))),
                    "redrive" => Answer::Text(redrive(draft, &words, &bodies)),
                    "step" => Answer::Text(match &step {
                        Some(step) if draft.advance_job(step) => "came further".to_owned(),
                        Some(_) => "not now".to_owned(),
                        None => "does not run".to_owned(),
                    }),
                    "job" => jobs::start(draft, &words),
                    "cancel" => {
                        text(draft.cancel_job(words.plain[1].parse().unwrap()), |()| "cancelled".to_owned())
                    }
                    "take-back" => {
                        let (topic, key) = schedules[words.plain[1]];
                        text(draft.cancel(topic, key), |()| "cancelled".to_owned())
                    }
                    "ack" | "nack" | "extend" | "dead-letter" | "give-back" | "broken" => {
                        Answer::Text(settle(draft, &words, &receipts))
                    }
                    _ => one(draft, &words, &candidates),
                }
            };
            line.split(" & ").map(run).collect::<Vec<_>>()
        });
        answers.into_iter().map(|answer| self.told(answer, index)).collect::<Vec<_>>().join("\n")
    }

    fn told(&mut self, answer: Answer, index: u64) -> String {
        let (group, leases, note) = match answer {
            Answer::Text(text) => return text,
            Answer::Leases(group, leases, note) => (group, leases, note),
        };
        let mut lines = Vec::new();
        for leased in leases {
            let name = format!("r{}", self.receipts.len() + 1);
            let receipt = leased.receipt(group, index);
            assert_eq!(receipt.to_string().parse(), Ok(receipt));
            lines.push(format!(
                "{name}: {} from {}/{} at {}, attempt {} of round {}, until {}",
                self.world.body(receipt.position),
                leased.topic_name,
                leased.queue,
                place(leased.place),
                leased.attempt,
                leased.round,
                clock(leased.until),
            ));
            self.receipts.insert(name, receipt);
        }
        if lines.is_empty() {
            lines.push("nothing".to_owned());
        }
        if !note.is_empty() {
            lines.push(note);
        }
        lines.join("\n")
    }

    fn show(&self, group: &str) -> String {
        let Some((id, group)) = self.world.machine.group(&group.parse().unwrap()) else {
            return "there is no such group".to_owned();
        };
        let mut lines = Vec::new();
        for (topic_id, topic) in self.world.machine.topics() {
            let Some(stats) = self.world.machine.stats(id, topic_id) else { continue };
            lines.push(format!(
                "{}: lag {}, ready {}, leased {}, retrying {}",
                topic.name, stats.lag, stats.ready, stats.leased, stats.retrying
            ));
            for (queue, first_kept, next_offset) in topic.bounds() {
                let progress = group.progress(topic_id, queue).unwrap();
                if next_offset == 0 {
                    continue;
                }
                lines.push(format!(
                    "  {queue}: kept {first_kept}, looked {}, end {next_offset}",
                    progress.next
                ));
                for (at, item) in &progress.items {
                    lines.push(format!(
                        "    {} {}: {}",
                        place(*at),
                        self.world.body(item.position),
                        state(item)
                    ));
                }
            }
        }
        for (position, dead) in group.dead_after(None) {
            lines.push(format!(
                "dead: {} of {}/{}@{}, {:?} after {} failures in round {}",
                self.world.body(*position),
                dead.topic_name,
                dead.queue,
                dead.offset,
                dead.reason,
                dead.failures,
                dead.round
            ));
        }
        lines.join("\n")
    }
}

fn place(place: Place) -> String {
    if place.turn == 0 { format!("@{}", place.offset) } else { format!("@{}+{}", place.offset, place.turn) }
}

fn state(item: &Item) -> String {
    match &item.state {
        ItemState::Parked => "parked".to_owned(),
        ItemState::Ready => format!("ready, {} failures", item.failures),
        ItemState::Leased(lease) => format!("leased until {}", clock(lease.until)),
        ItemState::Retrying { due } => format!("retrying, {} failures, due {}", item.failures, clock(*due)),
    }
}

fn text<T>(result: Result<T, impl std::fmt::Display>, ok: impl FnOnce(T) -> String) -> Answer {
    Answer::Text(result.map_or_else(|refusal| format!("refused: {refusal}"), ok))
}

fn one(draft: &mut Draft, words: &Words<'_>, candidates: &Candidates) -> Answer {
    let name = words.plain.get(1).copied().unwrap_or_default();
    match words.plain[0] {
        "topic" => {
            let queues = u16::try_from(words.number("queues").unwrap_or(1)).unwrap();
            let usual = TopicSettings::default();
            let idempotency_window_ms = words.millis("window").unwrap_or(usual.idempotency_window_ms);
            let settings = TopicSettings { queues, idempotency_window_ms, ..usual };
            text(draft.put_topic(name.parse().unwrap(), settings, PutMode::Upsert), |done| {
                format!("{done:?}")
            })
        }
        "group" => {
            let settings = group_settings(words);
            settings.check().unwrap();
            let put = draft.put_group(name.parse().unwrap(), settings, (PutMode::Upsert, false), candidates);
            text(put, |done| format!("{done:?}"))
        }
        "produce" => produce(draft, name, words),
        "receive" => receive(draft, name, words, candidates),
        "tick" => Answer::Text(format!("{} due", draft.tick(candidates))),
        "pause" => text(draft.pause_group(&name.parse().unwrap(), true), |()| "paused".to_owned()),
        "resume" => text(draft.pause_group(&name.parse().unwrap(), false), |()| "resumed".to_owned()),
        "purge" => text(draft.purge_dead_letters(&name.parse().unwrap()), |count| format!("{count} purged")),
        "delete-topic" => {
            text(draft.delete_topic(&name.parse().unwrap(), words.has("confirm")), |()| "deleted".to_owned())
        }
        "delete-group" => {
            text(draft.delete_group(&name.parse().unwrap(), words.has("confirm")), |()| "deleted".to_owned())
        }
        "retain" => {
            let (id, _) = draft.machine().topic(&name.parse().unwrap()).unwrap();
            let queue = u16::try_from(words.number("queue").unwrap_or(0)).unwrap();
            let moved = draft.retain(id, &[(queue, words.number("first").unwrap())]);
            Answer::Text(if moved { "moved on" } else { "nothing moved" }.to_owned())
        }
        "seek" => seek(draft, name, words, candidates),
        other => panic!("no such command: {other}"),
    }
}

fn group_settings(words: &Words<'_>) -> GroupSettings {
    let defaults = GroupSettings::default();
    let subscription = |text: &str| {
        let (topic, filter) = text.split_once(':').unwrap_or((text, "*"));
        let tags = || Filter::parse_tags(&filter.replace('|', "||")).unwrap();
        let sql = words.named.get("sql").map(|sql| Filter::parse_sql(&sql.replace('~', " ")).unwrap());
        Subscription { topic: topic.parse().unwrap(), filter: sql.unwrap_or_else(tags) }
    };
    let topics = words.named.get("topics").map(|topics| topics.split(',').map(subscription).collect());
    let steps = |text: &&str| text.split(',').map(|step| parse_duration(step).unwrap()).collect();
    GroupSettings {
        subscriptions: topics.unwrap_or_default(),
        ordered: words.has("ordered"),
        lane_batch: words.number("lane_batch").map_or(1, |number| u32::try_from(number).unwrap()),
        lease_ms: words.millis("lease").unwrap_or(defaults.lease_ms),
        max_attempts: words.number("max_attempts").map_or(16, |number| u32::try_from(number).unwrap()),
        max_in_flight: words.number("max_in_flight").map_or(20_000, |number| u32::try_from(number).unwrap()),
        retry: words.named.get("retry").map(|text| RetryPolicy::Table { steps_ms: steps(text) }),
        start: match words.named.get("start") {
            Some(&"latest") => Start::Latest,
            Some(&"time") => Start::Time(START.plus(words.millis("time").unwrap())),
            _ => Start::Earliest,
        },
        dead_letters_max: words.number("dead_letters_max").unwrap_or(defaults.dead_letters_max),
        dead_letter_expired: words.has("dead_letter_expired"),
    }
}

fn produce(draft: &mut Draft, topic: &str, words: &Words<'_>) -> Answer {
    let pair = |pair: &str| pair.split_once(':').map(|(name, value)| (name.into(), value.into()));
    let properties: BTreeMap<Box<str>, Box<str>> =
        words.named.get("props").into_iter().flat_map(|props| props.split(',')).filter_map(pair).collect();
    let new = |body: &&str| NewMessage {
        message: Arc::new(Message {
            body: body.as_bytes().to_vec().into(),
            attributes: Attributes {
                tag: words.named.get("tag").map(|tag| (*tag).into()),
                ordering_key: words.named.get("key").map(|key| (*key).into()),
                properties: properties.clone(),
                ..Attributes::default()
            },
        }),
        queue: words.number("queue"),
        delay: words.millis("delay").map_or(Delay::None, Delay::For),
        ttl_ms: words.millis("ttl"),
    };
    let request = ProduceRequest {
        topic: topic.parse().unwrap(),
        auto_create: words.has("auto"),
        messages: words.plain[2..]
            .iter()
            .filter(|word| !matches!(**word, "auto" | "atomic"))
            .map(new)
            .collect(),
    };
    let fingerprint = Fingerprint::new(&words.plain.join(" ")).finish();
    let key = |key: &&str| RequestKey { key: KeyHash::of("", &request.topic, key), fingerprint };
    let terms = Terms {
        atomic: words.has("atomic"),
        key: words.named.get("once").map(key),
        keys_max: usize::try_from(words.number("keys_max").unwrap_or(1_000)).unwrap(),
    };
    text(draft.produce_on(&request, &terms), |outcome| {
        let results = match outcome {
            ProduceOutcome::Now(results) => results,
            ProduceOutcome::Before(Position { index: OWN_ENTRY, slot }) => {
                return format!("before, in this entry, slot {slot}");
            }
            ProduceOutcome::Before(at) => return format!("before, in entry {}, slot {}", at.index, at.slot),
        };
        let line = |result: Result<whimbrel::machine::Accepted, whimbrel::machine::Refusal>| match result {
            Err(refusal) => format!("refused: {refusal}"),
            Ok(accepted) => match (accepted.offset, accepted.due) {
                (Some(offset), _) => format!("{}@{offset}", accepted.queue),
                (None, due) => format!("{} scheduled for {}", accepted.queue, clock(due.unwrap())),
            },
        };
        results.into_iter().map(line).collect::<Vec<_>>().join(", ")
    })
}

fn receive(draft: &mut Draft, group: &str, words: &Words<'_>, candidates: &Candidates) -> Answer {
    let request = ReceiveRequest {
        group: group.parse().unwrap(),
        topic: words.named.get("topic").map(|topic| topic.parse().unwrap()),
        auto_create: words.has("auto"),
        max_messages: u32::try_from(words.number("max").unwrap_or(16)).unwrap(),
        max_bytes: words.number("bytes").unwrap_or(1 << 20),
        lease_ms: words.millis("lease"),
        session: 0,
        client: "someone".into(),
        turn: u32::try_from(words.number("turn").unwrap_or(0)).unwrap(),
    };
    match draft.receive(&request, candidates) {
        Err(refusal) => Answer::Text(format!("refused: {refusal}")),
        Ok(received) => {
            let note = if received.paused { "paused" } else { "" };
            Answer::Leases(received.group, received.messages, note.to_owned())
        }
    }
}

fn settle(draft: &mut Draft, words: &Words<'_>, receipts: &BTreeMap<String, Receipt>) -> String {
    let op = match words.plain[0] {
        "ack" => SettleOp::Ack,
        "nack" => SettleOp::Nack { delay_ms: words.millis("delay"), reason: None },
        "extend" => SettleOp::Extend { lease_ms: words.millis("lease") },
        "dead-letter" => SettleOp::DeadLetter { reason: None },
        "give-back" => SettleOp::GiveBack,
        _ => SettleOp::Broken,
    };
    let ops: Vec<_> =
        words.plain[2..].iter().map(|name| (receipts.get(*name).copied(), op.clone())).collect();
    let one = |status| match status {
        SettleStatus::Ok(SettledAs::Acked) => "acked".to_owned(),
        SettleStatus::Ok(SettledAs::Dead) => "dead".to_owned(),
        SettleStatus::Ok(SettledAs::Ready) => "ready".to_owned(),
        SettleStatus::Ok(SettledAs::Retrying { ready_at }) => format!("retrying until {}", clock(ready_at)),
        SettleStatus::Ok(SettledAs::Leased { until }) => format!("leased until {}", clock(until)),
        SettleStatus::Already => "already".to_owned(),
        SettleStatus::Expired => "expired".to_owned(),
        SettleStatus::Invalid => "invalid".to_owned(),
    };
    let statuses = draft.settle(&words.plain[1].parse().unwrap(), &ops);
    statuses.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

fn redrive(
    draft: &mut Draft,
    words: &Words<'_>,
    bodies: &BTreeMap<String, whimbrel::model::Position>,
) -> String {
    let positions: Vec<_> = words.plain[2..].iter().map(|body| bodies[*body]).collect();
    match draft.redrive(&words.plain[1].parse().unwrap(), &positions) {
        Err(refusal) => format!("refused: {refusal}"),
        Ok(results) => {
            let one = |result: Result<(), whimbrel::machine::Refusal>| {
                result.map_or_else(|refusal| format!("refused: {refusal}"), |()| "redriven".to_owned())
            };
            results.into_iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}

fn seek(draft: &mut Draft, group: &str, words: &Words<'_>, candidates: &Candidates) -> Answer {
    let to = match (words.plain[3], words.number("queue")) {
        ("earliest", _) => SeekTo::Earliest,
        ("latest", _) => SeekTo::Latest,
        ("time", _) => SeekTo::Time(START.plus(words.millis("time").unwrap())),
        (_, queue) => SeekTo::Offset {
            queue: u16::try_from(queue.unwrap()).unwrap(),
            offset: words.number("offset").unwrap(),
        },
    };
    let names = (&group.parse().unwrap(), &words.plain[2].parse().unwrap());
    text(draft.seek(names, to, words.has("dry"), candidates), |counts| {
        let cancelled = counts.leases_cancelled;
        format!("{} skipped, {} replayed, {cancelled} leases cancelled", counts.skipped, counts.replayed)
    })
}
