//! Scheduled messages: what becomes of them, and how that is known without a table of those that were cancelled.

use std::sync::Arc;
use std::time::Duration;

use whimbrel::broker::{Broker, BrokerError, SchedulePlace, Standing};
use whimbrel::machine::{Delay, NewMessage, Refusal};
use whimbrel::model::{Message, MessageId, TopicName};

use crate::reads::{push_out, with_small_tail};
use crate::rig::{Rig, produce, receive};

fn topic() -> TopicName {
    "t".parse().unwrap()
}

async fn schedule(broker: &Broker, body: &str, delay_ms: u64) -> MessageId {
    let message = Arc::new(Message { body: body.to_owned().into(), ..Message::default() });
    let new = NewMessage { message, delay: Delay::For(delay_ms), queue: Some(0), ..NewMessage::default() };
    broker.produce(topic(), true, vec![new]).await.unwrap()[0].as_ref().unwrap().id
}

fn is_refused(cancelled: &Result<(), BrokerError>) -> bool {
    matches!(cancelled, Err(BrokerError::Refused(Refusal::NotScheduled)))
}

fn standing(broker: &Broker, id: MessageId) -> (Standing, Option<u64>) {
    let shown = broker.message(id).unwrap();
    assert_eq!(shown.due.is_none(), shown.standing == Standing::Ready);
    (shown.standing, shown.offset)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_message_stays_cancelled_and_is_known_to_be() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    produce(&broker, "before").await.unwrap();
    let (never, brief, long) = (
        schedule(&broker, "never", 100).await,
        schedule(&broker, "brief", 100).await,
        schedule(&broker, "long", 3_600_000).await,
    );
    assert_eq!(broker.topic(&topic()).unwrap().scheduled, 3);
    broker.cancel(never).await.unwrap();
    broker.cancel(long).await.unwrap();
    assert_eq!(broker.topic(&topic()).unwrap().scheduled, 1, "its place in memory is free");
    assert_eq!(standing(&broker, never), (Standing::Cancelled, None));
    while standing(&broker, brief).0 == Standing::Scheduled {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    produce(&broker, "after").await.unwrap();
    assert_eq!(standing(&broker, brief), (Standing::Ready, Some(1)));
    // Its time is over as well, and it is in no queue.
    assert_eq!(standing(&broker, never), (Standing::Cancelled, None));
    assert_eq!(standing(&broker, long), (Standing::Cancelled, None));
    // The second try of somebody who got no answer; and one that comes too late.
    broker.cancel(never).await.unwrap();
    let late = broker.cancel(brief).await;
    assert!(is_refused(&late), "{late:?}");
    let messages = receive(&broker, "g", Duration::from_secs(10)).await.messages;
    let bodies: Vec<_> = messages.into_iter().map(|message| message.message.body).collect();
    assert_eq!(bodies, ["before", "brief", "after"]);
    // Without the index nobody can tell; before its time anybody can.
    rig.index.doubt("a test");
    assert_eq!(standing(&broker, long), (Standing::Cancelled, None));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_cancel_at_once_both_are_told_that_it_is_done() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let id = schedule(&broker, "never", 3_600_000).await;
    rig.disk.hold_after(Some(0));
    let cancel = || {
        let broker = broker.clone();
        tokio::spawn(async move { broker.cancel(id).await })
    };
    let both = [cancel(), cancel()];
    crate::rig::a_moment().await;
    rig.disk.hold_after(None);
    for cancelled in both {
        cancelled.await.unwrap().unwrap();
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_goes_by_due_time_and_pages_through_equal_ones() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let late = schedule(&broker, "late", 7_200_000).await;
    let message = Arc::new(Message::default());
    let soon = NewMessage { message, delay: Delay::For(3_600_000), ..NewMessage::default() };
    let soon = broker.produce(topic(), true, vec![soon; 3]).await.unwrap();
    let mut expected: Vec<MessageId> = soon.into_iter().map(|answer| answer.unwrap().id).collect();
    expected.push(late);
    let mut listed = Vec::new();
    let mut after: Option<SchedulePlace> = None;
    loop {
        let page = broker.scheduled(&topic(), after, 2).unwrap();
        listed.extend(page.rows.iter().map(|row| row.id));
        let Some(next) = page.next_cursor else { break };
        after = Some(next.parse().unwrap());
        // What goes away between two pages shifts nothing.
        broker.cancel(expected[0]).await.unwrap();
    }
    assert_eq!(listed, expected);
    assert!(matches!(broker.scheduled(&"no".parse().unwrap(), None, 2), Err(BrokerError::Refused(_))));
    rig.stop().await;
}

/// A scheduled message that cannot be read holds up all behind it, so it can be taken out all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_message_that_cannot_be_read_is_named_and_can_be_cancelled() {
    let rig = with_small_tail().await;
    let broker = rig.broker();
    let damaged = schedule(&broker, "damaged", 5_000).await;
    let first = rig.directory.path().join(format!("log/{:012}.log", rig.log.segments()[0].id));
    while rig.log.segments().len() == 1 {
        push_out(&broker).await;
    }
    let sound = schedule(&broker, "sound", 5_000).await;
    rig.disk.fail_reads(&first);
    let named = broker.scheduled(&topic(), None, 10).unwrap_err().to_string();
    assert!(named.contains(&format!("DELETE /v1/messages/{damaged}")), "{named}");
    broker.cancel(damaged).await.unwrap();
    let listed = broker.scheduled(&topic(), None, 10).unwrap();
    assert!(listed.rows.iter().all(|row| row.id == sound));
    let messages = receive(&broker, "g", Duration::from_secs(30)).await.messages;
    assert_eq!(messages[0].id, sound, "nothing holds it up");
    rig.stop().await;
}
