//! The state that facts evolve. All maps are ordered and persistent (shared on clone), so that a clone costs nothing
//! and two nodes that applied the same log are equal byte for byte.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};

use crate::model::{
    DeadReason, GroupId, GroupName, GroupSettings, JobId, Place, Position, QueueNo, Timestamp, TopicId,
    TopicName, TopicSettings,
};

use super::alerts::Alerting;
use super::idempotency::Keys;
use super::jobs::Job;
use super::ranges::Ranges;

/// Everything the log adds up to, except bodies and settled history. Cloning is O(1) and shares everything.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Log time of the last batch that took effect.
    pub(super) now: Timestamp,
    /// Index of the last entry applied, whether it took effect or not.
    pub(super) applied: u64,
    /// Index of the last batch or leader start that took effect.
    pub(super) base: u64,
    /// The id the next topic gets.
    pub(super) next_topic: u32,
    /// The id the next group gets.
    pub(super) next_group: u32,
    /// Topics by incarnation.
    pub(super) topics: OrdMap<TopicId, Arc<Topic>>,
    /// Topics by name.
    pub(super) topic_names: OrdMap<TopicName, TopicId>,
    /// Groups by incarnation.
    pub(super) groups: OrdMap<GroupId, Arc<Group>>,
    /// Groups by name.
    pub(super) group_names: OrdMap<GroupName, GroupId>,
    /// The first scheduled message of every topic that has any, in (due, position) order.
    pub(super) next_scheduled: OrdSet<(Timestamp, Position, TopicId)>,
    /// What comes due, in (time, position) order, besides schedules. Holds exactly the live deadlines of items of
    /// existing progress, and possibly leftovers of deleted things, which a tick drops.
    pub(super) deadlines: OrdSet<Deadline>,
    /// Parts of deleted things, freed a few at a time.
    pub(super) trash: Vector<Arc<Progress>>,
    /// Dead letters of deleted groups and purged sets, freed a few at a time.
    pub(super) dead_trash: Vector<OrdMap<Position, Dead>>,
    /// Schedules of deleted topics, freed a few messages at a time.
    pub(super) schedule_trash: Vector<Schedule>,
    /// How many messages are scheduled, dead, or looked at and not settled, trash aside.
    pub(super) held: u64,
    /// Idempotency keys of requests that were carried out.
    pub(super) keys: Keys,
    /// Jobs: those that run, and the last that have ended.
    pub(super) jobs: OrdMap<JobId, Arc<Job>>,
    /// Rules, receivers, alerts and notifications.
    pub(super) alerting: Alerting,
}

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its settings.
    pub settings: TopicSettings,
    /// When it was made.
    pub made_at: Timestamp,
    /// One per queue.
    pub queues: Vector<QueueState>,
    /// The queue that the next message without queue and ordering key goes to.
    pub next_queue: QueueNo,
    /// Accepted messages that wait for their time.
    pub schedule: Schedule,
    /// The groups that subscribe to it.
    pub groups: OrdSet<GroupId>,
}

/// One queue of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// The offset the next message gets.
    pub next_offset: u64,
    /// Below this, what is not live is gone (410) on every node.
    pub first_kept: u64,
}

/// The scheduled messages of a topic, by due time and position, with their queues. Small on purpose: there may be
/// millions.
pub type Schedule = OrdMap<(Timestamp, Position), QueueNo>;

/// Where a scheduled message will go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its topic.
    pub topic: TopicId,
    /// Its queue.
    pub queue: QueueNo,
}

/// A consumer group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// Its settings; `subscriptions` name topics that exist.
    pub settings: Arc<GroupSettings>,
    /// When it was made.
    pub made_at: Timestamp,
    /// Whether it hands out nothing.
    pub paused: bool,
    /// How far it is in each queue of each topic it subscribes to.
    pub progress: OrdMap<(TopicId, QueueNo), Arc<Progress>>,
    /// Leases it holds, over all queues.
    pub in_flight: u64,
    /// Messages that wait for a retry, over all queues.
    pub retrying: u64,
    /// Its dead letters.
    pub dead: OrdMap<Position, Dead>,
    /// The same by where they stood, for seek.
    pub dead_offsets: OrdMap<(TopicId, QueueNo, u64), Position>,
}

/// Most ranges that one group keeps of what was skipped in one queue. It is what a receipt of a message that was
/// neither acked nor dead-lettered is known by, so there is no natural bound; below the lowest kept range such a
/// receipt counts as one of an acked message.
pub(super) const VOID_RANGES_MAX: usize = 1_000;

