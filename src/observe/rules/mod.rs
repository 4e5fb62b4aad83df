//! Rules, evaluated: what objects are measured by, how their values are held against a rule, and what becomes of the
//! alert.

mod condition;
mod evaluator;
mod measure;
mod phase;
mod preview;
mod survey;
mod windows;

pub use condition::{Comparison, Condition};
pub use evaluator::{AlertKey, Change, Evaluated, Evaluator, NoData, Object, Rule, Standing};
pub use measure::{About, Metric, measure};
pub use phase::{FLAPPING_FIRINGS, FLAPPING_HOLD_MS, FLAPPING_WITHIN_MS, Memory, Phase, Timing, Truth, step};
pub use preview::{Interval, preview};
pub use survey::{
    GroupFacts, Growth, NodeFacts, ReceiverFacts, SubscriptionFacts, Survey, TopicFacts, quantile,
};
pub use windows::Windows;
