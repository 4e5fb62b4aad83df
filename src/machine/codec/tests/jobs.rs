use std::sync::Arc;

use super::super::super::facts::Fact;
use super::super::super::jobs::{JobEnd, JobFact, JobProgressed, JobStarted};
use super::at;
use crate::model::{DeadLetterFilter, DeadReason, GroupId, JobId, Timestamp, TopicId};

/// One of every kind that a redrive by filter makes.
pub(super) fn samples(group: GroupId, topic: TopicId) -> Vec<Fact> {
    vec![
        Fact::DeadMoved { group, positions: vec![at(40, 2), at(41, 0)] },
        Fact::Job(JobFact::Started(JobStarted {
            id: JobId(9),
            group,
            filter: Arc::default(),
            to: None,
            rate_per_s: None,
            total: 1_000,
        })),
        Fact::Job(JobFact::Started(JobStarted {
            id: JobId(300),
            group,
            filter: Arc::new(job_filter()),
            to: Some(topic),
            rate_per_s: Some(50),
            total: 1_000_000,
        })),
        Fact::Job(JobFact::Progressed(JobProgressed {
            id: JobId(300),
            cursor: at(40, 2),
            looked: 1_000,
            moved: 250,
            failed: 3,
            not_before: Timestamp(1_700_000_000_250),
        })),
        Fact::Job(JobFact::Ended { id: JobId(300), end: JobEnd::Done }),
        Fact::Job(JobFact::Ended { id: JobId(300), end: JobEnd::Cancelled }),
        Fact::Job(JobFact::Ended { id: JobId(300), end: JobEnd::GroupDeleted }),
        Fact::Job(JobFact::Ended { id: JobId(300), end: JobEnd::TopicDeleted }),
        Fact::Job(JobFact::Forgotten { id: JobId(9) }),
    ]
}

fn job_filter() -> DeadLetterFilter {
    DeadLetterFilter {
        reason: Some(DeadReason::Rejected),
        topic: Some("orders".parse().unwrap()),
        tag: Some("eu".into()),
        key: Some("k".into()),
        failure_contains: Some("db down".into()),
        from: Some(Timestamp(1_700_000_000_000)),
        to: Some(Timestamp(1_700_000_060_000)),
    }
}
