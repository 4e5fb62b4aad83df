use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::CommonArgs;
use super::error::CliError;
use super::http::Call;
use super::output::{Format, Printer, visible, wants_colour};

/// A broker, asked over the network.
mod broker;
/// A data directory, looked at where it is.
mod directory;

/// Options of `whimbrel doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// Look at this data directory instead of asking a broker; it may be in use, and nothing in it is changed
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Only ask whether a broker is ready, and print nothing else: for health checks
    #[arg(long, conflicts_with = "data")]
    pub ready: bool,
    /// A warning counts as a failure
    #[arg(long)]
    pub strict: bool,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// It works, but not as well as it could, or not for long.
    Warning,
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    check: String,
    verdict: Verdict,
    /// What is so.
    found: String,
    /// Why it matters.
    means: &'static str,
    /// The command that mends it when it is not as it should be.
    fix: String,
}

impl Row {
    fn new(check: &str, found: impl Into<String>, means: &'static str, fix: impl Into<String>) -> Row {
        Row { check: check.to_owned(), verdict: Verdict::Ok, found: found.into(), means, fix: fix.into() }
    }

    /// The row as a failure when `failed`.
    fn failed_if(self, failed: bool) -> Row {
        if failed { Row { verdict: Verdict::Failed, ..self } } else { self }
    }

    /// The row as a warning when `warned`, unless it is a failure already.
    fn warned_if(self, warned: bool) -> Row {
        let warned = warned && self.verdict == Verdict::Ok;
        if warned { Row { verdict: Verdict::Warning, ..self } } else { self }
    }
}

/// Runs `whimbrel doctor`.
///
/// # Errors
/// [`CliError::Unhealthy`] when a check failed (with --strict: or warned); it has been printed.
pub async fn run(args: DoctorArgs) -> Result<(), CliError> {
    if args.ready {
        args.common.connect.client().send(Call::get("/readyz")).await?;
        println!("ready");
        return Ok(());
    }
    let rows = match &args.data {
        Some(directory) => directory::examine(directory),
        None => broker::examine(&args.common.connect).await,
    };
    print(&rows, &mut Printer::stdout(args.common.output), wants_colour())?;
    judge(&rows, args.strict)
}

fn judge(rows: &[Row], strict: bool) -> Result<(), CliError> {
    let counted = |row: &&Row| row.verdict == Verdict::Failed || (strict && row.verdict == Verdict::Warning);
    match rows.iter().filter(counted).count() {
        0 => Ok(()),
        bad => Err(CliError::Unhealthy(format!("{bad} of {} checks failed", rows.len()))),
    }
}

fn print(rows: &[Row], printer: &mut Printer<impl Write>, colour: bool) -> Result<(), CliError> {
    if printer.format() == Format::Table {
        return rows.iter().try_for_each(|row| print_row(row, printer, colour));
    }
    let lines: Result<Vec<String>, serde_json::Error> = rows.iter().map(serde_json::to_string).collect();
    let lines = lines.map_err(|error| CliError::Failed(format!("writing JSON: {error}")))?;
    printer.begin("checks")?;
    printer.page(&lines.iter().map(String::as_str).collect::<Vec<_>>(), &[])?;
    printer.end(None)
}

fn print_row(row: &Row, printer: &mut Printer<impl Write>, colour: bool) -> Result<(), CliError> {
    let (word, code) = match row.verdict {
        Verdict::Ok => ("ok     ", "32"),
        Verdict::Warning => ("warning", "33"),
        Verdict::Failed => ("FAILED ", "31;1"),
    };
    let word = if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
    printer.line(&format!("{word}  {:<10} {}", row.check, visible(&row.found)))?;
    printer.line(&format!("         {:<10} {}", "", row.means))?;
    if row.verdict != Verdict::Ok {
        printer.line(&format!("         {:<10} do: {}", "", row.fix))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> [Row; 3] {
        let row = Row::new("disk", "1 GiB free", "No disk, no messages.", "df -h");
        [row.clone(), row.clone().warned_if(true), row.failed_if(true).warned_if(true)]
    }

    #[test]
    fn a_failure_is_exit_code_three_and_a_warning_only_when_strict() {
        let [fine, warned, failed] = rows();
        assert!(judge(&[fine, warned.clone()], false).is_ok());
        assert_eq!(judge(&[warned], true).unwrap_err().exit_code(), 3);
        assert_eq!(judge(&[failed], false).unwrap_err().to_string(), "1 of 1 checks failed");
    }

    #[test]
    fn every_row_says_what_it_means_and_a_bad_one_what_to_do() {
        let shown = |format| {
            let mut out = Vec::new();
            print(&rows(), &mut Printer::new(&mut out, format), false).unwrap();
            String::from_utf8(out).unwrap()
        };
        let table = shown(Format::Table);
        assert_eq!(
            (table.matches("No disk, no messages.").count(), table.matches("do: df -h").count()),
            (3, 2)
        );
        let json: serde_json::Value = serde_json::from_str(&shown(Format::Json)).unwrap();
        assert_eq!(
            (&json["checks"][1]["verdict"], &json["checks"][2]["fix"]),
            (&"warning".into(), &"df -h".into())
        );
    }
}
