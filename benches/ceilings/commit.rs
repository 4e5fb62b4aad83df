//! The least a durable store can do: append what waits, one fdatasync, answer. No order, no index, no recovery.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// Space allocated at a time, as the broker does.
const STEP_BYTES: u64 = 8 << 20;
/// Bytes of one batch, as the broker closes an entry.
const BATCH_BYTES: usize = 1 << 20;
/// A new file is begun after this many bytes. The old ones stay, as a log's do: a file that is written over finds its
/// pages in memory already, and on a virtual machine that alone can be worth a factor of three.
const FILE_BYTES: u64 = 128 << 20;

/// Who waits for a body to be durable.
pub(crate) enum Waiter {
    /// A POST.
    Post(oneshot::Sender<()>),
    /// A publish of a WebSocket, by its id.
    Publish(UnboundedSender<String>, String),
}

/// Bodies on their way to the disk.
pub(crate) type Queue = Sender<(Bytes, Waiter)>;

/// Starts the thread that commits; it ends with the last [`Queue`].
pub(crate) fn start(directory: &Path) -> io::Result<Queue> {
    let (queue, waiting) = channel();
    let log = Log::create(directory)?;
    std::thread::Builder::new().name("commit".to_owned()).spawn(move || {
        if let Err(error) = commit(log, &waiting) {
            eprintln!("ceilings: committing: {error}");
            std::process::exit(1);
        }
    })?;
    Ok(queue)
}

fn commit(mut log: Log, waiting: &Receiver<(Bytes, Waiter)>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(2 * BATCH_BYTES);
    let mut waiters = Vec::new();
    while let Ok((body, waiter)) = waiting.recv() {
        buffer.extend_from_slice(&body);
        waiters.push(waiter);
        while buffer.len() < BATCH_BYTES {
            let Ok((body, waiter)) = waiting.try_recv() else { break };
            buffer.extend_from_slice(&body);
            waiters.push(waiter);
        }
        log.append(&buffer)?;
        buffer.clear();
        for waiter in waiters.drain(..) {
            // Nobody listens any more when the run is over.
            match waiter {
                Waiter::Post(answer) => drop(answer.send(())),
                Waiter::Publish(answers, id) => drop(answers.send(id)),
            }
        }
    }
    Ok(())
}

/// Appends `bytes` at a time for `time`; bytes per second made durable.
pub(crate) fn raw_append(directory: &Path, bytes: usize, time: Duration) -> io::Result<f64> {
    let mut log = Log::create(directory)?;
    let data = vec![b'w'; bytes];
    let start = Instant::now();
    let mut done = 0_u64;
    while start.elapsed() < time {
        log.append(&data)?;
        done += bytes as u64;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// A file that grows in steps, followed by the next one when it is large.
struct Log {
    directory: PathBuf,
    /// How many files came before this one.
    files: u32,
    file: File,
    end: u64,
    allocated: u64,
}

impl Log {
    fn create(directory: &Path) -> io::Result<Log> {
        Log::create_numbered(directory, 0)
    }

    fn create_numbered(directory: &Path, files: u32) -> io::Result<Log> {
        let file = File::create(directory.join(format!("ceiling-{files}.log")))?;
        Ok(Log { directory: directory.to_owned(), files, file, end: 0, allocated: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.end >= FILE_BYTES {
            self.files += 1;
            *self = Log::create_numbered(&self.directory, self.files)?;
        }
        let end = self.end + bytes.len() as u64;
        while self.allocated < end {
            fallocate(&self.file, FallocateFlags::empty(), self.allocated, STEP_BYTES)?;
            self.allocated += STEP_BYTES;
        }
        self.file.write_all_at(bytes, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }
}
