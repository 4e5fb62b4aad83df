//! The exceptions: `tests/tidy.allow`.

use std::collections::BTreeMap;

/// What the file allows, read.
#[derive(Debug, Default)]
pub(crate) struct Allowances {
    sizes: BTreeMap<String, usize>,
    planned: Vec<String>,
}

impl Allowances {
    /// Reads lines of `<path> <lines> <reason>`, `<path>::<function> <lines> <reason>` or `planned <path> <reason>`;
    /// `#` begins a comment. An exception without a reason is none.
    pub(crate) fn parse(text: &str) -> Result<Allowances, String> {
        let mut allowances = Allowances::default();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let refuse = |what: &str| Err(format!("tests/tidy.allow:{}: {what}: {line}", at + 1));
            let mut fields = line.splitn(3, char::is_whitespace);
            let (Some(first), Some(second), Some(reason)) = (fields.next(), fields.next(), fields.next())
            else {
                return refuse("expected a subject, a number and a reason");
            };
            if reason.trim().len() < 10 {
                return refuse("the reason is missing");
            }
            if first == "planned" {
                allowances.planned.push(second.to_owned());
                continue;
            }
            let Ok(lines) = second.parse() else {
                return refuse("the second word must be a number of lines");
            };
            if allowances.sizes.insert(first.to_owned(), lines).is_some() {
                return refuse("named twice");
            }
        }
        Ok(allowances)
    }

    /// How many lines `subject` may have, when it has an entry.
    pub(crate) fn size(&self, subject: &str) -> Option<usize> {
        self.sizes.get(subject).copied()
    }

    /// Every subject that has a size.
    pub(crate) fn sized(&self) -> impl Iterator<Item = &String> {
        self.sizes.keys()
    }

    /// Whether documents may already name `path` although it does not exist.
    pub(crate) fn is_planned(&self, path: &str) -> bool {
        self.planned.iter().any(|planned| path.starts_with(planned.as_str()))
    }
}
