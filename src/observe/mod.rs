//! Watching the broker: what is counted, and how it is written for Prometheus.
//!
//! Counting is adding to plain counters, kept for each object under its number ([`Traffic`]): no names, no labels, no
//! text. A scrape puts the counters and what it read of the state into an [`Exposition`], names them ([`series`]), and
//! writes them out. So watching costs when somebody looks, and a message only ever pays for a few additions.
//!
//! [`history`] remembers the recent past of a few values, for curves and for trying rules.
//!
//! What it does not do (yet): alerts, and the other nodes of a cluster.

pub mod alerts;
mod counters;
mod exposition;
pub mod history;
pub mod notify;
mod process;
pub mod rules;
pub mod series;
mod traffic;

pub use counters::{OTHER, Reading, Stock, Table};
pub use exposition::{CONTENT_TYPE, Exposition, NotWritten};
pub use process::add_process;
pub use series::{Kind, SERIES, Series};
pub use traffic::{OfGroup, OfSubscription, OfTopic, Recorder, Traffic};
