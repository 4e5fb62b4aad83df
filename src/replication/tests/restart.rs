//! Starting, leading, stopping, starting again.

use std::time::Duration;

use super::support::{Node, Seen, WatchedFs, batch, essence, leader_start, produced, stores, topic};
use crate::machine::Fact;
use crate::model::Position;
use crate::storage::Vote;

#[tokio::test]
async fn a_new_node_leads_and_agrees_with_itself() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    assert_eq!(node.lead().await, 1);
    let start = node.propose(leader_start()).await.unwrap();
    assert!(start.took_effect);
    let made = node.propose(batch(start.index, vec![topic(), produced("one")])).await.unwrap();
    assert_eq!((made.index, made.took_effect), (start.index + 1, true));
    let progress = node.replication().progress();
    assert_eq!((progress.last, progress.applied), (Some(made.index), Some(made.index)));
    let found = node.replication().fact(Position { index: made.index, slot: 1 }).unwrap().unwrap();
    assert_eq!(found, produced("one"));
    assert_eq!(node.replication().fact(Position { index: made.index, slot: 2 }).unwrap(), None);
    node.replication().shutdown().await.unwrap();
}

#[tokio::test]
async fn a_batch_on_a_stale_base_is_refused_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    let start = node.begin().await;
    let first = node.propose(batch(start.index, vec![topic()])).await.unwrap();
    let before = essence(&node.replication().machine().snapshot());
    let late = node.propose(batch(start.index, vec![produced("late")])).await.unwrap();
    assert!(!late.took_effect, "it was decided before {first:?}");
    let told = node.seen.lock().unwrap().last().cloned().unwrap();
    assert_eq!(told, Seen { index: late.index, took_effect: false, recovering: false });
    let after = essence(&node.replication().machine().snapshot());
    assert_ne!(before, after, "only the applied index moved");
    let next = node.propose(batch(first.index, vec![produced("next")])).await.unwrap();
    assert!(next.took_effect, "a refused batch does not move the base");
    node.replication().shutdown().await.unwrap();
}

#[tokio::test]
async fn a_crash_loses_nothing_and_the_restarted_node_leads_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut applied = None;
    let mut state = Vec::new();
    for life in 0..4u64 {
        let node = Node::open(folder.path()).await.unwrap();
        assert_eq!(node.lead().await, 1, "every process counts its leaderships from 1");
        let start = node.begin().await;
        if let Some(before) = applied {
            assert_eq!(
                start.index,
                before + 1,
                "life {life}: nothing lost, nothing added but the leader start"
            );
        }
        let recovered: Vec<u64> = {
            let seen = node.seen.lock().unwrap();
            seen.iter().map(|seen| seen.index).filter(|index| *index < start.index).collect()
        };
        assert!(recovered.windows(2).all(|pair| pair[0] < pair[1]), "in log order, once each: {recovered:?}");
        assert_eq!(recovered.len() as u64, life * 4, "every batch of earlier lives was told again");
        for body in ["a", "b", "c"] {
            assert!(node.produce(body).await.unwrap().took_effect);
        }
        applied = node.replication().progress().applied;
        state = essence(&node.replication().machine().snapshot());
        node.crash().await;
    }
    let node = Node::open(folder.path()).await.unwrap();
    node.lead().await;
    let start = node.begin().await;
    let page = node.replication().batches(0, start.index, usize::MAX).unwrap();
    assert_eq!(page.next, start.index);
    assert_eq!(page.batches.len(), 16);
    assert!(matches!(page.batches[0].1.facts[0], Fact::LeaderStart { .. }));
    assert!(!state.is_empty());
    node.crash().await;
}

#[tokio::test]
async fn a_node_that_crashed_while_standing_for_election_leads_in_a_new_term() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    node.begin().await;
    let last = node.produce("x").await.unwrap();
    let term = node.replication().leadership().borrow().term;
    node.crash().await;

    let log = stores(&WatchedFs::new(), folder.path()).unwrap().log;
    let (told, hear) = tokio::sync::oneshot::channel();
    let vote = Vote { term: term + 1, node: 1, committed: false };
    log.save_vote(vote, Box::new(move |result| told.send(result).unwrap()));
    hear.await.unwrap().unwrap();
    log.close();

    let node = Node::open(folder.path()).await.unwrap();
    assert_eq!(node.lead().await, 1);
    assert!(node.replication().leadership().borrow().term > term);
    let start = node.begin().await;
    assert!(start.took_effect && start.index > last.index);
    let told: Vec<u64> = node.seen.lock().unwrap().iter().map(|seen| seen.index).collect();
    assert!(told.contains(&last.index), "the tail of the old term is applied before: {told:?}");
    node.crash().await;
}

#[tokio::test]
async fn what_was_applied_before_a_crash_is_applied_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    node.begin().await;
    let last = node.produce("x").await.unwrap();
    let before = essence(&node.replication().machine().snapshot());
    node.crash().await;
    let node = Node::open(folder.path()).await.unwrap();
    let view = node.replication().machine();
    // The last batch was in flight as far as the log can tell; the resumed leader commits it.
    tokio::time::timeout(Duration::from_secs(20), async {
        while view.applied() < Some(last.index) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(view.applied(), Some(last.index));
    assert_eq!(essence(&view.snapshot()), before);
    node.crash().await;
}

#[tokio::test]
async fn an_idle_node_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    node.begin().await;
    node.produce("x").await.unwrap();
    let before = node.fs.changes();
    // Several ticks and heartbeats of openraft pass.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(node.fs.changes(), before);
    node.produce("y").await.unwrap();
    assert!(node.fs.changes() > before, "changes are counted");
    node.replication().shutdown().await.unwrap();
}

/// What an idle node costs; a figure to look at, not a test. Prints CPU time of this process over ten idle seconds.
#[tokio::test]
#[ignore = "a measurement"]
async fn idle_cost() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await.unwrap();
    node.begin().await;
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("{} hundredths of a second of CPU in 10 s", ticks() - before);
    let started = std::time::Instant::now();
    for _ in 0..2_000 {
        node.produce("x").await.unwrap();
    }
    println!("{} us a proposal, one at a time, this build", started.elapsed().as_micros() / 2_000);
    node.replication().shutdown().await.unwrap();
}
