//! The shape of the source, held by tests: which folder may know which, how long things may be, what must not be left
//! behind. CONTRIBUTING.md explains the rules, `tests/tidy.allow` holds the exceptions and their reasons.
//!
//! The checks read text, not the compiler's view. They are simple on purpose: each is a function from sources to
//! complaints, and `selftest.rs` feeds each of them text that it has to complain about.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod allow;
mod borders;
mod files;
mod leftovers;
mod lexer;
mod links;
mod seeded;
mod selftest;
mod sizes;

use std::path::Path;

use allow::Allowances;
use files::{Source, Sources};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn allowances() -> Allowances {
    let text = std::fs::read_to_string(root().join("tests/tidy.allow")).unwrap();
    Allowances::parse(&text).unwrap_or_else(|complaint| panic!("{complaint}"))
}

#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}\n", complaints.len(), complaints.join("\n"));
}

#[test]
fn imports_go_down_only() {
    let sources = Sources::read(root());
    assert!(sources.library.len() > 15, "only {} files found", sources.library.len());
    assert_none(&sources.library.iter().flat_map(borders::imports_upwards).collect::<Vec<_>>());
}

#[test]
fn foreign_crates_stay_in_their_folder() {
    let sources = Sources::read(root());
    assert_none(&sources.library.iter().flat_map(borders::foreign_crates).collect::<Vec<_>>());
}

#[test]
fn the_machine_knows_no_clock_float_chance_or_hash_order() {
    let sources = Sources::read(root());
    assert_none(&sources.library.iter().flat_map(borders::impurities).collect::<Vec<_>>());
}

#[test]
fn functions_and_files_stay_short() {
    let sources = Sources::read(root());
    assert_none(&sizes::too_long(&sources.library, &allowances()));
}

#[test]
fn every_source_file_is_part_of_the_program() {
    let sources = Sources::read(root());
    assert_none(&files::unreachable(&sources.library));
}

#[test]
fn nothing_is_left_over() {
    let sources = Sources::read(root());
    assert_none(&sources.texts.iter().flat_map(leftovers::markers).collect::<Vec<_>>());
}

#[test]
fn lines_fit_the_page() {
    let sources = Sources::read(root());
    assert_none(&sources.library.iter().flat_map(leftovers::wide_lines).collect::<Vec<_>>());
}

#[test]
fn documents_point_at_files_that_exist() {
    let sources = Sources::read(root());
    let documents: Vec<&Source> = sources.texts.iter().filter(|text| text.path.ends_with(".md")).collect();
    assert!(documents.len() > 5, "only {} documents found", documents.len());
    let exists = |path: &str| root().join(path).exists();
    assert_none(&links::dangling(&documents, &exists, &allowances()));
}

#[test]
fn every_seeded_bug_has_its_test() {
    let sources = Sources::read(root());
    assert_none(&seeded::uncaught(&sources.texts, &allowances()));
}
