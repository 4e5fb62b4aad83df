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

use whimbrel::machine::{
    Candidates, Delay, NewMessage, ProduceRequest, PutMode, ReceiveRequest, Received, SeekTo, SettleOp,
    SettleStatus, SettledAs,
};
use whimbrel::model::{
    Attributes, Filter, GroupSettings, Message, Millis, Receipt, Subscription, TopicSettings,
};

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
        draft.put_group(name.parse().unwrap(), settings, (PutMode::Upsert, false), candidates)
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

/// A body that cannot be read holds up schedules, which keep their order, but no lease and no retry.
#[test]
fn a_schedule_that_cannot_be_decided_holds_up_nothing_else() {
    let mut world = World::new();
    topic(&mut world, "t", 1);
    group(&mut world, "g", &["t"], GroupSettings::default());
    let later = NewMessage { delay: Delay::For(1_000), ..message("later", None) };
    produce(&mut world, "t", vec![later, message("m", None)]);
    assert_eq!(receive(&mut world, "g").messages.len(), 1);
    world.now = world.now.plus(60_000);
    let unreadable = Candidates::default();
    assert_eq!(world.decide(|draft, _| draft.tick(&unreadable)).0, 1);
    let retrying = world.machine.group(&"g".parse().unwrap()).unwrap().1.retrying;
    assert_eq!(retrying, 1, "the lease ran out");
    assert_eq!(world.decide(|draft, _| draft.tick(&unreadable)).0, 0);
    world.settle_time();
    assert_eq!(receive(&mut world, "g").messages.len(), 1, "readable again");
}

/// A deleted topic's schedule goes in steps, and leaves the schedule of another topic in its order.
#[test]
fn schedules_of_a_deleted_topic_are_swept_a_thousand_at_a_time() {
    let mut world = World::new();
    topic(&mut world, "gone", 1);
    topic(&mut world, "stays", 2);
    group(&mut world, "g", &["stays"], GroupSettings::default());
    let later = |millis| NewMessage { delay: Delay::For(millis), ..message("later", None) };
    for _ in 0..5 {
        produce(&mut world, "gone", (0..500).map(|at| later(60_000 + at)).collect());
        produce(&mut world, "stays", vec![later(60_200), later(60_100)]);
    }
    let due = world.machine.due_scheduled(10_000, world.now.plus(60_300));
    assert_eq!(due.len(), 5 * 301 + 10);
    assert!(due.windows(2).all(|pair| (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1)), "in order");
    world.decide(|draft, _| draft.delete_topic(&"gone".parse().unwrap(), true)).0.unwrap();
    assert_eq!(world.machine.held(), 10, "it is void at once");
    let ticks: Vec<usize> =
        (0..4).map(|_| world.decide(|draft, candidates| draft.tick(candidates)).0).collect();
    assert_eq!(ticks, [1_000, 1_000, 500, 0]);
    assert_eq!(world.machine.next_due(), Some(world.now.plus(60_100)), "nothing is left to sweep");
    wait(&mut world, 60_200);
    assert_eq!(receive(&mut world, "g").messages.len(), 10);
}

/// Sweeps until there is nothing left to sweep; answers how often it was asked.
fn sweep(world: &mut World) -> usize {
    let expired = world.expired();
    (1..).find(|_| world.decide(|draft, _| draft.expire_sweep(&expired)).0 == 0).unwrap()
}

#[test]
fn the_sweep_reaches_every_group_and_keeps_a_bounded_memory() {
    let mut world = World::new();
    topic(&mut world, "t", 1);
    group(&mut world, "g", &["t"], GroupSettings::default());
    group(&mut world, "h", &["t"], GroupSettings::default());
    for _ in 0..21 {
        let turns = [None, Some(1_000)].into_iter().cycle().take(1_000);
        produce(&mut world, "t", turns.map(|ttl_ms| message("m", ttl_ms)).collect());
    }
    world.now = world.now.plus(1_000);
    assert!(sweep(&mut world) > 20, "at most 1,000 in one go");
    let t = world.machine.topic(&"t".parse().unwrap()).unwrap().0;
    for name in ["g", "h"] {
        let (_, group) = world.machine.group(&name.parse().unwrap()).unwrap();
        assert_eq!(group.progress(t, 0).unwrap().beyond.len(), 10_000, "{name}");
    }
    let mut received = 0;
    while received < 10_000 {
        let got = receive(&mut world, "g").messages;
        assert!(!got.is_empty(), "stuck after {received}");
        received += got.len();
    }
}

