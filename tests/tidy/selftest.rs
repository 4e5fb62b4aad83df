//! A check that cannot fail proves nothing: each one is fed text that it has to complain about, and the closest text
//! that it must let pass.

use crate::allow::Allowances;
use crate::borders::{foreign_crates, imports_upwards, impurities};
use crate::files::{Source, unreachable};
use crate::leftovers::{markers, wide_lines};
use crate::lexer::{code_only, without_tests};
use crate::links::dangling;
use crate::seeded::uncaught;
use crate::sizes::{FUNCTION_LINES, functions, too_long};

fn complaints(check: fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
    check(&Source::new(path, text)).len()
}

#[test]
fn code_is_told_from_comments_strings_and_characters() {
    let text =
        "a // b\n/* c /* d */ e */ f \"g \\\" h\" 'i' '\\'' r#\"j \" k\"# b\"l\" br\"m\" &'n str '{' o";
    let words: Vec<String> = code_only(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "f", "b", "&'n", "str", "o"]);
    assert_eq!(code_only(text).len(), text.len());
    assert_eq!(code_only("\"two\nlines\" x").lines().count(), 2);
    assert_eq!(code_only("'ü' y 'é").trim_start().chars().next(), Some('y'));
}

#[test]
fn tests_are_told_from_the_rest() {
    let code =
        "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { {} } }\nfn c() {}\n#[cfg(test)] use d::e;\nfn f() {}";
    let rest = without_tests(code);
    assert!(rest.contains("fn a") && rest.contains("fn c") && rest.contains("fn f"));
    assert!(!rest.contains("fn b") && !rest.contains("d::e"));
    assert_eq!(rest.lines().count(), code.lines().count());
}

#[test]
fn an_import_upwards_or_sideways_is_noticed() {
    for (path, text) in [
        ("src/model/id.rs", "use crate::machine::Facts;"),
        ("src/machine/tick.rs", "use crate::storage::Log;"),
        ("src/storage/log.rs", "fn f() { crate::machine::apply() }"),
        ("src/storage/log.rs", "use crate::{model::Position, machine::{Facts}};"),
        ("src/storage/log.rs", "use super::super::machine::Facts;"),
        ("src/storage/mod.rs", "use super::machine;"),
        ("src/replication/types.rs", "use crate::broker::Handle;"),
        ("src/api/produce.rs", "use crate::dashboard::StatusPage;"),
        ("src/broker/receive.rs", "#[cfg(test)] mod tests { use crate::api::wire; }"),
        ("src/helpers/mod.rs", ""),
    ] {
        assert_eq!(complaints(imports_upwards, path, text), 1, "{path}: {text}");
    }
    for (path, text) in [
        (
            "src/machine/tick.rs",
            "use crate::model::Position; use super::facts::Facts; use crate::machine::x;",
        ),
        ("src/broker/receive.rs", "use crate::{machine::Facts, model, replication::{machine, api}};"),
        ("src/storage/log.rs", "// use crate::machine::Facts;\nconst A: &str = \"crate::machine\";"),
        ("src/storage/index/blocks.rs", "use super::super::machine_word;"),
        ("src/node.rs", "use crate::cli; use crate::api;"),
        ("src/lib.rs", "pub mod machine;"),
    ] {
        assert_eq!(complaints(imports_upwards, path, text), 0, "{path}: {text}");
    }
}

