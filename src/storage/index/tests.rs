mod damage;
mod fuzz;
mod keys;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::model::{Position, Timestamp};

type Row = (TopicId, QueueNo, QueueEntry);

/// What a log of `entries` entries feeds: a few rows each, over several queues, some with a TTL, tag and lane.
fn rows_of(index: u64) -> Vec<Row> {
    (0..(index % 4) + 1)
        .map(|slot| {
            let queue = QueueNo::try_from(index % 3).unwrap();
            // Entries i, i+3, i+6 … share a queue; i % 4 + 1 rows each, which repeats every 12.
            let before: u64 = (0..(index / 3) % 4).map(|step| ((index % 3) + step * 3) % 4 + 1).sum();
            let offset = (index / 12) * 10 + before + slot;
            let entry = QueueEntry {
                offset,
                position: Position { index, slot: u16::try_from(slot).unwrap() },
                ready_at: Timestamp(1_700_000_000_000 + index / 2),
                expires_at: if index.is_multiple_of(50) {
                    Timestamp(1_700_000_000_500 + index)
                } else {
                    Timestamp::MAX
                },
                lane: index % 2,
                tag: (index.is_multiple_of(5)).then(|| Arc::from("eu")),
                body_bytes: 200,
            };
            (TopicId(7), queue, entry)
        })
        .collect()
}

fn options() -> IndexOptions {
    IndexOptions { mark_every: Duration::from_secs(3_600), ..IndexOptions::default() }
}

fn open(dir: &Path) -> (Index, Opened) {
    Index::open(dir, options()).unwrap()
}

fn feed(index: &Index, indexes: std::ops::RangeInclusive<u64>) {
    try_feed(index, indexes).unwrap();
}

fn try_feed(index: &Index, indexes: std::ops::RangeInclusive<u64>) -> Result<(), IndexError> {
    for at in indexes {
        index.feed(Feed::InOrder { index: at, base: at }, rows_of(at))?;
    }
    Ok(())
}

/// The queues as they must be after the log entries up to `last`.
fn expected(last: u64) -> BTreeMap<QueueNo, Vec<QueueEntry>> {
    let mut queues: BTreeMap<QueueNo, Vec<QueueEntry>> = BTreeMap::new();
    for (_, queue, entry) in (0..=last).flat_map(rows_of) {
        let entries = queues.entry(queue).or_default();
        assert_eq!(entries.len() as u64, entry.offset, "the test's own offsets have gaps");
        entries.push(entry);
    }
    queues
}

fn check(index: &Index, last: u64) -> Result<(), String> {
    for (queue, entries) in expected(last) {
        let found = index.entries(TopicId(7), queue, 0, usize::MAX).map_err(|error| error.to_string())?;
        if found != entries {
            return Err(format!("queue {queue}: {} entries instead of {}", found.len(), entries.len()));
        }
    }
    Ok(())
}

/// What the owner does at start: feeds behind the mark, and all again when something turns out to be damaged.
fn catch_up(index: &Index, opened: &Opened, last: u64) {
    let from = if opened.rebuild { 0 } else { opened.trusted_up_to + 1 };
    if try_feed(index, from..=last).is_err() || check(index, last).is_err() && index.damaged().is_some() {
        index.reset().unwrap();
        feed(index, 0..=last);
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn blocks_dir(dir: &Path) -> std::path::PathBuf {
    let mut found = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.is_dir()).unwrap()
}

#[test]
fn entries_are_the_same_from_memory_disk_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (index, opened) = open(dir.path());
    assert!(opened.rebuild);
    feed(&index, 0..=3_000);
    assert_eq!(check(&index, 3_000), Ok(()));
    index.flush().unwrap();
    assert_eq!(check(&index, 3_000), Ok(()));
    feed(&index, 3_001..=3_100);
    assert_eq!(check(&index, 3_100), Ok(()));
    assert_eq!((index.indexed_up_to(), index.marked_up_to()), (3_100, 3_000));
    index.close().unwrap();
    let (index, opened) = open(dir.path());
    assert_eq!(opened, Opened { trusted_up_to: 3_100, base: 3_100, rebuild: false, why: String::new() });
    assert_eq!(check(&index, 3_100), Ok(()));
    feed(&index, 3_101..=3_200);
    assert_eq!(check(&index, 3_200), Ok(()));
}

