//! How fast SQL filters are: `cargo test --release --test filter_speed -- --ignored --nocapture`.
//! Prints figures; asserts only that the work was done, for a timed assertion is not a test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

use std::hint::black_box;

use whimbrel::model::{Attributes, Sql};

const ROUNDS: usize = 20_000;
const MESSAGES: usize = 100;

/// Nanoseconds that this thread was on a processor (Linux, proc(5)): other work on the machine does not count.
fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("needs Linux");
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Orders as a shop may send them: six properties each, no two alike.
fn messages() -> Vec<Attributes> {
    let one = |at: usize| {
        let properties = [
            ("region", ["eu-west", "eu-north", "us-east"][at % 3].to_owned()),
            ("amount", format!("{}.{:02}", at * 7 % 900, at % 100)),
            ("priority", (at % 10).to_string()),
            ("customer", format!("customer-{at}")),
            ("channel", ["web", "app"][at % 2].to_owned()),
            ("trace", format!("{at:032x}")),
        ];
        let properties = properties.map(|(name, value)| (name.into(), value.into()));
        Attributes { tag: Some("created".into()), properties: properties.into(), ..Attributes::default() }
    };
    (0..MESSAGES).map(one).collect()
}

fn evaluations_per_second(text: &str) -> (u64, usize) {
    let sql = Sql::parse(text).unwrap();
    let messages = messages();
    let began = processor_ns();
    let mut matched = 0;
    for _ in 0..ROUNDS {
        for attributes in &messages {
            matched += usize::from(black_box(&sql).matches(black_box(attributes)));
        }
    }
    let took = processor_ns() - began;
    ((ROUNDS * MESSAGES) as u64 * 1_000_000_000 / took.max(1), matched / ROUNDS)
}

#[test]
#[ignore = "prints figures; run it with --release"]
fn evaluations_a_second() {
    for (name, text) in [
        ("one comparison", "priority > 5"),
        (
            "five terms, all looked at",
            "(region = 'xx' OR amount < 0 OR priority > 99) OR customer LIKE 'x%' OR channel IN ('fax', 'mail')",
        ),
        (
            "five terms, as one would write them",
            "region STARTSWITH 'eu' AND amount BETWEEN 100 AND 500.50 AND priority >= 3 \
             AND customer NOT LIKE '%-1_' AND channel IN ('web', 'app')",
        ),
    ] {
        let (rate, matched) = evaluations_per_second(text);
        println!("{name}: {rate} evaluations/s, {matched} of {MESSAGES} match");
    }
}