#[test]
fn a_crate_outside_its_folder_is_noticed() {
    for (path, text) in [
        ("src/broker/x.rs", "use openraft::Raft;"),
        ("src/machine/x.rs", "fn f(db: ::sled::Db) {}"),
        ("src/broker/x.rs", "use axum::{Router};"),
        ("src/api/x.rs", "#[derive(askama::Template)] struct A;"),
        ("src/api/x.rs", "use prometheus as p;"),
        ("src/storage/x.rs", "use tokio::sync::mpsc;"),
        ("src/model/x.rs", "async fn f() { tokio::task::yield_now().await }"),
    ] {
        assert_eq!(complaints(foreign_crates, path, text), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("src/replication/x.rs", "use openraft::Raft;"),
        ("src/node.rs", "use axum::Router;"),
        ("src/storage/x.rs", "// sled and tokio\nuse sled::Db; let tokio = x.tokio;"),
        ("src/cli/http.rs", "#[cfg(test)] mod tests { use axum::Router; }"),
        ("src/cli/tests.rs", "use axum::Router;"),
    ] {
        assert_eq!(complaints(foreign_crates, path, text), 0, "{path}: {text}");
    }
}

#[test]
fn an_impure_machine_is_noticed() {
    for text in [
        "use std::time::SystemTime;",
        "fn f() -> std::time::Instant {}",
        "type A = imbl::HashMap<u8, u8>;",
        "fn f(ratio: f64) {}",
        "let half = x * 0.5;",
        "let nonce = rand::random();",
        "use std::fs;",
        "std::thread::spawn(f);",
    ] {
        assert_eq!(complaints(impurities, "src/machine/x.rs", text), 1, "{text}");
        assert_eq!(complaints(impurities, "src/broker/x.rs", text), 0, "{text}");
    }
    for text in [
        "let a = pair.0.1; let b = x1.0; for i in 0..5 {}",
        "use std::time::Duration; // not an Instant",
        "let net = 5; let fs = net; let thread = fs;",
        "#[cfg(test)] mod tests { use std::collections::HashMap; }",
    ] {
        assert_eq!(complaints(impurities, "src/machine/x.rs", text), 0, "{text}");
    }
}

fn function_of(lines: usize) -> String {
    format!("fn long(\n) {{\n{}}}\n", "    step();\n".repeat(lines - 3))
}

#[test]
fn a_long_function_or_file_is_noticed_and_its_allowance_only_shrinks() {
    let count = |text: &str, allow: &str| {
        too_long(&[Source::new("src/api/x.rs", text)], &Allowances::parse(allow).unwrap()).len()
    };
    let why = "a table that reads best in one piece";
    assert_eq!(functions(&function_of(71)), [("long".to_owned(), 71)]);
    assert_eq!(count(&function_of(FUNCTION_LINES), ""), 0);
    assert_eq!(count(&function_of(FUNCTION_LINES + 1), ""), 1);
    assert_eq!(count(&function_of(80), &format!("src/api/x.rs::long 80 {why}")), 0);
    assert_eq!(count(&function_of(81), &format!("src/api/x.rs::long 80 {why}")), 1);
    assert_eq!(count(&function_of(79), &format!("src/api/x.rs::long 80 {why}")), 0);
    assert_eq!(count(&function_of(70), &format!("src/api/x.rs::long 80 {why}")), 1);
    assert_eq!(count("", &format!("src/api/gone.rs 600 {why}")), 1);
    assert_eq!(count(&"\n".repeat(501), ""), 1);
    assert_eq!(count(&"\n".repeat(501), &format!("src/api/x.rs 501 {why}")), 0);
    assert!(Allowances::parse("src/api/x.rs 600").is_err(), "an allowance needs a reason");
    assert!(Allowances::parse("src/api/x.rs many good reasons").is_err());
}

#[test]
fn only_functions_with_a_body_are_measured() {
    let code = "trait A { fn declared(&self, x: [u8; 4]); }\ntype F = fn(u8) -> u8;\nfn real(f: fn(u8)) -> [u8; 2] { x }";
    assert_eq!(functions(code), [("real".to_owned(), 1)]);
}

#[test]
fn a_dead_file_is_noticed() {
    let library: Vec<Source> = [
        ("src/lib.rs", "pub mod api; // mod ghost;"),
        ("src/main.rs", "mod extra;"),
        ("src/extra.rs", ""),
        ("src/api/mod.rs", "mod wire; mod inline { }"),
        ("src/api/wire.rs", "#[cfg(test)] mod tests;"),
        ("src/api/wire/tests.rs", ""),
        ("src/api/ghost.rs", ""),
        ("src/api/inline.rs", ""),
    ]
    .map(|(path, text)| Source::new(path, text))
    .into();
    let lost = unreachable(&library);
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(lost[0].starts_with("src/api/ghost.rs") && lost[1].starts_with("src/api/inline.rs"));
}

#[test]
fn leftovers_and_wide_lines_are_noticed() {
    let marker = ["TO", "DO"].concat();
    assert_eq!(complaints(markers, "docs/a.md", &format!("fine\n{marker}: later")), 1);
    assert_eq!(complaints(markers, "docs/a.md", &format!("{marker}S are {}", marker.to_lowercase())), 0);
    assert_eq!(complaints(wide_lines, "src/a.rs", &"ü".repeat(120)), 0);
    assert_eq!(complaints(wide_lines, "src/a.rs", &"x".repeat(121)), 1);
}

#[test]
fn a_dangling_link_is_noticed() {
    let exists = |path: &str| ["docs/A.md", "README.md", "src/api/x.rs"].contains(&path);
    let count = |text: &str, allow: &str| {
        let document = Source::new("docs/B.md", text);
        dangling(&[&document], &exists, &Allowances::parse(allow).unwrap()).len()
    };
    assert_eq!(
        count("[a](A.md#part) [b](../README.md) [c](https://example.org) `src/api/x.rs` `src/*/x.rs`", ""),
        0
    );
    assert_eq!(count("[a](C.md)", ""), 1);
    assert_eq!(count("[a](docs/A.md)", ""), 1);
    assert_eq!(count("see `src/api/y.rs`", ""), 1);
    assert_eq!(count("see `src/api/y.rs`", "planned src/api/ the whole folder comes next"), 0);
}

#[test]
fn a_seeded_bug_without_a_test_is_noticed() {
    let text =
        "fn seeded_bug_1_is_caught() {}\n// fn seeded_bug_2_is_caught() {}\nfn seeded_bug_10_is_caught() {}";
    let sources = [Source::new("src/storage/log.rs", text)];
    assert_eq!(uncaught(&sources, &Allowances::default()).len(), 9);
    let not_run = [Source::new("tests/http.rs", text)];
    assert_eq!(uncaught(&not_run, &Allowances::default()).len(), 11);
    let planned = Allowances::parse("planned seeded_bug_ the rings come next").unwrap();
    assert!(uncaught(&sources, &planned).is_empty());
}
