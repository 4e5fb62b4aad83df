//! Fills the pages from the broker's views.

use std::time::Instant;

use super::status::{GroupRow, NodeFacts, ROWS_MAX, StatusPage, TopicRow};
use crate::broker::{Broker, GroupView, NodeView, Readiness, TopicView};
use crate::model::{Millis, Timestamp};

/// What the broker itself does not know about its node.
#[derive(Clone, Debug)]
pub struct About {
    address: String,
    data_dir: String,
    started: Instant,
}

impl About {
    /// A node that starts now, is reached at `address` (`host:port`) and keeps its data in `data_dir`.
    #[must_use]
    pub fn starting(address: impl Into<String>, data_dir: impl Into<String>) -> About {
        About { address: address.into(), data_dir: data_dir.into(), started: Instant::now() }
    }

    /// `host:port`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn uptime_ms(&self) -> Option<Millis> {
        u64::try_from(self.started.elapsed().as_millis()).ok()
    }
}

impl StatusPage {
    /// The page as the broker stands now.
    #[must_use]
    pub fn gather(broker: &Broker, about: &About) -> StatusPage {
        let (topics, groups) = (broker.topics(None, ROWS_MAX), broker.groups(None, ROWS_MAX));
        let node = broker.node();
        StatusPage {
            version: env!("CARGO_PKG_VERSION"),
            as_of: Some(node.log_time).filter(|time| *time > Timestamp(0)),
            node: node_facts(&node, &broker.readiness(), about),
            more_topics: topics.next_cursor.is_some(),
            topics: topics.rows.iter().map(TopicRow::from).collect(),
            more_groups: groups.next_cursor.is_some(),
            groups: groups.rows.iter().map(GroupRow::from).collect(),
        }
    }
}

fn node_facts(node: &NodeView, readiness: &Readiness, about: &About) -> NodeFacts {
    let failed = readiness.checks.iter().filter(|(_, passed, _)| !passed);
    let failed: Vec<String> = failed.map(|(name, _, found)| format!("{name}: {found}")).collect();
    let state = match (readiness.ready, failed.is_empty()) {
        (true, _) => "ready".to_owned(),
        (false, true) => "not ready".to_owned(),
        (false, false) => format!("not ready: {}", failed.join(", ")),
    };
    NodeFacts {
        address: about.address.clone(),
        data_dir: about.data_dir.clone(),
        ready: readiness.ready,
        state,
        uptime_ms: about.uptime_ms(),
        // A log is never empty: it holds at least how it began.
        log_bytes: Some(node.log_bytes).filter(|bytes| *bytes > 0),
        free_bytes: Some(node.free_bytes).filter(|bytes| *bytes > 0),
    }
}

impl From<&TopicView> for TopicRow {
    fn from(view: &TopicView) -> TopicRow {
        let kept = view.queues.iter().map(|queue| queue.next_offset.saturating_sub(queue.first_kept)).sum();
        TopicRow {
            name: view.name.clone(),
            queues: view.settings.queues,
            kept: Some(kept),
            scheduled: Some(view.scheduled),
        }
    }
}

impl From<&GroupView> for GroupRow {
    fn from(view: &GroupView) -> GroupRow {
        let topics = &view.topics;
        GroupRow {
            name: view.name.clone(),
            topics: topics.iter().map(|topic| topic.topic.clone()).collect(),
            ordered: view.settings.ordered,
            paused: view.paused,
            lag: Some(topics.iter().map(|topic| topic.lag).sum()),
            counting: topics.iter().any(|topic| topic.counting),
            oldest_ms: Some(topics.iter().map(|topic| topic.lag_ms).max().unwrap_or(0)),
            ready: Some(topics.iter().map(|topic| topic.ready).sum()),
            leased: Some(view.in_flight),
            retrying: Some(topics.iter().map(|topic| topic.retrying).sum()),
            dead: Some(view.dead_letters),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{GroupTopicView, QueueView};
    use crate::model::{GroupSettings, TopicSettings};

    #[test]
    fn a_topic_counts_what_can_still_be_read_in_all_queues() {
        let queue = |queue, first_kept, next_offset| QueueView { queue, first_kept, next_offset };
        let row = TopicRow::from(&TopicView {
            name: "orders".parse().unwrap(),
            version: "0000000000000000".parse().unwrap(),
            settings: TopicSettings { queues: 2, ..TopicSettings::default() },
            queues: vec![queue(0, 10, 30), queue(1, 0, 5)],
            scheduled: 3,
            groups: Vec::new(),
            made_at: Timestamp(1),
        });
        assert_eq!((row.queues, row.kept, row.scheduled), (2, Some(25), Some(3)));
    }

    #[test]
    fn a_group_adds_up_its_topics_and_takes_the_oldest() {
        let topic = |name: &str, lag, lag_ms, counting| GroupTopicView {
            topic: name.parse().unwrap(),
            lag,
            counting,
            lag_ms,
            ready: lag,
            in_flight: 0,
            retrying: 1,
            cursors: Vec::new(),
        };
        let row = GroupRow::from(&GroupView {
            name: "billing".parse().unwrap(),
            version: "0000000000000000".parse().unwrap(),
            settings: GroupSettings::default(),
            paused: false,
            dead_letters: 4,
            in_flight: 2,
            members: 1,
            made_at: Timestamp(1),
            topics: vec![topic("a", 5, 100, false), topic("b", 7, 900, true)],
        });
        assert_eq!(
            (row.lag, row.oldest_ms, row.ready, row.retrying),
            (Some(12), Some(900), Some(12), Some(2))
        );
        assert_eq!((row.leased, row.dead, row.counting), (Some(2), Some(4), true));
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let about = About::starting("127.0.0.1:1", "/d");
        let checks = vec![("log", true, "ok".to_owned()), ("disk", false, "full".to_owned())];
        let node = NodeView {
            node_id: 1,
            cluster_id: String::new(),
            term: 1,
            leader: false,
            applied: 0,
            last: 0,
            log_time: Timestamp(0),
            log_bytes: 0,
            free_bytes: 0,
            indexed: 0,
            started_at: Timestamp(0),
        };
        let facts = node_facts(&node, &Readiness { ready: false, checks }, &about);
        assert_eq!(facts.state, "not ready: disk: full");
        assert!(!facts.ready && facts.log_bytes.is_none());
    }
}
