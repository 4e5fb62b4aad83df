//! Images: cadence, purge, and starting from the newest or the spare one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::support::{Node, essence};
use crate::replication::{Options, ReplicationError};

fn often() -> Options {
    Options { image_facts: 10, ..Options::default() }
}

fn image_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder.join("images")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Waits for what the node does in the background; the time only bounds a failure.
async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never happened: {what}");
}

#[tokio::test]
async fn images_come_by_cadence_and_the_purge_mark_follows_the_spare_one() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open_with(folder.path(), often()).await.unwrap();
    node.begin().await;
    let progress = || node.replication().progress();
    for _ in 0..12 {
        node.produce("x").await.unwrap();
    }
    eventually("the first image", || progress().image.is_some()).await;
    assert_eq!(progress().purged, None, "with one image the whole log stays");
    let first = progress().image;
    for _ in 0..40 {
        node.produce(&"y".repeat(100)).await.unwrap();
    }
    eventually("a second image", || progress().image > first).await;
    eventually("the purge mark", || progress().purged.is_some()).await;
    assert!(progress().purged < progress().image, "it never passes the spare image: {:?}", progress());
    node.crash().await;
    let node = Node::open_with(folder.path(), often()).await.unwrap();
    assert!(node.opened.recovery.image.is_some());
    node.begin().await;
    node.crash().await;
}

#[tokio::test]
async fn a_clean_stop_leaves_an_image_and_an_idle_restart_takes_none() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    node.begin().await;
    let last = node.produce("x").await.unwrap();
    node.replication().shutdown().await.unwrap();
    drop(node);
    let files = image_files(folder.path());
    assert_eq!(files.len(), 1);
    let node = Node::open(folder.path()).await.unwrap();
    assert_eq!(node.opened.recovery.image, Some(last.index));
    assert_eq!(node.opened.recovery.entries, 0);
    assert_eq!(node.replication().machine().applied(), Some(last.index));
    // It knows from the image alone that it is the only voter.
    node.lead().await;
    node.replication().shutdown().await.unwrap();
    assert_eq!(image_files(folder.path()), files, "nothing was new");
}

/// Three images' worth of work, then a few batches more, then a crash. Answers with the state and last index.
async fn worked(folder: &Path) -> (Vec<u8>, u64) {
    let node = Node::open(folder).await.unwrap();
    node.begin().await;
    for _ in 0..3 {
        for body in ["a", "b", "c"] {
            node.produce(body).await.unwrap();
        }
        node.replication().take_image().await.unwrap();
    }
    let last = node.produce("tail").await.unwrap();
    // Carries the commit index of the tail.
    let last = node.produce("end").await.map(|end| end.index.max(last.index)).unwrap();
    let state = essence(&node.replication().machine().snapshot());
    node.crash().await;
    (state, last)
}

/// Starts, lets the resumed leader commit what was in flight, and answers with the state.
async fn state_after_restart(folder: &Path, last: u64) -> (Node, Vec<u8>) {
    let node = Node::open(folder).await.unwrap();
    let view = node.replication().machine();
    eventually("the tail is applied", || view.applied() >= Some(last)).await;
    let state = essence(&view.snapshot());
    (node, state)
}

fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn the_spare_image_gives_the_same_state_as_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let (before, last) = worked(folder.path()).await;
    let (node, state) = state_after_restart(folder.path(), last).await;
    assert_eq!(state, before);
    let newest = node.opened.recovery.image.unwrap();
    assert!(node.opened.recovery.damaged.is_empty());
    node.crash().await;

    let files = image_files(folder.path());
    assert_eq!(files.len(), 2, "the newest and one spare: {files:?}");
    damage(&files[1]);
    let (node, state) = state_after_restart(folder.path(), last).await;
    assert_eq!(state, before);
    let recovery = &node.opened.recovery;
    assert!(recovery.image.unwrap() < newest, "{recovery:?}");
    assert_eq!(recovery.damaged.len(), 1, "the damage is named: {recovery:?}");
    node.replication().shutdown().await.unwrap();
    drop(node);
    let (node, state) = state_after_restart(folder.path(), last).await;
    assert_eq!(state, before);
    assert_eq!(node.opened.recovery.image, Some(last), "a new image took the damaged one's place");
    node.crash().await;
}

#[tokio::test]
async fn without_a_usable_image_a_purged_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    worked(folder.path()).await;
    for file in image_files(folder.path()) {
        damage(&file);
    }
    let refused = Node::open(folder.path()).await.err().unwrap();
    assert!(matches!(refused, ReplicationError::NoImage { .. }), "{refused}");
}

/// A crash at any point of taking an image leaves something to start from.
async fn a_failed_image_harms_nothing(folder: &Path) -> Result<(), String> {
    let node = Node::open(folder).await.unwrap();
    node.begin().await;
    for body in ["a", "b", "c"] {
        node.produce(body).await.unwrap();
    }
    node.fs.fail("images");
    node.replication().take_image().await.unwrap_err();
    assert!(node.fs.failed() > 0, "the fault really fired");
    node.fs.heal();
    let before = essence(&node.replication().machine().snapshot());
    let last = node.replication().progress().applied.unwrap();
    node.crash().await;
    let node = Node::open(folder).await.map_err(|error| error.to_string())?;
    let view = node.replication().machine();
    eventually("the tail is applied", || view.applied() >= Some(last)).await;
    let state = essence(&view.snapshot());
    node.crash().await;
    if state == before { Ok(()) } else { Err("the state is not what it was".to_owned()) }
}

#[tokio::test]
async fn nothing_is_purged_before_the_image_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    a_failed_image_harms_nothing(folder.path()).await.unwrap();
}

#[cfg(feature = "seeded-bugs")]
#[tokio::test]
async fn seeded_bug_8_is_caught() {
    let folder = tempfile::tempdir().unwrap();
    let _bug = crate::model::seeded::switch_on(crate::model::seeded::SeededBug::PurgedBeforeImage);
    let found = a_failed_image_harms_nothing(folder.path()).await.unwrap_err();
    assert!(found.contains("no image can be used"), "{found}");
}
