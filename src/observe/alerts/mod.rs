//! What receivers are told of alerts: routes, groups, silences, inhibition, and when. Pure: the moment is handed in,
//! and what is due is handed out.

mod due;
mod inhibit;
mod plan;

#[cfg(test)]
mod tests;

pub use due::{Due, Member, Patience, due};
pub use inhibit::inhibited;
pub use plan::{Candidate, NOTIFIED_ALERTS_MAX, Planned, Ways, as_told, group_key, group_keys, plan};
