//! Alerts from end to end: what a broker notices, whom it tells, and that they hear of it whatever happens in between.
//!
//! Nothing here waits for a time to pass: everything waits for what has to come, with a generous bound.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod delivery;
mod file;
mod incident;
mod looking;
mod receiver;
mod rig;
