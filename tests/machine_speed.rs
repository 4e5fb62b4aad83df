//! How fast the rules are, without disk and network: `cargo test --release --test machine_speed -- --ignored --nocapture`.
//! Prints figures; asserts only that the work was done, for a timed assertion is not a test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say so at once")]

use std::sync::Arc;

use whimbrel::machine::{
    Batch, Candidates, Delay, Draft, Machine, NewMessage, ProduceRequest, PutMode, ReceiveRequest, SettleOp,
};
use whimbrel::model::{
    Attributes, Filter, GroupName, GroupSettings, Message, Receipt, Subscription, Timestamp, TopicSettings,
};

const MESSAGES: u64 = 500_000;
const BATCH: u64 = 500;

/// Nanoseconds that this thread was on a processor (Linux, proc(5)): other work on the machine does not count.
fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("needs Linux");
    text.split(' ').next().unwrap().parse().unwrap()
}

struct Run {
    machine: Machine,
    index: u64,
    now: Timestamp,
}

impl Run {
    fn batch<T>(&mut self, rules: impl FnOnce(&mut Draft) -> T) -> T {
        let mut nonce = self.index << 20;
        let nonces = move || {
            nonce += 1;
            nonce
        };
        let mut draft = Draft::new(&self.machine, self.now, Box::new(nonces));
        let answer = rules(&mut draft);
        let batch: Batch = draft.finish().unwrap();
        self.index += 1;
        assert!(self.machine.apply(self.index, &batch).took_effect);
        answer
    }
}

/// Each batch acks what the one before leased, produces, and leases what it produced: messages a second through all three.
fn pipeline(ordered: bool, single: bool) -> u64 {
    let mut run = Run { machine: Machine::default(), index: 0, now: Timestamp(1_000_000) };
    run.batch(|draft| draft.start_leadership(1));
    let group: GroupName = "g".parse().unwrap();
    run.batch(|draft| {
        draft.put_topic("t".parse().unwrap(), TopicSettings::default(), PutMode::Upsert).unwrap();
        let subscription = Subscription { topic: "t".parse().unwrap(), filter: Filter::All };
        let settings =
            GroupSettings { subscriptions: vec![subscription], ordered, ..GroupSettings::default() };
        draft.put_group(group.clone(), settings, (PutMode::Upsert, false), &Candidates::default()).unwrap();
    });
    let keyed = |at: u64| Attributes {
        ordering_key: ordered.then(|| format!("key{at}").into()),
        ..Attributes::default()
    };
    let message = |at| Arc::new(Message { body: vec![7; 1_024].into(), attributes: keyed(at) });
    let messages: Vec<NewMessage> = (0..BATCH)
        .map(|at| NewMessage { message: message(at), queue: None, delay: Delay::None, ttl_ms: None })
        .collect();
    let per_request = if single { 1 } else { 100 };
    let requests: Vec<ProduceRequest> = messages
        .chunks(per_request)
        .map(|part| ProduceRequest {
            topic: "t".parse().unwrap(),
            auto_create: false,
            messages: part.to_vec(),
        })
        .collect();
    let mut held: Vec<(Option<Receipt>, SettleOp)> = Vec::new();
    let mut acked = 0;
    let begin = processor_ns();
    while acked < MESSAGES {
        run.now = run.now.plus(1);
        let receive = ReceiveRequest {
            group: group.clone(),
            topic: None,
            auto_create: false,
            max_messages: 100,
            max_bytes: 1 << 24,
            lease_ms: None,
            session: 1,
            client: "c".into(),
            turn: u32::try_from(run.index % 4).unwrap(),
        };
        let leased = run.batch(|draft| {
            acked += held.len() as u64;
            for part in held.chunks(if single { 1 } else { 100 }) {
                draft.settle(&group, part);
            }
            for request in &requests {
                draft.produce(request).unwrap();
            }
            let mut leased = Vec::new();
            loop {
                let received = draft.receive(&receive, &Candidates::default()).unwrap();
                if received.messages.is_empty() {
                    return leased;
                }
                leased.extend(received.messages.into_iter().map(|leased| (received.group, leased)));
            }
        });
        assert_eq!(leased.len() as u64, BATCH);
        held.clear();
        held.extend(leased.iter().map(|(id, leased)| (Some(leased.receipt(*id, run.index)), SettleOp::Ack)));
    }
    acked * 1_000_000_000 / (processor_ns() - begin)
}

#[test]
#[ignore = "prints figures, for release builds"]
fn produce_lease_ack() {
    for (name, ordered, single) in
        [("batches", false, false), ("single requests", false, true), ("ordered, batches", true, false)]
    {
        println!(
            "{name}: {} messages produced, leased and acked per processor second",
            pipeline(ordered, single)
        );
    }
}
