use std::sync::Arc;

use imbl::OrdMap;

use super::super::jobs::{Job, JobEnd};
use super::super::keys::{KeyTable, Told};
use super::super::ranges::Ranges;
use super::super::state::*;
use super::*;
use crate::model::*;

mod fuzz;

fn history(total: u32) -> Option<Arc<History>> {
    let first = (0..total.min(15)).map(|at| Position { index: 10 + u64::from(at), slot: 1 }).collect();
    let last = if total > 15 { vec![Position { index: 900, slot: 2 }] } else { Vec::new() };
    Some(Arc::new(History { first, last, total }))
}

fn item(at: u64, state: ItemState, last: LastEnd) -> Item {
    Item {
        position: Position { index: 100 + at, slot: 3 },
        offset: at,
        lane: if at.is_multiple_of(2) { 0 } else { u64::MAX - at },
        ready_at: Timestamp(1_700_000_000_000 + at),
        expires_at: if at.is_multiple_of(3) { Timestamp::MAX } else { Timestamp(1_700_000_090_000) },
        body_bytes: 77,
        round: 2,
        failures: 3,
        history: history(u32::try_from(at).unwrap()),
        state,
        last,
    }
}

fn progress(ordered: bool) -> Progress {
    let lease =
        Lease { nonce: u64::MAX - 5, until: Timestamp(1_700_000_060_000), session: 8, client: "c".into() };
    let mut part = Progress {
        next: 50,
        leased: 1,
        retrying: 1,
        round: 2,
        max_round: 4,
        redrives: 1,
        ..Progress::default()
    };
    let states = [
        (Place::at(1), item(1, ItemState::Leased(lease), LastEnd::None)),
        (Place::at(2), item(2, ItemState::Ready, LastEnd::Nacked { nonce: 4 })),
        (Place::at(3), item(3, ItemState::Parked, LastEnd::None)),
        (
            Place { offset: 49, turn: 1 },
            item(20, ItemState::Retrying { due: Timestamp(9) }, LastEnd::RanOut { nonce: 6 }),
        ),
    ];
    for (place, item) in states {
        if item.state == ItemState::Ready {
            part.ready.insert(place);
        }
        if ordered {
            part.lanes.insert((item.lane, place));
        }
        if place.turn > 0 {
            part.redriven.insert(item.position, place);
        }
        part.items.insert(place, item);
    }
    part.beyond.insert(60, 70);
    part.beyond.insert(80, 81);
    part.void.insert(4, 9);
    part.void.insert(62, 63);
    part
}

fn dead(at: u64) -> Dead {
    Dead {
        topic: TopicId(1),
        topic_name: "orders".parse().unwrap(),
        queue: 1,
        offset: at,
        lane: at,
        ready_at: Timestamp(5),
        body_bytes: 9,
        round: 1,
        failures: 16,
        reason: DeadReason::MaxAttempts,
        at: Timestamp(7),
        history: if at == 0 { None } else { history(16) },
    }
}

