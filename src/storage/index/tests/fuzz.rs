use super::super::block::{Block, BlockKey, Lines};
use super::super::mark::Mark;
use super::rows_of;
use crate::model::QueueEntry;
use crate::model::TopicId;
use crate::model::tests::fuzz::{Target, same};

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