#[test]
fn a_group_makes_the_topics_it_names_only_if_it_may_and_all_else_is_in_order() {
    let mut world = World::new();
    let put = |world: &mut World, topic: &str, mode: (PutMode, bool)| {
        let subscription = Subscription { topic: topic.parse().unwrap(), filter: Default::default() };
        let settings = GroupSettings { subscriptions: vec![subscription], ..GroupSettings::default() };
        let put = |draft: &mut whimbrel::machine::Draft, candidates: &Candidates| {
            draft.put_group("g".parse().unwrap(), settings, mode, candidates)
        };
        world.decide(put).0.is_ok()
    };
    let exists = |world: &World, topic: &str| world.machine.topic(&topic.parse().unwrap()).is_some();
    assert!(!put(&mut world, "a", (PutMode::Upsert, false)) && !exists(&world, "a"));
    assert!(put(&mut world, "a", (PutMode::Upsert, true)) && exists(&world, "a"));
    assert!(!put(&mut world, "b", (PutMode::CreateOnly, true)) && !exists(&world, "b"));
    assert!(put(&mut world, "b", (PutMode::Upsert, true)) && exists(&world, "b"));
    produce(&mut world, "b", vec![message("m", None)]);
    assert_eq!(receive(&mut world, "g").messages.len(), 1);
}

/// Every fourth of a full entry is kept for leases.
#[test]
fn an_entry_full_of_messages_still_takes_leases() {
    let mut world = World::new();
    topic(&mut world, "t", 1);
    group(&mut world, "g", &["t"], GroupSettings::default());
    let body = "x".repeat(1 << 20);
    let messages = vec![message(&body, None)];
    let request = ProduceRequest { topic: "t".parse().unwrap(), auto_create: false, messages };
    let leased = |draft: &mut whimbrel::machine::Draft, candidates: &Candidates| {
        draft.produce(&request).unwrap();
        let full = draft.is_full();
        draft.grant_leases();
        let room = !draft.is_full();
        (full, room, draft.receive(&receiving("g"), candidates).unwrap().messages.len())
    };
    assert_eq!(world.decide(leased).0, (true, true, 1));
}

/// What happened to a lease before somebody settles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    Held,
    Extended,
    RanOut,
    RanOutAndReady,
    LeasedAgain,
    Nacked,
    Acked,
    LateAcked,
    DeadLettered,
    GivenBack,
    SoughtBack,
    SoughtOver,
    AckedAndSoughtOver,
    SoughtBackAndOver,
    Expired,
    NackedAndExpired,
    SoughtBackAndExpired,
    SoughtBackAndSwept,
    Redriven,
    RedrivenAndAcked,
    GroupDeleted,
    TopicDeleted,
    AnotherGroup,
}

fn settle(world: &mut World, group: &str, receipt: Receipt, op: SettleOp) -> SettleStatus {
    let group = group.parse().unwrap();
    world.decide(|draft, _| draft.settle(&group, &[(Some(receipt), op)])).0[0]
}

fn seek(world: &mut World, to: SeekTo) {
    let (group, topic) = ("g".parse().unwrap(), "t".parse().unwrap());
    world.decide(|draft, candidates| draft.seek((&group, &topic), to, false, candidates)).0.unwrap();
}

fn wait(world: &mut World, millis: Millis) {
    world.now = world.now.plus(millis);
    world.settle_time();
}

fn done(world: &mut World, receipt: Receipt, op: SettleOp) {
    assert!(matches!(settle(world, "g", receipt, op), SettleStatus::Ok(_)));
}

