//! The broker as an operating system process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longest time a start may take before it counts as hanging.
const START_LIMIT: Duration = Duration::from_secs(120);
/// What the broker prints once it serves.
const READY: &str = "listening on http://";

/// How to start a broker: always the same binary, data directory and flags.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The binary.
    pub binary: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// Further flags of `serve`.
    pub flags: Vec<String>,
}

/// A start that did not end in a serving broker.
#[derive(Debug)]
pub struct Refused {
    /// How the process ended; none when it was still running after [`START_LIMIT`] and had to be killed.
    pub status: Option<ExitStatus>,
    /// Everything it printed.
    pub said: String,
}

/// A running broker. Dropping it kills it.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    address: SocketAddr,
    said: Arc<Said>,
    /// From the start of the process to its ready line.
    pub ready_after: Duration,
}

/// What a process has printed so far, on both streams.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    text: String,
    address: Option<SocketAddr>,
    open_streams: usize,
}

impl Launch {
    /// A launch with segments and images so small that a short run crosses many of them.
    pub fn small(binary: &str, data: &Path) -> Launch {
        let flags = ["--segment-bytes", "1MiB", "--image-bytes", "1MiB", "--image-facts", "5000"];
        // A release build, or an older one, can be held against the same tests.
        let binary = std::env::var_os("WHIMBREL_BINARY").unwrap_or_else(|| binary.into());
        Launch { binary: binary.into(), data: data.into(), flags: flags.map(str::to_owned).into() }
    }

    /// The same with more flags.
    pub fn with(mut self, flags: &[&str]) -> Launch {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Starts the broker and waits until it serves.
    ///
    /// # Errors
    /// The process ended, or did not serve within two minutes.
    pub fn start(&self) -> Result<Broker, Refused> {
        let started = Instant::now();
        let mut command = Command::new(&self.binary);
        // What steers the tests is no setting of a broker, which would refuse it.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"WHIMBREL_"))
        {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&self.data)
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let said = Arc::new(Said::default());
        said.lines.lock().unwrap().open_streams = 2;
        listen(child.stdout.take().expect("piped"), &said);
        listen(child.stderr.take().expect("piped"), &said);
        let Some(address) = said.wait_for_address(started + START_LIMIT) else {
            let ended = child.try_wait().expect("own child");
            let status = ended.or_else(|| wait_at_most(&mut child, Duration::from_secs(5)));
            if status.is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
            return Err(Refused { status, said: said.text() });
        };
        Ok(Broker { child, address, said, ready_after: started.elapsed() })
    }

    /// Starts the broker; the test fails with everything it said when it does not serve.
    #[track_caller]
    pub fn start_or_fail(&self) -> Broker {
        match self.start() {
            Ok(broker) => broker,
            Err(refused) => panic!("the broker did not start ({:?}):\n{}", refused.status, refused.said),
        }
    }
}

impl Broker {
    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far.
    pub fn said(&self) -> String {
        self.said.text()
    }

    /// SIGKILL, and waits until the process is gone. Returns everything it said.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("own child");
        self.child.wait().expect("own child");
        self.said.finished()
    }

    /// SIGKILL without waiting: a process that is being traced may take its time to go.
    pub fn strike(&self) {
        self.signal("KILL");
    }

    /// SIGTERM, and waits for the end. None when it has not ended after a minute (it is killed then).
    pub fn terminate(mut self) -> (Option<ExitStatus>, String) {
        self.signal("TERM");
        let status = wait_at_most(&mut self.child, Duration::from_secs(60));
        if status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        (status, self.said.finished())
    }

    /// SIGSTOP: the process keeps its connections and does nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Waits until the process ends by itself. None when it has not ended within `limit`.
    pub fn wait_for_end(&mut self, limit: Duration) -> Option<(ExitStatus, String)> {
        let status = wait_at_most(&mut self.child, limit)?;
        Some((status, self.said.finished()))
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success(), "kill -s {name} {pid}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the broker said:\n{}", tail(&self.said.text(), 60));
        }
    }
}

impl Said {
    fn text(&self) -> String {
        self.lines.lock().unwrap().text.clone()
    }

    /// The text after both streams have ended.
    fn finished(&self) -> String {
        let lines = self.lines.lock().unwrap();
        let limit = Duration::from_secs(5);
        let (lines, _) = self.more.wait_timeout_while(lines, limit, |lines| lines.open_streams > 0).unwrap();
        lines.text.clone()
    }

    fn wait_for_address(&self, until: Instant) -> Option<SocketAddr> {
        let lines = self.lines.lock().unwrap();
        let limit = until.saturating_duration_since(Instant::now());
        let waiting = |lines: &mut Lines| lines.address.is_none() && lines.open_streams > 0;
        let (lines, _) = self.more.wait_timeout_while(lines, limit, waiting).unwrap();
        lines.address
    }
}

fn listen(stream: impl Read + Send + 'static, said: &Arc<Said>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut lines = said.lines.lock().unwrap();
            if let Some((_, rest)) = line.split_once(READY) {
                let address = rest.split_whitespace().next().unwrap_or(rest);
                lines.address = address.trim_end_matches('/').parse().ok();
            }
            lines.text.push_str(&line);
            lines.text.push('\n');
            said.more.notify_all();
        }
        said.lines.lock().unwrap().open_streams -= 1;
        said.more.notify_all();
    });
}

/// Waits for the end of a child, at most `limit`.
pub fn wait_at_most(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("own child") {
            return Some(status);
        }
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The last `count` lines of a text.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
