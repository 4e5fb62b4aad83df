//! Facts: everything that can happen, as it stands in the log. A fact says what *is*, never what should be worked out;
//! so a rule may change from one version to the next without changing what an old log means.

use std::sync::Arc;

use crate::model::{
    DeadReason, GroupId, GroupName, GroupSettings, KeyHash, Message, Millis, Place, Position, QueueNo,
    Timestamp, TopicId, TopicName, TopicSettings,
};

use super::alerts::AlertFact;
use super::cause::FailCause;
use super::jobs::JobFact;
use crate::model::QueueEntry;

/// The index by which a fact names a message of its own entry: the real index is known only once the entry is in the
/// log, and [`super::Machine::apply`] puts it in.
pub const OWN_ENTRY: u64 = u64::MAX;

/// One log entry: what the leader decided in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of the last batch or leader start that took effect when this was decided. A batch whose base is not that
    /// any more was decided too early and does nothing. 0 in a batch that starts a leadership, which has no base.
    pub base: u64,
    /// Log time of everything in it.
    pub time: Timestamp,
    /// What happened, in order. At most 65,535; a fact's ordinal is its slot.
    pub facts: Vec<Fact>,
}

impl Batch {
    /// Whether this is the leader start that opens a leadership.
    #[must_use]
    pub fn starts_leadership(&self) -> bool {
        matches!(self.facts.first(), Some(Fact::LeaderStart { .. }))
    }

    /// The queue entries that this batch makes when it stands at `index` and takes effect. A pure function of the log,
    /// so that the index can be made again at any time.
    pub fn queue_entries(&self, index: u64) -> impl Iterator<Item = (TopicId, QueueNo, QueueEntry)> + '_ {
        self.facts.iter().zip(0u16..).filter_map(move |(fact, slot)| match fact {
            Fact::Produced(produced) => {
                let ProducedAs::Ready { offset } = produced.state else { return None };
                let entry = produced.entry(Position { index, slot }, offset, self.time);
                Some((produced.topic, produced.queue, entry))
            }
            Fact::ScheduleDue(due) => Some((due.topic, due.queue, due.entry.clone())),
            _ => None,
        })
    }
}

