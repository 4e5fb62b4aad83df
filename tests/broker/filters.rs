//! Groups with SQL filters, on a broker over a real log.

use std::sync::Arc;
use std::time::Duration;

use whimbrel::broker::Broker;
use whimbrel::machine::{Expected, NewMessage};
use whimbrel::model::{Attributes, Filter, GroupSettings, Message, Millis, Subscription};

use crate::reads::{push_out, with_small_tail};
use crate::rig::{Rig, produce, receive};

fn coloured(body: &str, colour: &str, ttl_ms: Option<Millis>) -> NewMessage {
    let properties = [("colour".into(), colour.into())].into();
    let attributes = Attributes { properties, ..Attributes::default() };
    let message = Message { body: body.to_owned().into(), attributes };
    NewMessage { message: Arc::new(message), ttl_ms, queue: Some(0), ..NewMessage::default() }
}

async fn reds(broker: &Broker, dead_letter_expired: bool) {
    let filter = Filter::parse_sql("colour = 'red'").unwrap();
    let subscriptions = vec![Subscription { topic: "t".parse().unwrap(), filter }];
    let settings = GroupSettings { subscriptions, dead_letter_expired, ..GroupSettings::default() };
    broker.put_group("g".parse().unwrap(), settings, Expected::default(), true).await.unwrap();
}

/// A receive looks on, batch after batch, until it has passed everything that does not match.
#[tokio::test(flavor = "multi_thread")]
async fn a_rare_match_far_behind_is_found_by_one_receive() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    reds(&broker, false).await;
    for batch in 0..5 {
        let colour = |at: usize| if batch == 4 && at == 999 { "red" } else { "blue" };
        let messages = (0..1_000).map(|at| coloured("m", colour(at), None)).collect();
        broker.produce("t".parse().unwrap(), true, messages).await.unwrap();
    }
    let received = receive(&broker, "g", Duration::from_secs(30)).await.messages;
    assert_eq!(received.iter().map(|message| message.leased.offset).collect::<Vec<_>>(), [4_999]);
    // The observer has not looked again yet, and a look counts what is left by itself.
    let view = broker.group(&"g".parse().unwrap()).unwrap();
    assert_eq!((view.topics[0].lag, view.topics[0].counting, view.topics[0].in_flight), (1, false, 1));
    let rounds = broker.rounds();
    assert!(receive(&broker, "g", Duration::from_millis(300)).await.messages.is_empty());
    assert!(broker.rounds() - rounds < 20, "nothing left to look at, and it looks all the time");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_buries_only_what_an_sql_filter_would_have_let_pass() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    reds(&broker, true).await;
    let messages = ["blue", "red", "blue", "red"].map(|colour| coloured("m", colour, Some(1))).to_vec();
    broker.produce("t".parse().unwrap(), true, messages).await.unwrap();
    let dead = || broker.group(&"g".parse().unwrap()).unwrap().dead_letters;
    for _ in 0..200 {
        broker.tend().await;
        if dead() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(dead(), 2);
    let view = broker.group(&"g".parse().unwrap()).unwrap();
    assert_eq!((view.topics[0].lag, view.topics[0].counting), (0, false));
    rig.stop().await;
}

/// What an SQL filter asks about is read beside the agreement: a slow disk holds up the group that asks, and nobody else.
#[tokio::test]
async fn a_filter_that_asks_the_disk_holds_up_nobody_else() {
    let rig = with_small_tail().await;
    let broker = rig.broker();
    reds(&broker, false).await;
    let messages = vec![coloured("blue", "blue", None), coloured("red", "red", None)];
    broker.produce("t".parse().unwrap(), true, messages).await.unwrap();
    push_out(&broker).await;
    rig.disk.hold_reads(true);
    let asking = tokio::spawn({
        let broker = broker.clone();
        async move { receive(&broker, "g", Duration::from_secs(30)).await.messages }
    });
    while rig.disk.waiting_reads() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for body in ["one", "two"] {
        let produced = tokio::time::timeout(Duration::from_secs(10), produce(&broker, body)).await;
        produced.expect("held up").unwrap();
    }
    assert!(!asking.is_finished(), "nobody knows yet which of them is red");
    rig.disk.hold_reads(false);
    let bodies: Vec<_> = asking.await.unwrap().into_iter().map(|message| message.message.body).collect();
    assert_eq!(bodies, ["red"]);
    rig.stop().await;
}