#[test]
fn a_page_begins_anywhere_and_ends_at_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=2_000);
    index.flush().unwrap();
    feed(&index, 2_001..=2_400);
    let all = &expected(2_400)[&1];
    for (from, max) in [(0, 1), (0, 512), (255, 3), (256, 256), (700, 600), (1_990, 100), (5_000, 5)] {
        let start = from.min(all.len());
        let end = (start + max).min(all.len());
        let found = index.entries(TopicId(7), 1, from as u64, max).unwrap();
        assert_eq!(found, all[start..end], "{from} {max}");
    }
    assert_eq!(index.entries(TopicId(8), 1, 0, 5), Ok(vec![]));
    for (from, end, max) in
        [(0, 1, 5), (0, 512, 600), (10, 256, 3), (0, 5_000, 9_000), (300, 1_990, 700), (7, 7, 1)]
    {
        let found = index.entries_down(TopicId(7), 1, from..end, max).unwrap();
        let inside = all.iter().rev().filter(|entry| (from..end).contains(&entry.offset));
        assert!(found.iter().eq(inside.take(max)), "{from}..{end} {max}");
    }
    assert_eq!(index.entries_down(TopicId(8), 1, 0..9, 5), Ok(vec![]));
}

#[test]
fn what_is_in_memory_is_answered_without_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    let row = |offset: u64| {
        let position = Position { index: offset, slot: 0 };
        let (_, _, entry) = rows_of(0).remove(0);
        (TopicId(1), 0, QueueEntry { offset, position, ..entry })
    };
    let in_memory = |from, max| {
        let found = index.entries_in_memory(TopicId(1), 0, from, max).unwrap();
        found.map(|entries| entries.iter().map(|entry| entry.offset).collect::<Vec<u64>>())
    };
    assert_eq!(in_memory(0, 10), None, "nothing is known of this queue");
    index.feed(Feed::InOrder { index: 1, base: 1 }, (0..600).map(row)).unwrap();
    assert_eq!(in_memory(250, 10), Some((250..260).collect()));
    assert_eq!(in_memory(500, 1_000), Some((500..600).collect()), "to the end");
    assert_eq!(in_memory(600, 10), Some(vec![]), "the end itself");
    index.flush().unwrap();
    assert_eq!(in_memory(0, 10), None, "a full block that was written is on the disk alone");
    assert_eq!(in_memory(511, 10), None);
    assert_eq!(in_memory(512, 1_000), Some((512..600).collect()), "the last is not full");
    index.doubt("a test");
    assert!(index.entries_in_memory(TopicId(1), 0, 512, 10).is_err());
}

#[test]
fn feeding_again_ahead_or_with_gaps_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    for at in 1_000..=1_500 {
        index.feed(Feed::Ahead, rows_of(at)).unwrap();
    }
    assert_eq!(index.indexed_up_to(), 0);
    let first = expected(1_500)[&0].iter().find(|entry| entry.position.index >= 1_000).unwrap().clone();
    assert_eq!(index.entries(TopicId(7), 0, 0, 1), Ok(vec![first]), "gaps are passed over");
    index.flush().unwrap();
    for at in (0..1_000).step_by(100) {
        let rows = (at..at + 100).flat_map(rows_of);
        index.feed(Feed::InOrder { index: at + 99, base: 0 }, rows).unwrap();
    }
    assert_eq!(check(&index, 1_500), Ok(()));
    assert_eq!(index.indexed_up_to(), 999);
    feed(&index, 300..=700);
    feed(&index, 0..=0);
    assert_eq!(check(&index, 1_500), Ok(()));
    index.flush().unwrap();
    feed(&index, 1_400..=1_500);
    assert_eq!(check(&index, 1_500), Ok(()));
}

#[test]
fn after_a_kill_the_rest_is_fed_again() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=2_000);
    index.flush().unwrap();
    feed(&index, 2_001..=9_000);
    copy_dir(dir.path(), copy.path());
    let (killed, opened) = open(copy.path());
    assert!(!opened.rebuild, "{}", opened.why);
    assert_eq!(opened.trusted_up_to, 2_000);
    catch_up(&killed, &opened, 9_000);
    assert_eq!(check(&killed, 9_000), Ok(()));
}

#[test]
fn times_are_found_as_by_looking_through_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=3_000);
    index.flush().unwrap();
    feed(&index, 3_001..=4_000);
    for (queue, entries) in expected(4_000) {
        for time in (1_699_999_999_990..1_700_000_002_100).step_by(7) {
            let time = Timestamp(time);
            let naive = entries.iter().find(|entry| entry.ready_at >= time).map(|entry| entry.offset);
            assert_eq!(index.first_at_or_after(TopicId(7), queue, time), Ok(naive), "{queue} {time}");
        }
    }
    assert_eq!(index.first_at_or_after(TopicId(9), 0, Timestamp(0)), Ok(None));
}

