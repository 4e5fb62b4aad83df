//! `/alerts/silences`: the newest first, also those that are over.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};

use super::{Part, parts};
use crate::broker::{Broker, Page};
use crate::dashboard::desk::Desk;
use crate::dashboard::fields::address;
use crate::dashboard::form::Form;
use crate::dashboard::format::filters;
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::named::Named;
use crate::dashboard::visit::Visit;
use crate::dashboard::words::Alerts;
use crate::model::Timestamp;
use crate::model::alert::{Matcher, Silence, SilenceId};

/// Silences of one page.
const ROWS: usize = 50;

pub(super) fn routes() -> Router<Desk> {
    Router::new().route("/alerts/silences", get(list)).route("/alerts/silences/{id}/end", post(end))
}

#[derive(Template)]
#[template(path = "silences.html")]
struct SilencesPage {
    frame: Frame,
    words: &'static Alerts,
    parts: Vec<Part>,
    rows: Vec<Row>,
    next: Option<String>,
}

/// A silence, ready to be shown.
struct Row {
    id: SilenceId,
    matchers: String,
    state: &'static str,
    is_over: bool,
    from: Timestamp,
    until: Timestamp,
    made_by: String,
    comment: String,
}

fn shown(matchers: &[Matcher]) -> String {
    let text = |it: &Matcher| format!("{} {} {}", it.name, if it.is_equal { "=" } else { "≠" }, it.value);
    matchers.iter().map(text).collect::<Vec<_>>().join(", ")
}

async fn list(State(desk): State<Desk>, visit: Visit) -> Response {
    let gather = |broker: &Broker, frame, visit: &Visit| {
        let words = Alerts::of(visit.lang);
        let (alerting, now) = (broker.alerting(), broker.now());
        let after = visit.fields.parsed::<SilenceId>("cursor").ok().flatten();
        let behind = |id: SilenceId| after.is_none_or(|after| id < after);
        let found = alerting.silences().rev().filter(|(id, _)| behind(*id));
        let row = |(id, silence): (SilenceId, &Arc<Silence>)| Row {
            id,
            matchers: shown(&silence.matchers),
            state: silence.state(now),
            is_over: silence.ends_at <= now,
            from: silence.starts_at,
            until: silence.ends_at,
            made_by: silence.created_by.clone(),
            comment: silence.comment.clone(),
        };
        let Page { rows, next_cursor } = Page::of(found, ROWS, |(id, _)| id.to_string(), row);
        let next = next_cursor.map(|id| address("/alerts/silences", [("cursor", Some(id.as_str()))]));
        Ok(SilencesPage { frame, words, parts: parts(words, "/alerts/silences"), rows, next })
    };
    visit.show(&desk, Section::Alerts, gather).await
}

async fn end(State(desk): State<Desk>, Named(id): Named<SilenceId>, form: Form) -> Response {
    match desk.broker.end_silence(id).await {
        Ok(()) => form.visit.lead_on("/alerts/silences"),
        Err(error) => form.visit.failed(&desk, &error),
    }
}
