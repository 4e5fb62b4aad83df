//! What is remembered.

use std::str::FromStr;

use crate::model::{GroupId, GroupName, TopicId, TopicName};

/// What a curve is of, as people name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The node: all topics and groups together, disk, connections.
    Node,
    /// A topic.
    Topic(TopicName),
    /// A group, all its topics together.
    Group(GroupName),
}

/// What kind of thing a [`Subject`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubjectKind {
    /// The node.
    Node,
    /// A topic.
    Topic,
    /// A group.
    Group,
}

/// What is remembered: the node, or an object by its number. One that was deleted and made again has the name of the
/// other, and nothing of its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Incarnation {
    /// The node.
    Node,
    /// A topic.
    Topic(TopicId),
    /// A group, all its topics together.
    Group(GroupId),
}

impl Incarnation {
    /// What kind of thing it is.
    #[must_use]
    pub fn kind(self) -> SubjectKind {
        match self {
            Incarnation::Node => SubjectKind::Node,
            Incarnation::Topic(_) => SubjectKind::Topic,
            Incarnation::Group(_) => SubjectKind::Group,
        }
    }
}

impl Subject {
    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> SubjectKind {
        match self {
            Subject::Node => SubjectKind::Node,
            Subject::Topic(_) => SubjectKind::Topic,
            Subject::Group(_) => SubjectKind::Group,
        }
    }

    /// The name of the object; none of the node.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Subject::Node => None,
            Subject::Topic(name) => Some(name.as_str()),
            Subject::Group(name) => Some(name.as_str()),
        }
    }
}

/// How several values become the one of a longer step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    /// Their mean.
    Mean,
    /// The largest: what was bad for a second stays to be seen.
    Max,
}

macro_rules! measures {
    ($($(#[$doc:meta])* $measure:ident = $name:literal $fold:ident [$($kind:ident)*];)*) => {
        /// A value that is remembered over time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Measure {
            $($(#[$doc])* $measure,)*
        }

        impl Measure {
            /// All of them.
            pub const ALL: &'static [Measure] = &[$(Measure::$measure),*];

            /// Its name in the interface.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Measure::$measure => $name,)* }
            }

            pub(super) fn fold(self) -> Fold {
                match self { $(Measure::$measure => Fold::$fold,)* }
            }

            /// The kinds of things it is remembered of.
            #[must_use]
            pub fn kinds(self) -> &'static [SubjectKind] {
                match self { $(Measure::$measure => &[$(SubjectKind::$kind),*],)* }
            }
        }
    };
}

measures! {
    /// Messages accepted, a second.
    ProducedMessages = "produced_messages_per_s" Mean [Node Topic];
    /// Bytes of their bodies, a second.
    ProducedBytes = "produced_bytes_per_s" Mean [Node Topic];
    /// Messages leased, every attempt counted, a second.
    DeliveredMessages = "delivered_messages_per_s" Mean [Node Group];
    /// Bytes of their bodies, a second.
    DeliveredBytes = "delivered_bytes_per_s" Mean [Node];
    /// Messages acked, a second.
    AckedMessages = "acked_messages_per_s" Mean [Node Group];
    /// Deliveries that a consumer nacked or rejected, a second.
    NackedDeliveries = "nacked_deliveries_per_s" Mean [Node Group];
    /// Deliveries that failed for whatever cause (nack, rejected, lease ran out, connection lost), a second.
    FailedDeliveries = "failed_deliveries_per_s" Mean [Node Group];
    /// Messages that became ready for another attempt, a second.
    RetriedMessages = "retried_messages_per_s" Mean [Node Group];
    /// Messages that became dead letters, a second.
    DeadLetteredMessages = "dead_lettered_messages_per_s" Mean [Node Group];
    /// Messages not settled, all groups together or of one.
    LagMessages = "lag_messages" Mean [Node Group];
    /// Age of the oldest of them, in seconds; 0 without lag.
    LagSeconds = "lag_seconds" Max [Node Group];
    /// Messages of the lag that nobody holds and that wait for no retry.
    ReadyMessages = "ready_messages" Mean [Group];
    /// Messages leased to consumers.
    InFlightMessages = "in_flight_messages" Mean [Node Group];
    /// Dead letters held.
    DeadLetters = "dead_letters" Mean [Node Group];
    /// Half of the flushes were faster.
    FsyncP50 = "fsync_p50_seconds" Mean [Node];
    /// 99 of 100 flushes were faster; nothing while there was none.
    FsyncP99 = "fsync_p99_seconds" Max [Node];
    /// Half of the accepted produce requests were faster.
    ProduceP50 = "produce_p50_seconds" Mean [Node];
    /// 99 of 100 accepted produce requests were faster.
    ProduceP99 = "produce_p99_seconds" Max [Node];
    /// Half of the messages were handed out sooner after they were ready.
    EndToEndP50 = "end_to_end_p50_seconds" Mean [Node];
    /// 99 of 100 messages were handed out sooner after they were ready.
    EndToEndP99 = "end_to_end_p99_seconds" Max [Node];
    /// Bytes of all segments.
    LogBytes = "log_bytes" Mean [Node];
    /// Bytes that the file system has left.
    DiskFreeBytes = "disk_free_bytes" Mean [Node];
    /// Open HTTP connections.
    Connections = "connections" Max [Node];
    /// Open WebSockets.
    Sockets = "sockets" Max [Node];
    /// Receives and subscriptions that are open.
    Waiters = "waiters" Max [Node];
}

impl Measure {
    /// What is remembered of a kind of thing, in the order of the columns.
    pub fn of(kind: SubjectKind) -> impl Iterator<Item = Measure> {
        Measure::ALL.iter().copied().filter(move |measure| measure.kinds().contains(&kind))
    }

    /// Where its column is; none when it is not remembered of this kind.
    pub(super) fn column(self, kind: SubjectKind) -> Option<usize> {
        Measure::of(kind).position(|measure| measure == self)
    }
}

/// A name that no measure has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a series of the history", .0.escape_debug())]
pub struct UnknownMeasure(String);

impl FromStr for Measure {
    type Err = UnknownMeasure;

    fn from_str(text: &str) -> Result<Measure, UnknownMeasure> {
        let found = Measure::ALL.iter().find(|measure| measure.as_str() == text);
        found.copied().ok_or_else(|| UnknownMeasure(text.chars().take(80).collect()))
    }
}
