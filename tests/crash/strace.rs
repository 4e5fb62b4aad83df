//! Faults in system calls of a running broker, by strace's injection.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::process::Broker;

/// strace attached to a broker; dropping it detaches.
#[derive(Debug)]
pub(crate) struct Strace {
    child: Child,
    log: PathBuf,
}

/// Whether strace is here and may attach; says so when not.
pub(crate) fn available() -> bool {
    let runs = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !runs.is_ok_and(|status| status.success()) {
        return skip("strace not installed");
    }
    let mut sleeper = Command::new("sleep").arg("10").spawn().unwrap();
    let pid = sleeper.id().to_string();
    let attached = Strace::attach_to(&pid, "inject=fdatasync:delay_enter=1", Path::new("/dev/null"));
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    if attached.is_none() { skip("strace may not attach to processes here") } else { true }
}

fn skip(why: &str) -> bool {
    eprintln!("skipped: {why}");
    println!("skipped: {why}");
    false
}

impl Strace {
    /// Injects into every thread of the broker, now and later, until it is dropped. `log` gets one line per call.
    #[track_caller]
    pub(crate) fn inject(broker: &Broker, what: &str, log: &Path) -> Strace {
        Strace::attach_to(&broker.pid().to_string(), what, log).expect("strace attaches")
    }

    fn attach_to(pid: &str, what: &str, log: &Path) -> Option<Strace> {
        let mut child = Command::new("strace")
            .args(["-f", "-p", pid, "-e", "trace=fdatasync", "-e", what, "-o"])
            .arg(log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = BufReader::new(child.stderr.take()?);
        let mut line = String::new();
        let attached = said.read_line(&mut line).is_ok() && line.contains("attached");
        // Whatever else it says must have a reader.
        std::thread::spawn(move || said.lines().for_each(drop));
        let strace = Strace { child, log: log.to_owned() };
        attached.then_some(strace)
    }

    /// How many calls the injection really met.
    pub(crate) fn hits(&self) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains("DELAYED") || line.contains("INJECTED")).count()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // SIGTERM lets it detach; SIGKILL would leave that to the kernel, which also works.
        let _ = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        let _ = crate::support::process::wait_at_most(&mut self.child, std::time::Duration::from_secs(5));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
