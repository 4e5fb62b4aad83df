//! `/alerts`: what fires, who keeps quiet, by which rules, who is told, and how that went.

mod deliveries;
mod receivers;
mod rule_form;
mod rules;
mod silences;
mod standing;

use axum::Router;

use super::desk::Desk;

pub(super) fn routes() -> Router<Desk> {
    standing::routes()
        .merge(silences::routes())
        .merge(rules::routes())
        .merge(receivers::routes())
        .merge(deliveries::routes())
}

/// A part of these pages: where it is, and whether it is the one that is shown.
struct Part {
    path: &'static str,
    name: &'static str,
    current: bool,
}

/// The parts, for the line above each page.
fn parts(words: &'static super::words::Alerts, current: &'static str) -> Vec<Part> {
    let all = [
        ("/alerts", words.standing),
        ("/alerts/silences", words.silences),
        ("/alerts/rules", words.rules),
        ("/alerts/receivers", words.receivers),
        ("/alerts/deliveries", words.deliveries),
    ];
    all.into_iter().map(|(path, name)| Part { path, name, current: path == current }).collect()
}
