mod any;
mod jobs;

use crate::machine::FailCause;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::facts::*;
use super::*;
use crate::model::*;
use any::{any_fact, number};

mod fuzz;

const GOLDEN: &str = include_str!("golden.txt");

/// Kind 11, which is not written any more.
const OLD_DELIVERED: &str = "0b07ac02020d0008776f726b65722d31e0a499ffbc310203140280a0abfef962800808070605040302010c00520300c0a9070500000000000000800801d00f018899aabbccddeeff010618500680a0abfef96209000000000000000a";

fn message(body: &'static str) -> Message {
    Message { body: Bytes::from_static(body.as_bytes()), attributes: Attributes::default() }
}

fn full_message() -> Message {
    let attributes = Attributes {
        content_type: Some("text/plain".into()),
        content_encoding: Some("gzip".into()),
        tag: Some("eu".into()),
        ordering_key: Some("k1".into()),
        keys: vec!["a".into(), "b".into()],
        properties: BTreeMap::from([("x".into(), "1".into()), ("y".into(), "".into())]),
        traceparent: Some("00-01".into()),
        tracestate: Some("v=1".into()),
    };
    Message { body: Bytes::from_static(b"hello"), attributes }
}

fn at(index: u64, slot: u16) -> Position {
    Position { index, slot }
}

fn remembered() -> Remembered {
    let refused = [
        RefusedAs::QueueNotFound { queue: 9, queues: 4 },
        RefusedAs::QueueAndOrderingKey,
        RefusedAs::TooManyHeld,
        RefusedAs::DelayTooLong,
        RefusedAs::DeliverAtTooLate,
    ];
    Remembered {
        topic: TopicId(300),
        key: KeyHash(0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF),
        fingerprint: 0x0102_0304_0506_0708,
        until: Timestamp(1_700_000_375_000),
        messages: 1_000,
        refused: (7..).zip(refused).collect(),
    }
}

