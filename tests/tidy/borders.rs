//! Which folder may know what.

use crate::files::Source;
use crate::lexer;

/// The layers from the bottom up. A folder imports only from rows below its own; the top row assembles and may import
/// anything.
const LAYERS: [&[&str]; 6] = [
    &["model"],
    &["machine", "storage", "observe"],
    &["replication"],
    &["broker"],
    &["api", "dashboard"],
    &["node", "config", "logging", "cli", "main"],
];

/// Crates that one place only may name, so that they can be exchanged there.
const HOMES: [(&str, &[&str]); 5] = [
    ("openraft", &["src/replication/"]),
    ("sled", &["src/storage/"]),
    ("askama", &["src/dashboard/"]),
    ("prometheus", &["src/observe/"]),
    ("axum", &["src/api/", "src/dashboard/", "src/replication/peer.rs", "src/node.rs"]),
];

/// Folders that never wait for anything but the disk.
const SYNCHRONOUS: [&str; 4] = ["model", "machine", "storage", "observe"];

/// What would make two nodes that apply the same facts differ, or an apply that cannot be repeated.
const IMPURE: [(&str, &str); 14] = [
    ("f32", "a float"),
    ("f64", "a float"),
    ("HashMap", "an order that differs from run to run"),
    ("HashSet", "an order that differs from run to run"),
    ("RandomState", "an order that differs from run to run"),
    ("SystemTime", "a clock"),
    ("Instant", "a clock"),
    ("jiff", "a clock"),
    ("rand", "chance"),
    ("getrandom", "chance"),
    ("thread_rng", "chance"),
    ("fs", "the disk"),
    ("thread", "a thread"),
    ("net", "the network"),
];

/// Imports of `source` that do not go down.
pub(crate) fn imports_upwards(source: &Source) -> Vec<String> {
    let own = source.part();
    let Some(own_layer) = layer_of(own) else {
        let known = own == "lib";
        let complaint = format!("{}: '{own}' is in no layer; add it to tests/tidy/borders.rs", source.path);
        return if known { Vec::new() } else { vec![complaint] };
    };
    if own_layer == LAYERS.len() - 1 {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (at, part) in parts_named(source) {
        if part != own && layer_of(part).is_some_and(|layer| layer >= own_layer) {
            let what = format!("{own}/ imports {part}, which is not below it");
            complaints.push(source.complain(at, &what));
        }
    }
    complaints
}

/// Crates named outside the folders they belong to. Tests may use any.
pub(crate) fn foreign_crates(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, word) in lexer::words(&source.plain_code) {
        if !names_a_crate(&source.plain_code, at, word) {
            continue;
        }
        if let Some((name, homes)) = HOMES.iter().find(|(name, _)| *name == word)
            && !homes.iter().any(|home| source.path.starts_with(home))
        {
            complaints.push(source.complain(at, &format!("{name} is named only in {}", homes.join(", "))));
        }
        if word == "tokio" && SYNCHRONOUS.contains(&source.part()) {
            complaints.push(source.complain(at, &format!("{}/ is synchronous: no tokio", source.part())));
        }
    }
    complaints
}

/// Clocks, floats, chance and hash order in the machine. Tests may use them.
pub(crate) fn impurities(source: &Source) -> Vec<String> {
    if source.part() != "machine" {
        return Vec::new();
    }
    let code = &source.plain_code;
    let mut complaints = Vec::new();
    for (at, word) in lexer::words(code) {
        let Some((_, what)) = IMPURE.iter().find(|(name, _)| *name == word) else { continue };
        // `fs`, `thread` and their like are ordinary words unless they are a path.
        let is_type = word.starts_with(|first: char| first.is_ascii_uppercase()) || word.starts_with("f3");
        if is_type || word == "f64" || in_a_path(code, at, word) {
            complaints.push(source.complain(at, &format!("the machine is pure, '{word}' is {what}")));
        }
    }
    for at in float_literals(code) {
        complaints.push(source.complain(at, "the machine is pure, this is a float"));
    }
    complaints
}

fn layer_of(part: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&part))
}

/// The parts of the crate that `source` names: `crate::part`, `crate::{part, …}`, or `super::` up to the crate.
fn parts_named(source: &Source) -> Vec<(usize, &str)> {
    let code = source.code.as_str();
    let depth = module_depth(&source.path);
    let mut found = Vec::new();
    let mut supers = 0;
    for (at, word) in lexer::words(code) {
        supers = match word {
            "super" if supers > 0 && code[..at].ends_with("::") => supers + 1,
            "super" => 1,
            _ => 0,
        };
        if (word == "crate" || (supers > 0 && supers >= depth)) && code[at + word.len()..].starts_with("::") {
            found.extend(heads(code, at + word.len() + 2));
        }
    }
    found
}

/// How many modules lie between the crate and the file's own: `src/node.rs` 1, `src/api/mod.rs` 1, `src/api/x.rs` 2.
fn module_depth(path: &str) -> usize {
    let folders = path.matches('/').count();
    if path.ends_with("/mod.rs") { folders - 1 } else { folders }
}

/// The first names of the path or of the group of paths at `at`.
fn heads(code: &str, at: usize) -> Vec<(usize, &str)> {
    let word_at = |at: usize| lexer::words(&code[at..]).next().map(|(skip, word)| (at + skip, word));
    if !code[at..].starts_with('{') {
        return word_at(at).into_iter().collect();
    }
    let end = lexer::matching(code.as_bytes(), at);
    let mut depth = 0;
    let mut found = Vec::new();
    for (offset, byte) in code.bytes().enumerate().take(end).skip(at) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        let begins = (byte == b'{' && depth == 1 && offset == at) || (byte == b',' && depth == 1);
        if begins
            && let Some((start, word)) = word_at(offset + 1)
            && start < end
        {
            found.push((start, word));
        }
    }
    found
}

/// Whether the word stands where a crate is named: first in a path, or alone in a `use`.
fn names_a_crate(code: &str, at: usize, word: &str) -> bool {
    let before = code[..at].trim_end();
    let leading = before.ends_with("::")
        && !lexer::is_word(before.as_bytes().iter().rev().nth(2).copied().unwrap_or(0));
    let first = leading || !(before.ends_with("::") || before.ends_with('.'));
    first
        && (code[at + word.len()..].starts_with("::") || before.ends_with("use") || before.ends_with("crate"))
}

fn in_a_path(code: &str, at: usize, word: &str) -> bool {
    code[..at].ends_with("std::") || names_a_crate(code, at, word)
}

fn float_literals(code: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut found = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        if *byte != b'.' || at == 0 || !digit(at - 1) || !digit(at + 1) {
            continue;
        }
        // `pair.0.1` is a field of a field, `x1.0` a field.
        let start = (0..at).rev().find(|back| !lexer::is_word(bytes[*back])).map_or(0, |back| back + 1);
        if bytes[start].is_ascii_digit() && (start == 0 || bytes[start - 1] != b'.') {
            found.push(start);
        }
    }
    found
}
