//! The rules, and nothing else: pure, synchronous, no clock, no I/O, no randomness.
//!
//! 1. The leader makes a [`Draft`] for the next log entry: a copy-on-write clone of the [`Machine`].
//! 2. Each waiting request is *decided* against the draft (`draft.produce`, `draft.receive`, `draft.settle` …).
//!    Deciding pushes [`Fact`]s, and every pushed fact is applied to the draft at once, so the next request of the same
//!    batch sees exactly what this one did.
//! 3. [`Draft::finish`] gives the [`Batch`]: the facts, stamped with log time and with the batch they build on.
//! 4. Once the batch is committed, every node *applies* it ([`Machine::apply`]). Followers never decide.
//!
//! Each rule has its decide half and its apply half in one file, so that they cannot drift apart.

mod alerts;
mod apply;
mod cause;
mod codec;
mod dead_letter;
mod digest;
mod draft;
mod explain;
mod facts;
mod filter;
mod groups;
mod held;
mod idempotency;
mod image;
mod invariants;
mod jobs;
mod keys;
mod lane;
mod produce;
mod progress;
mod ranges;
mod receive;
mod redrive;
mod refusal;
mod requests;
mod retention;
mod retry;
mod schedule;
mod seek;
mod settle;
mod state;
mod tick;
mod topics;
mod touches;
mod ttl;
mod version;
mod view;

pub use crate::model::QueueEntry;
pub use alerts::{
    AlertFact, Alerting, AlertingFromFile, Placed, PlannedNotification, SetFromFile, built_in_rules,
};
pub use apply::{Applied, Effects, Ended};
pub use cause::FailCause;
pub use codec::{BatchHeader, ProducedMeta, decode_message, may_touch};
pub use draft::{Candidates, Draft};
pub use explain::{Held, HoldUps};
pub use facts::{
    Batch, Delivered, Expiry, Fact, Fresh, OWN_ENTRY, Produced, ProducedAs, RefusedAs, Remembered,
    ScheduleDue,
};
pub use image::ImageDecoder;
pub use jobs::{Job, JobEnd, JobFact, JobProgressed, JobStarted, JobStep, RedriveOrder};
pub use keys::{KeyTable, Told};
pub use ranges::Ranges;
pub use redrive::Letter;
pub use refusal::Refusal;
pub use requests::{
    Accepted, Delay, Leased, NewMessage, ProduceOutcome, ProduceRequest, PutDone, PutMode, ReceiveRequest,
    Received, SeekCounts, SeekTo, SettleOp, SettleStatus, SettledAs, Terms,
};
pub use state::{
    Dead, Deadline, DeadlineKind, Group, History, Item, ItemState, LastEnd, Lease, Machine, Progress,
    QueueState, Schedule, Scheduled, Topic,
};
pub use touches::{TOUCH_RULES, Touch, touches};
pub use version::{Expected, Version};
pub use view::{GroupStats, Want};
