//! Documents name files; the files have to be there.

use crate::allow::Allowances;
use crate::files::Source;

/// Links to files, and paths of the project in code spans, that lead nowhere.
pub(crate) fn dangling(
    documents: &[&Source],
    exists: &dyn Fn(&str) -> bool,
    allowances: &Allowances,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for document in documents {
        for (at, path) in links(&document.text).into_iter().map(|(at, to)| (at, resolve(&document.path, to)))
        {
            if !exists(&path) && !allowances.is_planned(&path) {
                complaints.push(document.complain(at, &format!("links to '{path}', which does not exist")));
            }
        }
        for (at, path) in code_paths(&document.text) {
            if !exists(path) && !allowances.is_planned(path) {
                complaints.push(document.complain(at, &format!("names '{path}', which does not exist")));
            }
        }
    }
    complaints
}

/// Targets of `[text](target)` that are files.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("](") {
        let rest = &text[at + 2..];
        let target = rest.split([')', '#', ' ']).next().unwrap_or("");
        if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
            found.push((at, target));
        }
    }
    found
}

/// Code spans that are a path of the project: `src/api/produce.rs`, `tests/tidy.allow`.
fn code_paths(text: &str) -> Vec<(usize, &str)> {
    const FOLDERS: [&str; 8] =
        ["src/", "tests/", "benches/", "docs/", "deploy/", "templates/", "static/", "examples/"];
    let mut found = Vec::new();
    let mut at = 0;
    for (number, span) in text.split('`').enumerate() {
        let is_path = FOLDERS.iter().any(|folder| span.starts_with(folder))
            && !span.contains(|other: char| other.is_whitespace() || "*{}<>…,:".contains(other));
        if number % 2 == 1 && is_path {
            found.push((at, span));
        }
        at += span.len() + 1;
    }
    found
}

fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}
