//! Long measurements of the real binary: a large backlog, many scheduled messages, many keys, many
//! idle consumers. Takes minutes and gigabytes, so it is no test; every part stops by itself and removes its data.
//!
//! ```sh
//! cargo build --release --bin whimbrel --example long_run
//! target/release/examples/long_run --messages 10000000 --scheduled 1000000 --idle 1000
//! ```
//!
//! Prints a line for each figure, and all of them as one JSON object at the end. A part with 0 is left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod backlog;
mod idle;
mod scheduled;
mod search;

use std::path::PathBuf;

use clap::Parser;
use serde_json::{Map, Value};

use support::process::Launch;

/// What to measure.
#[derive(Debug, Parser)]
struct Args {
    /// The broker; by default the one built beside this program
    #[arg(long)]
    binary: Option<PathBuf>,
    /// A folder on the disk to measure; by default the system's folder for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Messages of 200 bytes in the backlog
    #[arg(long, default_value_t = 10_000_000)]
    messages: u64,
    /// Scheduled messages
    #[arg(long, default_value_t = 1_000_000)]
    scheduled: u64,
    /// Messages with a key of their own, to search among
    #[arg(long, default_value_t = 10_000_000)]
    keyed: u64,
    /// Idle long polls, and as many idle WebSockets
    #[arg(long, default_value_t = 1_000)]
    idle: usize,
}

/// The figures, in the order they were found.
#[derive(Debug, Default)]
struct Figures(Map<String, Value>);

impl Figures {
    /// Prints and keeps a figure; its unit is part of its name.
    fn add(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        println!("{name:44} {value}");
        self.0.insert(name.to_owned(), value);
    }
}

/// Rounds to three digits behind the point.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Bytes as MiB.
fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

fn beside_this_program() -> PathBuf {
    let me = std::env::current_exe().expect("a path");
    me.parent().and_then(|folder| folder.parent()).expect("target/release/examples").join("whimbrel")
}

/// A connection is a file; this program and the broker it starts hold thousands.
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let args = Args::parse();
    allow_many_files();
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(parent).expect("a writable folder");
    let binary = args.binary.clone().unwrap_or_else(beside_this_program);
    let launch =
        |name: &str| Launch { binary: binary.clone(), data: folder.path().join(name), flags: Vec::new() };
    let mut figures = Figures::default();
    if args.idle > 0 {
        idle::measure(&launch("idle"), args.idle, &mut figures).await;
    }
    if args.scheduled > 0 {
        scheduled::measure(&launch("scheduled"), args.scheduled, &mut figures).await;
    }
    if args.keyed > 0 {
        search::measure(&launch("search"), args.keyed, &mut figures).await;
    }
    if args.messages > 0 {
        backlog::measure(&launch("backlog"), args.messages, &mut figures).await;
    }
    println!("{}", Value::Object(figures.0));
}