#[test]
fn what_outlived_its_ttl_is_reported_once_and_again_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=2_000);
    let due = |last: u64, now: u64| -> usize {
        (0..=last).flat_map(rows_of).filter(|(_, _, entry)| entry.expires_at <= Timestamp(now)).count()
    };
    let ask = |index: &Index, now: u64| -> usize {
        let mut found = 0;
        loop {
            let some = index.expired(Timestamp(now), 10).unwrap();
            if some.is_empty() {
                return found;
            }
            assert!(some.iter().all(|(_, _, entry)| entry.expires_at <= Timestamp(now)));
            found += some.len();
        }
    };
    let (early, late) = (1_700_000_001_300, 1_700_000_003_000);
    assert_eq!(ask(&index, 1_700_000_000_000), 0);
    assert!(due(2_000, early) > 10);
    assert_eq!(ask(&index, early), due(2_000, early));
    assert_eq!(ask(&index, early), 0);
    index.flush().unwrap();
    assert_eq!(ask(&index, late), due(2_000, late) - due(2_000, early));
    index.expired_again().unwrap();
    assert_eq!(ask(&index, late), due(2_000, late));
    index.close().unwrap();
    let (index, _) = open(dir.path());
    assert_eq!(ask(&index, late), due(2_000, late), "and after a restart");
}

#[test]
fn pins_follow_the_segment_of_the_message() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let row = |offset, at, queue| {
        let (_, _, mut entry) = rows_of(1).remove(0);
        (entry.offset, entry.position.index) = (offset, at);
        (TopicId(7), queue, entry)
    };
    index.segment_started(1);
    index.segment_started(100);
    index.feed(Feed::InOrder { index: 150, base: 0 }, [row(0, 5, 0), row(1, 99, 0), row(2, 100, 0)]).unwrap();
    index.flush().unwrap();
    index.segment_started(200);
    // A scheduled message of the first segment that came due now.
    index.feed(Feed::InOrder { index: 250, base: 0 }, [row(3, 250, 0), row(4, 7, 0), row(0, 8, 1)]).unwrap();
    let answers = |index: &Index| {
        assert_eq!(index.pins(1..=99), Ok(vec![(TopicId(7), 0, 4), (TopicId(7), 1, 0)]));
        assert_eq!(index.pins(100..=199), Ok(vec![(TopicId(7), 0, 2)]));
        assert_eq!(index.pins(200..=u64::MAX), Ok(vec![(TopicId(7), 0, 3)]));
    };
    answers(&index);
    index.close().unwrap();
    let (index, _) = open(dir.path());
    for first in [1, 100, 200] {
        index.segment_started(first);
    }
    answers(&index);
}

#[test]
fn what_is_forgotten_is_gone_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let other = |at| rows_of(at).into_iter().map(|(_, queue, entry)| (TopicId(8), queue, entry));
    for at in 0..=3_000 {
        index.feed(Feed::InOrder { index: at, base: 0 }, rows_of(at).into_iter().chain(other(at))).unwrap();
    }
    index.flush().unwrap();
    index.forget_below(TopicId(7), 1, 700);
    index.forget_topic(TopicId(8));
    for _ in 0..2 {
        let first = index.entries(TopicId(7), 1, 0, 1).unwrap().remove(0);
        assert!((512..=700).contains(&first.offset) || first.offset == 0, "{}", first.offset);
        assert_eq!(index.entries(TopicId(8), 1, 0, 1), Ok(vec![]));
        index.flush().unwrap();
    }
    assert_eq!(index.entries(TopicId(7), 1, 0, 1).unwrap().remove(0).offset, 512);
    assert_eq!(index.entries(TopicId(7), 2, 0, 1).unwrap().remove(0).offset, 0);
    assert_eq!(index.shared.state().trees.blocks.range(key_of(8)..key_of(9)).count(), 0);
}

fn key_of(topic: u32) -> [u8; 14] {
    block::BlockKey { topic: TopicId(topic), queue: 0, number: 0 }.bytes()
}

fn bulk(from: u64, count: u64) -> impl Iterator<Item = Row> {
    (from..from + count).map(|at| {
        let entry = QueueEntry {
            offset: at / 4,
            position: Position { index: at / 100, slot: (at % 100) as u16 },
            ready_at: Timestamp(1_700_000_000_000 + at / 500),
            expires_at: Timestamp::MAX,
            lane: 0,
            tag: None,
            body_bytes: 200,
        };
        (TopicId(1), (at % 4) as QueueNo, entry)
    })
}

