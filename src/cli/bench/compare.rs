//! Two results of `--json` side by side: what changed, and by how much.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::report::{FORMAT, VERSION};
use crate::cli::CliError;

/// Largest file that is read.
const RESULT_BYTES_MAX: u64 = 1 << 20;

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// The figures: name, place in the JSON, which way is better, whether `--tolerance` judges it. One slow answer among
/// thousands moves p99.9 and max, and the disk and the schedule are no merit of the broker: they are shown.
const FIGURES: [(&str, &str, Better, bool); 8] = [
    ("messages/s", "/messages_per_s", Better::More, true),
    ("p50 ms", "/latency_ms/p50", Better::Less, true),
    ("p90 ms", "/latency_ms/p90", Better::Less, true),
    ("p99 ms", "/latency_ms/p99", Better::Less, true),
    ("p99.9 ms", "/latency_ms/p999", Better::Less, false),
    ("max ms", "/latency_ms/max", Better::Less, false),
    ("behind ms", "/schedule/behind_max_ms", Better::Less, false),
    ("fdatasync us", "/disk/fdatasync_p50_us", Better::Less, false),
];

/// What is expected to differ, or says nothing about whether two runs may be compared.
const NOT_SET_UP: [&str; 11] = [
    "/messages",
    "/elapsed_s",
    "/megabytes_per_s",
    "/latency_ms/samples",
    "/schedule/due",
    "/schedule/unfinished",
    "/schedule/late",
    "/early_messages",
    "/remaining_messages",
    "/url",
    "/topic",
];
/// The same, with all below them.
const NOT_SET_UP_BELOW: [&str; 2] = ["/command", "/left_behind"];