/// Something that happened. Topics and groups are named by incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A leadership began (also after a restart in the same term). Always alone in its batch.
    LeaderStart {
        /// The leader's node id.
        node: u64,
    },
    /// A topic was made.
    TopicMade {
        /// Its incarnation.
        id: TopicId,
        /// Its name.
        name: TopicName,
        /// Its settings.
        settings: TopicSettings,
    },
    /// A topic's settings were replaced.
    TopicChanged {
        /// The topic.
        id: TopicId,
        /// All settings.
        settings: TopicSettings,
    },
    /// A topic was deleted with its messages, schedules, leases and subscriptions; dead letters stay.
    TopicDeleted {
        /// The topic.
        id: TopicId,
    },
    /// A group was made.
    GroupMade {
        /// Its incarnation.
        id: GroupId,
        /// Its name.
        name: GroupName,
        /// Its settings.
        settings: GroupSettings,
        /// For each subscription, the first offset it reads in each queue.
        starts: Vec<(TopicId, Vec<u64>)>,
    },
    /// A group's settings were replaced. Subscriptions that are gone drop their progress and leases.
    GroupChanged {
        /// The group.
        id: GroupId,
        /// All settings.
        settings: GroupSettings,
        /// For each *new* subscription, the first offset it reads in each queue.
        starts: Vec<(TopicId, Vec<u64>)>,
    },
    /// A group was deleted with its progress and dead letters.
    GroupDeleted {
        /// The group.
        id: GroupId,
    },
    /// A group was paused or resumed.
    GroupPaused {
        /// The group.
        id: GroupId,
        /// Whether it is paused now.
        paused: bool,
    },
    /// A message was accepted.
    Produced(Produced),
    /// A scheduled message became ready.
    ScheduleDue(ScheduleDue),
    /// A scheduled message was taken back before it was ready: it never will be.
    Cancelled {
        /// The topic.
        topic: TopicId,
        /// When it would have been due; with the position this is its key in the schedule.
        due: Timestamp,
        /// The message, by its real position, never [`OWN_ENTRY`].
        position: Position,
    },
    /// One group looked into one queue: leased, parked and passed over.
    Delivered(Delivered),
    /// Messages are done for a group.
    Acked {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicId,
        /// The queue.
        queue: QueueNo,
        /// Their places.
        places: Vec<Place>,
    },
    /// A lease lasts longer (or shorter) now. Or, for a message that is not leased: it should have become a dead
    /// letter, there is no room for it, and so it goes on retrying until then.
    Extended {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicId,
        /// The queue.
        queue: QueueNo,
        /// The message's place.
        place: Place,
        /// When the lease runs out, or the retry is due, now.
        until: Timestamp,
    },
    /// A delivery failed: nack, or the lease ran out. The message is retrying until `due`. A nack with the receipt of a
    /// lease that ran out before is no second failure; it sets `due` anew and takes the first one's place in the
    /// history.
    Failed {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicId,
        /// The queue.
        queue: QueueNo,
        /// The message's place.
        place: Place,
        /// How it failed.
        cause: FailCause,
        /// When it is ready again; the batch's time or earlier means at once.
        due: Timestamp,
    },
    /// A message became a dead letter of its group. Its place is settled.
    Dead {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicId,
        /// The queue.
        queue: QueueNo,
        /// The message's place.
        place: Place,
        /// Why.
        reason: DeadReason,
        /// The failed delivery that was the last straw, if one was; it counts as a failure.
        cause: Option<FailCause>,
    },
    /// Leases ended without a failure: ready at once, same attempt, receipts expired.
    GivenBack {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicId,
        /// The queue.
        queue: QueueNo,
        /// The messages' places.
        places: Vec<Place>,
    },
    /// Retries came due.
    RetryDue {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicId,
        /// The queue.
        queue: QueueNo,
        /// The messages' places.
        places: Vec<Place>,
    },
    /// Messages outlived their TTL and are never leased to this group again.
    Expired {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicId,
        /// The queue.
        queue: QueueNo,
        /// The places of those that the group had looked at; they do not become dead letters (that is [`Fact::Dead`]).
        places: Vec<Place>,
        /// Those that it had not looked at yet.
        beyond: Vec<Expiry>,
    },
    /// A group's reading place in a topic was moved by hand.
    Sought {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicId,
        /// The next offset to read, for each queue; `u64::MAX`: that queue is not touched.
        targets: Vec<u64>,
    },
    /// Dead letters went back to the end of their lanes, each in a new round.
    Redriven {
        /// The group.
        group: GroupId,
        /// The messages.
        positions: Vec<Position>,
        /// Where each of them stands now. Empty in logs of versions that did not write it down: then it follows from
        /// the state, and from the log alone it is not known.
        places: Vec<Place>,
    },
    /// Dead letters left their group for another topic, where the facts directly before accepted each anew, in this
    /// order.
    DeadMoved {
        /// The group.
        group: GroupId,
        /// The messages.
        positions: Vec<Position>,
    },
    /// Something happened to a job.
    Job(JobFact),
    /// Something of alerting changed.
    Alert(AlertFact),
    /// All dead letters of a group were thrown away.
    DeadPurged {
        /// The group.
        group: GroupId,
    },
    /// Messages below these offsets are gone unless live: retention moved on.
    Kept {
        /// The topic.
        topic: TopicId,
        /// For each queue that moves: its first kept offset.
        firsts: Vec<(QueueNo, u64)>,
    },
    /// This many parts of deleted things were swept away (memory only; nothing visible changes): first what stands
    /// before anything live among what is due, then the trash, oldest part first, item by item.
    Swept {
        /// How many.
        count: u32,
    },
    /// The messages directly before this were accepted under an idempotency key.
    Remembered(Remembered),
    /// The window of these idempotency keys is over.
    Forgotten {
        /// The topic.
        topic: TopicId,
        /// When they were to be forgotten; with the topic this names them.
        until: Timestamp,
    },
}

impl Fact {
    /// About how many bytes it takes in the log; for closing an entry in time, not exact.
    pub(super) fn about_bytes(&self) -> usize {
        match self {
            Fact::Produced(produced) => {
                48 + produced.message.body.len() + produced.message.attributes.bytes()
            }
            Fact::Delivered(delivered) => {
                64 + 56 * delivered.fresh.len() + 24 * delivered.again.len() + 40 * delivered.expired.len()
            }
            Fact::Acked { places, .. } | Fact::GivenBack { places, .. } | Fact::RetryDue { places, .. } => {
                24 + 12 * places.len()
            }
            Fact::Expired { places, beyond, .. } => 24 + 12 * places.len() + 40 * beyond.len(),
            Fact::Remembered(remembered) => 48 + 8 * remembered.refused.len(),
            Fact::Redriven { positions, .. } => 16 + 24 * positions.len(),
            Fact::DeadMoved { positions, .. } => 16 + 12 * positions.len(),
            Fact::Job(JobFact::Started(_)) => 2_048,
            Fact::Alert(fact) => fact.about_bytes(),
            Fact::Sought { targets, .. } => 24 + 10 * targets.len(),
            Fact::GroupMade { settings, starts, .. } | Fact::GroupChanged { settings, starts, .. } => {
                settings.about_bytes()
                    + starts.iter().map(|(_, offsets)| 8 + 8 * offsets.len()).sum::<usize>()
            }
            _ => 64,
        }
    }
}

