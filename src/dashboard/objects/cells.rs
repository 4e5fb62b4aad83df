//! Numbers of groups, ready for the cells of a table.

use crate::broker::GroupView;
use crate::model::{GroupName, TopicName};

/// A group.
#[derive(Clone, Debug)]
pub(super) struct GroupRow {
    pub(super) name: GroupName,
    pub(super) ordered: bool,
    pub(super) paused: bool,
    pub(super) topics: Vec<TopicName>,
    pub(super) lag: Option<u64>,
    /// Whether some of it may turn out not to match a filter: then it is a bound.
    pub(super) counting: bool,
    pub(super) lag_ms: Option<u64>,
    pub(super) in_flight: Option<u64>,
    pub(super) members: Option<u64>,
    pub(super) dead_letters: u64,
}

impl From<&GroupView> for GroupRow {
    fn from(view: &GroupView) -> GroupRow {
        GroupRow {
            name: view.name.clone(),
            ordered: view.settings.ordered,
            paused: view.paused,
            topics: view.topics.iter().map(|topic| topic.topic.clone()).collect(),
            lag: Some(view.lag()),
            counting: view.topics.iter().any(|topic| topic.counting),
            lag_ms: Some(view.lag_ms()),
            in_flight: Some(view.in_flight),
            members: Some(view.members),
            dead_letters: view.dead_letters,
        }
    }
}