fn leased_once(past: Past) -> (World, Receipt) {
    let mut world = World::new();
    topic(&mut world, "t", 1);
    group(&mut world, "g", &["t"], GroupSettings::default());
    group(&mut world, "other", &["t"], GroupSettings::default());
    let ttl_ms =
        [Past::Expired, Past::NackedAndExpired, Past::SoughtBackAndExpired, Past::SoughtBackAndSwept]
            .contains(&past);
    produce(&mut world, "t", vec![message("m", ttl_ms.then_some(100_000))]);
    let from = if past == Past::AnotherGroup { "other" } else { "g" };
    let received = receive(&mut world, from);
    let receipt = received.messages[0].receipt(received.group, world.index);
    let ran_out = |world: &mut World| {
        world.now = world.now.plus(60_000);
        world.settle_time();
    };
    match past {
        Past::Held | Past::AnotherGroup => {}
        Past::Extended => {
            world.now = world.now.plus(59_000);
            let status = settle(&mut world, "g", receipt, SettleOp::Extend { lease_ms: None });
            assert_eq!(status, SettleStatus::Ok(SettledAs::Leased { until: world.now.plus(60_000) }));
            world.now = world.now.plus(59_000);
            world.settle_time();
        }
        Past::RanOut => ran_out(&mut world),
        Past::RanOutAndReady | Past::LeasedAgain => {
            ran_out(&mut world);
            world.now = world.now.plus(10_000);
            world.settle_time();
            if past == Past::LeasedAgain {
                assert_eq!(receive(&mut world, "g").messages[0].attempt, 2);
            }
        }
        Past::LateAcked => {
            ran_out(&mut world);
            assert!(matches!(settle(&mut world, "g", receipt, SettleOp::Ack), SettleStatus::Ok(_)));
        }
        Past::Nacked | Past::Acked | Past::DeadLettered | Past::GivenBack => {
            let op = match past {
                Past::Nacked => SettleOp::Nack { delay_ms: Some(0), reason: None },
                Past::Acked => SettleOp::Ack,
                Past::DeadLettered => SettleOp::DeadLetter { reason: None },
                _ => SettleOp::GiveBack,
            };
            assert!(matches!(settle(&mut world, "g", receipt, op), SettleStatus::Ok(_)));
        }
        Past::SoughtBack => seek(&mut world, SeekTo::Earliest),
        Past::SoughtOver => seek(&mut world, SeekTo::Latest),
        Past::AckedAndSoughtOver => {
            done(&mut world, receipt, SettleOp::Ack);
            produce(&mut world, "t", vec![message("next", None)]);
            seek(&mut world, SeekTo::Latest);
        }
        Past::SoughtBackAndOver => {
            done(&mut world, receipt, SettleOp::Ack);
            seek(&mut world, SeekTo::Earliest);
            seek(&mut world, SeekTo::Latest);
        }
        Past::Expired => {
            ran_out(&mut world);
            wait(&mut world, 40_000);
        }
        Past::NackedAndExpired => {
            done(&mut world, receipt, SettleOp::Nack { delay_ms: None, reason: None });
            wait(&mut world, 100_000);
        }
        Past::SoughtBackAndExpired | Past::SoughtBackAndSwept => {
            done(&mut world, receipt, SettleOp::Ack);
            seek(&mut world, SeekTo::Earliest);
            wait(&mut world, 100_000);
            if past == Past::SoughtBackAndSwept {
                sweep(&mut world);
            } else {
                assert!(receive(&mut world, "g").messages.is_empty());
            }
        }
        Past::Redriven | Past::RedrivenAndAcked => {
            done(&mut world, receipt, SettleOp::DeadLetter { reason: None });
            let position = receipt.position;
            let redriven = world.decide(|draft, _| draft.redrive(&"g".parse().unwrap(), &[position]));
            assert_eq!(redriven.0, Ok(vec![Ok(())]));
            if past == Past::RedrivenAndAcked {
                let again = receive(&mut world, "g");
                let last = again.messages[0].receipt(again.group, world.index);
                done(&mut world, last, SettleOp::Ack);
            }
        }
        Past::GroupDeleted => {
            world.decide(|draft, _| draft.delete_group(&"g".parse().unwrap(), true)).0.unwrap();
        }
        Past::TopicDeleted => {
            world.decide(|draft, _| draft.delete_topic(&"t".parse().unwrap(), true)).0.unwrap();
        }
    }
    (world, receipt)
}