/// An accepted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    /// The topic.
    pub topic: TopicId,
    /// The queue.
    pub queue: QueueNo,
    /// Ready now, or later.
    pub state: ProducedAs,
    /// Time to live, counted from ready; none: for ever.
    pub ttl_ms: Option<Millis>,
    /// The message itself.
    pub message: Arc<Message>,
}

impl Produced {
    /// The queue entry of this message, ready at `ready_at`.
    #[must_use]
    pub fn entry(&self, position: Position, offset: u64, ready_at: Timestamp) -> QueueEntry {
        QueueEntry {
            offset,
            position,
            ready_at,
            expires_at: self.ttl_ms.map_or(Timestamp::MAX, |ttl| ready_at.plus(ttl)),
            lane: self.message.attributes.lane(),
            tag: self.message.attributes.tag.as_deref().map(Arc::from),
            body_bytes: u32::try_from(self.message.body.len()).unwrap_or(u32::MAX),
        }
    }
}

/// How a message was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducedAs {
    /// It is ready and has its offset.
    Ready {
        /// Its offset.
        offset: u64,
    },
    /// It waits for its time and has no offset yet.
    Scheduled {
        /// When it becomes ready.
        due: Timestamp,
    },
}

/// A request with an idempotency key was carried out: everything that its answer was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The topic.
    pub topic: TopicId,
    /// The key and whose it is.
    pub key: KeyHash,
    /// The fingerprint of the request.
    pub fingerprint: u64,
    /// The key is forgotten then, and not before.
    pub until: Timestamp,
    /// How many messages were accepted: the facts directly before this one, in the order of the request.
    pub messages: u16,
    /// Which messages of the request were refused, counted from 0, and why.
    pub refused: Vec<(u16, RefusedAs)>,
}

/// Why one message of a request was refused while others were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedAs {
    /// An explicit queue that the topic did not have.
    QueueNotFound {
        /// What was asked for.
        queue: u64,
        /// How many there were.
        queues: QueueNo,
    },
    /// Both an explicit queue and an ordering key.
    QueueAndOrderingKey,
    /// Too many scheduled, dead, and handed out messages.
    TooManyHeld,
    /// `delay_ms` out of range.
    DelayTooLong,
    /// `deliver_at` out of range.
    DeliverAtTooLate,
}

/// A scheduled message that became ready. Its entry names the message by its real position, never [`OWN_ENTRY`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleDue {
    /// The topic.
    pub topic: TopicId,
    /// The queue.
    pub queue: QueueNo,
    /// When it was due; with the position this is its key in the schedule.
    pub due: Timestamp,
    /// Its line in the queue, with its new offset.
    pub entry: QueueEntry,
}

/// One group looked into one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The group.
    pub group: GroupId,
    /// The topic.
    pub topic: TopicId,
    /// The queue.
    pub queue: QueueNo,
    /// The first offset that the group had not looked at before. In logs of versions that did not write it down it
    /// reads as the first offset listed below.
    pub from: u64,
    /// The group has looked at everything below this offset now. Offsets between `from` and this one that are not in
    /// `fresh` or `expired`, and were not settled before, did not pass the filter and are settled.
    pub next: u64,
    /// The round of what is met for the first time; 0 in logs of versions that did not write it down.
    pub round: u32,
    /// Whose leases these are, on the leader: 0 for HTTP, else the WebSocket subscription.
    pub session: u64,
    /// The member that leased.
    pub client: Arc<str>,
    /// When the leases run out.
    pub until: Timestamp,
    /// Messages seen for the first time, leased or parked.
    pub fresh: Vec<Fresh>,
    /// Messages looked at earlier that are leased now: place and nonce.
    pub again: Vec<(Place, u64)>,
    /// Messages that had outlived their TTL when they were met.
    pub expired: Vec<Expiry>,
}

/// A message that a group sees for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Its offset.
    pub offset: u64,
    /// The message; may be of this very entry ([`OWN_ENTRY`]).
    pub position: Position,
    /// When it became ready.
    pub ready_at: Timestamp,
    /// When its TTL runs out; [`Timestamp::MAX`] for never.
    pub expires_at: Timestamp,
    /// Its lane.
    pub lane: u64,
    /// Bytes of its body.
    pub body_bytes: u32,
    /// The nonce of its lease; none: parked, because its lane is held.
    pub nonce: Option<u64>,
}

/// A message that was met after its TTL. It is settled; what is needed to keep it as a dead letter is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Its offset.
    pub offset: u64,
    /// The message.
    pub position: Position,
    /// Its lane.
    pub lane: u64,
    /// When it had become ready.
    pub ready_at: Timestamp,
    /// Bytes of its body.
    pub body_bytes: u32,
    /// Whether it becomes a dead letter.
    pub dead: bool,
}
