//! What receivers are told of alerts: routes, groups, silences, inhibition, and when. Pure: no clock, no state.

mod due;
mod plan;

pub use due::{Due, Member, Patience, Told, due};
pub use plan::{Candidate, Inhibition, Planned, Route, group_key, inhibited, plan};
