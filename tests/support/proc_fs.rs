//! What Linux counts about a process.

use std::collections::BTreeMap;
use std::fs;

/// Most memory the process ever had resident, in bytes (`VmHWM`).
pub fn peak_memory(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:") * 1_024
}

/// Memory resident now, in bytes (`VmRSS`).
pub fn memory(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:") * 1_024
}

fn status_kib(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = text.lines().find(|line| line.starts_with(field)).expect("a Linux status file");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
}

/// Processor time used so far, user and system, in clock ticks (100 a second on every common Linux).
pub fn processor_ticks(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    // The name of the process may hold blanks; everything after its closing bracket is numbers.
    let (_, numbers) = text.rsplit_once(')').expect("a Linux stat file");
    let fields: Vec<&str> = numbers.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("ticks");
    ticks(11) + ticks(12)
}

/// Counters of `/proc/PID/io`, by name: `wchar` (bytes given to write calls), `syscw` (write calls), `write_bytes`
/// (bytes sent to the disk).
pub fn io(pid: u32) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).expect("a running process of this user");
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}
