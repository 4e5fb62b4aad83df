//! What must not be left behind.

use crate::files::Source;
use crate::lexer;

/// Columns a line of source may have.
pub(crate) const COLUMNS: usize = 120;

/// Words that mean "not finished". Put together here, so that this file does not hold them.
const MARKERS: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// Markers anywhere in the text, comments included.
pub(crate) fn markers(source: &Source) -> Vec<String> {
    let found = lexer::words(&source.text).filter(|(_, word)| MARKERS.contains(word));
    found.map(|(at, word)| source.complain(at, &format!("'{word}' is left over"))).collect()
}

/// Lines that do not fit a page, unless what makes them wide cannot be broken: a row of a table in a comment, or a text
/// in quotes.
pub(crate) fn wide_lines(source: &Source) -> Vec<String> {
    let wide = source.text.lines().enumerate().filter(|(_, line)| {
        let row = ["//! |", "/// |", "// |", "r#\""].iter().any(|start| line.trim_start().starts_with(start));
        let unquoted: usize = line.split('"').step_by(2).map(|text| text.chars().count()).sum();
        !row && line.chars().count() > COLUMNS && (!line.contains('"') || unquoted > COLUMNS * 2 / 3)
    });
    wide.map(|(at, line)| {
        format!("{}:{}: {} columns, at most {COLUMNS}", source.path, at + 1, line.chars().count())
    })
    .collect()
}
