//! The dashboard as a person meets it: in a real browser, with and without script, light and dark, on a phone; and as a
//! stranger attacks it.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

#[path = "../browser/mod.rs"]
mod browser;
mod doing;
mod forged;
mod hostile;
mod house;
mod incident;
mod live;
mod looks;
mod objects;
#[path = "../alerts/receiver.rs"]
#[allow(dead_code, reason = "this needs a part of it")]
mod receiver;
mod rig;
mod screenshots;
mod speed;
#[path = "../support/mod.rs"]
mod support;
