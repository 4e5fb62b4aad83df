//! What the operating system says of this process, under the names that every Prometheus client uses. Linux only: what
//! cannot be read is left out, not zero.

use std::fs;

use super::exposition::Exposition;
use super::series;

/// Ticks a second in `/proc`: fixed at 100 by the kernel's interface to programs (USER_HZ), whatever its own rate is.
const TICKS: f64 = 100.0;

/// Adds CPU time, memory, file descriptors and start time. Reads `/proc`, so not for async threads.
pub fn add_process(out: &mut Exposition) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(ticks) = field(&stat, 14).zip(field(&stat, 15)).map(|(user, system)| user + system) {
        out.add(&series::PROCESS_CPU_SECONDS, &[], ticks / TICKS);
    }
    let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| after(&text, "btime"));
    if let Some((boot, started)) = boot.zip(field(&stat, 22)) {
        out.add(&series::PROCESS_START_TIME_SECONDS, &[], boot + started / TICKS);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kilobytes) = after(&status, "VmRSS:") {
        out.add(&series::PROCESS_RESIDENT_MEMORY_BYTES, &[], kilobytes * 1_024.0);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is this very look.
        let open = u64::try_from(open.count()).unwrap_or(u64::MAX).saturating_sub(1);
        out.count(&series::PROCESS_OPEN_FDS, &[], open);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = after(&limits, "Max open files") {
        out.add(&series::PROCESS_MAX_FDS, &[], most);
    }
}

/// Field `number`, from 1, of `/proc/self/stat`. The second is the name of the program in brackets, which may hold
/// anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// The number behind `name` at the start of a line.
fn after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_may_hold_anything() {
        let stat = "12 (odd ) 7 name) S 1 2 3 4 5 6 7 8 9 10 140 15 16 17 18 19 20 21 99";
        assert_eq!((field(stat, 4), field(stat, 14), field(stat, 99)), (Some(1.0), Some(140.0), None));
    }

    #[test]
    fn a_line_is_found_by_its_beginning() {
        let text = "VmPeak:\t 9 kB\nVmRSS:\t   5124 kB\nMax open files            1024     4096  files\n";
        assert_eq!((after(text, "VmRSS:"), after(text, "Max open files")), (Some(5124.0), Some(1024.0)));
        assert_eq!(after(text, "btime"), None);
    }
}
