//! What is lost, damaged, old or foreign is never believed.

use super::*;

#[test]
fn a_deleted_or_partly_deleted_index_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=2_000);
    index.close().unwrap();
    let victims = files(dir.path());
    assert!(victims.len() >= 3, "{victims:?}");
    for victim in &victims {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        fs::remove_file(copy.path().join(victim.strip_prefix(dir.path()).unwrap())).unwrap();
        let (index, opened) = open(copy.path());
        catch_up(&index, &opened, 2_000);
        assert_eq!(check(&index, 2_000), Ok(()), "without {}", victim.display());
    }
    fs::remove_dir_all(dir.path()).unwrap();
    let (index, opened) = open(dir.path());
    assert!(opened.rebuild);
    catch_up(&index, &opened, 2_000);
    assert_eq!(check(&index, 2_000), Ok(()));
}

#[test]
fn damage_is_noticed_and_repaired_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=4_000);
    index.close().unwrap();
    let mut noticed = 0;
    for victim in files(dir.path()) {
        let length = usize::try_from(fs::metadata(&victim).unwrap().len()).unwrap();
        for part in 0..8 {
            let copy = tempfile::tempdir().unwrap();
            copy_dir(dir.path(), copy.path());
            let path = copy.path().join(victim.strip_prefix(dir.path()).unwrap());
            let mut bytes = fs::read(&path).unwrap();
            let at = length * part / 8 + part;
            let Some(run) = bytes.get_mut(at..(at + 16).min(length)) else { continue };
            run.iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::write(&path, bytes).unwrap();
            let (index, opened) = open(copy.path());
            catch_up(&index, &opened, 4_000);
            assert_eq!(check(&index, 4_000), Ok(()), "{} at {at}: {opened:?}", victim.display());
            noticed += u32::from(opened.rebuild);
        }
    }
    assert!(noticed > 0, "no damage was ever noticed at opening");
}

#[test]
fn the_index_of_another_log_or_ahead_of_it_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=100);
    index.close().unwrap();
    let (index, opened) = Index::open(dir.path(), IndexOptions { log_last: 99, ..options() }).unwrap();
    assert!(opened.rebuild && opened.why.contains("ahead"), "{opened:?}");
    feed(&index, 0..=99);
    index.close().unwrap();
    let (_, opened) = Index::open(dir.path(), IndexOptions { log: 5, ..options() }).unwrap();
    assert!(opened.rebuild && opened.why.contains("another log"), "{opened:?}");
}

/// Puts an older copy of sled in place under the newer mark, and does what the owner does at start.
fn older_copy_gives_the_same_answers() -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=1_000);
    index.close().unwrap();
    let blocks = blocks_dir(dir.path());
    copy_dir(&blocks, old.path());
    let (index, _) = open(dir.path());
    feed(&index, 1_001..=3_000);
    index.close().unwrap();
    fs::remove_dir_all(&blocks).unwrap();
    copy_dir(old.path(), &blocks);
    let (index, opened) = open(dir.path());
    catch_up(&index, &opened, 3_000);
    check(&index, 3_000)
}

#[test]
fn an_older_copy_of_sled_is_not_trusted() {
    assert_eq!(older_copy_gives_the_same_answers(), Ok(()));
}

#[cfg(feature = "seeded-bugs")]
#[test]
fn seeded_bug_9_is_caught() {
    let _bug = crate::model::seeded::switch_on(crate::model::seeded::SeededBug::StaleIndexTrusted);
    assert!(older_copy_gives_the_same_answers().is_err());
}

#[test]
fn an_older_copy_of_everything_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=1_000);
    index.close().unwrap();
    copy_dir(dir.path(), old.path());
    let (index, opened) = open(old.path());
    assert_eq!(opened.trusted_up_to, 1_000);
    catch_up(&index, &opened, 3_000);
    assert_eq!(check(&index, 3_000), Ok(()));
}

#[test]
fn sled_of_another_index_is_not_trusted() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &two] {
        let (index, _) = open(dir.path());
        feed(&index, 0..=500);
        index.close().unwrap();
    }
    let (ours, theirs) = (blocks_dir(one.path()), blocks_dir(two.path()));
    fs::remove_dir_all(&ours).unwrap();
    copy_dir(&theirs, &ours);
    let (index, opened) = open(one.path());
    assert!(opened.rebuild && opened.why.contains("belong together"), "{opened:?}");
    catch_up(&index, &opened, 500);
    assert_eq!(check(&index, 500), Ok(()));
}

#[test]
fn a_bad_block_found_later_is_reported_and_reset_repairs_it() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    feed(&index, 0..=3_000);
    index.close().unwrap();
    let (index, _) = open(dir.path());
    let key = block::BlockKey { topic: TopicId(7), queue: 1, number: 2 };
    let trees = index.shared.state().trees.clone();
    let mut value = trees.blocks.get(key.bytes()).unwrap().unwrap().to_vec();
    value[20] ^= 1;
    trees.blocks.insert(key.bytes(), value).unwrap();
    drop(trees);
    assert!(index.entries(TopicId(7), 1, 0, 100).is_ok());
    assert!(matches!(index.entries(TopicId(7), 1, 0, 1_000), Err(IndexError::Damaged(_))));
    assert!(index.damaged().is_some());
    assert!(
        matches!(try_feed(&index, 3_001..=3_001), Err(IndexError::Damaged(_))),
        "nothing more is answered"
    );
    assert!(!dir.path().join("index.mark").exists(), "no later start trusts it");
    index.reset().unwrap();
    feed(&index, 0..=3_000);
    assert_eq!(check(&index, 3_000), Ok(()));
    index.close().unwrap();
    let (index, opened) = open(dir.path());
    assert!(!opened.rebuild, "{}", opened.why);
    assert_eq!(check(&index, 3_000), Ok(()));
}

#[test]
fn a_lost_row_of_pins_is_damage_not_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    index.segment_started(1);
    index.segment_started(500);
    feed(&index, 1..=1_000);
    index.segment_started(900);
    index.close().unwrap();
    let (index, _) = open(dir.path());
    [1, 500, 900].into_iter().for_each(|first| index.segment_started(first));
    let late = index.pins(900..=1_000).unwrap();
    assert_eq!(late, index.pins(500..=1_000).unwrap(), "told late, pinned by all of the segment before");
    let trees = index.shared.state().trees.clone();
    trees.pins.remove(500u64.to_be_bytes()).unwrap();
    drop(trees);
    assert!(index.pins(1..=499).is_ok());
    assert!(matches!(index.pins(500..=899), Err(IndexError::Damaged(_))));
    index.reset().unwrap();
    feed(&index, 1..=1_000);
    assert!(index.pins(500..=899).is_ok());
    index.segment_gone(1);
    index.flush().unwrap();
    assert_eq!(index.shared.state().trees.pins.len(), 2);
}
