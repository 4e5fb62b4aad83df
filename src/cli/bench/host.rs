use std::fs;

use serde::Serialize;

/// What the figures were measured on. Fields that the system does not tell are empty.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Processor model.
    pub cpu: String,
    /// Processors this process may use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Memory in MiB.
    pub memory_mib: u64,
}

impl Host {
    /// Reads it from `/proc`.
    #[must_use]
    pub fn look() -> Host {
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let field = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'));
            found.unwrap_or_default().trim().to_owned()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let memory_kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        Host {
            name: line("/proc/sys/kernel/hostname"),
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: line("/proc/sys/kernel/osrelease"),
            memory_mib: memory_kib / 1_024,
        }
    }
}