/// How far one group is in one queue.
///
/// Every offset below `next` is either in `items` or settled; so nothing needs to be kept about settled ones, except
/// that nobody settled those in `void`. Offsets from `next` on have not been looked at, except that those in `beyond`
/// are settled already.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The first offset not looked at yet.
    pub next: u64,
    /// Unsettled messages that were looked at: leased, retrying, ready again, or parked behind their lane.
    pub items: OrdMap<Place, Item>,
    /// The items that may be leased now ([`ItemState::Ready`]).
    pub ready: OrdSet<Place>,
    /// In ordered groups: every item by lane, in lane order.
    pub lanes: OrdSet<(u64, Place)>,
    /// Redriven messages among the items, those whose turn is not 0, by message.
    pub redriven: OrdMap<Position, Place>,
    /// Offsets at or above `next` that are settled already.
    pub beyond: Ranges,
    /// Settled offsets whose messages a seek skipped or their TTL took after they may have been leased: their receipts
    /// are expired. At most `VOID_RANGES_MAX` ranges, the highest; of what retention has passed, none.
    pub void: Ranges,
    /// Leased items.
    pub leased: u64,
    /// Items that wait for a retry.
    pub retrying: u64,
    /// The round that fresh deliveries have; counted from 1.
    pub round: u32,
    /// The highest round any message of this progress had.
    pub max_round: u32,
    /// Redrives so far; the next redriven item gets this plus 1 as its turn.
    pub redrives: u32,
}

/// An unsettled message that its group has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The message.
    pub position: Position,
    /// Its offset; the place's own unless it was redriven.
    pub offset: u64,
    /// Its lane.
    pub lane: u64,
    /// When it became ready.
    pub ready_at: Timestamp,
    /// When its TTL runs out; [`Timestamp::MAX`] for never, which a redriven message always has.
    pub expires_at: Timestamp,
    /// Bytes of its body, so that a receive can keep to its byte limit.
    pub body_bytes: u32,
    /// Its round, from 1.
    pub round: u32,
    /// Failed deliveries in this round.
    pub failures: u32,
    /// Where those failures stand in the log.
    pub history: Option<Arc<History>>,
    /// What is happening to it.
    pub state: ItemState,
    /// How its last lease ended, while a late receipt may still mean something.
    pub last: LastEnd,
}

/// What is happening to an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemState {
    /// It may not go out before others of its lane.
    Parked,
    /// It may be leased now.
    Ready,
    /// A consumer holds it.
    Leased(Lease),
    /// It waits after a failure.
    Retrying {
        /// When it is ready again.
        due: Timestamp,
    },
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What the receipt must know.
    pub nonce: u64,
    /// When it runs out.
    pub until: Timestamp,
    /// 0 for HTTP, else the WebSocket subscription on the leader that made it.
    pub session: u64,
    /// The member that holds it.
    pub client: Arc<str>,
}

/// How an item's last lease ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastEnd {
    /// There was none, or its receipt is void (given back, seek, redrive).
    #[default]
    None,
    /// It ran out (or its connection broke): the receipt may still ack, nack and dead-letter.
    RanOut {
        /// The nonce of that lease.
        nonce: u64,
    },
    /// It was nacked with this receipt.
    Nacked {
        /// The nonce of that lease.
        nonce: u64,
    },
}

/// Where a message's failed deliveries stand in the log: the first 15 and the last 15.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The first ones, oldest first, at most 15.
    pub first: Vec<Position>,
    /// The last ones, oldest first, at most 15, none of which is in `first`.
    pub last: Vec<Position>,
    /// How many there were in all, over all rounds.
    pub total: u32,
}

/// A dead letter; its key is the message's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The topic; it may be deleted by now.
    pub topic: TopicId,
    /// The topic's name.
    pub topic_name: TopicName,
    /// The queue.
    pub queue: QueueNo,
    /// The offset.
    pub offset: u64,
    /// The lane.
    pub lane: u64,
    /// When the message had become ready.
    pub ready_at: Timestamp,
    /// Bytes of its body.
    pub body_bytes: u32,
    /// The round in which it died.
    pub round: u32,
    /// Failed deliveries in that round.
    pub failures: u32,
    /// Why.
    pub reason: DeadReason,
    /// When.
    pub at: Timestamp,
    /// Where its failures stand in the log.
    pub history: Option<Arc<History>>,
}

/// Something that comes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// When.
    pub at: Timestamp,
    /// Which message.
    pub position: Position,
    /// For which group.
    pub group: GroupId,
    /// In which topic.
    pub topic: TopicId,
    /// In which queue.
    pub queue: QueueNo,
    /// At which place.
    pub place: Place,
    /// What happens then.
    pub kind: DeadlineKind,
}

/// What comes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadlineKind {
    /// A lease runs out.
    Lease,
    /// A retry is ready.
    Retry,
    /// A message that is ready, parked or retrying outlives its TTL.
    Ttl,
}
