//! `deploy/prometheus/`: the rules name series that there are, and Prometheus' own checker accepts and tests them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use whimbrel::observe::{Kind, SERIES};

use super::{call, raw, with_node};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus")
}

/// Every name that a query may use: samples of ours, and what the recording rules make of them.
fn known() -> BTreeSet<String> {
    let recorded = std::fs::read_to_string(folder().join("recording.yml")).unwrap();
    let recorded = recorded.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    let mut known: BTreeSet<String> = recorded.map(str::to_owned).collect();
    for series in SERIES {
        if series.kind == Kind::Histogram {
            known.extend(["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", series.name)));
        } else {
            known.insert(series.name.to_owned());
        }
    }
    known
}

/// The words of `text` that look like names of series.
fn named(text: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let words = text.split(|letter| !is_part(letter));
    words.filter(|word| word.contains("whimbrel_") && word.trim_end_matches(':') != "whimbrel_").collect()
}

#[test]
fn rules_name_series_that_there_are() {
    let known = known();
    for file in ["recording.yml", "alerts.yml", "tests.yml"] {
        let text = std::fs::read_to_string(folder().join(file)).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let names: Vec<String> = lines.flat_map(named).map(str::to_owned).collect();
        assert!(names.len() > 5, "{file} was not read");
        for name in names {
            assert!(
                known.contains(&name),
                "{file} names '{name}', which no node answers and no rule records"
            );
        }
    }
    assert_eq!(
        named("sum(rate(whimbrel_a_total[5m])) / g:whimbrel_b:rate5m"),
        BTreeSet::from(["whimbrel_a_total", "g:whimbrel_b:rate5m"])
    );
}

/// Runs promtool; false when there is none on this machine.
fn promtool(arguments: &[&str], input: &str) -> bool {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder()).stdin(Stdio::piped());
    let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: promtool is not installed (Debian: apt-get install prometheus)");
        return false;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    true
}

#[test]
fn prometheus_accepts_the_rules_and_they_fire_when_they_should() {
    let _ = promtool(&["check", "config", "prometheus.yml"], "")
        && promtool(&["check", "rules", "recording.yml", "alerts.yml"], "")
        && promtool(&["test", "rules", "tests.yml"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_finds_nothing_to_say_about_the_names() {
    let texts = with_node(|to| {
        call(to, "PUT /v1/groups/g", "{\"subscriptions\": [{\"topic\": \"t\"}]}");
        [raw(to, "/metrics"), raw(to, "/metrics/per-object")]
    });
    for text in texts.await {
        promtool(&["check", "metrics"], &text);
    }
}
