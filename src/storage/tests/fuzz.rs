//! Everything the disk gives back, harmed: also where the checksums are right, as if we had written it.

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};

use crate::model::tests::fuzz::{Target, same};
use crate::storage::{
    images::{ImageMeta, decode_header, encode_header},
    node,
    record::{CHAIN_START, HEAD_BYTES, Head, Place, Record, RecordId, RecordKind, close_flush, encode},
    segment::{Footer, Header, Mark, Tip},
    vote::{Marks, Vote},
};

const SALT: u32 = 0x0102_0304;

fn set(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn get(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |field| u32::from_le_bytes(field.try_into().unwrap()))
}

fn record_bytes(parts: Vec<Bytes>, kind: RecordKind) -> Vec<u8> {
    let record = Record { index: 41, term: 3, leader: 2, kind, parts };
    let place = Place { segment: 7, offset: 128, flush: 9, committed: 40, prev: CHAIN_START, salt: SALT };
    let mut bytes = Vec::new();
    encode(&mut bytes, &record, &place).unwrap();
    close_flush(&mut bytes, 0, SALT);
    bytes
}

/// Signs a record again as it is: length, parts, table and head.
fn sign_record(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().max(HEAD_BYTES + 8).next_multiple_of(8), 0xA5);
    let length = u32::try_from(bytes.len()).unwrap();
    set(bytes, 0, length);
    let most = (bytes.len() - HEAD_BYTES) / 8;
    let parts = get(bytes, 12).min(u32::try_from(most).unwrap() - 1) % 8;
    set(bytes, 12, parts);
    let table_end = HEAD_BYTES + usize::try_from(parts).unwrap() * 8;
    let mut at = table_end;
    for mark in (HEAD_BYTES..table_end).step_by(8) {
        // The last part takes all but the padding.
        let left = bytes.len() - 8 - at.min(bytes.len() - 8);
        let wanted = usize::try_from(get(bytes, mark)).unwrap();
        let size = if mark + 8 == table_end { left } else { wanted.min(left) };
        set(bytes, mark, u32::try_from(size).unwrap());
        let crc = crc32c_append(SALT, &bytes[at..at + size]);
        set(bytes, mark + 4, crc);
        at += size;
    }
    bytes[at..].fill(0xA5);
    let table = crc32c_append(SALT, &bytes[HEAD_BYTES..table_end]);
    set(bytes, 76, table);
    let head = crc32c_append(crc32c_append(SALT, &bytes[..4]), &bytes[8..HEAD_BYTES]);
    set(bytes, 4, head);
}

