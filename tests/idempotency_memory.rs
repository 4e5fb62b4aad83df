//! What a million remembered keys take: `cargo test --test idempotency_memory -- --nocapture` prints it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say so at once")]

use std::sync::Arc;

use whimbrel::machine::{Draft, Machine, NewMessage, ProduceOutcome, ProduceRequest, Terms};
use whimbrel::model::{KeyHash, Message, RequestKey, Timestamp, TopicName};

/// The allocator of the broker itself, so that its sizes count.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: u64 = 1_000_000;
const BATCH: u64 = 1_000;
/// What docs/adr/0013 promises: 64 MB a million.
const BYTES_A_KEY_MAX: u64 = 64;

/// Bytes of memory that this process holds (Linux, proc(5)).
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("needs Linux");
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[test]
fn a_million_keys_fit_in_64_mb() {
    let topic: TopicName = "t".parse().unwrap();
    let message = NewMessage { message: Arc::new(Message::default()), ..NewMessage::default() };
    let request = ProduceRequest { topic: topic.clone(), auto_create: true, messages: vec![message] };
    let key = |number: u64| RequestKey {
        key: KeyHash::of("", &topic, &number.to_string()),
        fingerprint: number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
    };
    let mut machine = Machine::default();
    let add = |machine: &mut Machine, numbers: std::ops::Range<u64>, index: u64| {
        let mut draft = Draft::new(machine, Timestamp(1_000_000 + index), Box::new(|| 1));
        for number in numbers {
            let terms = Terms { key: Some(key(number)), keys_max: usize::MAX, ..Terms::default() };
            let answer = draft.produce_on(&request, &terms).unwrap();
            assert!(matches!(answer, ProduceOutcome::Now(_)));
        }
        let batch = draft.finish().unwrap();
        assert!(machine.apply(index, &batch).took_effect);
    };
    // What a first batch takes, whatever it holds, is not the table's.
    add(&mut machine, 0..BATCH, 1);
    let before = resident();
    for round in 1..=KEYS / BATCH {
        add(&mut machine, round * BATCH..(round + 1) * BATCH, round + 1);
    }
    let bytes_a_key = resident().saturating_sub(before) / KEYS;
    assert_eq!(machine.remembered_keys() as u64, KEYS + BATCH);
    println!("{bytes_a_key} bytes a key");
    assert!(bytes_a_key <= BYTES_A_KEY_MAX, "{bytes_a_key} bytes a key");
    let mut draft = Draft::new(&machine, Timestamp(2_000_000), Box::new(|| 1));
    let terms = Terms { key: Some(key(500_500)), keys_max: 0, ..Terms::default() };
    assert!(matches!(draft.produce_on(&request, &terms), Ok(ProduceOutcome::Before(_))));
}
