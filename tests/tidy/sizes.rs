//! How long a file and a function may be.

use crate::allow::Allowances;
use crate::files::Source;
use crate::lexer;

/// Lines a file may have without a reason.
pub(crate) const FILE_LINES: usize = 500;
/// Lines a function may have without a reason, signature and braces included.
pub(crate) const FUNCTION_LINES: usize = 70;

/// Files and functions that are longer than they may be, and allowances that nothing needs (any more).
pub(crate) fn too_long(library: &[Source], allowances: &Allowances) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut used = Vec::new();
    let mut judge = |subject: String, lines: usize, limit: usize, what: &str| {
        let allowed = allowances.size(&subject);
        let line = format!("{subject} {lines} <reason>");
        match allowed {
            None if lines > limit => complaints.push(format!(
                "{subject}: {what} of {lines} lines, more than {limit}. Split it, or write into tests/tidy.allow: {line}"
            )),
            Some(allowed) if lines > allowed => complaints.push(format!(
                "{subject}: {what} of {lines} lines, its allowance is {allowed} and does not grow; split it"
            )),
            Some(_) if lines <= limit => complaints.push(format!(
                "{subject}: {what} of {lines} lines needs no allowance any more; take it out of tests/tidy.allow"
            )),
            _ => {}
        }
        if allowed.is_some() {
            used.push(subject);
        }
    };
    for source in library {
        judge(source.path.clone(), source.text.lines().count(), FILE_LINES, "a file");
        for (name, lines) in functions(&source.plain_code) {
            judge(format!("{}::{name}", source.path), lines, FUNCTION_LINES, "a function");
        }
    }
    for subject in allowances.sized() {
        if !used.iter().any(|known| known == subject) {
            complaints.push(format!("tests/tidy.allow: '{subject}' does not exist (any more)"));
        }
    }
    complaints
}

/// Every function of `code` that has a body, with its number of lines. Of functions with the same name the longest.
pub(crate) fn functions(code: &str) -> Vec<(String, usize)> {
    let words: Vec<(usize, &str)> = lexer::words(code).collect();
    let mut found: Vec<(String, usize)> = Vec::new();
    for pair in words.windows(2) {
        let ((at, keyword), (name_at, name)) = (pair[0], pair[1]);
        // `fn(u8) -> u8` is a type: no name follows the keyword directly.
        if keyword != "fn" || !code[at + 2..name_at].trim().is_empty() {
            continue;
        }
        let Some(open) = body_of(code.as_bytes(), name_at) else { continue };
        let lines = code[at..lexer::matching(code.as_bytes(), open)].lines().count();
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, longest)) => *longest = (*longest).max(lines),
            None => found.push((name.to_owned(), lines)),
        }
    }
    found
}

/// The brace that opens the body of the function whose name is at `at`; none for a declaration.
fn body_of(bytes: &[u8], mut at: usize) -> Option<usize> {
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' => at = lexer::matching(bytes, at),
            b'{' => return Some(at),
            b';' => return None,
            _ => at += 1,
        }
    }
    None
}
