//! Looking at what is stored without a group: searching a topic and following it, against the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod search;
mod sse;
#[path = "../support/mod.rs"]
mod support;
mod tail;

use std::path::Path;

use support::process::Launch;

fn launch(folder: &Path) -> Launch {
    Launch::small(env!("CARGO_BIN_EXE_whimbrel"), &folder.join("data"))
}

/// For messages that would not fit small segments.
fn roomy(folder: &Path, flags: &[&str]) -> Launch {
    Launch { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..launch(folder) }
}
