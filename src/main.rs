//! The `whimbrel` binary: parse the command line, run, exit with a code.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
