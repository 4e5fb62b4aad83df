//! What there is to check, and whether all of it belongs to the program.

use std::collections::BTreeSet;
use std::path::Path;

use crate::lexer;

/// One text file of the project.
pub(crate) struct Source {
    /// Path from the top of the project, with `/`.
    pub(crate) path: String,
    /// As written.
    pub(crate) text: String,
    /// Without comments and strings.
    pub(crate) code: String,
    /// Without what only tests see; empty when the whole file is a test.
    pub(crate) plain_code: String,
}

impl Source {
    /// A source as it would be read from `path`.
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let rust = path.ends_with(".rs");
        let code = if rust { lexer::code_only(text) } else { String::new() };
        let test_only = path.ends_with("/tests.rs") || path.contains("/tests/");
        let plain_code = if test_only { String::new() } else { lexer::without_tests(&code) };
        Source { path: path.to_owned(), text: text.to_owned(), code, plain_code }
    }

    /// The folder or file directly below `src/` that the source belongs to: `machine`, `node`.
    pub(crate) fn part(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
    }

    /// A complaint that names the place at `offset`.
    pub(crate) fn complain(&self, offset: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, lexer::line_of(&self.text, offset))
    }
}

/// Everything the checks look at.
pub(crate) struct Sources {
    /// The files below `src/`.
    pub(crate) library: Vec<Source>,
    /// Every text that people wrote, `src/` included.
    pub(crate) texts: Vec<Source>,
}

impl Sources {
    /// Reads them, sorted by path.
    pub(crate) fn read(root: &Path) -> Sources {
        const FOLDERS: [&str; 9] =
            ["src", "tests", "benches", "examples", "docs", "deploy", "templates", "static", ".ci"];
        const FILES: [&str; 7] = [
            "Cargo.toml",
            "Makefile",
            "Dockerfile",
            "README.md",
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "openapi.yaml",
        ];
        let mut paths = Vec::new();
        for folder in FOLDERS {
            collect(root, folder, &mut paths);
        }
        paths.extend(FILES.iter().filter(|file| root.join(file).exists()).map(|file| (*file).to_owned()));
        paths.sort();
        let read = |path: &String| {
            let text = std::fs::read(root.join(path)).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
            Some(Source::new(path, &text))
        };
        let library = paths.iter().filter(|path| path.starts_with("src/") && path.ends_with(".rs"));
        Sources {
            library: library.filter_map(read).collect(),
            texts: paths.iter().filter_map(read).collect(),
        }
    }
}

fn collect(root: &Path, folder: &str, paths: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return };
    for entry in entries {
        let entry = entry.expect("readable folder");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("UTF-8 name"));
        if entry.file_type().expect("known type").is_dir() {
            collect(root, &path, paths);
        } else {
            paths.push(path);
        }
    }
}

/// Files below `src/` that no `mod` leads to.
pub(crate) fn unreachable(library: &[Source]) -> Vec<String> {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut ahead: Vec<String> = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    while let Some(path) = ahead.pop() {
        let Some(source) = library.iter().find(|source| source.path == path) else { continue };
        if reached.insert(path) {
            ahead.extend(modules_of(source));
        }
    }
    let lost = library.iter().filter(|source| !reached.contains(&source.path));
    lost.map(|source| format!("{}: no `mod` leads to this file", source.path)).collect()
}

/// The files that `source` may name by its `mod name;` lines: both places where Rust looks.
fn modules_of(source: &Source) -> Vec<String> {
    let (folder, stem) = source.path.rsplit_once('/').expect("below src");
    let home = match stem {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        other => format!("{folder}/{}", other.trim_end_matches(".rs")),
    };
    let words: Vec<(usize, &str)> = lexer::words(&source.code).collect();
    let mut files = Vec::new();
    for pair in words.windows(2) {
        let ((_, keyword), (at, name)) = (pair[0], pair[1]);
        if keyword == "mod" && source.code[at + name.len()..].trim_start().starts_with(';') {
            files.push(format!("{home}/{name}.rs"));
            files.push(format!("{home}/{name}/mod.rs"));
        }
    }
    files
}
