//! The tester is tested: every seeded bug has the test that catches it (docs/TESTING.md).

use crate::allow::Allowances;
use crate::files::Source;

/// How many bugs are seeded.
const BUGS: usize = 11;

/// Seeded bugs without a test of the agreed name.
pub(crate) fn uncaught(texts: &[Source], allowances: &Allowances) -> Vec<String> {
    let names = (1..=BUGS).map(|bug| format!("seeded_bug_{bug}_is_caught"));
    let has = |name: &String| texts.iter().any(|text| text.code.contains(&format!("fn {name}(")));
    names
        .filter(|name| !has(name) && !allowances.is_planned(name))
        .map(|name| format!("no test is named {name}"))
        .collect()
}
