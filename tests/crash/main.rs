//! Ring C of docs/TESTING.md: the real binary on a real disk, under kill -9, damage and failing disks.
//!
//! An auditor (`history`, `judge`, `order`) that knows the contract and none of the broker's code keeps everything the
//! clients saw and holds it against the promises; `selftest` feeds it broken histories, each of which it has to notice.
//!
//! The long run: `WHIMBREL_KILLS=200 cargo test --release --test crash kills -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod backup;
mod damage;
mod disk;
mod field;
mod history;
mod index;
mod judge;
mod kills;
mod order;
mod producers;
mod redrives;
mod retries;
mod seek;
mod selftest;
mod space;
mod strace;
mod syncs;
mod workers;
