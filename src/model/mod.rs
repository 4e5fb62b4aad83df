//! The words every other folder speaks. Nothing here does I/O, waits, or knows a rule; it checks and formats.

/// Alerting's.
pub mod alert;
mod client;
mod dead_letters;
mod entry;
mod filter;
mod group;
mod histogram;
mod id;
mod idempotency;
mod limits;
mod message;
mod name;
mod object;
mod receipt;
pub mod seeded;
mod tail_place;
mod text;
mod time;
mod topic;
/// The fields that our own formats are made of.
pub mod wire;

pub use client::ClientId;
pub use dead_letters::DeadLetterFilter;
pub use entry::QueueEntry;
pub use filter::{Filter, FilterError, Sql};
pub use group::{DeadReason, GroupSettings, RetryPolicy, SettingsError, Start, Subscription};
pub use histogram::{Distribution, Histogram};
pub use id::{GroupId, JobId, MessageId, Place, Position, QueueNo, TopicId};
pub use idempotency::{Fingerprint, KeyHash, RequestKey};
pub use limits::*;
pub use message::{Attributes, Message, MessageError, key_hash};
pub use name::{AlertName, GroupName, NameError, TopicName};
pub use object::{Object, maybe_object, object, objects};
pub use receipt::Receipt;
pub use tail_place::TailPlace;
pub use text::{ParseIdError, beginning};
pub use time::{Millis, Timestamp, parse_duration, write_duration};
pub use topic::TopicSettings;

#[cfg(test)]
pub(crate) mod tests;
