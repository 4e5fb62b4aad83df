use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};

use super::Row;
use crate::cli::bench::disk::Disk;
use crate::storage::vfs::{RealFs, Vfs};
use crate::storage::{DataDir, StorageError};

/// Under this a broker refuses producers, whatever its images weigh: two steps of its log, and 16 MiB.
const FREE_FAILED: u64 = 32 << 20;
/// Under this it is time to think.
const FREE_WARNED: u64 = 1 << 30;
/// A flush that takes longer makes every producer wait.
const SLOW_FLUSH_US: f64 = 20_000.0;
/// File systems that may acknowledge a flush before the data is safe, or lock in their own way.
const NETWORKED: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph"];
/// Connections and segment files of a busy broker.
const FILES_WANTED: u64 = 20_000;

/// Looks at a data directory. Nothing in it is changed; the probe that times a flush is removed again.
pub(super) fn examine(directory: &Path) -> Vec<Row> {
    let shown = directory.display();
    if !directory.is_dir() {
        let means = "A broker keeps everything in its data directory.";
        let fix = format!("whimbrel serve --data {shown}    (makes it)");
        return vec![Row::new("directory", format!("{shown} is no directory"), means, fix).failed_if(true)];
    }
    let mut rows = vec![identity(directory), writable(directory), lock(directory), free(directory)];
    rows.push(disk(directory));
    rows.push(open_files());
    rows
}

fn identity(directory: &Path) -> Row {
    let means = "node.json says whose data this is and which format it has; without it nothing here is read.";
    let shown = directory.display();
    let (found, fix, good) = match DataDir::peek(&RealFs, directory) {
        Ok(Some(node)) => {
            let mut found = format!(
                "node {} of cluster {}, format {}",
                node.node_id, node.cluster_id, node.format_version
            );
            if let Some(origin) = node.restored_from {
                found.push_str(&format!(", restored from {origin}"));
            }
            (found, String::new(), true)
        }
        Ok(None) => {
            let fix = format!("whimbrel serve --data {shown}    (if it is the right directory)");
            return Row::new("identity", "no broker has used this directory yet", means, fix).warned_if(true);
        }
        Err(error @ StorageError::Format { .. }) => (
            error.to_string(),
            "whimbrel --version    (install the newer one that wrote it)".to_owned(),
            false,
        ),
        Err(error) => {
            (error.to_string(), format!("cp -a {shown} {shown}.damaged, then docs/STORAGE.md"), false)
        }
    };
    Row::new("identity", found, means, fix).failed_if(!good)
}

fn writable(directory: &Path) -> Row {
    let means = "A broker must be able to write here, as the user it runs as.";
    let refused = access(directory, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).err();
    let found = match &refused {
        None => "this user may write here".to_owned(),
        Some(error) => format!("this user may not write here: {error}"),
    };
    let fix = format!("chown -R USER {}    (or run this as the broker's user)", directory.display());
    Row::new("writable", found, means, fix).failed_if(refused.is_some())
}

/// Who holds the lock, from `/proc/locks` (proc(5)): taking it, even for an instant, could turn a broker away.
fn lock(directory: &Path) -> Row {
    let means = "One process has a data directory at a time; a second broker is refused.";
    let inode = std::fs::metadata(directory.join("lock")).map(|metadata| metadata.ino()).ok();
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let found = match inode.and_then(|inode| holder(&locks, inode)) {
        Some(process) => format!("a broker runs on it (process {process})"),
        None => "no broker runs on it".to_owned(),
    };
    Row::new("lock", found, means, "")
}

/// The process of a line such as `1: FLOCK  ADVISORY  WRITE 708 fe:00:1234 0 EOF`, where 1234 is `inode`.
fn holder(locks: &str, inode: u64) -> Option<String> {
    let end = format!(":{inode}");
    let mut lines = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find_map(|words| match words.as_slice() {
        [_, "FLOCK", _, _, process, file, ..] if file.ends_with(&end) => Some((*process).to_owned()),
        _ => None,
    })
}

fn free(directory: &Path) -> Row {
    let means = "When free space falls under the reserve producers are refused (507); consumers go on.";
    let fix = format!("df -h {}    (give it more space)", directory.display());
    match RealFs.free_bytes(directory) {
        Ok(free) => Row::new("space", format!("{} MiB are free", free >> 20), means, fix)
            .failed_if(free < FREE_FAILED)
            .warned_if(free < FREE_WARNED),
        Err(error) => Row::new("space", error.to_string(), means, fix).failed_if(true),
    }
}

fn disk(directory: &Path) -> Row {
    let means = "A 201 means that the disk has the message; that is as true, and as fast, as its fdatasync.";
    let fix = "whimbrel serve --data DIR    (with DIR on a local disk: ext4 or xfs)";
    match Disk::measure(directory) {
        Ok(disk) => {
            let networked =
                NETWORKED.contains(&disk.file_system.as_str()) || disk.file_system.starts_with("fuse");
            let flush = disk.fdatasync_p50_us;
            let found =
                format!("{} on {}, fdatasync takes {:.2} ms", disk.file_system, disk.device, flush / 1e3);
            Row::new("disk", found, means, fix).warned_if(networked || flush > SLOW_FLUSH_US)
        }
        Err(error) => Row::new("disk", error.to_string(), means, fix).failed_if(true),
    }
}

fn open_files() -> Row {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let found = match limit {
        Some(limit) => {
            format!("{limit} files may be open at a time, if the broker is started like this command")
        }
        None => "any number of files may be open".to_owned(),
    };
    let means = "Every connection and every segment of the log is an open file.";
    Row::new("files", found, means, "ulimit -n 65536    (with systemd: LimitNOFILE=65536)")
        .warned_if(limit.is_some_and(|limit| limit < FILES_WANTED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    fn verdict(rows: &[Row], check: &str) -> Verdict {
        rows.iter().find(|row| row.check == check).unwrap().verdict
    }

    #[test]
    fn a_directory_that_is_not_there_is_a_failure_and_is_not_made() {
        let home = tempfile::tempdir().unwrap();
        let missing = home.path().join("missing");
        assert_eq!(verdict(&examine(&missing), "directory"), Verdict::Failed);
        assert!(!missing.exists());
    }

    #[test]
    fn a_used_a_fresh_and_a_damaged_directory_are_told_apart_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(verdict(&examine(home.path()), "identity"), Verdict::Warning);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
        let opened = DataDir::open(std::sync::Arc::new(RealFs), home.path()).unwrap();
        let rows = examine(home.path());
        assert_eq!(verdict(&rows, "identity"), Verdict::Ok);
        let in_use = format!("a broker runs on it (process {})", std::process::id());
        assert_eq!(rows.iter().find(|row| row.check == "lock").unwrap().found, in_use);
        drop(opened);
        assert!(examine(home.path()).iter().any(|row| row.found == "no broker runs on it"));
        std::fs::write(home.path().join("node.json"), "{}").unwrap();
        assert_eq!(verdict(&examine(home.path()), "identity"), Verdict::Failed);
    }

    #[test]
    fn the_holder_of_a_lock_is_found_by_the_file() {
        let locks =
            "1: POSIX  ADVISORY  WRITE 1 fe:00:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 708 fe:00:77 0 EOF\n";
        assert_eq!(holder(locks, 77).as_deref(), Some("708"));
        assert_eq!(holder(locks, 7), None);
    }
}
