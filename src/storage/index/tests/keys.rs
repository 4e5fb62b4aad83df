//! Search by key, against a plain list.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
            assert_eq!(index.positions_of_key(topic, hash, None, 40), Ok(naive), "{topic:?} {number}");
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
    assert_eq!(index.positions_of_key(TopicId(1), 5, None, usize::MAX), Ok(all));
    assert_eq!(index.positions_of_key(TopicId(1), 4, None, usize::MAX), Ok(vec![]));
    assert_eq!(index.positions_of_key(TopicId(1), 6, None, usize::MAX), Ok(vec![]));
    index.feed_keys((3_000..3_100).map(same)).unwrap();
    index.flush().unwrap();
    index.forget_keys_below(2_500);
    index.flush().unwrap();
    assert_eq!(index.positions_of_key(TopicId(1), 5, None, usize::MAX).unwrap().len(), 100);
    assert_eq!(index.shared.state().trees.keys.len(), 1);
}

#[test]
fn a_key_of_many_messages_is_read_page_by_page_from_any_place() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let same = |at| (TopicId(1), 5, Position { index: at, slot: 0 });
    // Two runs of many blocks that begin with the key, neighbours on both sides, and some not written.
    for part in [0..3_000, 3_000..6_000] {
        let neighbours =
            part.clone().step_by(2).flat_map(|at| [(TopicId(1), 4, same(at).2), (TopicId(1), 6, same(at).2)]);
        index.feed_keys(part.clone().map(same).chain(neighbours)).unwrap();
        index.flush().unwrap();
    }
    index.feed_keys((6_000..6_100).map(same)).unwrap();
    for page in [1, 7, 256, 1_000] {
        let mut all = Vec::new();
        let mut before = None;
        loop {
            let found = index.positions_of_key(TopicId(1), 5, before, page).unwrap();
            before = found.last().copied().or(before);
            let is_last = found.len() < page;
            all.extend(found.into_iter().map(|position| position.index));
            if is_last {
                break;
            }
        }
        assert!(all.iter().copied().eq((0..6_100).rev()), "pages of {page}");
    }
    for before in [0, 1, 2_999, 3_000, 3_001, 6_099, 9_000] {
        let place = Some(Position { index: before, slot: 0 });
        let found = index.positions_of_key(TopicId(1), 5, place, 1).unwrap();
        let expected = before.min(6_100).checked_sub(1).map(|at| same(at).2);
        assert_eq!(found.first().copied(), expected, "before {before}");
    }
    let other = index.positions_of_key(TopicId(1), 4, Some(Position { index: 5, slot: 0 }), 10).unwrap();
    assert_eq!(other.iter().map(|position| position.index).collect::<Vec<_>>(), [4, 2, 0]);
}

#[test]
fn a_key_is_found_while_the_writer_moves_it() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let row = |at| (TopicId(1), at % 3, Position { index: at, slot: 0 });
    let (fed, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Flushed often, so that rows leave memory and runs are merged all the time.
            for at in 0..400 {
                index.feed_keys((at * 10..at * 10 + 10).map(row)).unwrap();
                fed.store(at * 10 + 10, Ordering::SeqCst);
                index.flush().unwrap();
            }
            is_done.store(true, Ordering::SeqCst);
        });
        while !is_done.load(Ordering::SeqCst) {
            let before = fed.load(Ordering::SeqCst);
            let found = index.positions_of_key(TopicId(1), 1, None, usize::MAX).unwrap();
            let expected = (0..before).filter(|at| at % 3 == 1).count();
            let known = found.iter().filter(|position| position.index < before).count();
            assert_eq!(known, expected, "of the first {before}");
        }
    });
}