/// A machine with something in every field, and `scheduled` scheduled messages.
fn machine(scheduled: u64) -> Machine {
    let mut machine = Machine {
        now: Timestamp(1_700_000_000_000),
        applied: 500,
        base: 498,
        next_topic: 9,
        next_group: 8,
        ..Machine::default()
    };
    for (id, name) in [(1, "orders"), (4, "a.b")] {
        let queues = [QueueState { next_offset: 90, first_kept: 7 }, QueueState::default()];
        let topic = Topic {
            name: name.parse().unwrap(),
            settings: TopicSettings {
                queues: 2,
                max_age_ms: 1_000 * u64::from(id),
                idempotency_window_ms: 5_000 * u64::from(id),
            },
            made_at: Timestamp(3),
            queues: queues.into_iter().collect(),
            next_queue: 1,
            schedule: Schedule::new(),
            groups: [GroupId(2), GroupId(3)].into_iter().collect(),
        };
        machine.topic_names.insert(topic.name.clone(), TopicId(id));
        machine.topics.insert(TopicId(id), Arc::new(topic));
    }
    for (id, name, ordered) in [(2, "billing", false), (3, "audit", true), (5, "idle", false)] {
        let mut group = Group {
            name: name.parse().unwrap(),
            settings: Arc::new(GroupSettings { ordered, ..GroupSettings::default() }),
            made_at: Timestamp(4),
            paused: ordered,
            progress: OrdMap::new(),
            in_flight: 2,
            retrying: 1,
            dead: OrdMap::new(),
            dead_offsets: OrdMap::new(),
        };
        if id != 5 {
            group.progress.insert((TopicId(1), 0), Arc::new(progress(ordered)));
            group.progress.insert((TopicId(1), 1), Arc::new(Progress { round: 1, ..Progress::default() }));
            for at in 0..3 {
                let position = Position { index: 40 + at, slot: 0 };
                group.dead.insert(position, dead(at));
                if at != 1 {
                    group.dead_offsets.insert((TopicId(1), 1, at), position);
                }
            }
        }
        machine.group_names.insert(group.name.clone(), GroupId(id));
        machine.groups.insert(GroupId(id), Arc::new(group));
    }
    for at in 0..scheduled {
        let key = (Timestamp(1_700_000_100_000 + at / 3), Position { index: 1_000 + at, slot: 2 });
        machine.schedule(TopicId(1), key, 1);
    }
    for kind in [DeadlineKind::Lease, DeadlineKind::Retry, DeadlineKind::Ttl] {
        machine.deadlines.insert(Deadline {
            at: Timestamp(1_700_000_060_000),
            position: Position { index: 101, slot: 3 },
            group: GroupId(2),
            topic: TopicId(1),
            queue: 0,
            place: Place { offset: 1, turn: 1 },
            kind,
        });
    }
    machine.trash.push_back(Arc::new(progress(true)));
    machine.trash.push_back(Arc::new(Progress::default()));
    machine.dead_trash.push_back([(Position { index: 1, slot: 1 }, dead(9))].into_iter().collect());
    machine.dead_trash.push_back(OrdMap::new());
    let schedule: Schedule = [((Timestamp(8), Position { index: 2, slot: 1 }), 3u16)].into_iter().collect();
    machine.schedule_trash.push_back(schedule);
    machine.held = machine.count_held();
    for (id, to, ended) in [
        (3, None, None),
        (4, Some((TopicId(4), "a.b".parse().unwrap())), Some((JobEnd::Cancelled, Timestamp(9)))),
    ] {
        let job = Job {
            group: GroupId(2),
            group_name: "billing".parse().unwrap(),
            filter: Arc::new(DeadLetterFilter {
                tag: to.as_ref().map(|_| "eu".into()),
                ..Default::default()
            }),
            rate_per_s: to.as_ref().map(|_| 7),
            to,
            started_at: Timestamp(5),
            total: 90,
            cursor: ended.map(|_| Position { index: 40, slot: 0 }),
            not_before: Timestamp(6),
            looked: 30,
            moved: 20,
            failed: 1,
            ended,
        };
        machine.jobs.insert(JobId(id), Arc::new(job));
    }
    for (generation, number) in [(10, 1), (10, 2), (20, 3)] {
        let told = Told { fingerprint: u64::MAX - number, position: Position { index: 700, slot: 3 } };
        machine.keys.insert(
            (TopicId(4), Timestamp(generation)),
            KeyHash(u128::MAX / u128::from(number)),
            told,
        );
    }
    machine
}

fn decoded(chunks: impl Iterator<Item = Bytes>) -> Result<Machine, crate::model::wire::DecodeError> {
    let mut decoder = ImageDecoder::new();
    for chunk in chunks {
        decoder.feed(&chunk)?;
    }
    decoder.finish()
}

/// Everything in a machine, as text: two machines with the same text behave the same.
fn picture(machine: &Machine) -> String {
    format!("{machine:#?}")
}

#[test]
fn an_image_holds_everything() {
    for machine in [machine(5), Machine::default()] {
        let again = decoded(machine.encode_image()).unwrap();
        assert_eq!(picture(&again), picture(&machine));
        let twice: Vec<Bytes> = again.encode_image().collect();
        assert_eq!(twice, machine.encode_image().collect::<Vec<_>>(), "equal states give equal bytes");
    }
}

/// The byte of the version stands behind that of the header.
#[test]
fn an_image_of_version_1_has_neither_void_ranges_nor_schedule_trash() {
    let mut before = machine(5);
    let without = |part: &Arc<Progress>| Arc::new(Progress { void: Ranges::default(), ..(**part).clone() });
    for (_, group) in before.groups.clone() {
        let key = before.group_names[&group.name];
        let progress = group.progress.iter().map(|(at, part)| (*at, without(part))).collect();
        before.groups.insert(key, Arc::new(Group { progress, ..(*group).clone() }));
    }
    before.trash = before.trash.iter().map(without).collect();
    before.schedule_trash.clear();
    let mut image = before.encode_image().collect::<Vec<_>>().concat();
    assert_eq!(image[..2], [kind::HEADER, VERSION]);
    for (version, good) in [(1, true), (VERSION, true), (0, false), (VERSION + 1, false)] {
        image[1] = version;
        let mut decoder = ImageDecoder::new();
        let read = decoder.feed(&image).and_then(|()| decoder.finish());
        assert_eq!(read.is_ok(), good, "version {version}");
        assert!(!good || picture(&read.unwrap()) == picture(&before));
    }
}

