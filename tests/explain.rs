//! Why messages of a group wait: what the machine sees of it. The same in words is tested with the broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod world;

use std::sync::Arc;

use whimbrel::machine::{
    Candidates, Draft, HoldUps, ItemState, NewMessage, ProduceRequest, PutMode, ReceiveRequest, Received,
    SettleOp,
};
use whimbrel::model::{GroupSettings, LOOK_AHEAD, Message, Receipt, Subscription, TopicSettings};

use world::World;

/// A world with topic `t` of one queue, and group `g` that reads it.
fn world(settings: GroupSettings) -> World {
    let mut world = World::new();
    let topic = TopicSettings { queues: 1, ..TopicSettings::default() };
    let subscription = Subscription { topic: "t".parse().unwrap(), filter: Default::default() };
    let settings = GroupSettings { subscriptions: vec![subscription], ..settings };
    let make = |draft: &mut Draft, candidates: &Candidates| {
        draft.put_topic("t".parse().unwrap(), topic, PutMode::Upsert).unwrap();
        draft.put_group("g".parse().unwrap(), settings, (PutMode::Upsert, false), candidates).unwrap();
    };
    world.decide(make);
    world
}

/// Produces one message in the lane of each key.
fn produce(world: &mut World, keys: impl Iterator<Item = u64>) {
    let new = |key: u64| {
        let mut message = Message { body: "m".into(), ..Message::default() };
        message.attributes.ordering_key = Some(key.to_string().into());
        NewMessage { message: Arc::new(message), ..NewMessage::default() }
    };
    let messages = keys.map(new).collect();
    let request = ProduceRequest { topic: "t".parse().unwrap(), auto_create: false, messages };
    world.decide(|draft, _| draft.produce(&request)).0.unwrap().into_iter().for_each(|answer| {
        answer.unwrap();
    });
}

fn receive(world: &mut World, client: &str, max_messages: u32) -> Vec<Receipt> {
    let request = ReceiveRequest {
        group: "g".parse().unwrap(),
        topic: None,
        auto_create: false,
        max_messages,
        max_bytes: 1 << 20,
        lease_ms: None,
        session: 0,
        client: client.into(),
        turn: 0,
    };
    let (received, index) = world.decide(|draft, candidates| draft.receive(&request, candidates));
    let Received { group, messages, .. } = received.unwrap();
    messages.iter().map(|leased| leased.receipt(group, index)).collect()
}

fn nack(world: &mut World, receipt: Receipt) {
    let nack = SettleOp::Nack { delay_ms: None, reason: None };
    world.decide(|draft, _| draft.settle(&"g".parse().unwrap(), &[(Some(receipt), nack)]));
}

fn hold_ups(world: &World, budget: &mut usize) -> HoldUps {
    let (group, _) = world.machine.group(&"g".parse().unwrap()).unwrap();
    let (topic, _) = world.machine.topic(&"t".parse().unwrap()).unwrap();
    world.machine.hold_ups(group, topic, budget).unwrap()
}

#[test]
fn the_first_of_a_lane_is_named_with_its_holder_and_how_many_wait_behind_it() {
    let mut world = world(GroupSettings { ordered: true, ..GroupSettings::default() });
    produce(&mut world, [1, 2, 2, 2, 3, 3].into_iter());
    assert_eq!(hold_ups(&world, &mut 100), HoldUps { unlooked: 6, ..HoldUps::default() });
    let leased = receive(&mut world, "worker", 10);
    assert_eq!(leased.len(), 3, "one of each lane");
    let found = hold_ups(&world, &mut 100);
    assert_eq!((found.unlooked, found.leased, found.retrying, found.lanes_total), (0, 3, 0, 2));
    let (head, waiting) = &found.lanes[0];
    assert_eq!((head.offset, head.attempt, *waiting), (1, 1, 2), "the longest line comes first");
    let ItemState::Leased(lease) = &head.state else { panic!("{head:?}") };
    assert_eq!((&*lease.client, head.until()), ("worker", Some(world.now.plus(60_000))));
    assert_eq!((found.lanes[1].0.offset, found.lanes[1].1), (4, 1));
    nack(&mut world, leased[1]);
    let found = hold_ups(&world, &mut 100);
    let due = world.now.plus(3_000);
    assert_eq!((found.leased, found.retrying, found.lanes_total), (2, 1, 2));
    assert_eq!(found.first_retry.as_ref().and_then(whimbrel::machine::Held::until), Some(due));
    assert_eq!((&found.lanes[0].0.state, found.lanes[0].0.attempt), (&ItemState::Retrying { due }, 2));
}

#[test]
fn the_lease_that_ends_first_is_named_and_what_used_up_its_attempts_is_counted() {
    let settings = GroupSettings { max_attempts: 1, dead_letters_max: 0, ..GroupSettings::default() };
    let mut world = world(settings);
    produce(&mut world, 0..3);
    let first = receive(&mut world, "early", 1);
    world.now = world.now.plus(1_000);
    receive(&mut world, "late", 2);
    let found = hold_ups(&world, &mut 100);
    let held = found.first_lease.unwrap();
    assert_eq!((held.offset, held.until()), (0, Some(world.now.plus(59_000))));
    nack(&mut world, first[0]);
    let found = hold_ups(&world, &mut 100);
    assert_eq!((found.leased, found.retrying, found.used_up), (2, 1, 1), "no room for a dead letter");
    assert!(found.lanes.is_empty() && found.full.is_empty(), "the group is not ordered");
}

#[test]
fn a_queue_that_is_looked_at_as_far_as_may_be_names_its_oldest_message() {
    let most = u32::try_from(LOOK_AHEAD).unwrap();
    let mut world = world(GroupSettings { max_in_flight: most + 1, ..GroupSettings::default() });
    for _ in 0..LOOK_AHEAD / 1_000 {
        produce(&mut world, 0..1_000);
    }
    produce(&mut world, 0..1);
    let mut leased = 0;
    while leased < LOOK_AHEAD {
        leased += receive(&mut world, "worker", 1_000).len() as u64;
    }
    assert!(receive(&mut world, "worker", 1).is_empty());
    let mut budget = 20_000;
    let found = hold_ups(&world, &mut budget);
    assert_eq!((found.unlooked, found.leased), (1, LOOK_AHEAD));
    assert_eq!((found.full.len(), found.full[0].0.offset, found.full[0].1), (1, 0, LOOK_AHEAD));
    assert_eq!(budget, 10_000);
    let mut short = 10;
    let found = hold_ups(&world, &mut short);
    assert_eq!((short, found.leased), (0, LOOK_AHEAD), "plain counts are complete all the same");
    let (_, group) = world.machine.group(&"g".parse().unwrap()).unwrap();
    assert_eq!(group.http_leases(&mut 10_000).unwrap()["worker"], LOOK_AHEAD);
    assert_eq!(group.http_leases(&mut 9_999), None);
}

#[test]
fn of_many_blocked_lanes_the_longest_are_named_and_all_are_counted() {
    let mut world = world(GroupSettings { ordered: true, ..GroupSettings::default() });
    // Lane n has n messages behind its first one, but lane 0, which nobody waits in.
    produce(&mut world, 0..200);
    produce(&mut world, (0..3).flat_map(|step| (step + 1)..200));
    while !receive(&mut world, "worker", 1_000).is_empty() {}
    let found = hold_ups(&world, &mut 10_000);
    assert_eq!((found.leased, found.lanes_total, found.lanes.len()), (200, 199, 8));
    assert!(found.lanes.iter().all(|(_, waiting)| *waiting == 3), "{:?}", found.lanes);
}
