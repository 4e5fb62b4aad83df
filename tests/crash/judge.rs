//! Holds a history against the promises. Each complaint starts with the invariant of docs/TESTING.md that is broken.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Delivery, Events, Group, Journey, Key, Op, Outcome, Settle, Settled};
use crate::order;

/// Everything that is wrong. With `finished`, every message must have reached its end in every group.
pub(crate) fn complaints(events: &Events, finished: bool) -> Vec<String> {
    let mut wrong = events.wrong.clone();
    one_message_per_offset(events, &mut wrong);
    order::offsets_follow_sending(events, &mut wrong);
    for group in &events.groups {
        for (key, journey) in &group.journeys {
            let mut found = Vec::new();
            known(events, *key, journey, &mut found);
            leases(journey, &mut found);
            attempts(group, journey, &mut found);
            skipped(events, journey, &mut found);
            settles(journey, &mut found);
            ending(events, group, journey, &mut found);
            wrong.extend(
                found.into_iter().map(|complaint| format!("{complaint} ({} in group {})", key, group.name)),
            );
        }
        if group.ordered {
            order::lanes(events, group, &mut wrong);
        }
    }
    if finished {
        everything_ended(events, &mut wrong);
    }
    wrong
}

/// I1: nothing acknowledged is missing, in no group; and what came has an end.
fn everything_ended(events: &Events, wrong: &mut Vec<String>) {
    for (at, group) in events.groups.iter().enumerate() {
        for key in events.unsettled(at) {
            let seen = group.journeys.get(&key).map_or(0, |journey| journey.deliveries.len());
            wrong.push(format!(
                "I1: {key} never reached its end in group {}, it came {seen} times",
                group.name
            ));
        }
    }
}

/// I2, I3: only what was sent and not refused comes, where and as what it was accepted.
fn known(events: &Events, key: Key, journey: &Journey, wrong: &mut Vec<String>) {
    let Some(sent) = events.sent.get(&key) else {
        wrong.push("I2: nobody sent this".to_owned());
        return;
    };
    if sent.outcome == Outcome::Refused {
        wrong.push("I3: refused, and still there".to_owned());
    }
    let mut places: Vec<_> = journey.deliveries.iter().map(|delivery| &delivery.place).collect();
    if let Outcome::Acknowledged(place) = &sent.outcome {
        places.push(place);
    }
    for pair in places.windows(2) {
        if pair[0] != pair[1] {
            wrong.push(format!("I3: two messages from one publish, {:?} and {:?}", pair[0], pair[1]));
            break;
        }
    }
}

/// I4: one offset never holds two messages, and one id never names two.
fn one_message_per_offset(events: &Events, wrong: &mut Vec<String>) {
    let mut offsets = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for (key, topic, place) in order::places(events) {
        let holder = *offsets.entry((topic, place.queue, place.offset)).or_insert(key);
        if holder != key {
            wrong.push(format!(
                "I4: {topic}, queue {}, offset {} holds {holder} and {key}",
                place.queue, place.offset
            ));
        }
        let named = *ids.entry(place.id.as_str()).or_insert(key);
        if named != key {
            wrong.push(format!("I4: the id {} names {named} and {key}", place.id));
        }
    }
}

/// I7: one lease at a time, one receipt for each, and stale receipts do nothing.
fn leases(journey: &Journey, wrong: &mut Vec<String>) {
    let mut receipts = BTreeSet::new();
    let mut turns = BTreeSet::new();
    for delivery in &journey.deliveries {
        if !receipts.insert(delivery.receipt.as_str()) {
            wrong.push(format!("I7: delivered twice under one receipt, attempt {}", delivery.attempt));
        } else if !turns.insert((delivery.round, delivery.attempt)) {
            wrong.push(format!("I7: attempt {} was leased twice", delivery.attempt));
        }
    }
    for settle in &journey.settles {
        let Some(held) = journey.delivery_of(settle) else { continue };
        let newer =
            journey.deliveries.iter().any(|other| other.turn() > held.turn() && other.seen < settle.asked);
        if newer && settle.outcome == Settled::Ok {
            wrong.push(format!(
                "I7: {:?} by the stale receipt of attempt {} was done",
                settle.op, held.attempt
            ));
        }
    }
}

/// I8: attempts never fall, and end at the limit.
fn attempts(group: &Group, journey: &Journey, wrong: &mut Vec<String>) {
    for (at, later) in journey.deliveries.iter().enumerate() {
        for earlier in &journey.deliveries[..at] {
            if earlier.seen < later.asked && later.turn() < earlier.turn() {
                wrong.push(format!("I8: attempt {} came after attempt {}", later.attempt, earlier.attempt));
            }
        }
    }
    let highest = journey.deliveries.iter().map(|delivery| delivery.attempt).max().unwrap_or(0);
    if highest > group.max_attempts {
        wrong.push(format!("I8: attempt {highest} of {}", group.max_attempts));
    }
    if journey.deliveries.iter().any(|delivery| delivery.attempt == 0) {
        wrong.push("I8: attempt 0".to_owned());
    }
}

