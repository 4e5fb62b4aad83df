//! Search by key, against a plain list.

use super::*;

/// Keys 0 to 99 in two topics; every log entry has three messages.
fn keys_of(index: u64) -> Vec<(TopicId, u64, Position)> {
    (0..3u16)
        .map(|slot| {
            let topic = TopicId(1 + u32::from(slot) / 2);
            let hash = (index * 7 + u64::from(slot)) % 100 * 0x0101_0101_0101_0101;
            (topic, hash, Position { index, slot })
        })
        .collect()
}

fn feed_keys(index: &Index, indexes: std::ops::RangeInclusive<u64>) {
    for at in indexes {
        index.feed_keys(keys_of(at)).unwrap();
        index.feed(Feed::InOrder { index: at, base: 0 }, []).unwrap();
    }
}

fn check_keys(index: &Index, last: u64) {
    for topic in [TopicId(1), TopicId(2), TopicId(3)] {
        for number in 0..=100u64 {
            let hash = number.wrapping_mul(0x0101_0101_0101_0101);
            let all = (0..=last).rev().flat_map(|at| keys_of(at).into_iter().rev());
            let naive: Vec<Position> =
                all.filter(|row| (row.0, row.1) == (topic, hash)).map(|row| row.2).take(40).collect();
            assert_eq!(index.positions_of_key(topic, hash, 40), Ok(naive), "{topic:?} {number}");
        }
    }
}

#[test]
fn a_key_is_found_in_memory_in_many_runs_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    // Many small runs, so that they are merged more than once.
    for part in 0..70u64 {
        feed_keys(&index, part * 20..=part * 20 + 19);
        index.flush().unwrap();
    }
    assert!(index.shared.state().trees.runs.len() < 20, "small runs were merged");
    feed_keys(&index, 1_400..=1_500);
    check_keys(&index, 1_500);
    // Twice the same, as after a crash.
    feed_keys(&index, 1_200..=1_500);
    index.close().unwrap();
    let (index, _) = open(dir.path());
    check_keys(&index, 1_500);
    feed_keys(&index, 1_501..=1_600);
    index.flush().unwrap();
    check_keys(&index, 1_600);
}

#[test]
fn old_runs_go_and_one_key_may_fill_many_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let same = |at| (TopicId(1), 5, Position { index: at, slot: 0 });
    index.feed_keys((0..2_000).map(same)).unwrap();
    index.flush().unwrap();
    let all: Vec<Position> = (0..2_000).rev().map(|at| same(at).2).collect();
    assert_eq!(index.positions_of_key(TopicId(1), 5, usize::MAX), Ok(all));
    assert_eq!(index.positions_of_key(TopicId(1), 4, usize::MAX), Ok(vec![]));
    assert_eq!(index.positions_of_key(TopicId(1), 6, usize::MAX), Ok(vec![]));
    index.feed_keys((3_000..3_100).map(same)).unwrap();
    index.flush().unwrap();
    index.forget_keys_below(2_500);
    index.flush().unwrap();
    assert_eq!(index.positions_of_key(TopicId(1), 5, usize::MAX).unwrap().len(), 100);
    assert_eq!(index.shared.state().trees.keys.len(), 1);
}
