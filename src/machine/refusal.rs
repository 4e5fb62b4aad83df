//! Refusals: deciding says no, nothing changes, and the caller is told why. Never a fault.

use crate::model::alert::SilenceId;
use crate::model::{GroupName, JobId, QueueNo, TopicName};

use super::version::Version;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such topic, and it was not to be made.
    #[error("there is no topic '{0}'; make it with PUT /v1/topics/{0}")]
    TopicNotFound(TopicName),
    /// No such group.
    #[error("there is no group '{0}'; name a topic (?topic=) to make it, or PUT /v1/groups/{0}")]
    GroupNotFound(GroupName),
    /// The group does not subscribe to the topic.
    #[error("group '{group}' is not subscribed to topic '{topic}'")]
    NotSubscribed {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
    },
    /// An explicit queue that the topic does not have.
    #[error("queue {queue} does not exist: the topic has {queues} queues, counted from 0")]
    QueueNotFound {
        /// What was asked for.
        queue: u64,
        /// How many there are.
        queues: QueueNo,
    },
    /// Both an explicit queue and an ordering key.
    #[error("queue and ordering_key exclude each other: the ordering key chooses the queue")]
    QueueAndOrderingKey,
    /// `queues` would shrink.
    #[error("queues can only grow: the topic has {0}")]
    QueuesShrink(QueueNo),
    /// `queues` would grow under an ordered group with backlog.
    #[error("queues cannot grow while ordered group '{0}' has backlog")]
    QueuesOrdered(GroupName),
    /// `ordered` or `lane_batch` would change while something is leased or retrying.
    #[error("ordered and lane_batch change only when nothing of the group is leased or retrying")]
    GroupBusy,
    /// Deleting something that holds messages needs `confirm`.
    #[error("'{name}' still holds {what}; repeat with ?confirm={name}")]
    ConfirmNeeded {
        /// The topic's or group's name.
        name: String,
        /// What it holds.
        what: String,
    },
    /// The thing exists already and was only to be made.
    #[error("'{0}' exists already")]
    Exists(String),
    /// The settings are not the ones the caller has seen.
    #[error("'{name}' was changed meanwhile: its entity tag is \"{version}\" now")]
    Stale {
        /// The topic's or group's name.
        name: String,
        /// What is there.
        version: Version,
    },
    /// The caller has seen settings of something that does not exist.
    #[error("'{0}' does not exist, and If-Match asks for what is there")]
    Absent(String),
    /// Too many topics.
    #[error("there are {0} topics already, the most a node holds")]
    TooManyTopics(usize),
    /// Too many groups.
    #[error("there are {0} groups already, the most a node holds")]
    TooManyGroups(usize),
    /// The node holds as many messages as it may.
    #[error("{0} messages are scheduled, dead, or handed out and not settled already, the most a node holds")]
    TooManyHeld(usize),
    /// The idempotency key was used before, with another request.
    #[error(
        "this Idempotency-Key was used for another request to this topic; use a new key for a new request"
    )]
    IdempotencyMismatch,
    /// Too many idempotency keys.
    #[error(
        "{0} idempotency keys are remembered already, the most this node is set to; older ones go with time"
    )]
    IdempotencyFull(usize),
    /// A request that is all or nothing holds messages that are refused.
    #[error(
        "nothing was stored: {count} of {of} messages are refused, the first of them: {}",
        first_of(named)
    )]
    NoneStored {
        /// The first of them: which one, counted from 0, and why.
        named: Vec<(usize, Refusal)>,
        /// How many are refused.
        count: usize,
        /// How many there are.
        of: usize,
    },
    /// Delay out of range.
    #[error("{field} must be at most 40 days from now")]
    DelayTooLong {
        /// `delay_ms` or `deliver_at`.
        field: &'static str,
    },
    /// The message is ready, or was cancelled before.
    #[error("the message is not scheduled any more, so there is nothing left to cancel")]
    NotScheduled,
    /// No such dead letter.
    #[error("the group has no such dead letter")]
    DeadLetterNotFound,
    /// A dead letter of a deleted topic cannot go back.
    #[error("the topic '{0}' of this dead letter is deleted or no longer subscribed")]
    TopicGone(TopicName),
    /// No such job.
    #[error("there is no job {0}; it may have ended long ago and be forgotten")]
    JobNotFound(JobId),
    /// The group has a job that runs.
    #[error("job {job} of group '{group}' still runs; wait for it, or cancel it with DELETE /v1/jobs/{job}")]
    JobRunning {
        /// The group.
        group: GroupName,
        /// Its job.
        job: JobId,
    },
    /// A job that ended cannot be cancelled.
    #[error("job {0} has ended already; there is nothing to cancel")]
    JobEnded(JobId),
    /// Too many jobs run.
    #[error("{0} jobs run already, the most a node runs at once; wait for one, or cancel one")]
    TooManyJobs(usize),
    /// No such rule, receiver, silence or delivery.
    #[error("there is no {what} '{name}'")]
    NoAlertObject {
        /// What it would be.
        what: &'static str,
        /// Its name or number.
        name: String,
    },
    /// It comes from the configuration file.
    #[error(
        "'{0}' is set in the configuration file of the broker; change it there and start the broker again"
    )]
    FromFile(String),
    /// A route leads to the receiver.
    #[error("a route leads to receiver '{0}'; change the routes first")]
    ReceiverInUse(String),
    /// It comes with the broker.
    #[error(
        "'{0}' comes with the broker and cannot be deleted; PUT it with \"enabled\": false to have it ignored"
    )]
    BuiltIn(String),
    /// The silence is over.
    #[error("silence {0} is over; make another")]
    SilenceOver(SilenceId),
    /// Too many rules, receivers or silences.
    #[error("there are {most} {what} already, the most a node holds; delete some")]
    TooManyOf {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// A subscription names a topic that does not exist.
    #[error("subscriptions name topic '{0}', which does not exist")]
    SubscribedTopicNotFound(TopicName),
}

fn first_of(named: &[(usize, Refusal)]) -> String {
    named.first().map(|(_, refusal)| refusal.to_string()).unwrap_or_default()
}
