//! What happens when the disk fails.

use std::path::Path;
use std::time::Duration;

use super::support::{Node, batch, produced};
use crate::replication::ProposeError;

#[tokio::test]
async fn after_a_failed_write_nothing_is_acknowledged_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    let start = node.begin().await;
    let mut faults = node.replication().faults();
    assert!(faults.borrow().is_none());
    node.fs.fail("log");
    let hit = node.produce("lost").await.unwrap_err();
    assert!(matches!(hit, ProposeError::Fault { submitted: true, .. }), "{hit:?}");
    assert!(node.fs.failed() > 0, "the fault really fired");
    let fault = faults.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    node.fs.heal();
    let later = node.propose(batch(start.index, vec![produced("later")])).await.unwrap_err();
    assert_eq!(later, ProposeError::Fault { fault, submitted: false });
    node.crash().await;
    let node = Node::open(folder.path()).await.unwrap();
    assert!(node.begin().await.index > start.index, "a restart goes on");
    node.crash().await;
}

#[tokio::test]
async fn a_full_disk_is_refused_before_it_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    node.begin().await;
    node.fs.set_free(Some(0));
    node.replication().log().measure_space().unwrap();
    assert_eq!(node.produce("refused").await, Err(ProposeError::Full));
    node.fs.set_free(None);
    assert!(node.produce("accepted").await.unwrap().took_effect);
    assert_eq!(node.replication().faults().borrow().clone(), None);
    node.crash().await;
}

#[tokio::test]
async fn a_disk_that_fills_up_on_the_way_delays_but_breaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    node.begin().await;
    node.fs.refuse_space(true);
    // More than what was reserved ahead.
    let body = "x".repeat(40 << 10);
    let (answer, ()) = tokio::join!(node.produce(&body), async {
        while node.fs.failed() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(node.replication().faults().borrow().is_none());
        node.fs.refuse_space(false);
    });
    let stored = answer.unwrap();
    node.crash().await;
    let node = Node::open(folder.path()).await.unwrap();
    let page = node.replication().batches(stored.index, stored.index + 1, usize::MAX).unwrap();
    assert_eq!(page.batches[0].1.facts, [produced(&body)]);
    node.crash().await;
}

/// What is acknowledged must be found after a crash, also when the write fails.
async fn acknowledged_is_found<G>(folder: &Path, prepare: impl FnOnce() -> G) -> Result<(), String> {
    let node = Node::open(folder).await.unwrap();
    node.begin().await;
    node.fs.fail("log");
    let prepared = prepare();
    let answer = node.produce("kept?").await;
    drop(prepared);
    let mut faults = node.replication().faults();
    faults.wait_for(Option::is_some).await.unwrap();
    assert!(node.fs.failed() > 0, "the fault really fired");
    node.crash().await;
    let Ok(acknowledged) = answer else { return Ok(()) };
    let node = Node::open(folder).await.unwrap();
    let page = node.replication().batches(acknowledged.index, acknowledged.index + 1, usize::MAX).unwrap();
    node.crash().await;
    let found = page.batches.iter().any(|(_, batch)| batch.facts == [produced("kept?")]);
    if found { Ok(()) } else { Err(format!("{acknowledged:?} was acknowledged and is gone")) }
}

#[tokio::test]
async fn nothing_is_answered_before_it_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    acknowledged_is_found(folder.path(), || ()).await.unwrap();
}

#[cfg(feature = "seeded-bugs")]
#[tokio::test]
async fn seeded_bug_2_is_caught() {
    let folder = tempfile::tempdir().unwrap();
    let bug = || crate::model::seeded::switch_on(crate::model::seeded::SeededBug::AnsweredBeforeCommit);
    let found = acknowledged_is_found(folder.path(), bug).await.unwrap_err();
    assert!(found.contains("is gone"), "{found}");
}
