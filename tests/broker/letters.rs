//! What people are shown of dead letters, schedules and the groups of one message.

use std::sync::Arc;
use std::time::Duration;

use whimbrel::broker::{Broker, BrokerError, StateInGroup};
use whimbrel::machine::{Delay, Expected, NewMessage, SettleOp, SettleStatus, SettledAs};
use whimbrel::model::{
    DeadLetterFilter, DeadReason, Filter, GroupName, GroupSettings, Message, MessageId, Subscription,
    TopicName,
};

use crate::rig::{Rig, produce, receive};

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

async fn publish(broker: &Broker, topic: &str, body: &str, delay: Delay) -> MessageId {
    let message = Arc::new(Message { body: body.to_owned().into(), ..Message::default() });
    let new = NewMessage { message, delay, queue: Some(0), ..NewMessage::default() };
    let topic: TopicName = topic.parse().unwrap();
    broker.produce(topic, true, vec![new]).await.unwrap()[0].as_ref().unwrap().id
}

/// Has a group reject the next message with these words.
async fn reject(broker: &Broker, name: &str, words: Option<&str>) -> MessageId {
    let received = receive(broker, name, Duration::from_secs(20)).await;
    let message = &received.messages[0];
    let op = SettleOp::DeadLetter { reason: words.map(Into::into) };
    let settled = broker.settle(group(name), vec![(Some(message.receipt), op)]).await.unwrap();
    assert_eq!(settled, [SettleStatus::Ok(SettledAs::Dead)]);
    message.id
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_found_by_what_they_died_of_and_counted_by_it() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let mut ids = Vec::new();
    for words in [Some("no stock"), Some("db down"), Some("no stock"), None] {
        produce(&broker, "m").await.unwrap();
        ids.push(reject(&broker, "g", words).await);
    }
    let deaths = broker.deaths(&group("g")).unwrap();
    let kinds: Vec<_> = deaths.kinds.iter().map(|kind| (kind.words.as_deref(), kind.count)).collect();
    assert_eq!(kinds[0], (Some("no stock"), 2));
    assert!(kinds.contains(&(Some("db down"), 1)) && kinds.contains(&(None, 1)), "{kinds:?}");
    assert_eq!((deaths.looked, deaths.total, deaths.others), (4, 4, 0));
    assert!(
        deaths.kinds.iter().all(|kind| kind.reason == DeadReason::Rejected && kind.topic.as_str() == "t")
    );

    let words = DeadLetterFilter { failure_contains: Some("stock".into()), ..DeadLetterFilter::default() };
    let found = broker.find_dead_letters(&group("g"), &words, None, 1).unwrap();
    assert_eq!(found.letters.iter().map(|letter| letter.id).collect::<Vec<_>>(), [ids[0]]);
    assert_eq!(found.letters[0].failures[0].reason.as_deref(), Some("no stock"));
    assert!(found.next.is_some() && !found.bounded);
    let rest = broker.find_dead_letters(&group("g"), &words, found.next, 10).unwrap();
    assert_eq!(rest.letters.iter().map(|letter| letter.id).collect::<Vec<_>>(), [ids[2]]);
    assert_eq!((rest.next, rest.looked), (None, 3), "it goes on behind the last one that was looked at");

    let with_letters = broker.groups_with_dead_letters(None, 10);
    assert_eq!(with_letters.rows, [(group("g"), 4)]);
    let missing = broker.deaths(&group("nobody"));
    assert!(matches!(missing, Err(BrokerError::Refused(_))), "{missing:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_retried_are_counted_by_how_they_last_failed() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    for words in [Some("no stock"), Some("no stock"), None] {
        produce(&broker, "m").await.unwrap();
        let received = receive(&broker, "g", Duration::from_secs(20)).await;
        let op = SettleOp::Nack { delay_ms: Some(3_600_000), reason: words.map(Into::into) };
        let settled =
            broker.settle(group("g"), vec![(Some(received.messages[0].receipt), op)]).await.unwrap();
        assert!(matches!(settled[..], [SettleStatus::Ok(SettledAs::Retrying { .. })]), "{settled:?}");
    }
    produce(&broker, "never failed").await.unwrap();
    receive(&broker, "g", Duration::from_secs(20)).await;
    let failures = broker.failures(&group("g")).unwrap();
    assert_eq!(failures.attempts, [(0, 1), (1, 3)]);
    assert_eq!((failures.held, failures.looked, failures.failed, failures.read), (4, 4, 3, 3));
    let kinds: Vec<_> =
        failures.kinds.iter().map(|kind| (kind.cause, kind.words.as_deref(), kind.count)).collect();
    assert_eq!(kinds, [("nack", Some("no stock"), 2), ("nack", None, 1)]);
    assert!(matches!(broker.failures(&group("nobody")), Err(BrokerError::Refused(_))));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_scheduled_messages_come_from_all_topics_in_order() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let hour = 3_600_000;
    for (topic, delay, body) in [("b", 3, "3"), ("a", 2, "2"), ("a", 4, "4"), ("b", 1, "1"), ("c", 5, "5")] {
        publish(&broker, topic, body, Delay::For(delay * hour)).await;
    }
    let bodies = |limit| {
        let text = |stored: whimbrel::broker::StoredMessage| {
            String::from_utf8(stored.message.body.to_vec()).unwrap()
        };
        broker.upcoming(limit).into_iter().map(text).collect::<Vec<_>>().join("")
    };
    assert_eq!((bodies(3), bodies(100), bodies(0)), ("123".to_owned(), "12345".to_owned(), String::new()));
    let topics: Vec<_> = broker
        .topics_with_scheduled(None, 2)
        .rows
        .iter()
        .map(|(topic, count)| format!("{topic} {count}"))
        .collect();
    assert_eq!(topics, ["a 2", "b 2"]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_as_each_of_its_groups_sees_it() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let first = publish(&broker, "t", "1", Delay::None).await;
    for (name, filter) in [("all", Filter::All), ("choosy", Filter::parse_tags("other").unwrap())] {
        let subscription = Subscription { topic: "t".parse().unwrap(), filter };
        let settings = GroupSettings { subscriptions: vec![subscription], ..GroupSettings::default() };
        broker.put_group(group(name), settings, Expected::default(), true).await.unwrap();
    }
    let second = publish(&broker, "t", "2", Delay::None).await;
    let later = publish(&broker, "t", "later", Delay::For(3_600_000)).await;
    let seen = |id| {
        let (groups, are_more) = broker.in_groups(&broker.message(id).unwrap()).unwrap();
        assert!(!are_more);
        groups
    };
    let states = |id| seen(id).iter().map(|one| (one.group.to_string(), one.state)).collect::<Vec<_>>();
    let expected = |all, choosy| vec![("all".to_owned(), all), ("choosy".to_owned(), choosy)];
    assert_eq!(states(second), expected(StateInGroup::Waiting, StateInGroup::WillPassOver));
    assert_eq!(states(later), expected(StateInGroup::NotYet, StateInGroup::NotYet));

    let received = receive(&broker, "all", Duration::from_secs(20)).await;
    let leased =
        received.messages.iter().find(|message| message.id == first || message.id == second).unwrap();
    let view = seen(leased.id)[0].clone();
    assert_eq!((view.state, view.attempt, view.round), (StateInGroup::Leased, Some(1), Some(1)));
    assert!(view.client.is_some() && view.at.is_some());
    let nack = SettleOp::Nack { delay_ms: Some(3_600_000), reason: Some("not now".into()) };
    broker.settle(group("all"), vec![(Some(leased.receipt), nack)]).await.unwrap();
    let view = seen(leased.id)[0].clone();
    assert_eq!((view.state, view.attempt), (StateInGroup::Retrying, Some(2)));
    rig.stop().await;
}