/// Every settle of every lease, late or not.
#[test]
fn what_a_receipt_means_depends_on_what_became_of_its_lease() {
    let ops = [
        SettleOp::Ack,
        SettleOp::Nack { delay_ms: None, reason: None },
        SettleOp::Extend { lease_ms: Some(5_000) },
        SettleOp::DeadLetter { reason: None },
    ];
    for (past, means) in [
        (Past::Held, ["ok", "ok", "ok", "ok"]),
        (Past::Extended, ["ok", "ok", "ok", "ok"]),
        (Past::RanOut, ["ok", "ok", "expired", "ok"]),
        (Past::RanOutAndReady, ["ok", "ok", "expired", "ok"]),
        (Past::LeasedAgain, ["expired"; 4]),
        (Past::Nacked, ["already"; 4]),
        (Past::Acked, ["already"; 4]),
        (Past::LateAcked, ["already"; 4]),
        (Past::DeadLettered, ["already"; 4]),
        (Past::GivenBack, ["expired"; 4]),
        (Past::SoughtBack, ["expired"; 4]),
        (Past::SoughtOver, ["expired"; 4]),
        (Past::AckedAndSoughtOver, ["already"; 4]),
        (Past::SoughtBackAndOver, ["expired"; 4]),
        (Past::Expired, ["expired"; 4]),
        (Past::NackedAndExpired, ["expired"; 4]),
        (Past::SoughtBackAndExpired, ["expired"; 4]),
        (Past::SoughtBackAndSwept, ["expired"; 4]),
        (Past::Redriven, ["expired"; 4]),
        (Past::RedrivenAndAcked, ["already"; 4]),
        (Past::GroupDeleted, ["invalid"; 4]),
        (Past::TopicDeleted, ["invalid"; 4]),
        (Past::AnotherGroup, ["invalid"; 4]),
    ] {
        for (op, expected) in ops.iter().zip(means) {
            let (mut world, receipt) = leased_once(past);
            let before = world.machine.digest();
            let status = match settle(&mut world, "g", receipt, op.clone()) {
                SettleStatus::Ok(_) => "ok",
                SettleStatus::Already => "already",
                SettleStatus::Expired => "expired",
                SettleStatus::Invalid => "invalid",
            };
            assert_eq!(status, expected, "{past:?}, {op:?}");
            assert_eq!(world.machine.digest() != before, status == "ok", "{past:?}, {op:?}");
            // A second time in one request never counts.
            let again = settle(&mut world, "g", receipt, SettleOp::Ack);
            let already = matches!(again, SettleStatus::Already);
            assert!(!matches!(op, SettleOp::Ack) || status != "ok" || already, "{past:?}: {again:?}");
        }
    }
}

/// A seek over leases between acked messages leaves a range for each. The highest are remembered; a receipt below them
/// counts as one of an acked message, which misleads nobody into doing the work again.
#[test]
fn what_a_seek_skipped_is_remembered_within_bounds() {
    let mut world = World::new();
    topic(&mut world, "t", 1);
    group(&mut world, "g", &["t"], GroupSettings::default());
    let mut receipts = Vec::new();
    for _ in 0..3 {
        produce(&mut world, "t", (0..1_000).map(|_| message("m", None)).collect());
        while receipts.len() < world.messages.len() {
            let received = receive(&mut world, "g");
            assert!(!received.messages.is_empty());
            receipts
                .extend(received.messages.iter().map(|leased| leased.receipt(received.group, world.index)));
        }
    }
    let acks: Vec<_> = receipts.iter().step_by(2).map(|receipt| (Some(*receipt), SettleOp::Ack)).collect();
    let acked = world.decide(|draft, _| draft.settle(&"g".parse().unwrap(), &acks)).0;
    assert_eq!(acked, vec![SettleStatus::Ok(SettledAs::Acked); 1_500]);
    seek(&mut world, SeekTo::Latest);
    let void = |world: &World| {
        let (group, topic) = ("g".parse().unwrap(), world.machine.topic(&"t".parse().unwrap()).unwrap().0);
        world.machine.group(&group).unwrap().1.progress(topic, 0).unwrap().void.clone()
    };
    assert_eq!((void(&world).len(), void(&world).offsets()), (1_000, 1_000));
    let means = |world: &mut World, at: usize| settle(world, "g", receipts[at], SettleOp::Ack);
    assert_eq!(means(&mut world, 2_998), SettleStatus::Already, "acked");
    assert_eq!(means(&mut world, 2_999), SettleStatus::Expired, "skipped");
    assert_eq!(means(&mut world, 1_001), SettleStatus::Expired, "the lowest that is remembered");
    assert_eq!(means(&mut world, 999), SettleStatus::Already, "forgotten");
    let topic = world.machine.topic(&"t".parse().unwrap()).unwrap().0;
    assert!(world.decide(|draft, _| draft.retain(topic, &[(0, 2_000)])).0);
    assert_eq!(void(&world).len(), 500, "what retention has passed is forgotten too");
}

