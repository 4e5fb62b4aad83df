//! Requests under a key: duplicates that meet on the way, and what a full or slow disk does to them.

use std::sync::Arc;
use std::time::Duration;

use whimbrel::broker::{Broker, BrokerError};
use whimbrel::machine::{NewMessage, ProduceRequest, Terms};
use whimbrel::model::{KeyHash, Message, MessageId, RequestKey, TopicName};

use crate::reads::{push_out, with_small_tail};
use crate::rig::{Rig, Setting, a_moment, produce};

/// Sends `body` under a key of its own; whether it was carried out before, and the id.
async fn once(broker: &Broker, body: &str) -> Result<(bool, MessageId), BrokerError> {
    let topic: TopicName = "t".parse().unwrap();
    let message = Message { body: body.to_owned().into(), ..Message::default() };
    let messages = vec![NewMessage { message: Arc::new(message), ..NewMessage::default() }];
    let key = RequestKey { key: KeyHash::of("", &topic, body), fingerprint: 7 };
    let request = ProduceRequest { topic, auto_create: true, messages };
    let terms = Terms { key: Some(key), ..Terms::default() };
    let produced = broker.produce_on(request, terms).await?;
    Ok((produced.replayed, produced.answers[0].as_ref().unwrap().id))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_that_is_queued_or_in_flight_waits_for_the_answer_of_the_first() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    produce(&broker, "there is a topic").await.unwrap();
    rig.disk.hold_after(Some(0));
    let ask = |body: &'static str| {
        let broker = broker.clone();
        tokio::spawn(async move { once(&broker, body).await })
    };
    let in_flight = ask("a");
    a_moment().await;
    // Its entry is on its way, so these gather for the next: one key twice in one entry, and a duplicate.
    let queued = [ask("a"), ask("b"), ask("b")];
    a_moment().await;
    assert!(!in_flight.is_finished() && queued.iter().all(|asked| !asked.is_finished()));
    rig.disk.hold_after(None);
    let (replayed, id) = in_flight.await.unwrap().unwrap();
    assert!(!replayed);
    let [again, first, second] = queued;
    assert_eq!(again.await.unwrap().unwrap(), (true, id));
    let both = [first.await.unwrap().unwrap(), second.await.unwrap().unwrap()];
    assert_eq!(both[0].1, both[1].1);
    assert_eq!(both.iter().filter(|(replayed, _)| *replayed).count(), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_unknown_outcome_the_same_key_is_safe() {
    let rig = Rig::with(Setting { request_timeout: Duration::from_millis(300), ..Setting::default() }).await;
    let broker = rig.broker();
    produce(&broker, "there is a topic").await.unwrap();
    rig.disk.hold_after(Some(0));
    let unknown = once(&broker, "a").await;
    assert!(matches!(unknown, Err(BrokerError::OutcomeUnknown)), "{unknown:?}");
    let queued = once(&broker, "b").await;
    assert!(matches!(queued, Err(BrokerError::Overloaded(_))), "{queued:?}");
    rig.disk.hold_after(None);
    // The disk may take longer than the timeout to come back; asking again is what a client does.
    let replayed = loop {
        match once(&broker, "a").await {
            Ok((replayed, _)) => break replayed,
            Err(BrokerError::Overloaded(_) | BrokerError::OutcomeUnknown) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert!(replayed, "it was stored, nobody knew");
    assert!(!once(&broker, "b").await.unwrap().0, "what was definitely not stored is not remembered");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_space_a_known_key_is_still_answered() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let (_, id) = once(&broker, "a").await.unwrap();
    rig.disk.set_free(Some(12 << 20));
    rig.log.measure_space().unwrap();
    assert_eq!(once(&broker, "a").await.unwrap(), (true, id));
    let refused = once(&broker, "b").await;
    assert!(matches!(refused, Err(BrokerError::DiskFull(_))), "{refused:?}");
    rig.disk.set_free(None);
    rig.log.measure_space().unwrap();
    assert!(!once(&broker, "b").await.unwrap().0);
    rig.stop().await;
}

/// The runtime has one thread: if that waited for the first answer to be read, nothing else would go on.
#[tokio::test]
async fn a_first_answer_that_is_read_from_the_disk_holds_up_nobody_else() {
    let rig = with_small_tail().await;
    let broker = rig.broker();
    let (_, id) = once(&broker, "a").await.unwrap();
    push_out(&broker).await;
    rig.disk.hold_reads(true);
    let again = tokio::spawn({
        let broker = broker.clone();
        async move { once(&broker, "a").await }
    });
    while rig.disk.waiting_reads() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::timeout(Duration::from_secs(10), produce(&broker, "new")).await.expect("held up").unwrap();
    assert!(!again.is_finished(), "it is not read yet");
    rig.disk.hold_reads(false);
    assert_eq!(again.await.unwrap().unwrap(), (true, id));
    rig.stop().await;
}
