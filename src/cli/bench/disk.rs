use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};
use serde::Serialize;

use crate::cli::CliError;

/// Writes that are timed, unless their time is over first.
const SYNCS: usize = 300;
/// It ends sooner when it has taken this long.
const LONGEST: Duration = Duration::from_secs(2);
/// Bytes of one timed write, about those of a small message.
const WRITE_BYTES: usize = 1_024;

/// The file system under the broker's data, and how fast it makes a small write durable.
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    /// The directory that was measured: the data directory, or its closest parent that exists.
    pub directory: PathBuf,
    /// Kind of file system, such as `ext4`.
    pub file_system: String,
    /// Device it is on.
    pub device: String,
    /// Mount options of the mount and of the file system.
    pub flags: String,
    /// Median of writing 1 KiB into allocated space and calling fdatasync, in microseconds.
    pub fdatasync_p50_us: f64,
}

impl Disk {
    /// Looks at the file system of `directory` and times fdatasync there, for about a second at most.
    ///
    /// # Errors
    /// [`CliError::Usage`] when it is in memory: durability costs nothing there and figures would mean nothing.
    /// [`CliError::Io`] when nothing can be written there.
    pub fn measure(directory: &Path) -> Result<Disk, CliError> {
        let disk = Disk::measure_any(directory)?;
        if !disk.is_memory() {
            return Ok(disk);
        }
        Err(CliError::Usage(format!(
            "{} is on {}, which is memory: nothing is durable there and the figures would mean nothing. \
             Give the data directory on a real disk with --data, or --allow-memory to measure all the same",
            disk.directory.display(),
            disk.file_system
        )))
    }

    /// The same, also in memory.
    ///
    /// # Errors
    /// [`CliError::Io`] when nothing can be written there.
    pub fn measure_any(directory: &Path) -> Result<Disk, CliError> {
        let directory = closest_existing(directory)?;
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").map_err(CliError::io("reading the mounts"))?;
        let mount = Mount::of(&directory, &mounts).unwrap_or_default();
        let fdatasync_p50_us = fdatasync_p50(&directory, WRITE_BYTES, Duration::ZERO)?.as_secs_f64() * 1e6;
        let Mount { kind: file_system, device, options: flags } = mount;
        Ok(Disk { directory, file_system, device, flags, fdatasync_p50_us })
    }

    /// Whether nothing written there outlives the power.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

fn closest_existing(directory: &Path) -> Result<PathBuf, CliError> {
    let absolute = std::path::absolute(directory).map_err(CliError::io("finding --data"))?;
    let existing = absolute.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    existing.canonicalize().map_err(CliError::io("finding --data"))
}

/// One line of `/proc/self/mountinfo` (proc(5)), as far as it is of interest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mount {
    kind: String,
    device: String,
    options: String,
}

impl Mount {
    /// The mount that `path` is on: the longest mount point above it; of equals the last, which covers the others.
    fn of(path: &Path, mountinfo: &str) -> Option<Mount> {
        let mut best: Option<(usize, Mount)> = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut left = left.split(' ').skip(4);
            let (Some(point), Some(options)) = (left.next(), left.next()) else { continue };
            let point = PathBuf::from(point.replace("\\040", " "));
            let mut right = right.split(' ');
            let (Some(kind), Some(device)) = (right.next(), right.next()) else { continue };
            let depth = point.components().count();
            if path.starts_with(&point) && best.as_ref().is_none_or(|(other, _)| depth >= *other) {
                let options = format!("{options} {}", right.next().unwrap_or_default()).trim().to_owned();
                best = Some((depth, Mount { kind: kind.to_owned(), device: device.to_owned(), options }));
            }
        }
        best.map(|(_, mount)| mount)
    }
}

/// Median time of writing `bytes` into allocated space and making them durable, with a pause of `idle` before each
/// write: a disk that has come to rest may take several times as long as one that is kept busy. Takes about two
/// seconds at most.
///
/// # Errors
/// [`CliError::Io`] when the directory cannot be written.
pub fn fdatasync_p50(directory: &Path, bytes: usize, idle: Duration) -> Result<Duration, CliError> {
    let path = directory.join(format!(".whimbrel-bench-{}", std::process::id()));
    let file = File::create_new(&path).map_err(CliError::io(format!("creating {}", path.display())))?;
    let timed = time_syncs(&file, bytes, idle);
    // The probe has done its work; that it stays behind is no reason to fail.
    let _ = fs::remove_file(&path);
    let mut times = timed.map_err(CliError::io(format!("writing {}", path.display())))?;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn time_syncs(file: &File, bytes: usize, idle: Duration) -> std::io::Result<Vec<Duration>> {
    let data = vec![b'w'; bytes];
    let length = bytes as u64;
    // A file system that cannot allocate ahead is measured as it is.
    let _ = fallocate(file, FallocateFlags::empty(), 0, length * SYNCS as u64);
    file.sync_all()?;
    let start = Instant::now();
    let mut times = Vec::with_capacity(SYNCS);
    for turn in 0..SYNCS as u64 {
        if !idle.is_zero() {
            thread::sleep(idle);
        }
        let before = Instant::now();
        file.write_all_at(&data, turn * length)?;
        file.sync_data()?;
        times.push(before.elapsed());
        if start.elapsed() > LONGEST {
            break;
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
23 22 0:5 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=64k
24 22 0:6 / /with\\040space rw - xfs /dev/vdb rw
";

    #[test]
    fn the_longest_mount_point_above_a_path_counts() {
        let kind = |path: &str| Mount::of(Path::new(path), MOUNTS).unwrap().kind;
        assert_eq!(kind("/home/data"), "ext4");
        assert_eq!(kind("/dev/shm/data"), "tmpfs");
        assert_eq!(kind("/dev/shmoo"), "ext4");
        assert_eq!(kind("/with space/x"), "xfs");
        let root = Mount::of(Path::new("/"), MOUNTS).unwrap();
        assert_eq!((root.device.as_str(), root.options.as_str()), ("/dev/vda", "rw,relatime rw,discard"));
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_measured_at_its_parent() {
        let home = tempfile::tempdir().unwrap();
        let found = closest_existing(&home.path().join("not/yet")).unwrap();
        assert_eq!(found, home.path().canonicalize().unwrap());
    }

    #[test]
    fn the_probe_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        assert!(fdatasync_p50(home.path(), 512, Duration::ZERO).unwrap() > Duration::ZERO);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn memory_is_refused_as_wrong_usage() {
        let shared = Path::new("/dev/shm");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if Mount::of(shared, &mounts).is_some_and(|mount| mount.kind == "tmpfs") && shared.is_dir() {
            assert_eq!(Disk::measure(shared).unwrap_err().exit_code(), 2);
            assert!(Disk::measure_any(shared).unwrap().is_memory());
        }
    }
}
