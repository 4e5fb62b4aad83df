//! Agreement: one decided batch through Raft. The only folder that knows openraft.
//!
//! What happens to a batch, in order:
//! 1. [`Replication::propose`] hands it to openraft, which gives it an index and a term.
//! 2. `log_store` encodes it and appends it to the commit log; the log's writer thread calls back after its fdatasync.
//! 3. A quorum has it: it is committed. (One voter: its own disk is the quorum.)
//! 4. `state_machine` applies it to the machine under the only write lock, then tells the broker ([`OnApplied`]).
//! 5. `propose` answers with the index and whether the batch took effect.
//!
//! Beside that: `image` takes images by cadence and moves the purge mark; `recover` rebuilds the state at start;
//! `leadership` and `fault` tell the broker who leads and when to stop.
//!
//! What it does not do: it never decides anything, never proposes anything by itself except a new group's membership,
//! and talks to no other node yet.

mod config;
mod entry;
mod error;
mod fault;
mod handle;
mod image;
mod leadership;
mod log_store;
mod membership;
mod network;
mod open;
mod propose;
mod recover;
mod state_machine;
mod types;

#[cfg(test)]
mod tests;

pub use entry::EntryError;
pub use error::{ProposeError, ReplicationError};
pub use fault::Fault;
pub use handle::{Page, Progress, Replication};
pub use leadership::Leadership;
pub use membership::MembershipError;
pub use open::{Opened, Options, Stores};
pub use propose::Proposed;
pub use recover::Recovery;
pub use state_machine::{AppliedBatch, MachineView, OnApplied};