/// I8: an attempt is skipped only when its answer was lost, and a lease that nobody saw ends by its time; so each needs
/// a kill of its own, after the attempt before it was asked for and before the one after it was seen.
fn skipped(events: &Events, journey: &Journey, wrong: &mut Vec<String>) {
    let mut turns: Vec<&Delivery> = journey.deliveries.iter().collect();
    turns.sort_by_key(|delivery| delivery.turn());
    let (mut before, mut since) = (0, 0);
    for delivery in turns {
        let skipped = delivery.attempt.saturating_sub(before + 1);
        let kills = events.kills_between(since, delivery.seen);
        if skipped > kills {
            let attempt = delivery.attempt;
            wrong.push(format!(
                "I8: {skipped} attempts nobody saw before attempt {attempt}, with {kills} kills"
            ));
        }
        (before, since) = (delivery.attempt, delivery.asked);
    }
}

/// What the broker may answer to a settle.
fn settles(journey: &Journey, wrong: &mut Vec<String>) {
    let mut done = 0;
    for (at, settle) in journey.settles.iter().enumerate() {
        let Some(held) = journey.delivery_of(settle) else {
            wrong.push("the test settled a receipt it never got".to_owned());
            continue;
        };
        match settle.outcome {
            Settled::Ok => done += u32::from(settle.op == Op::Ack),
            Settled::Already => {
                // The message is acked or dead, or this very receipt nacked it. What was sent before this answer came
                // may have been done before it.
                let reason = |other: &Settle| {
                    let settles =
                        other.op == Op::Ack || (other.op == Op::Nack && other.receipt == settle.receipt);
                    settles
                        && matches!(other.outcome, Settled::Unknown | Settled::Ok)
                        && other.asked < settle.answered
                };
                if journey.dead == 0 && !journey.settles.iter().any(reason) {
                    wrong.push("I6: 'already' for something that nobody settled".to_owned());
                }
            }
            Settled::Expired => {
                let early = held.lease_until.is_some_and(|until| settle.answered_at < until);
                let given_up = journey.settles[..at].iter().any(|other| {
                    other.receipt == settle.receipt
                        && other.op == Op::Nack
                        && other.outcome != Settled::Expired
                });
                if early && !given_up {
                    wrong.push(format!("I7: the lease of attempt {} ended before its time", held.attempt));
                }
                let acked = |other: &Settle| {
                    other.op == Op::Ack && other.outcome == Settled::Ok && other.answered < settle.asked
                };
                if journey.settles.iter().any(acked) {
                    wrong.push("I6: 'expired' for something that was acked".to_owned());
                }
            }
            Settled::Invalid => wrong.push("I7: a receipt of this group was called invalid".to_owned()),
            Settled::Unknown => {}
        }
    }
    if done > 1 {
        wrong.push(format!("I6: acked {done} times"));
    }
}

/// I6, I8: what is settled stays settled; dead-lettered exactly once, at the limit, and never also acked.
fn ending(events: &Events, group: &Group, journey: &Journey, wrong: &mut Vec<String>) {
    let acked = journey.final_settle();
    if let Some(last) =
        acked.filter(|settle| settle.outcome == Settled::Ok).and_then(|ack| journey.delivery_of(ack))
    {
        for delivery in journey.deliveries.iter().filter(|delivery| delivery.turn() > last.turn()) {
            wrong.push(format!(
                "I6: acked at attempt {}, and came again as attempt {}",
                last.attempt, delivery.attempt
            ));
        }
    }
    if let Some(ack) = acked {
        for delivery in journey.deliveries.iter().filter(|delivery| delivery.asked > ack.answered) {
            wrong.push(format!("I6: came again after its ack, as attempt {}", delivery.attempt));
        }
    }
    if journey.dead > 1 {
        wrong.push(format!("I8: dead-lettered {} times", journey.dead));
    }
    if journey.dead > 0 {
        if acked.is_some_and(|settle| settle.outcome == Settled::Ok) {
            wrong.push("I6: acked and dead-lettered".to_owned());
        }
        let last = journey.deliveries.iter().max_by_key(|delivery| delivery.turn());
        let (highest, asked) = last.map_or((0, 0), |last| (last.attempt, last.asked));
        if highest + events.kills_between(asked, u64::MAX) < group.max_attempts {
            wrong.push(format!("I8: dead-lettered after attempt {highest} of {}", group.max_attempts));
        }
    }
}

impl Journey {
    fn delivery_of(&self, settle: &Settle) -> Option<&Delivery> {
        self.deliveries.iter().find(|delivery| delivery.receipt == settle.receipt)
    }
}

impl Delivery {
    /// Which turn of the message this is; never falls.
    fn turn(&self) -> (u64, u64) {
        (self.round, self.attempt)
    }
}
