//! HTTP: parse once at the edge, call the broker, render.
//!
//! A request's way: [`serve`] accepts the connection and keeps its deadlines, `edge` settles Host, Origin and request
//! id, `router` finds the handler, `extract` reads path, query and body strictly, the handler calls the broker,
//! `problem` or `json_out` writes the answer. Nothing here decides anything; the machine does.

mod alerts;
mod backup;
mod browser;
mod clients;
mod condition;
mod config;
mod connection;
mod dead_letters;
mod door;
mod edge;
mod event_out;
mod export;
mod extract;
mod frame;
mod groups;
mod history;
mod jobs;
mod json_in;
mod json_out;
mod linger;
mod message_in;
mod message_out;
mod messages;
mod metrics;
mod node;
mod options;
mod patch;
mod problem;
mod produce;
mod query;
mod quiet;
mod receive;
mod redrive;
mod router;
mod scheduled;
mod serve;
mod settle;
mod stream;
mod tail;
mod terms;
mod topics;
mod unasked;

pub use door::Door;
pub use options::{Options, Pages};
pub use problem::Row as ProblemRow;
pub use router::{Routes, routes};
pub use serve::{Drained, serve};

#[cfg(test)]
mod tests;

/// Every kind of problem, for the page that lists them.
pub fn problem_rows() -> impl Iterator<Item = ProblemRow> {
    problem::Code::ALL.iter().map(|code| code.row())
}