#[test]
fn memory_stays_bounded_while_it_is_fed() {
    let dir = tempfile::tempdir().unwrap();
    let options = IndexOptions { pending_bytes: 256 << 10, ..options() };
    let (index, _) = Index::open(dir.path(), options).unwrap();
    for at in 0..200 {
        index.feed(Feed::InOrder { index: at, base: 0 }, bulk(at * 1_000, 1_000)).unwrap();
        assert!(index.memory_bytes() < 512 << 10, "{}", index.memory_bytes());
    }
    for queue in 0..4 {
        let entries = index.entries(TopicId(1), queue, 0, usize::MAX).unwrap();
        assert_eq!(entries.len(), 50_000);
        assert!(entries.iter().zip(0..).all(|(entry, offset)| entry.offset == offset));
    }
}

#[test]
fn paused_it_takes_everything_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = IndexOptions { pending_bytes: 64 << 10, mark_every: Duration::ZERO, ..options() };
    let (index, _) = Index::open(dir.path(), options).unwrap();
    feed(&index, 0..=10);
    index.flush().unwrap();
    index.pause_feed_to_disk(true);
    let _nothing_under_way = index.shared.writing.lock().unwrap();
    let sequence = index.shared.state().mark.sequence;
    feed(&index, 11..=30_000);
    assert!(index.memory_bytes() > 128 << 10);
    assert_eq!(index.shared.state().mark.sequence, sequence);
    assert_eq!(check(&index, 30_000), Ok(()));
    drop(_nothing_under_way);
    index.pause_feed_to_disk(false);
    index.flush().unwrap();
    assert_eq!(index.marked_up_to(), 30_000);
    assert_eq!(check(&index, 30_000), Ok(()));
}

#[test]
fn paused_it_says_when_memory_is_used_up_and_never_makes_anybody_wait() {
    let dir = tempfile::tempdir().unwrap();
    let options = IndexOptions {
        pending_bytes: 8 << 10,
        paused_bytes: 64 << 10,
        mark_every: Duration::ZERO,
        ..options()
    };
    let (index, _) = Index::open(dir.path(), options).unwrap();
    index.pause_feed_to_disk(true);
    let mut at = 0;
    while index.has_room() {
        assert!(at < 100_000, "room without end");
        feed(&index, at..=at);
        at += 1;
    }
    assert!((64 << 10..80 << 10).contains(&index.memory_bytes()), "{}", index.memory_bytes());
    index.wait_for_room();
    feed(&index, at..=at);
    assert_eq!(check(&index, at), Ok(()));
    index.pause_feed_to_disk(false);
    index.wait_for_room();
    assert!(index.has_room());
    index.flush().unwrap();
    assert_eq!((index.marked_up_to(), check(&index, at)), (at, Ok(())));
}

#[test]
fn paused_what_is_forgotten_again_and_again_does_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=3_000);
    index.flush().unwrap();
    index.pause_feed_to_disk(true);
    for offset in (0..700).rev().chain(0..701) {
        index.forget_below(TopicId(7), 1, offset);
        index.forget_keys_below(offset);
        index.forget_topic(TopicId(8));
    }
    assert_eq!(index.shared.state().removals.len(), 3);
    index.pause_feed_to_disk(false);
    index.flush().unwrap();
    assert_eq!(index.entries(TopicId(7), 1, 0, 1).unwrap().remove(0).offset, 512);
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// Run by hand: `cargo test --release --lib index:: -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(dir.path(), IndexOptions::default()).unwrap();
    let total = 10_000_000u64;
    let start = Instant::now();
    let mut most = 0;
    for at in 0..total / 1_000 {
        index.feed(Feed::InOrder { index: at, base: 0 }, bulk(at * 1_000, 1_000)).unwrap();
        if at % 1_000 == 0 {
            most = most.max(resident_mib());
        }
    }
    let fed = start.elapsed();
    index.close().unwrap();
    let closed = start.elapsed();
    println!(
        "fed {total} in {fed:.2?} ({:.0}/s), closed after {closed:.2?} ({:.0}/s), resident at most {most} MiB",
        total as f64 / fed.as_secs_f64(),
        total as f64 / closed.as_secs_f64(),
    );
    let bytes: u64 = files(dir.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    println!("on disk {} MiB", bytes >> 20);
    let start = Instant::now();
    let (index, opened) = Index::open(dir.path(), IndexOptions::default()).unwrap();
    assert!(!opened.rebuild);
    println!("reopened in {:.2?}, resident {} MiB", start.elapsed(), resident_mib());
    let start = Instant::now();
    let mut read = 0;
    for at in 0..10_000u64 {
        read += index.entries(TopicId(1), 2, at.wrapping_mul(7_919_317) % 2_500_000, 256).unwrap().len();
    }
    println!(
        "10,000 pages of 256 ({read} entries) in {:.2?}, resident {} MiB",
        start.elapsed(),
        resident_mib()
    );
}