#[test]
fn a_large_image_comes_in_chunks() {
    let machine = machine(150_000);
    let chunks: Vec<Bytes> = machine.encode_image().collect();
    assert!(chunks.len() >= 3, "{}", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.len() <= 1 << 20));
    assert_eq!(
        decoded(chunks.into_iter()).unwrap().topics[&TopicId(1)].schedule,
        machine.topics[&TopicId(1)].schedule
    );
}

#[test]
fn a_missing_or_foreign_chunk_is_refused() {
    let chunks: Vec<Bytes> = machine(150_000).encode_image().collect();
    for missing in 0..chunks.len() {
        let mut rest = chunks.clone();
        rest.remove(missing);
        assert!(decoded(rest.into_iter()).is_err(), "without chunk {missing}");
    }
    let twice = chunks.iter().chain(chunks.last()).cloned();
    assert!(decoded(twice).is_err());
    assert!(decoded(std::iter::empty()).is_err());
}

#[test]
fn changed_bytes_never_panic() {
    let image: Vec<Bytes> = machine(3).encode_image().collect();
    let whole = image.concat();
    let mut seed = 0x1AB_5EED_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 8).unwrap()
    };
    let mut refused = 0;
    for _ in 0..5_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random() % 3 {
            let at = random() % bytes.len();
            bytes[at] = random().to_le_bytes()[0];
        }
        bytes.truncate(bytes.len() - (random() % 3) * (random() % bytes.len()) / 3);
        let mut decoder = ImageDecoder::new();
        if decoder.feed(&bytes).and_then(|()| decoder.finish().map(|_| ())).is_err() {
            refused += 1;
        }
    }
    assert!(refused > 1_000, "{refused}");
}

/// What must survive a restart of everything a client was told about its attempts.
fn attempts_survive() -> Result<(), String> {
    let before = machine(0);
    let after = decoded(before.encode_image()).map_err(|error| error.to_string())?;
    let attempts = |machine: &Machine| -> Vec<(u32, u32)> {
        let groups = machine.groups.values().flat_map(|group| group.progress.values());
        groups.flat_map(|part| part.items.values()).map(|item| (item.round, item.failures)).collect()
    };
    if attempts(&before) == attempts(&after) { Ok(()) } else { Err("attempts fell at a restart".to_owned()) }
}

#[test]
fn attempts_survive_a_restart() {
    assert_eq!(attempts_survive(), Ok(()));
}

/// I20: what was carried out under a key must not be carried out again after a restart.
fn keys_survive() -> Result<(), String> {
    let before = machine(0);
    let after = decoded(before.encode_image()).map_err(|error| error.to_string())?;
    let keys = |machine: &Machine| -> Vec<_> {
        let generations = machine.keys.generations();
        let all = |(topic, until, keys)| KeyTable::iter(keys).map(move |key| (topic, until, key)).collect();
        generations.map(all).collect::<Vec<Vec<_>>>()
    };
    if keys(&before) == keys(&after) { Ok(()) } else { Err("keys were forgotten at a restart".to_owned()) }
}

#[test]
fn keys_survive_a_restart() {
    assert_eq!(keys_survive(), Ok(()));
}

/// There may be millions of leases, and few who hold them.
#[test]
fn the_name_of_a_member_is_in_memory_once() {
    let after = decoded(machine(0).encode_image()).unwrap();
    let parts = after.groups.values().flat_map(|group| group.progress.values());
    let leases = parts.flat_map(|part| part.items.values().filter_map(Item::lease));
    let names: Vec<&Arc<str>> = leases.map(|lease| &lease.client).collect();
    assert!(names.len() > 1 && names.iter().all(|name| Arc::ptr_eq(name, names[0])), "{names:?}");
}

/// An image of version 3 knew no jobs, one of version 2 no keys either; all else is the same.
#[test]
fn an_image_without_jobs_or_keys_is_read() {
    let mut before = machine(2);
    for version in [3, 2] {
        before.jobs = Default::default();
        if version == 2 {
            before.keys = Default::default();
        }
        let mut image = before.encode_image().collect::<Vec<Bytes>>().concat();
        assert_eq!(image[..2], [kind::HEADER, VERSION]);
        image[1] = version;
        assert_eq!(picture(&decoded(std::iter::once(image.into())).unwrap()), picture(&before));
    }
}

#[cfg(feature = "seeded-bugs")]
#[test]
fn seeded_bug_11_is_caught() {
    use crate::model::seeded::{SeededBug, switch_on};
    let _bug = switch_on(SeededBug::KeysForgotten);
    assert!(keys_survive().is_err());
}

#[cfg(feature = "seeded-bugs")]
#[test]
fn seeded_bug_6_is_caught() {
    use crate::model::seeded::{SeededBug, switch_on};
    let _bug = switch_on(SeededBug::AttemptReset);
    assert!(attempts_survive().is_err());
}
