//! Why nothing arrives, in words.

use std::time::Duration;

use whimbrel::broker::{
    Affects, Broker, Cause, CloseHow, CreditMode, Explanation, Finding, SubscribeRequest,
};
use whimbrel::machine::{Expected, SettleOp};
use whimbrel::model::{Filter, GroupName, GroupSettings, Millis, Subscription};

use crate::rig::{Rig, a_moment, produce, receive};

fn group() -> GroupName {
    "g".parse().unwrap()
}

/// As soon as the index, which hears of a batch a moment after the machine, has caught up.
fn explain(broker: &Broker) -> Explanation {
    loop {
        let explanation = broker.explain(&group()).unwrap();
        if !causes(&explanation).contains(&Cause::IndexBehind) {
            return explanation;
        }
        std::thread::yield_now();
    }
}

fn causes(explanation: &Explanation) -> Vec<Cause> {
    explanation.findings.iter().map(|finding| finding.code).collect()
}

#[track_caller]
fn find(explanation: &Explanation, cause: Cause) -> &Finding {
    let found = explanation.findings.iter().find(|finding| finding.code == cause);
    found.unwrap_or_else(|| panic!("no {cause:?}: {explanation:?}"))
}

async fn put(broker: &Broker, settings: GroupSettings) {
    let settings = GroupSettings {
        subscriptions: vec![Subscription { topic: "t".parse().unwrap(), filter: Filter::All }],
        ..settings
    };
    broker.put_group(group(), settings, Expected::Anything, true).await.unwrap();
}

