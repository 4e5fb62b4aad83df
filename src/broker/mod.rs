//! Use cases: what the API and the pages may ask for.
//!
//! A request goes to the proposer task, which gathers what waits, decides it against a draft of the machine, and puts
//! one batch at a time through Raft. Consumers that wait stay with the proposer, so a message is leased to them in
//! the very batch that accepts it.

mod alert_objects;
mod alerting;
mod ask;
mod attempts;
mod attributes;
mod backup;
mod candidates;
mod clients;
mod clock;
mod core;
mod count;
mod delivery;
mod duties;
mod error;
mod explain;
mod handle;
mod health;
mod history;
mod in_groups;
mod indexer;
mod jobs;
mod lag;
mod letters;
mod look;
mod metrics;
mod produce;
mod proposer;
mod read;
mod redrive;
mod room;
mod rounds;
mod scheduled;
mod scrub;
mod search;
mod settings;
mod start;
mod subscribers;
mod subscription;
mod tail;
mod tails;
mod tally;
mod trace;
mod trails;
mod views;
mod waiters;

pub use alerting::{AlertValues, AlertingOptions, PreviewedObject, ReceiverTest, RulePreview};
pub use attempts::{FailureKind, Failures};
pub use backup::Backup;
pub use clients::{ClientSocket, Connected, Dismissed, Receiving};
pub use error::BrokerError;
pub use explain::{Affects, Cause, Explanation, Finding};
pub use handle::{Broker, ProduceAnswer, ProducedMessage, SettleAnswer, Waited};
pub use history::{GroupBehind, Remembered};
pub use in_groups::{InGroup, StateInGroup};
pub use letters::{DeathKind, Deaths, LettersFound};
pub use produce::ProducedOn;
pub use read::{Browsed, DeliveredMessage, Loaded, Loading, StoredMessage};
pub use redrive::RedriveAnswer;
pub use scheduled::{SchedulePlace, Standing};
pub use search::{Search, SearchFound, SearchPlace};
pub use start::{Applying, Options, Running, StartError};
pub use subscribers::SubscriberView;
pub use subscription::{CloseHow, CreditMode, Pushed, SubscribeRequest, Subscription};
pub use tail::{Tail, TailEvent, TailFrom, TailRequest, TailRound, TailWhat};
pub use trace::{Details, Gap, Happening, Trace, TraceCursor, TraceEvent};
pub use views::{
    ClientGroupView, ClientView, DeadLetterView, DryRun, ExportPage, FailureView, GroupTopicView, GroupView,
    JobView, NodeView, Page, QueueView, Readiness, TopicView,
};
