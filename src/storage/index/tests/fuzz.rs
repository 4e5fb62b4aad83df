use super::super::block::{Block, BlockKey, Lines};
use super::super::keys::{block_key, decode_block, encode_block};
use super::super::mark::Mark;
use super::rows_of;
use crate::model::QueueEntry;
use crate::model::tests::fuzz::{Target, same};
use crate::model::{Position, TopicId};

const KEY: BlockKey = BlockKey { topic: TopicId(7), queue: 1, number: 0 };

fn entries() -> Vec<QueueEntry> {
    (1..60).flat_map(rows_of).filter(|(_, queue, _)| *queue == 1).map(|(_, _, entry)| entry).collect()
}

#[test]
fn fuzz_index_block() {
    Target {
        name: "index_block",
        seeds: vec![Block::default().encode(KEY), Block::of(&entries()).encode(KEY)],
        words: &["\u{0}", "\u{7f}", "\u{1}\u{1}"],
        repair: Some(|input| {
            if let Some((head, rest)) = input.split_at_mut_checked(5) {
                let crc = crc32c::crc32c_append(crc32c::crc32c(&KEY.bytes()), rest);
                head[1..].copy_from_slice(&crc.to_le_bytes());
            }
        }),
        check: |input| {
            let lines = Lines::decode(KEY, input).map_err(|error| error.what.to_owned())?;
            let read: Vec<QueueEntry> = lines
                .take(input.len() + 1)
                .collect::<Result<_, _>>()
                .map_err(|error| error.what.to_owned())?;
            assert!(read.len() <= input.len(), "every entry takes a byte at least");
            // Only entries in order are ever written; others read, and are never written again.
            if read.windows(2).all(|pair| pair[0].offset < pair[1].offset) {
                let again = Block::of(&read).encode(KEY);
                let again = Lines::decode(KEY, &again).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
                same(&read, &again);
            }
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_index_mark() {
    Target {
        name: "index_mark",
        seeds: vec![
            Mark::default().encode(),
            Mark { epoch: 1, log: 2, sequence: 3, up_to: 4, base: 5 }.encode(),
        ],
        words: &["WIDX", "\u{1}"],
        repair: Some(|input| {
            if let Some(end) = input.len().checked_sub(4) {
                let crc = crc32c::crc32c(&input[..end]);
                input[end..].copy_from_slice(&crc.to_le_bytes());
            }
        }),
        check: |input| {
            let mark = Mark::decode(input).map_err(|error| error.what.to_owned())?;
            assert_eq!(mark.encode(), input);
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_key_block() {
    fn key() -> Vec<u8> {
        block_key(4, TopicId(7), 11, 0)
    }
    let rows = |count: u64| {
        let row =
            |index| (TopicId(7 + (index > 20) as u32), index / 3 * 1_000_003, Position { index, slot: 5 });
        (0..count).map(row).collect::<Vec<_>>()
    };
    Target {
        name: "key_block",
        seeds: vec![
            encode_block(&key(), &[]),
            encode_block(&key(), &rows(1)),
            encode_block(&key(), &rows(40)),
        ],
        words: &["\u{0}", "\u{7f}", "\u{1}\u{1}\u{1}"],
        repair: Some(|input| {
            if let Some((head, rest)) = input.split_at_mut_checked(5) {
                let crc = crc32c::crc32c_append(crc32c::crc32c(&key()), rest);
                head[1..].copy_from_slice(&crc.to_le_bytes());
            }
        }),
        check: |input| {
            let read = decode_block(&key(), input).map_err(|error| error.what.to_owned())?;
            assert!(read.len() * 4 <= input.len(), "every row takes four bytes at least");
            same(&read, &decode_block(&key(), &encode_block(&key(), &read)).unwrap());
            Ok(())
        },
    }
    .run();
}