/// One of every kind, the larger ones also empty.
fn samples() -> Vec<Fact> {
    let (group, topic, queue) = (GroupId(7), TopicId(300), 2);
    let place = Place { offset: 1_000, turn: 1 };
    let places = vec![Place::at(1_000), Place::at(1_001), Place { offset: 999, turn: 3 }];
    let group_settings = GroupSettings {
        subscriptions: vec![Subscription {
            topic: "orders".parse().unwrap(),
            filter: Filter::parse_tags("eu || us").unwrap(),
        }],
        ..GroupSettings::default()
    };
    let expiry = Expiry {
        offset: 12,
        position: at(40, 3),
        lane: 9,
        ready_at: Timestamp(1_700_000_000_000),
        body_bytes: 10,
        dead: true,
    };
    let fresh = Fresh {
        offset: 10,
        position: at(OWN_ENTRY, 1),
        ready_at: Timestamp(1_700_000_000_000),
        expires_at: Timestamp::MAX,
        lane: 0,
        body_bytes: 1_024,
        nonce: Some(0x0102_0304_0506_0708),
    };
    let parked = Fresh {
        offset: 11,
        position: at(41, 0),
        lane: 5,
        expires_at: Timestamp(1_700_000_060_000),
        nonce: None,
        ..fresh
    };
    let words = || Some("db down".into());
    let mut facts = vec![
        Fact::LeaderStart { node: 1 },
        Fact::TopicMade {
            id: topic,
            name: "orders".parse().unwrap(),
            settings: TopicSettings { queues: 4, max_age_ms: 1_000, ..TopicSettings::default() },
        },
        Fact::TopicChanged {
            id: topic,
            settings: TopicSettings { queues: 8, max_age_ms: 1_000, ..TopicSettings::default() },
        },
        Fact::TopicDeleted { id: topic },
        Fact::GroupMade {
            id: group,
            name: "billing".parse().unwrap(),
            settings: group_settings.clone(),
            starts: vec![(topic, vec![0, 5, 300])],
        },
        Fact::GroupChanged { id: group, settings: group_settings, starts: vec![] },
        Fact::GroupDeleted { id: group },
        Fact::GroupPaused { id: group, paused: true },
        Fact::Produced(Produced {
            topic,
            queue,
            state: ProducedAs::Ready { offset: 1_000 },
            ttl_ms: None,
            message: Arc::new(message("hello")),
        }),
        Fact::Produced(Produced {
            topic,
            queue,
            state: ProducedAs::Scheduled { due: Timestamp(1_700_000_000_000) },
            ttl_ms: Some(60_000),
            message: Arc::new(full_message()),
        }),
        Fact::ScheduleDue(ScheduleDue {
            topic,
            queue,
            due: Timestamp(1_700_000_000_000),
            entry: QueueEntry {
                offset: 1_001,
                position: at(40, 2),
                ready_at: Timestamp(1_700_000_000_001),
                expires_at: Timestamp(1_700_000_060_001),
                lane: 3,
                tag: Some("eu".into()),
                body_bytes: 5,
            },
        }),
        Fact::Delivered(Delivered {
            group,
            topic,
            queue,
            from: 10,
            next: 13,
            round: 2,
            session: 0,
            client: "worker-1".into(),
            until: Timestamp(1_700_000_060_000),
            fresh: vec![fresh, parked],
            again: vec![(place, 0xFFEE_DDCC_BBAA_9988)],
            expired: vec![expiry.clone()],
        }),
        Fact::Acked { group, topic, queue, places: places.clone() },
        Fact::Extended { group, topic, queue, place, until: Timestamp(1_700_000_060_000) },
        Fact::Failed { group, topic, queue, place, cause: FailCause::RanOut, due: Timestamp(5) },
        Fact::Failed { group, topic, queue, place, cause: FailCause::Broken, due: Timestamp(5) },
        Fact::Failed {
            group,
            topic,
            queue,
            place,
            cause: FailCause::Nacked { reason: None },
            due: Timestamp(5),
        },
        Fact::Failed {
            group,
            topic,
            queue,
            place,
            cause: FailCause::Nacked { reason: words() },
            due: Timestamp(5),
        },
        Fact::Dead {
            group,
            topic,
            queue,
            place,
            reason: DeadReason::MaxAttempts,
            cause: Some(FailCause::RanOut),
        },
        Fact::Dead {
            group,
            topic,
            queue,
            place,
            reason: DeadReason::Rejected,
            cause: Some(FailCause::Rejected { reason: words() }),
        },
        Fact::Dead {
            group,
            topic,
            queue,
            place,
            reason: DeadReason::Rejected,
            cause: Some(FailCause::Rejected { reason: None }),
        },
        Fact::Dead { group, topic, queue, place, reason: DeadReason::Expired, cause: None },
        Fact::GivenBack { group, topic, queue, places: places.clone() },
        Fact::RetryDue { group, topic, queue, places: vec![] },
        Fact::Expired { group, topic, queue, places, beyond: vec![expiry] },
        Fact::Sought { group, topic, targets: vec![0, u64::MAX, 300] },
        Fact::Redriven { group, positions: vec![at(40, 2), at(41, 0)], places: vec![] },
        Fact::DeadPurged { group },
        Fact::Kept { topic, firsts: vec![(0, 10), (255, 1_000_000)] },
        Fact::Swept { count: 1_000 },
        Fact::TopicChanged {
            id: topic,
            settings: TopicSettings { queues: 8, max_age_ms: 1_000, idempotency_window_ms: 60_000 },
        },
        Fact::Remembered(Remembered { refused: vec![], ..remembered() }),
        Fact::Remembered(remembered()),
        Fact::Forgotten { topic, until: Timestamp(1_700_000_375_000) },
        Fact::Redriven {
            group,
            positions: vec![at(40, 2), at(41, 0)],
            places: vec![Place { offset: 1_001, turn: 1 }, Place { offset: 7, turn: 2 }],
        },
    ];
    facts.extend(jobs::samples(group, topic));
    facts.push(Fact::Cancelled { topic, due: Timestamp(1_700_000_000_000), position: at(40, 2) });
    facts
}

