//! Rules that a script tells badly: one test for each mistake that was once made.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod world;

use std::sync::Arc;

use whimbrel::machine::{Candidates, NewMessage, ProduceRequest, PutMode, ReceiveRequest, Received};
use whimbrel::model::{GroupSettings, Message, Millis, Subscription, TopicSettings};

use world::World;

fn topic(world: &mut World, name: &str, queues: u16) {
    let settings = TopicSettings { queues, ..TopicSettings::default() };
    let made = |draft: &mut whimbrel::machine::Draft, _: &Candidates| {
        draft.put_topic(name.parse().unwrap(), settings, PutMode::Upsert)
    };
    world.decide(made).0.unwrap();
}

fn group(world: &mut World, name: &str, topics: &[&str], settings: GroupSettings) {
    let subscriptions = topics
        .iter()
        .map(|topic| Subscription { topic: topic.parse().unwrap(), filter: Default::default() })
        .collect();
    let settings = GroupSettings { subscriptions, ..settings };
    let put = |draft: &mut whimbrel::machine::Draft, candidates: &Candidates| {
        draft.put_group(name.parse().unwrap(), settings, PutMode::Upsert, candidates)
    };
    world.decide(put).0.unwrap();
}

fn message(body: &str, ttl_ms: Option<Millis>) -> NewMessage {
    let message = Message { body: body.to_owned().into(), ..Message::default() };
    NewMessage { message: Arc::new(message), ttl_ms, ..NewMessage::default() }
}

fn produce(world: &mut World, topic: &str, messages: Vec<NewMessage>) {
    let request = ProduceRequest { topic: topic.parse().unwrap(), auto_create: false, messages };
    for answer in world.decide(|draft, _| draft.produce(&request)).0.unwrap() {
        answer.unwrap();
    }
}

fn receiving(group: &str) -> ReceiveRequest {
    ReceiveRequest {
        group: group.parse().unwrap(),
        topic: None,
        auto_create: false,
        max_messages: 1_000,
        max_bytes: 1 << 20,
        lease_ms: None,
        session: 0,
        client: "test".into(),
        turn: 0,
    }
}

fn receive(world: &mut World, group: &str) -> Received {
    let request = receiving(group);
    world.decide(|draft, candidates| draft.receive(&request, candidates)).0.unwrap()
}

/// Two groups lease the same message in the same instant, so their leases have the same end; then one group goes.
#[test]
fn what_a_deleted_group_leaves_behind_does_not_hold_up_what_is_due_at_the_same_time() {
    let mut world = World::new();
    topic(&mut world, "t", 1);
    group(&mut world, "first", &["t"], GroupSettings::default());
    group(&mut world, "second", &["t"], GroupSettings::default());
    produce(&mut world, "t", vec![message("m", None)]);
    assert_eq!(receive(&mut world, "first").messages.len(), 1);
    assert_eq!(receive(&mut world, "second").messages.len(), 1);
    world.decide(|draft, _| draft.delete_group(&"first".parse().unwrap(), true)).0.unwrap();
    world.now = world.now.plus(60_000);
    world.settle_time();
    let (id, second) = world.machine.group(&"second".parse().unwrap()).unwrap();
    assert_eq!((second.in_flight, second.retrying), (0, 1), "group {id:?}: the lease ran out");
}
