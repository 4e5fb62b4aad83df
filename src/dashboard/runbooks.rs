//! `/runbooks/{rule}`: what to do when a rule fires that comes with the broker, out of `docs/RUNBOOKS.md`.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::desk::Desk;
use super::format::filters;
use super::frame::{Frame, Section};
use super::visit::Visit;
use super::words::Alerts;

const TEXT: &str = include_str!("../../docs/RUNBOOKS.md");

/// A piece of a runbook.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Words(String),
    List(Vec<String>),
    Command(String),
}

#[derive(Template)]
#[template(path = "runbook.html")]
struct RunbookPage {
    frame: Frame,
    words: &'static Alerts,
    name: String,
    pieces: Vec<Piece>,
}

/// The runbook of a rule; none when there is none.
fn runbook(name: &str) -> Option<Vec<Piece>> {
    let sections = TEXT.split("\n## ").skip(1);
    let (_, text) =
        sections.filter_map(|section| section.split_once('\n')).find(|(head, _)| *head == name)?;
    let paragraphs =
        text.split("\n\n").map(|piece| piece.trim_matches('\n')).filter(|piece| !piece.is_empty());
    Some(paragraphs.map(piece).collect())
}

fn piece(text: &str) -> Piece {
    if let Some(command) = text.strip_prefix("    ") {
        return Piece::Command(command.replace("\n    ", "\n"));
    }
    // Marks of code are for readers of the file.
    let plain = text.replace('`', "");
    match plain.strip_prefix("- ") {
        Some(list) => Piece::List(list.split("\n- ").map(joined).collect()),
        None => Piece::Words(joined(&plain)),
    }
}

fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `GET /runbooks/{rule}`
pub(super) async fn show(State(desk): State<Desk>, Path(name): Path<String>, visit: Visit) -> Response {
    let words = Alerts::of(visit.lang);
    let Some(pieces) = runbook(&name) else {
        return visit.oops(&desk, StatusCode::NOT_FOUND, words.no_runbook);
    };
    let frame = visit.frame(&desk, Section::Alerts);
    visit.page(&RunbookPage { frame, words, name, pieces })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::built_in_rules;

    #[test]
    fn every_rule_that_comes_with_the_broker_has_a_runbook_and_none_is_left_over() {
        let written = TEXT.lines().filter_map(|line| line.strip_prefix("## "));
        let mut written: Vec<&str> = written.collect();
        written.sort_unstable();
        let rules: Vec<&str> = built_in_rules().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(written, rules);
        for (name, rule) in built_in_rules() {
            assert!(!runbook(name.as_str()).unwrap().is_empty(), "{name}");
            assert_eq!(rule.annotations["runbook_url"], "/runbooks/{{ alertname }}", "{name}");
        }
    }

    #[test]
    fn a_runbook_is_words_lists_and_commands() {
        let pieces = runbook("NoConsumers").unwrap();
        assert!(pieces.contains(&Piece::Command("whimbrel clients list --group GROUP".to_owned())));
        assert!(pieces.iter().any(|piece| matches!(piece, Piece::List(list) if list.len() == 2)));
        assert_eq!(runbook("Nothing"), None);
    }
}