#[test]
fn fuzz_record() {
    let parts = || vec![Bytes::from_static(b"head"), Bytes::new(), Bytes::from_static(b"hello, whimbrel")];
    Target {
        name: "record",
        seeds: vec![
            record_bytes(Vec::new(), RecordKind::Blank),
            record_bytes(parts(), RecordKind::Batch),
            record_bytes(vec![Bytes::from_static(b"{}")], RecordKind::Membership),
        ],
        words: &["\u{1}\u{2}\u{1}\u{0}", "\u{7f}\u{7f}\u{7f}\u{7f}"],
        repair: Some(sign_record),
        check: |input| {
            let head = Head::decode(input, SALT).map_err(|flaw| flaw.what)?;
            let record = head.record(&Bytes::copy_from_slice(input), SALT).map_err(|flaw| flaw.what)?;
            assert_eq!(record.id(), head.id);
            let (segment, offset) = (head.segment, head.offset);
            let Head { flush, committed, prev, .. } = head;
            let place = Place { segment, offset, flush, committed, prev, salt: SALT };
            let mut again = Vec::new();
            encode(&mut again, &record, &place).unwrap();
            if head.closes_flush {
                close_flush(&mut again, 0, SALT);
            }
            let read = Head::decode(&again, SALT).unwrap();
            same(&record, &read.record(&Bytes::from(again), SALT).unwrap());
            assert_eq!((read.segment, read.flush, read.prev), (segment, flush, prev));
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_vote() {
    let marks = |vote, purged| Marks { sequence: 9, vote, purged, newest: 3, next: 4, floor: (3, 4_096) };
    let vote = Some(Vote { term: 5, node: 1, committed: true });
    let purged = Some(RecordId { index: 40, term: 3, leader: 1 });
    Target {
        name: "vote",
        seeds: vec![marks(None, None).encode(), marks(vote, purged).encode()],
        words: &["\u{1}", "\u{0}\u{0}\u{0}\u{0}"],
        repair: Some(|input| {
            if input.len() > 8 {
                let crc = crc32c(&input[8..]);
                set(input, 4, crc);
            }
        }),
        check: |input| {
            let marks = Marks::decode(input).ok_or("not a vote")?;
            same(&marks, &Marks::decode(&marks.encode()).unwrap());
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_segment_start() {
    let header = |id| {
        let before = Tip { id, crc: CHAIN_START, flush: 9 };
        Header { id: 7, salt: SALT, previous: 6, base: 42, before }
            .start(crate::storage::span::Span::default())
    };
    let last = RecordId { index: 41, term: 3, leader: 2 };
    Target {
        name: "segment_start",
        seeds: vec![header(None), header(Some(last))],
        words: &["\u{0}\u{0}\u{0}\u{1}"],
        repair: Some(|input| {
            if input.len() >= 128 {
                let crc = crc32c(&input[..124]);
                set(input, 124, crc);
            }
        }),
        check: |input| {
            let header = Header::decode(input).ok_or("not a header")?;
            let span = crate::storage::span::Span::read(input, &header);
            let again = header.start(span.unwrap_or_default());
            same(&header, &Header::decode(&again).unwrap());
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_segment_footer() {
    let footer = |count: u64| {
        let tip =
            Tip { id: (count > 0).then_some(RecordId { index: 9, term: 2, leader: 1 }), crc: 5, flush: 6 };
        let marks = (0..count).map(|index| Mark { index, offset: 128 + index * 65_536 }).collect();
        Footer { id: 7, first: 1, count, tip, committed: 8, marks }.encode(SALT)
    };
    Target {
        name: "segment_footer",
        seeds: vec![footer(0), footer(3)],
        words: &["\u{0}\u{0}\u{0}\u{1}"],
        repair: Some(|input| {
            if let Some(end) = input.len().checked_sub(4) {
                let crc = crc32c_append(SALT, &input[..end]);
                set(input, end, crc);
            }
        }),
        check: |input| {
            let _ = Footer::length_at(input, 7);
            let footer = Footer::decode(input, SALT).ok_or("not a footer")?;
            same(&footer, &Footer::decode(&footer.encode(SALT), SALT).unwrap());
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_image_header() {
    let meta =
        |extra: &'static [u8]| ImageMeta { index: 9, term: 2, leader: 1, extra: Bytes::from_static(extra) };
    Target {
        name: "image_header",
        seeds: [meta(b""), meta(b"what the writer adds")]
            .iter()
            .map(|meta| encode_header(meta).unwrap())
            .collect(),
        words: &["\u{1}\u{0}\u{0}\u{0}"],
        repair: Some(|input| {
            let extra = input.get(48..).unwrap_or_default().to_vec();
            set(input, 12, u32::try_from(extra.len()).unwrap());
            set(input, 40, crc32c(&extra));
            let crc = crc32c(input.get(..44).unwrap_or_default());
            set(input, 44, crc);
        }),
        check: |input| {
            let (meta, _) = decode_header(input).ok_or("not a header")?;
            let (again, _) = decode_header(&encode_header(&meta).unwrap()).unwrap();
            same(&meta, &again);
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_node_file() {
    let identity = |restored_from: Option<&str>| node::NodeIdentity {
        node_id: 1,
        cluster_id: "0123456789abcdef".into(),
        format_version: node::FORMAT_VERSION,
        restored_from: restored_from.map(Into::into),
    };
    Target {
        name: "node_file",
        seeds: [identity(None), identity(Some("a backup"))]
            .iter()
            .map(|it| node::encode(it).unwrap())
            .collect(),
        words: &["{", "}", "\"node_id\":", "\"checksum\":", "null", "\u{fc}", "\\ud800", ",", "1e400", "-1"],
        repair: Some(|input| {
            // Reads it as JSON, whatever it says, and signs that.
            if let Some(signed) = node::signed(input) {
                *input = signed;
            }
        }),
        check: |input| {
            let read = node::decode(input, "node.json".as_ref()).map_err(|error| error.to_string())?;
            same(&read, &node::decode(&node::encode(&read).unwrap(), "node.json".as_ref()).unwrap());
            Ok(())
        },
    }
    .run();
}
