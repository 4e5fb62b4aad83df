//! `deploy/grafana/`: the boards are what the script makes, and ask only for what a node answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{call, scrape, with_node};

/// Labels that Prometheus adds to what it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana")
}

fn boards() -> Vec<(String, Value)> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), serde_json::from_str(&text).unwrap())
    };
    let all = std::fs::read_dir(folder().join("boards")).unwrap();
    all.map(|entry| read(entry.unwrap().path())).collect()
}

/// Every query of a board: of its panels, and of its variables.
fn queries(board: &Value) -> Vec<String> {
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let variables = board["templating"]["list"].as_array().unwrap().iter();
    let asked = targets.map(|target| &target["expr"]).chain(variables.map(|one| &one["query"]["query"]));
    asked.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The names of series in a query, each with the labels that are asked of it: between its braces, by what is summed
/// around it, and of which values are listed.
fn asked(query: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // What is grouped by belongs to every series of the query.
    let mut around: BTreeSet<String> = BTreeSet::new();
    for part in query.split("by (").skip(1) {
        let labels = part.split(')').next().unwrap().split(',');
        around.extend(labels.map(|label| label.trim().to_owned()));
    }
    if let Some(list) = query.strip_prefix("label_values(") {
        let label = list.trim_end_matches(')').rsplit(',').next().unwrap();
        around.insert(label.trim().to_owned());
    }
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let mut rest = query;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphabetic()) {
        let tail = &rest[start..];
        let end = tail.find(|letter| !is_part(letter)).unwrap_or(tail.len());
        let (word, behind) = tail.split_at(end);
        rest = behind;
        if !(word.starts_with("whimbrel_") || word.starts_with("process_")) {
            continue;
        }
        let labels = found.entry(word.to_owned()).or_default();
        labels.extend(around.iter().cloned());
        if let Some(matchers) = behind.strip_prefix('{') {
            let (matchers, after) = matchers.split_once('}').unwrap();
            let names = matchers.split(',').map(|matcher| matcher.split(['=', '!']).next().unwrap());
            labels.extend(names.map(|name| name.trim().to_owned()));
            rest = after;
        }
    }
    found
}

#[test]
fn a_query_is_read_as_prometheus_reads_it() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let query =
        "topk(9, sum by (group, le) (rate(whimbrel_a_total{job=~\"$job\",topic=~\"x\"}[5m]))) / whimbrel_b";
    let found = asked(query);
    assert_eq!(found["whimbrel_a_total"], set(&["group", "job", "le", "topic"]));
    assert_eq!(found["whimbrel_b"], set(&["group", "le"]));
    assert_eq!(asked("label_values(whimbrel_c{job=\"x\"}, topic)")["whimbrel_c"], set(&["job", "topic"]));
    assert!(asked("sum by (job) (up)").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_ask_for_what_a_node_answers() {
    let answered = with_node(|to| {
        call(to, "PUT /v1/groups/g", "{\"subscriptions\": [{\"topic\": \"t\"}]}");
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for family in scrape(to, "/metrics").families.values() {
            for (name, found, _) in &family.samples {
                labels.entry(name.clone()).or_default().extend(found.iter().map(|(label, _)| label.clone()));
            }
        }
        labels
    })
    .await;
    let mut looked_at = 0;
    for (file, board) in boards() {
        for query in queries(&board) {
            let series = asked(&query);
            assert!(!series.is_empty() || !query.contains('('), "{file}: nothing is asked for by {query}");
            for (name, labels) in series {
                let has = answered.get(&name).unwrap_or_else(|| panic!("{file}: no node answers '{name}'"));
                let missing: Vec<&String> = labels
                    .iter()
                    .filter(|label| !has.contains(*label) && !SCRAPED.contains(&label.as_str()))
                    .collect();
                assert!(missing.is_empty(), "{file}: '{name}' has no {missing:?} in {query}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 50, "only {looked_at} series were looked at");
}

#[test]
fn boards_are_what_the_script_makes() {
    let script = folder().join("boards.py");
    let Ok(output) = Command::new("python3").arg(&script).arg("--check").output() else {
        eprintln!("skipped: python3 is not installed");
        return;
    };
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn panels_lie_side_by_side_and_boards_have_names_of_their_own() {
    let mut names = BTreeSet::new();
    for (file, board) in boards() {
        assert!(names.insert(board["uid"].as_str().unwrap().to_owned()), "{file}");
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{file}: a number comes twice");
            let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            let [x, y, width, height] = place;
            assert!(x + width <= 24, "{file}: {place:?} is wider than the page");
            for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{file}: {place:?} lies over another panel");
            }
        }
    }
    assert_eq!(names.len(), 3);
}
