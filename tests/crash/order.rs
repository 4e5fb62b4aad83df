//! Order: sending, offsets, lanes.

use std::collections::BTreeMap;

use crate::history::{Events, Group, Key, Outcome, Place, Stamp};

/// Every place that the broker named for a message, in its answers and with its deliveries.
pub(crate) fn places(events: &Events) -> impl Iterator<Item = (Key, &'static str, &Place)> {
    let answered = events.sent.iter().filter_map(|(key, sent)| match &sent.outcome {
        Outcome::Acknowledged(place) => Some((*key, sent.topic, place)),
        _ => None,
    });
    let journeys = events.groups.iter().flat_map(|group| &group.journeys);
    let delivered = journeys.filter_map(|(key, journey)| {
        let topic = events.sent.get(key)?.topic;
        Some((*key, topic, &journey.deliveries.first()?.place))
    });
    answered.chain(delivered)
}

/// I4, I5: one producer sends one message after the other, so inside a queue their offsets rise; and one ordering key
/// stays in one queue.
pub(crate) fn offsets_follow_sending(events: &Events, wrong: &mut Vec<String>) {
    // A BTreeMap: in the order each producer sent.
    let placed: BTreeMap<Key, (&'static str, &Place)> =
        places(events).map(|(key, topic, place)| (key, (topic, place))).collect();
    let mut newest: BTreeMap<(u32, &str, u64), (Key, u64)> = BTreeMap::new();
    let mut homes: BTreeMap<&str, (Key, u64)> = BTreeMap::new();
    for (key, (topic, place)) in &placed {
        let before = newest.insert((key.producer, *topic, place.queue), (*key, place.offset));
        if let Some((earlier, offset)) = before.filter(|(_, offset)| *offset >= place.offset) {
            wrong.push(format!(
                "I5: {earlier} at offset {offset} was sent before {key} at offset {} of the same queue",
                place.offset
            ));
        }
        let Some(lane) = events.sent.get(key).and_then(|sent| sent.ordering_key.as_deref()) else { continue };
        let (first, home) = *homes.entry(lane).or_insert((*key, place.queue));
        if home != place.queue {
            wrong.push(format!(
                "I5: key {lane} is in queue {home} ({first}) and in queue {} ({key})",
                place.queue
            ));
        }
    }
}

/// I5: in an ordered group a message comes only after everything before it in its lane was acked.
pub(crate) fn lanes(events: &Events, group: &Group, wrong: &mut Vec<String>) {
    // A lane is one ordering key, or what has none in one queue; in it, offsets say the order.
    let mut lanes: BTreeMap<(&str, &str, u64), BTreeMap<u64, Key>> = BTreeMap::new();
    for (key, topic, place) in places(events).filter(|(_, topic, _)| group.topics.contains(topic)) {
        let name = events.sent.get(&key).and_then(|sent| sent.ordering_key.as_deref()).unwrap_or("");
        lanes.entry((topic, name, place.queue)).or_default().insert(place.offset, key);
    }
    for lane in lanes.values() {
        let mut before: Option<(Key, Option<Stamp>)> = None;
        for key in lane.values() {
            let journey = group.journeys.get(key);
            let came =
                journey.and_then(|journey| journey.deliveries.iter().map(|delivery| delivery.seen).min());
            if let (Some(came), Some((earlier, free))) = (came, before)
                && free.is_none_or(|free| free > came)
            {
                wrong.push(format!(
                    "I5: {key} came in group {} before {earlier}, which is ahead of it, was settled",
                    group.name
                ));
            }
            let ack = journey.and_then(|journey| journey.final_settle());
            // The lane may have moved on as soon as the ack was sent, whenever its answer came.
            let first_ask = ack.and_then(|_| journey.and_then(|journey| journey.first_ack_asked()));
            before = Some((*key, first_ask));
        }
    }
}
