use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::facts::*;
use super::*;
use crate::model::*;

const GOLDEN: &str = include_str!("golden.txt");

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
    vec![
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
            next: 13,
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
        Fact::Redriven { group, positions: vec![at(40, 2), at(41, 0)] },
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
    ]
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
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), (1..=25).collect::<Vec<_>>());
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

prop_compose! {
    fn any_place()(offset in number(), turn in 0u32..3) -> Place { Place { offset, turn } }
}
prop_compose! {
    fn any_position()(index in number(), slot: u16) -> Position { Position { index, slot } }
}
prop_compose! {
    fn any_fresh()(
        offset in number(), position in any_position(), ready in number(), expires in number(), lane in number(),
        body_bytes: u32, nonce: Option<u64>,
    ) -> Fresh {
        let (ready_at, expires_at) = (Timestamp(ready), Timestamp(expires));
        Fresh { offset, position, ready_at, expires_at, lane, body_bytes, nonce }
    }
}
prop_compose! {
    fn any_expiry()(fresh in any_fresh(), dead: bool) -> Expiry {
        let Fresh { offset, position, lane, ready_at, body_bytes, .. } = fresh;
        Expiry { offset, position, lane, ready_at, body_bytes, dead }
    }
}

/// Small, large, and the edges, each often.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..300, any::<u64>(), Just(u64::MAX), Just(0), 1_700_000_000_000u64..1_700_000_100_000]
}

fn text() -> impl Strategy<Value = Option<Box<str>>> {
    proptest::option::of("[a-zäß]{0,12}".prop_map(String::into_boxed_str))
}

fn any_cause() -> impl Strategy<Value = FailCause> {
    prop_oneof![
        Just(FailCause::RanOut),
        Just(FailCause::Broken),
        text().prop_map(|reason| FailCause::Nacked { reason }),
        text().prop_map(|reason| FailCause::Rejected { reason }),
    ]
}

fn any_refused() -> impl Strategy<Value = Vec<(u16, RefusedAs)>> {
    let refused = prop_oneof![
        (number(), any::<u16>()).prop_map(|(queue, queues)| RefusedAs::QueueNotFound { queue, queues }),
        Just(RefusedAs::TooManyHeld),
        Just(RefusedAs::DeliverAtTooLate),
    ];
    proptest::collection::vec((any::<u16>(), refused), 0..5)
}

fn any_message() -> impl Strategy<Value = Message> {
    let texts = proptest::array::uniform6(text());
    let keys = proptest::collection::vec("[a-z]{1,5}".prop_map(String::into_boxed_str), 0..4);
    let properties = proptest::collection::btree_map(
        "[a-z]{1,5}".prop_map(String::into_boxed_str),
        "[A-Z]{0,5}".prop_map(String::into_boxed_str),
        0..4,
    );
    let body = proptest::collection::vec(any::<u8>(), 0..200);
    (texts, keys, properties, body).prop_map(|(texts, keys, properties, body)| {
        let [content_type, content_encoding, tag, ordering_key, traceparent, tracestate] = texts;
        let attributes = Attributes {
            content_type,
            content_encoding,
            tag,
            ordering_key,
            keys,
            properties,
            traceparent,
            tracestate,
        };
        Message { body: body.into(), attributes }
    })
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let ids = || (any::<u32>().prop_map(GroupId), any::<u32>().prop_map(TopicId), any::<u16>());
    let places = || proptest::collection::vec(any_place(), 0..20);
    let fresh = || proptest::collection::vec(any_fresh(), 0..20);
    let expiries = || proptest::collection::vec(any_expiry(), 0..20);
    let produced = (ids(), number(), any::<bool>(), proptest::option::of(number()), any_message()).prop_map(
        |((_, topic, queue), when, ready, ttl_ms, message)| {
            let state = if ready {
                ProducedAs::Ready { offset: when }
            } else {
                ProducedAs::Scheduled { due: Timestamp(when) }
            };
            Fact::Produced(Produced { topic, queue, state, ttl_ms, message: Arc::new(message) })
        },
    );
    let due = (ids(), number(), any_fresh(), text()).prop_map(|((_, topic, queue), due, fresh, tag)| {
        let Fresh { offset, position, ready_at, expires_at, lane, body_bytes, .. } = fresh;
        let tag = tag.map(Arc::from);
        let entry = QueueEntry { offset, position, ready_at, expires_at, lane, tag, body_bytes };
        Fact::ScheduleDue(ScheduleDue { topic, queue, due: Timestamp(due), entry })
    });
    let again = proptest::collection::vec((any_place(), any::<u64>()), 0..20);
    let delivered = (ids(), (number(), number(), number()), "[a-z]{0,9}", fresh(), again, expiries())
        .prop_map(|((group, topic, queue), (next, session, until), client, fresh, again, expired)| {
            let (until, client) = (Timestamp(until), Arc::from(client.as_str()));
            let rest = (fresh, again, expired);
            let (fresh, again, expired) = rest;
            Fact::Delivered(Delivered {
                group,
                topic,
                queue,
                next,
                session,
                client,
                until,
                fresh,
                again,
                expired,
            })
        });
    prop_oneof![
        produced,
        due,
        delivered,
        (ids(), places()).prop_map(|((group, topic, queue), places)| Fact::Acked {
            group,
            topic,
            queue,
            places
        }),
        (ids(), places(), expiries()).prop_map(|((group, topic, queue), places, beyond)| Fact::Expired {
            group,
            topic,
            queue,
            places,
            beyond
        }),
        (ids(), any_place(), any_cause(), number()).prop_map(|((group, topic, queue), place, cause, due)| {
            Fact::Failed { group, topic, queue, place, cause, due: Timestamp(due) }
        }),
        (ids(), any_place(), proptest::option::of(any_cause())).prop_map(
            |((group, topic, queue), place, cause)| Fact::Dead {
                group,
                topic,
                queue,
                place,
                reason: DeadReason::Rejected,
                cause
            }
        ),
        (ids(), (any::<u128>(), any::<u64>(), number(), any::<u16>()), any_refused()).prop_map(
            |((_, topic, _), (key, fingerprint, until, messages), refused)| {
                let (key, until) = (KeyHash(key), Timestamp(until));
                Fact::Remembered(Remembered { topic, key, fingerprint, until, messages, refused })
            }
        ),
        (ids(), proptest::collection::vec(any_position(), 0..20))
            .prop_map(|((group, ..), positions)| Fact::Redriven { group, positions }),
        (ids(), proptest::collection::vec(number(), 0..9))
            .prop_map(|((group, topic, _), targets)| Fact::Sought { group, topic, targets }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn what_is_written_reads_back(facts in proptest::collection::vec(any_fact(), 0..8), base in number()) {
        let batch = Batch { base, time: Timestamp(1_700_000_000_000), facts };
        prop_assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
    }
}