fn nack(delay_ms: Millis) -> SettleOp {
    SettleOp::Nack { delay_ms: Some(delay_ms), reason: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_members_says_so_and_one_that_is_paused_before_that() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    assert!(broker.explain(&group()).is_err(), "there is no such group");
    put(&broker, GroupSettings::default()).await;
    let empty = explain(&broker);
    assert_eq!((causes(&empty), empty.blocked), (vec![Cause::NoMembers, Cause::Empty], true));
    assert!(find(&empty, Cause::Empty).text.contains("nothing was ever produced to 't'"));
    produce(&broker, "m").await.unwrap();
    broker.pause_group(group(), true).await.unwrap();
    let paused = explain(&broker);
    assert_eq!(causes(&paused), [Cause::Paused, Cause::NoMembers, Cause::Ready]);
    broker.pause_group(group(), false).await.unwrap();
    let member = broker.receiving(&"c".into(), "p".into(), &group());
    let well = explain(&broker);
    assert_eq!((causes(&well), well.members), (vec![Cause::Ready, Cause::AllWell], 1));
    assert!(!well.blocked && well.complete && well.left_out == 0);
    drop(member);
    let between = explain(&broker);
    assert_eq!(causes(&between), [Cause::NoCredit, Cause::Ready, Cause::AllWell], "it will ask again");
    let bare = GroupSettings::default();
    broker.put_group(group(), bare, Expected::Anything, true).await.unwrap();
    assert_eq!(causes(&explain(&broker))[0], Cause::NoSubscriptions);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_somebodys_hands_is_named_with_who_and_until_when() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    put(&broker, GroupSettings { ordered: true, max_in_flight: 1, ..GroupSettings::default() }).await;
    for body in ["first", "second", "third"] {
        produce(&broker, body).await.unwrap();
    }
    let held = receive(&broker, "g", Duration::ZERO).await.messages.remove(0);
    let (id, until) = (held.id.to_string(), held.leased.until.to_string());
    let _member = broker.receiving(&"c".into(), "p".into(), &group());
    let full = explain(&broker);
    assert_eq!((full.findings[0].code, full.findings[0].affects), (Cause::MaxInFlight, Affects::All));
    assert_eq!((full.findings[0].count, full.findings[0].of), (Some(1), Some(1)));
    let leased = find(&full, Cause::Leased);
    assert_eq!((leased.id.as_ref(), leased.client.as_deref()), (Some(&id), Some("test")));
    assert_eq!((leased.until.as_ref(), leased.queue, leased.attempt), (Some(&until), Some(0), Some(1)));
    assert!(leased.text.contains(&format!("is leased to 'test' until {until}")), "{}", leased.text);
    put(&broker, GroupSettings { ordered: true, ..GroupSettings::default() }).await;
    assert!(receive(&broker, "g", Duration::ZERO).await.messages.is_empty(), "the lane is held");
    let blocked = explain(&broker);
    let lane = find(&blocked, Cause::LaneBlocked);
    assert_eq!((lane.count, lane.id.as_ref(), lane.client.as_deref()), (Some(2), Some(&id), Some("test")));
    assert_eq!(lane.topic.as_ref().map(|topic| topic.as_str()), Some("t"));
    broker.settle(group(), vec![(Some(held.receipt), nack(3_600_000))]).await.unwrap();
    let retrying = explain(&broker);
    assert_eq!(causes(&retrying), [Cause::LaneBlocked, Cause::Retrying]);
    assert_eq!((find(&retrying, Cause::Retrying).attempt, &retrying.findings[0].client), (Some(2), &None));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_has_all_it_asked_for_gets_nothing_more() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let connected = broker.connect("worker".into(), "10.0.0.1:7".into());
    let request = SubscribeRequest {
        group: group(),
        topic: Some("t".parse().unwrap()),
        auto_create: true,
        mode: CreditMode::Prefetch(1),
        lease_ms: None,
        client: "worker".into(),
        socket: Some((connected.socket(), "s".into())),
    };
    let mut subscription = broker.subscribe(request).await.unwrap();
    a_moment().await;
    assert_eq!(causes(&explain(&broker)), [Cause::Empty, Cause::AllWell]);
    produce(&broker, "m").await.unwrap();
    produce(&broker, "n").await.unwrap();
    subscription.next().await.unwrap();
    a_moment().await;
    let stuck = explain(&broker);
    assert_eq!((stuck.findings[0].code, stuck.blocked, stuck.members), (Cause::NoCredit, true, 1));
    let page = broker.clients(None, Some(&group()), 10);
    let [client] = &page.rows[..] else { panic!("{page:?}") };
    assert_eq!((client.kind, &*client.peer, client.groups.len()), ("socket", "10.0.0.1:7", 1));
    let of_group = &client.groups[0];
    assert_eq!((of_group.in_flight, of_group.credit, of_group.mode), (Some(1), Some(0), "prefetch"));
    subscription.close(CloseHow::GiveBack);
    drop(subscription);
    assert_eq!(broker.group(&group()).unwrap().members, 0);
    drop(connected);
    assert!(broker.clients(None, None, 10).rows.is_empty());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_without_room_and_a_disk_without_space_are_named() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    put(&broker, GroupSettings { max_attempts: 1, dead_letters_max: 0, ..GroupSettings::default() }).await;
    produce(&broker, "m").await.unwrap();
    let held = receive(&broker, "g", Duration::ZERO).await.messages.remove(0);
    broker.settle(group(), vec![(Some(held.receipt), nack(0))]).await.unwrap();
    let _member = broker.receiving(&"c".into(), "p".into(), &group());
    let full = explain(&broker);
    assert_eq!(causes(&full), [Cause::DeadLettersFull, Cause::Retrying]);
    assert_eq!((full.findings[0].count, full.findings[0].of), (Some(0), Some(0)));
    rig.disk.set_free(Some(24 << 20));
    rig.log.measure_space().unwrap();
    assert_eq!(find(&explain(&broker), Cause::DiskLow).affects, Affects::Some);
    rig.disk.set_free(Some(12 << 20));
    rig.log.measure_space().unwrap();
    let tight = explain(&broker);
    assert_eq!((tight.findings[0].code, tight.blocked), (Cause::DiskFull, true));
    rig.disk.set_free(None);
    rig.log.measure_space().unwrap();
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_broker_says_that_it_does_not_serve() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    put(&broker, GroupSettings::default()).await;
    rig.running.stop().await;
    let stopped = explain(&broker);
    assert_eq!((stopped.findings[0].code, stopped.blocked), (Cause::NotServing, true));
    rig.replication.shutdown().await.unwrap();
}
