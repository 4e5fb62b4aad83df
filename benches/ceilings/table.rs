//! Medians, ratios, and what they are held against.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use whimbrel::cli::CliError;
use whimbrel::cli::bench::disk::Disk;
use whimbrel::cli::bench::host::Host;

use crate::Args;

/// Every value measured, in the order of the rounds, by case, subject and what was measured.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<(String, &'static str, &'static str), Vec<f64>>);

impl Samples {
    /// Notes one value.
    pub(crate) fn add(&mut self, case: &str, subject: &'static str, unit: &'static str, value: f64) {
        self.0.entry((case.to_owned(), subject, unit)).or_default().push(value);
    }

    fn get(&self, case: &str, subject: &'static str, unit: &'static str) -> &[f64] {
        self.0.get(&(case.to_owned(), subject, unit)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The middle of the values; the mean of the two middle ones when their number is even.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some((upper + lower) / 2.0)
}

/// What one figure of the broker is held against.
enum Target {
    /// At least this part of a ceiling, pair by pair.
    Part { of: &'static str, unit: &'static str, least: f64 },
    /// At least this many messages a second.
    Rate { least: f64 },
    /// Median latency at most `times` that of another subject plus `plus_us`.
    Latency { of: &'static str, times: f64, plus_us: f64 },
}

/// The targets, in the order of the cases.
fn targets() -> Vec<(&'static str, Target)> {
    let latency = |of, times, plus_us| Target::Latency { of, times, plus_us };
    let part = |of, unit, least| Target::Part { of, unit, least };
    vec![
        ("a 1", latency("fdatasync", 1.0, 300.0)),
        // Stricter where other work disturbs the disk: the bare commit is disturbed in the same way.
        ("a 1", latency("group commit", 1.0, 300.0)),
        ("a 256", part("empty handler", "messages_per_s", 0.5)),
        ("a 256", part("group commit", "messages_per_s", 0.8)),
        ("b", part("raw append", "bytes_per_s", 0.4)),
        ("c", part("group commit", "messages_per_s", 0.5)),
        ("d", Target::Rate { least: 60_000.0 }),
        ("e", latency("fdatasync", 2.0, 500.0)),
        // What the same disk does at the same pace: a disk that has come to rest wakes up first.
        ("e", latency("idle fdatasync", 2.0, 500.0)),
        ("f", part("unwatched", "messages_per_s", 0.95)),
    ]
}

/// A target and what was found.
struct Verdict {
    case: &'static str,
    what: String,
    found: f64,
    wanted: f64,
    met: bool,
}

impl Target {
    fn judge(&self, case: &'static str, samples: &Samples) -> Option<Verdict> {
        let broker = |unit| samples.get(case, "broker", unit);
        match self {
            Target::Part { of, unit, least } => {
                let pairs: Vec<f64> = broker(unit)
                    .iter()
                    .zip(samples.get(case, of, unit))
                    .map(|(ours, most)| ours / most)
                    .collect();
                let found = median(&pairs)?;
                let what = format!("{unit} over that of {of}, at least");
                Some(Verdict { case, what, found, wanted: *least, met: found >= *least })
            }
            Target::Rate { least } => {
                let found = median(broker("messages_per_s"))?;
                let what = "messages_per_s, at least".to_owned();
                Some(Verdict { case, what, found, wanted: *least, met: found >= *least })
            }
            Target::Latency { of, times, plus_us } => {
                let found = median(broker("p50_us"))?;
                let wanted = median(samples.get(case, of, "p50_us"))? * times + plus_us;
                let what = format!("p50_us, at most {times} × that of {of} + {plus_us}");
                Some(Verdict { case, what, found, wanted, met: found <= wanted })
            }
        }
    }
}

/// Prints the medians and the verdicts.
pub(crate) fn print(args: &Args, disk: &Disk, samples: &Samples) -> Result<(), CliError> {
    let host = Host::look();
    let verdicts: Vec<Verdict> =
        targets().iter().filter_map(|(case, target)| target.judge(case, samples)).collect();
    if args.json {
        let text = serde_json::to_string_pretty(&as_json(args, disk, samples, &verdicts))
            .map_err(|error| CliError::Failed(error.to_string()))?;
        println!("{text}");
        return Ok(());
    }
    println!("{} × {}, {} MiB, kernel {}", host.cores, host.cpu, host.memory_mib, host.kernel);
    println!(
        "{} {} ({}), fdatasync p50 {:.0} µs",
        disk.file_system, disk.device, disk.flags, disk.fdatasync_p50_us
    );
    let (rounds, seconds, size) = (args.rounds, args.seconds, args.size);
    println!(
        "medians of {rounds} interleaved rounds of {seconds} s, {size}-byte bodies, load on the same processors\n"
    );
    println!(
        "{:<8} {:<15} {:>14} {:>10} {:>11} {:>11}",
        "case", "subject", "messages/s", "MB/s", "p50 µs", "p99 µs"
    );
    let subjects: std::collections::BTreeSet<_> =
        samples.0.keys().map(|(case, subject, _)| (case.as_str(), *subject)).collect();
    for (case, subject) in subjects {
        let cell = |unit, scale: f64, digits| {
            median(samples.get(case, subject, unit))
                .map_or_else(String::new, |it| format!("{:.digits$}", it / scale))
        };
        let (rate, bytes) = (cell("messages_per_s", 1.0, 0), cell("bytes_per_s", 1e6, 1));
        let (p50, p99) = (cell("p50_us", 1.0, 0), cell("p99_us", 1.0, 0));
        println!("{case:<8} {subject:<15} {rate:>14} {bytes:>10} {p50:>11} {p99:>11}");
    }
    if !verdicts.is_empty() {
        println!("\n{:<8} {:<55} {:>10} {:>10}", "case", "broker", "found", "target");
    }
    for verdict in &verdicts {
        let Verdict { case, what, found, wanted, met } = verdict;
        let (digits, word) = (if *wanted < 10.0 { 2 } else { 0 }, if *met { "met" } else { "MISSED" });
        println!("{case:<8} {what:<55} {found:>10.digits$} {wanted:>10.digits$}  {word}");
    }
    Ok(())
}

fn as_json(args: &Args, disk: &Disk, samples: &Samples, verdicts: &[Verdict]) -> Value {
    let series: Vec<Value> = samples
        .0
        .iter()
        .map(|((case, subject, unit), values)| {
            json!({"case": case, "subject": subject, "unit": unit, "median": median(values), "rounds": values})
        })
        .collect();
    let judged: Vec<Value> = verdicts
        .iter()
        .map(|it| json!({"case": it.case, "what": it.what, "found": it.found, "target": it.wanted, "met": it.met}))
        .collect();
    json!({
        "host": Host::look(), "disk": disk, "seconds": args.seconds, "rounds": args.rounds,
        "size_bytes": args.size, "threads": args.threads, "series": series, "targets": judged,
    })
}
