//! Whimbrel: a message broker for messages that must not be lost.
//!
//! Read the folders from the bottom up; each imports only from the ones above it in this list
//! (`tests/tidy/` guards the border). `docs/ARCHITECTURE.md` follows one message through them.

// Each module documents itself at its top; the lines here are only the table of contents.

// Words: names, ids, messages, settings, limits. No behaviour beyond checking and formatting.
pub mod model;

// Rules: decide and apply. Pure, synchronous, no clock, no I/O.
pub mod machine;
// Disk: the commit log, images, vote, and the disposable index.
pub mod storage;
// Watching: counters, and the text that Prometheus reads.
pub mod observe;

// Agreement: puts batches of facts through Raft. The only folder that knows openraft.
pub mod replication;

// Use cases: gathers requests, wakes waiting consumers, performs leader-only duties.
pub mod broker;

// HTTP and WebSocket: parse, call the broker, render.
pub mod api;
// HTML pages for people.
pub mod dashboard;

// The client commands of the binary.
pub mod cli;
// Every server option with its default.
pub mod config;
// What the process writes to its log, and how much of it.
pub mod logging;
// Opens, wires and stops a node, in order.
pub mod node;
