//! What trails and traces cost. Prints, and holds nothing to a time.

use std::time::{Duration, Instant};

use whimbrel::machine::{self, NewMessage, SettleOp, TOUCH_RULES};
use whimbrel::model::Message;
use whimbrel::storage::{Record, RecordKind, Touches};

use super::rig::{Rig, receiving};

struct Facts;

impl Touches for Facts {
    fn rules(&self) -> u32 {
        TOUCH_RULES
    }

    fn of_entry(&self, record: &Record, touch: &mut dyn FnMut(u64)) -> Result<(), String> {
        if record.kind == RecordKind::Batch {
            for part in record.parts.iter().skip(1) {
                machine::touches(part, record.index, &mut |what| touch(what.key()))
                    .map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

async fn work(rig: &Rig, count: u64) {
    let broker = rig.broker();
    for _ in 0..count / 1_000 {
        let body = vec![b'x'; 1_024];
        let new = || NewMessage {
            message: std::sync::Arc::new(Message { body: body.clone().into(), ..Message::default() }),
            ..NewMessage::default()
        };
        let messages = std::iter::repeat_with(new).take(1_000).collect();
        broker.produce("t".parse().unwrap(), true, messages).await.unwrap();
        loop {
            let request = whimbrel::machine::ReceiveRequest { max_messages: 1_000, ..receiving("g") };
            let received = broker.receive(request, Duration::ZERO).await.unwrap().messages;
            if received.is_empty() {
                break;
            }
            let acks = received.iter().map(|message| (Some(message.receipt), SettleOp::Ack)).collect();
            broker.settle("g".parse().unwrap(), acks).await.unwrap();
        }
    }
}

/// `cargo test --test broker what_trails_cost -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_trails_cost() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    work(&rig, 1_000).await;
    let new = NewMessage { queue: Some(0), ..NewMessage::default() };
    let answers = broker.produce("t".parse().unwrap(), true, vec![new]).await.unwrap();
    let id = answers[0].as_ref().unwrap().id;
    work(&rig, 200_000).await;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let trace = |what: &str| {
        let (begun, mut cursor, mut pages, mut read, mut passed) = (Instant::now(), None, 0, 0, 0);
        loop {
            let page = broker.trace(id, cursor, 1_000).unwrap();
            (pages, read, passed) = (pages + 1, read + page.scanned_bytes, passed + page.segments_passed);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let (took, read) = (begun.elapsed(), mib(read));
        println!(
            "a trace {what}: {took:.0?}, {pages} pages, {read:.0} MiB read, {passed} segments passed over"
        );
    };
    trace("without trails");
    let (mut bytes, mut count) = (0, 0);
    let begun = Instant::now();
    for segment in rig.log.segments().iter().filter(|segment| segment.sealed) {
        assert!(rig.log.lay_trail(segment.id, &Facts, &mut |_| true).unwrap());
        bytes += segment.bytes;
        count += 1;
    }
    let rate = mib(bytes) / begun.elapsed().as_secs_f64();
    println!("{count} trails of {:.0} MiB laid at {rate:.0} MiB/s", mib(bytes));
    trace("with trails");
    rig.stop().await;
}
