//! The bytes of a record and of the start of a segment, frozen.

use bytes::Bytes;

use crate::storage::{
    record::{CHAIN_START, Head, Place, Record, RecordKind, close_flush, encode},
    segment::{Header, Tip},
    span::Span,
};

fn place() -> Place {
    Place { segment: 7, offset: 128, flush: 9, committed: 40, prev: CHAIN_START, salt: 0x0102_0304 }
}

fn sample() -> Record {
    let parts = vec![Bytes::from_static(b"head"), Bytes::new(), Bytes::from_static(b"hello, whimbrel")];
    Record { index: 41, term: 3, leader: 2, kind: RecordKind::Batch, parts }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes() {
    let mut bytes = Vec::new();
    encode(&mut bytes, &sample(), &place()).unwrap();
    close_flush(&mut bytes, 0, place().salt);
    assert_eq!(bytes.len(), sample().encoded_len());
    let lines: Vec<String> = bytes.chunks(16).map(hex).collect();
    assert_eq!(lines.join("\n"), include_str!("golden_record.txt").trim_end());
}

#[test]
fn golden_start() {
    let before = Tip { id: Some(sample().id()), crc: CHAIN_START, flush: 9 };
    let header = Header { id: 7, salt: place().salt, previous: 6, base: 42, before };
    let lines: Vec<String> = header.start(Span::default().next(8 << 20)).chunks(16).map(hex).collect();
    assert_eq!(lines.join("\n"), include_str!("golden_start.txt").trim_end());
}

#[test]
fn the_newer_whole_slot_counts() {
    let before = Tip { id: None, crc: CHAIN_START, flush: 0 };
    let header = Header { id: 7, salt: 5, previous: 0, base: 0, before };
    let first = Span::default().next(1_000);
    let second = first.next(2_000);
    let mut start = header.start(first);
    assert_eq!(Span::read(&start, &header), Some(first));
    let at = usize::try_from(second.at()).unwrap();
    start[at..at + 32].copy_from_slice(&second.encode(&header));
    assert_eq!(Span::read(&start, &header), Some(second));
    assert_ne!(first.at(), second.at());
    for bit in 0..32 * 8 {
        let mut harmed = start.clone();
        harmed[at + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Span::read(&harmed, &header), Some(first), "bit {bit}");
    }
    assert_eq!(Span::read(&start, &Header { salt: 6, ..header }), None);
    assert_eq!(Span::read(&start[..100], &header), None);
}

#[test]
fn a_record_reads_back_and_every_flipped_bit_is_found() {
    let mut bytes = Vec::new();
    let crc = encode(&mut bytes, &sample(), &place()).unwrap();
    let salt = place().salt;
    let head = Head::decode(&bytes, salt).unwrap();
    assert_eq!((head.crc, head.flush, head.committed, head.closes_flush), (crc, 9, 40, false));
    assert_eq!(head.record(&Bytes::from(bytes.clone()), salt).unwrap(), sample());
    assert!(Head::decode(&bytes, salt + 1).is_err(), "another salt must not fit");
    for bit in 0..bytes.len() * 8 {
        let mut harmed = bytes.clone();
        harmed[bit / 8] ^= 1 << (bit % 8);
        let read = Head::decode(&harmed, salt).and_then(|head| head.record(&Bytes::from(harmed), salt));
        assert!(read.is_err(), "bit {bit}");
    }
}

#[test]
fn random_bytes_never_panic() {
    use rand::{RngExt, SeedableRng, rngs::SmallRng};
    let mut random = SmallRng::seed_from_u64(3);
    for _ in 0..20_000 {
        let mut bytes = vec![0u8; random.random_range(0..300)];
        random.fill(&mut bytes[..]);
        // With a right head checksum the deeper checks are reached.
        if bytes.len() >= 80 {
            bytes[8] = 1;
            bytes[9] = random.random_range(0..4);
            bytes[..4].copy_from_slice(&(random.random_range(0..320u32)).to_le_bytes());
            bytes[12..16].copy_from_slice(&(random.random_range(0..30u32)).to_le_bytes());
            close_flush(&mut bytes, 0, 5);
        }
        if let Ok(head) = Head::decode(&bytes, 5) {
            drop(head.record(&Bytes::from(bytes), 5));
        }
    }
}
