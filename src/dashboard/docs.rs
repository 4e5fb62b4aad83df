//! `/docs`: the whole interface on one page, made from `openapi.yaml`, and `/problems/{code}` as a page.

use std::sync::LazyLock;

use askama::Template;
use axum::response::Response;

use super::contract::Contract;
use super::format::filters;
use super::frame::Frame;
use super::page::{self, RenderError};

/// The contract, word for word as it is served.
const TEXT: &str = include_str!("../../openapi.yaml");

static CONTRACT: LazyLock<Result<Contract, String>> =
    LazyLock::new(|| Contract::read(TEXT).map_err(|error| error.to_string()));

/// A kind of problem, as its page shows it.
#[derive(Clone, Copy, Debug)]
pub struct ProblemPage {
    /// Its stable name.
    pub name: &'static str,
    /// Its HTTP status.
    pub status: u16,
    /// What happened, in a sentence without its full stop.
    pub title: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl ProblemPage {
    /// The answer that carries the page.
    #[must_use]
    pub fn respond(&self) -> Response {
        page::guard(page::respond(page::render(&ProblemTemplate { frame: Frame::plain(), problem: self })))
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemTemplate<'a> {
    frame: Frame,
    problem: &'a ProblemPage,
}

/// The answer that carries the page of the whole interface, with every kind of problem at its end.
#[must_use]
pub fn docs_page(problems: &[ProblemPage]) -> Response {
    page::guard(page::respond(docs(problems)))
}

fn docs(problems: &[ProblemPage]) -> Result<String, RenderError> {
    let contract = CONTRACT.as_ref().map_err(|error| RenderError::Contract(error.clone()))?;
    page::render(&DocsTemplate { frame: Frame::plain(), contract, problems })
}

#[derive(Template)]
#[template(path = "docs.html")]
struct DocsTemplate<'a> {
    frame: Frame,
    contract: &'a Contract,
    problems: &'a [ProblemPage],
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: ProblemPage = ProblemPage {
        name: "stale",
        status: 412,
        title: "It is <not>",
        meaning: "Somebody changed it.",
        remedy: "GET it again.",
        retryable: false,
    };

    #[test]
    fn the_page_shows_every_operation_and_every_shape_and_its_links_lead_somewhere() {
        let html = docs(&[STALE]).unwrap();
        let contract = CONTRACT.as_ref().unwrap();
        let operations = contract.sections.iter().flat_map(|section| &section.operations);
        let mut anchors: Vec<String> = operations.map(|operation| operation.id.clone()).collect();
        assert!(anchors.len() > 30, "{anchors:?}");
        anchors.extend(contract.shapes.iter().map(|shape| format!("shape-{}", shape.name)));
        for anchor in &anchors {
            assert_eq!(html.matches(&format!(" id=\"{anchor}\"")).count(), 1, "{anchor}");
        }
        for link in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(html.contains(&format!(" id=\"{link}\"")), "#{link} leads nowhere");
        }
        for forbidden in ["<style", " style=", "onclick", "<not>"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        let ours = html.matches("<script src=\"/static/").count();
        assert_eq!(html.matches("<script").count(), ours, "every script is a file of ours");
        assert!(html.contains("href=\"/problems/stale\""));
    }

    #[test]
    fn a_problem_page_says_what_it_means_and_what_to_do() {
        let html = page::render(&ProblemTemplate { frame: Frame::plain(), problem: &STALE }).unwrap();
        for text in ["stale", "412", STALE.meaning, STALE.remedy, "does not help", "It is &#60;not&#62;"] {
            assert!(html.contains(text), "{text}");
        }
    }
}