fn batch(facts: Vec<Fact>) -> Batch {
    Batch { base: 300, time: Timestamp(1_700_000_000_000), facts }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of one of every kind, frozen: logs already written must stay readable. `golden.txt` holds one line a part;
/// a line may be added, never changed.
#[test]
fn the_bytes_of_every_kind_are_frozen() {
    let parts = batch(samples()).encode();
    let lines: String = parts.iter().map(|part| hex(part) + "\n").collect();
    assert_eq!(lines, GOLDEN, "the format changed; what was written:\n{lines}");
    assert_eq!(Batch::decode(&parts), Ok(batch(samples())));
}

#[test]
fn every_kind_has_a_sample() {
    let kinds: std::collections::BTreeSet<u8> =
        batch(samples()).encode().iter().skip(1).map(|part| part[0]).collect();
    let written: Vec<u8> = (1..=30).filter(|kind| *kind != kind::DELIVERED).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), written);
}

/// What older versions wrote of a delivery says neither where the look began nor the round.
#[test]
fn a_delivery_of_an_older_log_is_read() {
    let bytes: Vec<u8> = (0..OLD_DELIVERED.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&OLD_DELIVERED[at..at + 2], 16).unwrap())
        .collect();
    let Fact::Delivered(old) = Fact::decode(&Bytes::from(bytes)).unwrap() else { panic!("another kind") };
    let samples = samples();
    let new = samples.iter().find_map(|fact| match fact {
        Fact::Delivered(delivered) => Some(delivered),
        _ => None,
    });
    let first_listed = old.fresh[0].offset;
    assert_eq!(old, Delivered { from: first_listed, round: 0, ..new.unwrap().clone() });
}

#[test]
fn a_body_is_a_slice_of_its_part() {
    let parts = batch(samples()).encode();
    let part = parts.iter().find(|part| part[0] == kind::PRODUCED).unwrap();
    let (message, meta) = decode_message(part).unwrap();
    assert_eq!(&message.body[..], b"hello");
    assert_eq!(message.body.as_ptr_range().end, part.as_ptr_range().end);
    assert_eq!(meta.state, ProducedAs::Ready { offset: 1_000 });
    assert_eq!((meta.topic, meta.queue, meta.ttl_ms), (TopicId(300), 2, None));
    assert!(decode_message(&parts[1]).is_err(), "a leader start is no message");
}

#[test]
fn a_produced_message_costs_few_bytes_beside_its_body() {
    let produced = Produced {
        topic: TopicId(3),
        queue: 1,
        state: ProducedAs::Ready { offset: 1_000_000 },
        ttl_ms: None,
        message: Arc::new(message("")),
    };
    assert_eq!(batch(vec![Fact::Produced(produced)]).encode()[1].len(), 7);
}

#[test]
fn a_missing_part_or_a_foreign_header_is_refused() {
    let parts = batch(samples()).encode();
    assert!(Batch::decode(&[]).is_err());
    assert!(Batch::decode(&parts[..parts.len() - 1]).is_err());
    let mut later = parts;
    later[0] = Bytes::from([&[2u8], &later[0][1..]].concat());
    assert!(Batch::decode(&later).is_err());
}

#[test]
fn cut_and_changed_bytes_never_panic() {
    let parts = batch(samples()).encode();
    let mut seed = 0x5EED_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 8).unwrap()
    };
    let mut read = 0u32;
    for _ in 0..200_000 {
        let mut part = parts[random() % parts.len()].to_vec();
        match random() % 4 {
            0 => part.truncate(random() % (part.len() + 1)),
            1 => part = (0..random() % 40).map(|_| random().to_le_bytes()[0]).collect(),
            _ => {
                for _ in 0..=random() % 3 {
                    let place = random() % part.len();
                    part[place] = random().to_le_bytes()[0];
                }
            }
        }
        let part = Bytes::from(part);
        let _ = BatchHeader::decode(&part);
        let _ = decode_message(&part);
        if let Ok(fact) = Fact::decode(&part) {
            read += 1;
            let again = batch(vec![fact.clone()]).encode();
            assert_eq!(Fact::decode(&again[1]), Ok(fact), "{}", hex(&part));
        }
    }
    assert!(read > 10_000, "changes that still read as a fact: {read}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn what_is_written_reads_back(facts in proptest::collection::vec(any_fact(), 0..8), base in number()) {
        let batch = Batch { base, time: Timestamp(1_700_000_000_000), facts };
        prop_assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
    }
}
