use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup::{fields, words};
use super::error::CliError;
use super::output::{OutputArgs, Printer};
use crate::storage::backup::{self, RestoreError};
use crate::storage::vfs::{RealFs, Vfs};

/// Options of `whimbrel restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// Archive that `whimbrel backup` wrote; `-` for standard input
    pub archive: PathBuf,
    /// Directory to fill: made when missing, else empty
    #[arg(long, value_name = "DIR", required_unless_present = "check")]
    pub data: Option<PathBuf>,
    /// Only check the archive, write nothing
    #[arg(long, conflicts_with = "data")]
    pub check: bool,
    /// How to print what it holds.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Beside what the store itself knows: what a fresh file system holds.
const IGNORED: [&str; 5] = ["lock", "log", "images", "lost+found", "restoring"];

/// Runs `whimbrel restore`: the directory is a whole copy when this ends well, and no broker starts on it otherwise.
///
/// # Errors
/// [`CliError::Usage`] when the directory is not empty, [`CliError::Failed`] when the archive is not whole.
pub fn run(args: &RestoreArgs) -> Result<(), CliError> {
    let input: Box<dyn Read> = if args.archive == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let opening = format!("opening {}", args.archive.display());
        Box::new(std::fs::File::open(&args.archive).map_err(CliError::io(opening))?)
    };
    let mut printer = Printer::stdout(args.output);
    let Some(data) = &args.data else {
        let contents = backup::check(input).map_err(|error| failed(&error))?;
        return printer.done(&format!("whole: {}", words(&contents)), &fields(&contents).to_string());
    };
    refuse_others(data)?;
    let vfs: Arc<dyn Vfs> = Arc::new(RealFs);
    let contents = backup::restore(&vfs, data, input).map_err(|error| failed(&error))?;
    let said = format!(
        "{}: restored from {}\n  It is a node of its own now. Start it with: whimbrel serve --data {}",
        data.display(),
        words(&contents),
        data.display()
    );
    printer.done(&said, &fields(&contents).to_string())
}

fn failed(error: &RestoreError) -> CliError {
    match error {
        RestoreError::NotEmpty(_) => CliError::Usage(error.to_string()),
        _ => CliError::Failed(error.to_string()),
    }
}

/// Refuses a directory in which there is anything that no restore put there.
fn refuse_others(data: &Path) -> Result<(), CliError> {
    let entries = match std::fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CliError::io(format!("looking into {}", data.display()))(error)),
    };
    let interrupted = data.join("restoring").exists();
    for entry in entries {
        let name = entry.map_err(CliError::io(format!("looking into {}", data.display())))?.file_name();
        let known = IGNORED.iter().any(|known| name == *known);
        let own = interrupted && ["vote", "node.json", "node.json.tmp"].iter().any(|own| name == *own);
        if !known && !own {
            return Err(failed(&RestoreError::NotEmpty(data.to_owned())));
        }
    }
    Ok(())
}
