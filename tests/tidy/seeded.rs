//! The tester is tested: every seeded bug has the test that catches it (docs/TESTING.md).

use crate::allow::Allowances;
use crate::files::Source;

/// How many bugs are seeded.
const BUGS: usize = 11;

/// Where `make test` looks for them: the library and this one, built again with the bugs compiled in.
const BESIDE_THE_LIBRARY: &str = "tests/model.rs";

/// Seeded bugs without a test of the agreed name in a place that is run with them.
pub(crate) fn uncaught(texts: &[Source], allowances: &Allowances) -> Vec<String> {
    let names = (1..=BUGS).map(|bug| format!("seeded_bug_{bug}_is_caught"));
    let is_run = |text: &&Source| text.path.starts_with("src/") || text.path == BESIDE_THE_LIBRARY;
    let has =
        |name: &String| texts.iter().filter(is_run).any(|text| text.code.contains(&format!("fn {name}(")));
    names
        .filter(|name| !has(name) && !allowances.is_planned(name))
        .map(|name| format!("no test is named {name}"))
        .collect()
}
