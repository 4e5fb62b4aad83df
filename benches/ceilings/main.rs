//! `make bench`: the broker beside the ceilings of the same machine, interleaved in one run.
//!
//! A figure alone says little: another disk or another neighbour and it is a different one. So every figure of the
//! broker is taken next to what the machine could do at best in the same minute, and the ratio is what is judged. Each
//! round measures the broker and its ceilings one after the other, every other round in reverse order; the medians
//! over the rounds are printed. Ceilings are servers in processes of their own, like the broker, so that the load
//! shares the processors with them in the same way.

mod cases;
mod commit;
mod process;
mod servers;
mod table;
mod watchers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use whimbrel::cli::CliError;
use whimbrel::cli::bench::disk::Disk;

/// Measures the broker against the ceilings of this machine.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Cases to run: a single POSTs, b NDJSON batches, c one WebSocket, d produce → deliver → ack, e idle
    /// latency, f single POSTs while a scraper and five dashboards look on
    #[arg(long, value_delimiter = ',', default_value = "a,b,c,d,e,f")]
    cases: Vec<char>,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds; the medians over them are printed
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Bytes of one message body
    #[arg(long, default_value_t = 1_024)]
    size: usize,
    /// Connections of case a
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    connections: Vec<usize>,
    /// WebSockets of case d
    #[arg(long, default_value_t = 4)]
    pipeline_connections: usize,
    /// Messages on their way per WebSocket of case d
    #[arg(long, default_value_t = 250)]
    pipeline_depth: usize,
    /// Threads that make the load
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Bytes that the raw append makes durable at a time: what the broker closes a log entry at
    #[arg(long, default_value_t = 1 << 20)]
    sync_bytes: usize,
    /// Directory on a real disk for the data of the broker and of the ceilings
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// The broker to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_whimbrel"))]
    broker: PathBuf,
    /// More arguments for `whimbrel serve`, such as --broker-arg=--segment-bytes=64MiB
    #[arg(long)]
    broker_arg: Vec<String>,
    /// Measure the ceilings only
    #[arg(long)]
    ceilings_only: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Be one of the ceilings (the program starts itself with this)
    #[arg(long, hide = true)]
    serve: Option<servers::Ceiling>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.serve {
        Some(ceiling) => servers::serve(ceiling, &args.dir),
        None => compare(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ceilings: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn compare(args: &Args) -> Result<(), CliError> {
    if args.seconds < 0.1 || args.rounds == 0 || args.cases.iter().any(|case| !('a'..='f').contains(case)) {
        return Err(CliError::Usage(
            "--seconds at least 0.1, --rounds at least 1, --cases of a to f".to_owned(),
        ));
    }
    let disk = Disk::measure(&args.dir)?;
    let mut samples = table::Samples::default();
    for round in 0..args.rounds {
        for case in &args.cases {
            eprintln!("round {} of {}, case {case}", round + 1, args.rounds);
            cases::run(*case, args, round % 2 == 1, &mut samples)?;
        }
    }
    table::print(args, &disk, &samples)
}

/// The measured time of one measurement.
fn measured_time(args: &Args) -> Duration {
    Duration::from_secs_f64(args.seconds)
}