#[test]
fn a_redelivered_message_keeps_its_count_of_failures_over_a_late_nack() {
    let (mut world, receipt) = leased_once(Past::RanOut);
    let nacked = settle(&mut world, "g", receipt, SettleOp::Nack { delay_ms: Some(0), reason: None });
    assert_eq!(nacked, SettleStatus::Ok(SettledAs::Retrying { ready_at: world.now }));
    assert_eq!(receive(&mut world, "g").messages[0].attempt, 2, "one delivery failed once");
}

fn asking(world: &mut World, sql: &str, topic: &str) {
    let filter = Filter::parse_sql(sql).unwrap();
    let subscriptions = vec![Subscription { topic: topic.parse().unwrap(), filter }];
    let settings = GroupSettings { subscriptions, ..GroupSettings::default() };
    let put = |draft: &mut whimbrel::machine::Draft, candidates: &Candidates| {
        draft.put_group("asking".parse().unwrap(), settings, (PutMode::Upsert, false), candidates)
    };
    world.decide(put).0.unwrap();
}

fn coloured(body: &str, colour: &str) -> NewMessage {
    let attributes =
        Attributes { properties: [("colour".into(), colour.into())].into(), ..Attributes::default() };
    let message = Message { body: body.to_owned().into(), attributes };
    NewMessage { message: Arc::new(message), ..NewMessage::default() }
}

/// Nothing is passed over unread, and a message that cannot be read is found by whoever gets it.
#[test]
fn a_filter_waits_for_what_it_has_to_know_and_lets_damage_through() {
    let mut world = World::new();
    topic(&mut world, "t", 1);
    asking(&mut world, "colour = 'red'", "t");
    let colours = ["blue", "red", "blue", "red"];
    produce(&mut world, "t", colours.iter().map(|colour| coloured(colour, colour)).collect());
    let looked = |world: &World| {
        let (_, group) = world.machine.group(&"asking".parse().unwrap()).unwrap();
        group.progress(world.machine.topic(&"t".parse().unwrap()).unwrap().0, 0).unwrap().next
    };
    world.known = 0;
    let received = receive(&mut world, "asking");
    assert!(received.messages.is_empty() && received.look_on);
    assert_eq!(looked(&world), 0, "nothing was passed over unread");
    world.known = 3;
    let received = receive(&mut world, "asking");
    assert_eq!(received.messages.iter().map(|leased| leased.offset).collect::<Vec<_>>(), [1]);
    assert!(received.look_on);
    assert_eq!(looked(&world), 3);
    produce(&mut world, "t", vec![coloured("blue", "blue")]);
    world.known = usize::MAX;
    let request = receiving("asking");
    let damaged = |draft: &mut whimbrel::machine::Draft, candidates: &Candidates| {
        let mut candidates = candidates.clone();
        candidates.attributes.values_mut().for_each(|known| *known = None);
        draft.receive(&request, &candidates)
    };
    let received = world.decide(damaged).0.unwrap();
    assert_eq!(received.messages.iter().map(|leased| leased.offset).collect::<Vec<_>>(), [3, 4]);
}

/// A thousand messages that do not match cost one fact, and nothing when they are met again.
#[test]
fn what_a_filter_passes_over_is_one_range() {
    let mut world = World::new();
    topic(&mut world, "t", 1);
    asking(&mut world, "colour = 'red'", "t");
    produce(&mut world, "t", (0..500).map(|_| coloured("blue", "blue")).collect());
    let request = receiving("asking");
    let facts = |world: &mut World| {
        let asked = world.decide(|draft, candidates| {
            draft.receive(&request, candidates).unwrap();
            draft.len()
        });
        asked.0
    };
    assert_eq!((facts(&mut world), facts(&mut world)), (1, 0));
}
