//! The broker and the ceilings as processes of their own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tempfile::TempDir;
use whimbrel::cli::CliError;
use whimbrel::cli::http::BaseUrl;

use crate::Args;
use crate::servers::Ceiling;

/// Longest time until a server says where it listens.
const START: Duration = Duration::from_secs(20);

/// A running server with a directory of its own; both go when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) url: BaseUrl,
    /// Its directory, deleted after the process has ended.
    _directory: TempDir,
}

impl Server {
    /// Starts the broker on an empty directory.
    pub(crate) fn broker(args: &Args) -> Result<Server, CliError> {
        let directory = directory(args)?;
        let mut command = Command::new(&args.broker);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(directory.path().join("data"));
        command.args(&args.broker_arg);
        Server::start(command, directory)
    }

    /// Starts this program as a ceiling.
    pub(crate) fn ceiling(args: &Args, ceiling: Ceiling) -> Result<Server, CliError> {
        let directory = directory(args)?;
        let program = std::env::current_exe().map_err(io("finding this program"))?;
        let name = format!("{ceiling:?}").to_lowercase();
        let mut command = Command::new(program);
        command.args(["--serve", &name, "--dir"]).arg(directory.path());
        Server::start(command, directory)
    }

    fn start(mut command: Command, directory: TempDir) -> Result<Server, CliError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(io(&format!("starting {}", command.get_program().display())))?;
        let (found, address) = channel();
        watch(child.stdout.take(), found.clone());
        watch(child.stderr.take(), found);
        match address.recv_timeout(START) {
            Ok(url) => Ok(Server { child, url, _directory: directory }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                let program = command.get_program().display();
                Err(CliError::Failed(format!("{program} did not say where it listens")))
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What it stored is deleted anyway, so it need not stop in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what a server says to its end, so that it never blocks on a full pipe; finds the address on the way.
fn watch(output: Option<impl Read + Send + 'static>, found: Sender<BaseUrl>) {
    let Some(output) = output else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let address = line.split_once("listening on ").map(|(_, rest)| rest.split_whitespace().next());
            if let Some(Ok(url)) = address.flatten().map(str::parse) {
                let _ = found.send(url);
            } else if line.contains("ERROR") || line.contains("panicked") {
                eprintln!("  {line}");
            }
        }
    });
}

/// A fresh directory on the disk that is measured.
pub(crate) fn directory(args: &Args) -> Result<TempDir, CliError> {
    std::fs::create_dir_all(&args.dir).map_err(io("making --dir"))?;
    tempfile::Builder::new().prefix("bench-").tempdir_in(&args.dir).map_err(io("making a directory"))
}

/// For `map_err`.
pub(crate) fn io(what: &str) -> impl FnOnce(std::io::Error) -> CliError {
    let what = what.to_owned();
    move |source| CliError::Io { what, source }
}
