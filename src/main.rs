//! The `whimbrel` binary: parse the command line, run, exit with a code.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use whimbrel::cli::signals::asked_to_stop;
use whimbrel::cli::{Cli, Command};
use whimbrel::config::{Resolved, ServeCommand};
use whimbrel::node::{Node, NodeError};

/// Under many connections a sixth of the samples of a profile stood in the system allocator (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    };
    let flags = matches.subcommand().map_or(&matches, |(_, flags)| flags);
    match command {
        Command::Serve(command) => configure(&command, flags),
        Command::Config(args) => whimbrel::cli::finish(whimbrel::cli::config::run(&args, flags)),
        Command::Client(command) => whimbrel::cli::run(command),
    }
}

/// Puts the settings together and serves. Exit code 2 for settings that are refused.
fn configure(command: &ServeCommand, flags: &ArgMatches) -> ExitCode {
    match whimbrel::config::resolve(flags, command.config.as_deref(), std::env::vars_os()) {
        Ok(resolved) => serve(resolved),
        Err(error) => {
            eprintln!("whimbrel: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs a broker until SIGTERM, SIGINT, or a fault. Exit codes: 0 stopped in order, 1 could not start or a fault.
fn serve(settings: Resolved) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("whimbrel: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let logging = {
        let _within = runtime.enter();
        whimbrel::logging::start(&settings.args.log_format)
    };
    let outcome = runtime.block_on(run(settings));
    drop(logging);
    // After a fault something may still be reading or writing; the exit must not wait for a disk that hangs.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whimbrel: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Resolved) -> Result<(), NodeError> {
    let data = settings.args.data.display().to_string();
    let node = Node::start(settings).await?;
    let address = node.addr();
    println!("whimbrel {} is listening on http://{address}", env!("CARGO_PKG_VERSION"));
    println!("  data      {data}  (every acknowledged message is on this disk)");
    let address = node.reached_at();
    println!("  try       curl -d 'hello' http://{address}/v1/topics/greetings/messages");
    println!("            curl -X POST 'http://{address}/v1/groups/readers/receive?topic=greetings'");
    let outcome = tokio::select! {
        fault = node.fault() => Err(fault),
        () = asked_to_stop() => Ok(()),
    };
    if let Err(fault) = outcome {
        // Nothing is acknowledged any more; a clean stop would write to a disk that cannot be trusted.
        tracing::error!(%fault, "stopping");
        return Err(fault);
    }
    tracing::info!("asked to stop: open requests finish first; ask again to stop at once");
    tokio::select! {
        () = node.stop() => tracing::info!("stopped"),
        // What is acknowledged is in the log already; only the image that makes the next start faster is missing.
        () = asked_to_stop() => tracing::warn!("stopped at once; the next start reads a little more log"),
    }
    Ok(())
}
