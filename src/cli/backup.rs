use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::CommonArgs;
use super::error::CliError;
use super::http::Call;
use super::output::Printer;
use crate::storage::backup::{self, Contents};

/// Options of `whimbrel backup`.
#[derive(Clone, Debug, clap::Args)]
pub struct BackupArgs {
    /// File to write; in a directory it gets a name of its own; `-` for standard output
    #[arg(value_name = "FILE|DIR")]
    pub to: PathBuf,
    /// Replace the file when it exists
    #[arg(long)]
    pub force: bool,
    /// Broker and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Runs `whimbrel backup`: the file is there whole and checked, or not at all.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: BackupArgs) -> Result<(), CliError> {
    let mut client = args.common.connect.client();
    let call = Call::post("/v1/backup", "");
    if args.to == Path::new("-") {
        client.download(call, &mut tokio::io::stdout()).await?;
        return Ok(());
    }
    let path = if args.to.is_dir() { args.to.join(own_name()) } else { args.to.clone() };
    if path.exists() && !args.force {
        let text = format!("{} exists; name another file, or say --force to replace it", path.display());
        return Err(CliError::Usage(text));
    }
    let partial = partial_of(&path);
    let mut options = std::fs::OpenOptions::new();
    // What is in it is nobody else's.
    let options = options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&partial).map_err(CliError::io(format!("creating {}", partial.display())))?;
    let mut file = tokio::fs::File::from_std(file);
    let outcome = match client.download(call, &mut file).await {
        Ok(bytes) => keep(file.into_std().await, &partial, &path).await.map(|contents| (contents, bytes)),
        Err(error) => Err(error),
    };
    let (contents, bytes) = outcome.inspect_err(|_| {
        let _ = std::fs::remove_file(&partial);
    })?;
    let said = format!("{}: {}, {} MiB, checked", path.display(), words(&contents), bytes.div_ceil(1 << 20));
    let mut shown = fields(&contents);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("file".to_owned(), Value::from(path.display().to_string()));
        shown.insert("archive_bytes".to_owned(), Value::from(bytes));
    }
    Printer::stdout(args.common.output).done(&said, &shown.to_string())
}

/// `whimbrel-20260131T120000Z.tar`
fn own_name() -> String {
    jiff::Timestamp::now().strftime("whimbrel-%Y%m%dT%H%M%SZ.tar").to_string()
}

fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// Makes what came durable, reads it back and checks it, and only then gives it its name.
async fn keep(file: std::fs::File, partial: &Path, path: &Path) -> Result<Contents, CliError> {
    let (partial, path) = (partial.to_owned(), path.to_owned());
    let work = move || {
        let io = |action: &str| CliError::io(format!("{action} {}", partial.display()));
        file.sync_all().map_err(io("syncing"))?;
        let again = std::fs::File::open(&partial).map_err(io("opening"))?;
        let contents = backup::check(again).map_err(|error| CliError::Failed(error.to_string()))?;
        std::fs::rename(&partial, &path).map_err(io("renaming"))?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder =
            std::fs::File::open(folder.unwrap_or(Path::new("."))).map_err(io("syncing the folder of"))?;
        folder.sync_all().map_err(io("syncing the folder of"))?;
        Ok(contents)
    };
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| CliError::Failed(error.to_string()))?
}

/// What an archive holds, for a person.
pub(super) fn words(contents: &Contents) -> String {
    let Contents { cluster_id, taken_at, last_index, files, .. } = contents;
    let last = last_index.map_or("without an entry".to_owned(), |last| format!("up to entry {last}"));
    format!("cluster {cluster_id} {last}, taken {taken_at}, {files} files")
}

/// The same, for a program.
pub(super) fn fields(contents: &Contents) -> Value {
    let Contents { cluster_id, taken_at, last_index, files, bytes } = contents;
    json!({"cluster_id": cluster_id, "taken_at": taken_at, "last_index": last_index, "files": files, "bytes": bytes})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ClientCommand;
    use crate::cli::tests::{FakeBroker, parsed};

    async fn backup(broker: &FakeBroker, to: &Path) -> Result<(), CliError> {
        let line = ["backup", to.to_str().unwrap(), "--url", &broker.url];
        let ClientCommand::Backup(args) = parsed(&line) else { panic!("not a backup") };
        run(args).await
    }

    #[tokio::test]
    async fn what_is_no_archive_is_not_kept_and_a_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("b.tar");
        let broker = FakeBroker::start(|_| (200, "not an archive".to_owned())).await;
        let error = backup(&broker, &to).await.unwrap_err();
        assert!(error.to_string().contains("cut off") && error.exit_code() == 1, "{error}");
        let broker = FakeBroker::start(|_| (409, r#"{"code":"backup_running"}"#.to_owned())).await;
        assert_eq!(backup(&broker, folder.path()).await.unwrap_err().exit_code(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        std::fs::write(&to, "precious").unwrap();
        assert_eq!(backup(&broker, &to).await.unwrap_err().exit_code(), 2);
        assert_eq!((std::fs::read(&to).unwrap(), broker.seen().len()), (b"precious".to_vec(), 1));
    }
}
