//! Any fact there may be: small, large and odd numbers, long and empty lists.

use crate::machine::FailCause;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::super::facts::*;
use crate::model::*;

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
pub(super) fn number() -> impl Strategy<Value = u64> {
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

pub(super) fn any_fact() -> impl Strategy<Value = Fact> {
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
    let numbers = (number(), number(), any::<u32>(), number(), number());
    let delivered = (ids(), numbers, "[a-z]{0,9}", fresh(), again, expiries()).prop_map(
        |((group, topic, queue), (from, next, round, session, until), client, fresh, again, expired)| {
            let (until, client) = (Timestamp(until), Arc::from(client.as_str()));
            let rest = (fresh, again, expired);
            let (fresh, again, expired) = rest;
            Fact::Delivered(Delivered {
                group,
                topic,
                queue,
                from,
                next,
                round,
                session,
                client,
                until,
                fresh,
                again,
                expired,
            })
        },
    );
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
        (ids(), proptest::collection::vec((any_position(), any_place()), 0..20), any::<bool>()).prop_map(
            |((group, ..), messages, known)| {
                let (positions, places): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
                Fact::Redriven { group, positions, places: if known { places } else { Vec::new() } }
            }
        ),
        (ids(), number(), any_position()).prop_map(|((_, topic, _), due, position)| Fact::Cancelled {
            topic,
            due: Timestamp(due),
            position
        }),
        (ids(), proptest::collection::vec(number(), 0..9))
            .prop_map(|((group, topic, _), targets)| Fact::Sought { group, topic, targets }),
    ]
}
