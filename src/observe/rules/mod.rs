//! Rules, evaluated: what objects are measured by, how their values are held against a rule, and what becomes of the
//! alert. Pure: the moment is handed in, and what changes is handed out.
//!
//! What it does not do: expressions. A rule is one metric, one comparison and a time; who needs more has Prometheus.

mod condition;
mod evaluator;
mod measure;
mod phase;
mod preview;
mod survey;
mod windows;
mod words;

pub use condition::{Condition, from_quantity, longest_window, to_quantity};
pub use evaluator::{Evaluated, Evaluator, RESOLVED_STAYS_MS, Standing};
pub use measure::{About, DELIVERIES_MIN, measure};
pub use phase::{FLAPPING_FIRINGS, FLAPPING_HOLD_MS, FLAPPING_WITHIN_MS, Memory, Phase, Timing, Truth, step};
pub use preview::{Interval, preview};
pub use survey::{
    GroupFacts, Growth, NodeFacts, ReceiverFacts, SubscriptionFacts, Survey, TopicFacts, quantile,
};
pub use windows::Windows;
pub use words::{annotations, labels, shown};