/// Two results side by side.
#[derive(Debug, Serialize)]
struct Comparison {
    format: &'static str,
    version: u32,
    figures: Vec<Figure>,
    /// What else differs: the figures may then say more about that than about the broker.
    differences: Vec<Difference>,
    tolerance_percent: Option<f64>,
    /// Figures that got worse by more than is tolerated.
    worse: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    before: f64,
    after: f64,
    /// After over before; none when there is nothing to divide by.
    ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Difference {
    field: String,
    before: Value,
    after: Value,
}

/// Compares the results in two files and prints what was found.
///
/// # Errors
/// [`CliError::Usage`] for a file that is no such result; [`CliError::Failed`] when something got worse by more than
/// `tolerance` percent.
pub(super) fn run(before: &Path, after: &Path, tolerance: Option<f64>, json: bool) -> Result<(), CliError> {
    let comparison = Comparison::new(&read(before)?, &read(after)?, tolerance);
    if json {
        let text = serde_json::to_string_pretty(&comparison)
            .map_err(|error| CliError::Failed(format!("writing the comparison as JSON: {error}")))?;
        println!("{text}");
    } else {
        print!("{comparison}");
    }
    if comparison.worse.is_empty() {
        return Ok(());
    }
    let (worse, percent) = (comparison.worse.join(", "), tolerance.unwrap_or(0.0));
    Err(CliError::Failed(format!("worse by more than {percent} %: {worse}")))
}

fn read(path: &Path) -> Result<Value, CliError> {
    let shown = path.display();
    let io = |what: &str| CliError::io(format!("{what} {shown}"));
    let length = fs::metadata(path).map_err(io("reading"))?.len();
    if length > RESULT_BYTES_MAX {
        return Err(CliError::Usage(format!("{shown} is too large for a result of bench --json")));
    }
    let text = fs::read(path).map_err(io("reading"))?;
    let value: Value = serde_json::from_slice(&text)
        .map_err(|error| CliError::Usage(format!("{shown} is not a result of bench --json: {error}")))?;
    let (format, version) = (value.get("format").and_then(Value::as_str), value.get("version"));
    if format != Some(FORMAT) {
        return Err(CliError::Usage(format!("{shown} is not a result of bench --json")));
    }
    if version.and_then(Value::as_u64) != Some(VERSION.into()) || value.get("messages_per_s").is_none() {
        return Err(CliError::Usage(format!(
            "{shown} is not a result of version {VERSION}, which this reads"
        )));
    }
    Ok(value)
}

impl Comparison {
    fn new(before: &Value, after: &Value, tolerance: Option<f64>) -> Comparison {
        let number = |value: &Value, place: &str| value.pointer(place).and_then(Value::as_f64);
        let mut figures = Vec::new();
        let mut worse = Vec::new();
        for (name, place, better, judged) in FIGURES {
            let (Some(was), Some(is)) = (number(before, place), number(after, place)) else { continue };
            let ratio = (was > 0.0).then(|| is / was);
            figures.push(Figure { name, before: was, after: is, ratio });
            if judged && tolerance.is_some_and(|percent| is_worse(was, is, better, percent)) {
                worse.push(name);
            }
        }
        let mut differences = Vec::new();
        collect_differences("", before, after, &mut differences);
        let (format, version) = ("whimbrel-bench-comparison", VERSION);
        Comparison { format, version, figures, differences, tolerance_percent: tolerance, worse }
    }
}

/// Whether `is` is worse than `was` by more than `percent` of `was`.
fn is_worse(was: f64, is: f64, better: Better, percent: f64) -> bool {
    let allowed = was * percent / 100.0;
    match better {
        Better::More => is < was - allowed,
        Better::Less => is > was + allowed,
    }
}

/// Every field that is no figure and has two values.
fn collect_differences(place: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    let is_figure = FIGURES.iter().any(|(_, figure, _, _)| *figure == place);
    if before == after || is_figure || NOT_SET_UP.contains(&place) || NOT_SET_UP_BELOW.contains(&place) {
        return;
    }
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let only_after = after.keys().filter(|name| !before.contains_key(*name));
            for name in before.keys().chain(only_after) {
                let of = |side: &serde_json::Map<String, Value>| side.get(name).cloned().unwrap_or_default();
                collect_differences(&format!("{place}/{name}"), &of(before), &of(after), found);
            }
        }
        _ => {
            let field = place.trim_start_matches('/').replace('/', ".");
            found.push(Difference { field, before: before.clone(), after: after.clone() });
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<13} {:>14} {:>14} {:>8}", "", "before", "after", "ratio")?;
        for Figure { name, before, after, ratio } in &self.figures {
            let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            let worse = if self.worse.contains(name) { "  worse" } else { "" };
            writeln!(out, "{name:<13} {before:>14.3} {after:>14.3} {ratio:>8}{worse}")?;
        }
        if self.differences.is_empty() {
            return writeln!(out, "set-up: the same");
        }
        writeln!(out, "set-up: these differ, and the figures with them")?;
        for Difference { field, before, after } in &self.differences {
            writeln!(out, "  {field}: {before} -> {after}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result(rate: f64, p99: f64) -> Value {
        json!({
            "format": FORMAT, "version": VERSION, "workload": "produce", "connections": 16, "schedule": null,
            "messages": 10, "messages_per_s": rate, "command": ["a"], "url": "u",
            "latency_ms": {"of": "send to stored", "samples": 5, "p50": 1.0, "p90": 2.0, "p99": p99, "max": 9.0},
            "disk": {"file_system": "ext4", "fdatasync_p50_us": 100.0},
        })
    }

    #[test]
    fn ratios_are_after_over_before_and_worse_is_judged_by_direction() {
        let (before, after) = (result(1_000.0, 3.0), result(880.0, 3.3));
        let compared = Comparison::new(&before, &after, Some(11.0));
        let rate = &compared.figures[0];
        assert_eq!((rate.name, rate.ratio), ("messages/s", Some(0.88)));
        assert_eq!(compared.worse, ["messages/s"]);
        assert_eq!(Comparison::new(&before, &after, Some(9.0)).worse, ["messages/s", "p99 ms"]);
        assert!(
            Comparison::new(&before, &after, Some(12.0)).worse.is_empty(),
            "exactly the tolerance is within it"
        );
        assert!(Comparison::new(&before, &after, None).worse.is_empty());
        assert!(Comparison::new(&after, &before, Some(0.0)).worse.is_empty(), "better is never worse");
        assert!(Comparison::new(&before, &before, Some(0.0)).differences.is_empty());
    }

    #[test]
    fn what_differs_in_the_set_up_is_named_and_figures_are_not() {
        let (before, mut after) = (result(1_000.0, 3.0), result(2_000.0, 2.0));
        after["connections"] = 64.into();
        after["disk"] = json!({"file_system": "xfs", "fdatasync_p50_us": 50.0});
        after["messages"] = 99.into();
        after["command"] = json!(["b", "c"]);
        after["new_field"] = true.into();
        let compared = Comparison::new(&before, &after, None);
        let fields: Vec<&str> = compared.differences.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["connections", "disk.file_system", "new_field"]);
        let text = compared.to_string();
        assert!(text.contains("connections: 16 -> 64") && text.contains("2.000"), "{text}");
        assert!(text.contains("new_field: null -> true"), "{text}");
    }

    #[test]
    fn a_broker_on_another_host_is_compared_without_a_disk() {
        let (mut before, after) = (result(1_000.0, 3.0), result(1_000.0, 3.0));
        before["disk"] = Value::Null;
        let compared = Comparison::new(&before, &after, Some(5.0));
        assert!(compared.figures.iter().all(|figure| figure.name != "fdatasync us"));
        assert_eq!(compared.differences[0].field, "disk");
        before["latency_ms"]["p50"] = 0.into();
        let compared = Comparison::new(&before, &after, Some(5.0));
        assert_eq!((compared.figures[1].ratio, &compared.worse[..]), (None, &["p50 ms"][..]));
    }

    #[test]
    fn only_results_of_this_version_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        let mut other = result(1.0, 1.0);
        other["version"] = (VERSION + 1).into();
        for (text, code) in [("{", 2), ("{}", 2), (&*other.to_string(), 2)] {
            fs::write(&path, text).unwrap();
            assert_eq!(run(&path, &path, None, false).unwrap_err().exit_code(), code, "{text}");
        }
        fs::write(&path, result(1.0, 1.0).to_string()).unwrap();
        run(&path, &path, Some(0.0), true).unwrap();
        assert_eq!(run(&path, &folder.path().join("none"), None, false).unwrap_err().exit_code(), 1);
    }
}
