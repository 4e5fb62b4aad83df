//! `docs/METRICS.md` is the table in the source, and the table is what a node really answers.

use std::collections::BTreeSet;

use whimbrel::observe::{SERIES, Series};

use super::{scrape, with_node};

/// One line of the table in the document.
fn row(series: &Series) -> String {
    let labels: Vec<String> = series.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {} | {} | {} |", series.name, series.kind.as_str(), labels.join(", "), series.help)
}

#[test]
fn the_document_lists_every_series_and_only_series() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
    let document = std::fs::read_to_string(path).unwrap();
    let listed =
        document.lines().filter(|line| line.starts_with("| `whimbrel_") || line.starts_with("| `process_"));
    let listed: Vec<&str> = listed.collect();
    let rows: Vec<String> = SERIES.iter().map(|series| row(series)).collect();
    let missing: Vec<&String> = rows.iter().filter(|row| !listed.contains(&row.as_str())).collect();
    assert!(missing.is_empty(), "docs/METRICS.md lacks, or says otherwise:\n{missing:#?}");
    assert_eq!(listed.len(), rows.len(), "docs/METRICS.md lists what there is not, or twice");
}

#[test]
fn names_follow_the_rules() {
    let mut names = BTreeSet::new();
    for series in SERIES {
        assert!(names.insert(series.name), "{} comes twice", series.name);
        let ours = series.name.starts_with("whimbrel_") || series.name.starts_with("process_");
        assert!(ours && series.name.len() <= 45, "{}", series.name);
        assert!(series.help.ends_with('.') && !series.help.contains(['\n', '|']), "{}", series.name);
        for unit in ["_ms", "_micros", "_kb", "_percent", "_minutes"] {
            assert!(!series.name.contains(unit), "{}: not a base unit", series.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_every_series_and_only_series() {
    let answered = with_node(|to| {
        super::call(to, "PUT /v1/groups/g", "{\"subscriptions\": [{\"topic\": \"t\"}]}");
        let mut families = scrape(to, "/metrics").families;
        families.extend(scrape(to, "/metrics/per-object").families);
        families
    })
    .await;
    for series in SERIES {
        let family = answered.get(series.name).unwrap_or_else(|| panic!("{} is not answered", series.name));
        assert_eq!(family.kind, series.kind.as_str(), "{}", series.name);
        assert_eq!(family.help, series.help, "{}", series.name);
        for (_, labels, _) in &family.samples {
            let labels: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
            let labels: Vec<&str> = labels.into_iter().filter(|label| *label != "le").collect();
            assert_eq!(labels, series.labels, "{}", series.name);
        }
    }
    assert_eq!(answered.len(), SERIES.len());
}
