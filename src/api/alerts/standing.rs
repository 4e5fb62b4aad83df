//! Alerts as they stand.

use axum::extract::State;

use super::super::extract::{Answer, Call, list};
use super::super::json_out::Json;
use super::super::options::Api;
use super::super::problem::Problem;
use crate::broker::Page;
use crate::model::alert::{Alert, AlertKey, AlertPhase, Quantity, Severity, SilenceId};

/// `GET /v1/alerts`: those that fire first, the worst first.
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let limit = call.query.limit()?;
    let after = call.query.cursor::<usize>("alerts")?.unwrap_or(0);
    let state = call.query.text("state");
    let severity = call.query.text("severity");
    let rule = call.query.text("rule");
    call.query.finish()?;
    if let Some(state) = state.as_deref()
        && !["pending", "firing", "resolved"].contains(&state)
    {
        return Err(Problem::parameter("state", "must be pending, firing or resolved"));
    }
    let known = [Severity::Info, Severity::Warning, Severity::Critical].map(Severity::as_str);
    if severity.as_deref().is_some_and(|severity| !known.contains(&severity)) {
        return Err(Problem::parameter("severity", "must be info, warning or critical"));
    }
    let alerting = api.broker.alerting();
    let now = api.broker.now();
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let alerts = alerting.alerts_by_urgency().into_iter().filter(|(key, alert)| {
        is(&state, alert.phase.as_str()) && is(&severity, alert.severity.as_str()) && is(&rule, &key.rule)
    });
    // What changes between two pages may be seen twice or not at all: a cursor is a place in the list.
    let rows = alerts.enumerate().skip(after);
    let rows = Page::of(rows, limit, |(at, _)| (at + 1).to_string(), |(_, row)| row);
    let values = api.broker.alert_values();
    Ok(list("alerts", &rows, |out, (key, alert)| {
        let silenced = alerting.silenced_by(&alert.labels, now);
        write_alert(out, (key, alert), (values.of(key, alert), silenced));
    }))
}

fn write_alert(
    out: &mut Json,
    (key, alert): (&AlertKey, &Alert),
    (value, silenced): (Option<Quantity>, Option<SilenceId>),
) {
    out.open();
    out.text_field("rule", &key.rule);
    out.text_field("state", alert.phase.as_str());
    out.text_field("severity", alert.severity.as_str());
    out.key("topic");
    out.maybe_text(key.topic.as_deref());
    out.key("group");
    out.maybe_text(key.group.as_deref());
    out.key("receiver");
    out.maybe_text(key.receiver.as_deref());
    let (since, ended) = match alert.phase {
        AlertPhase::Pending { since } | AlertPhase::Firing { since } => (since, None),
        AlertPhase::Resolved { since, ended } => (since, Some(ended)),
    };
    out.key("since");
    out.plain(since);
    out.key("ended_at");
    out.maybe_text(ended.map(|at| at.to_string()).as_deref());
    out.key("value");
    out.value(&value);
    out.key("silenced_by");
    out.maybe_text(silenced.map(|id| id.to_string()).as_deref());
    out.key("labels");
    out.value(&alert.labels);
    out.key("annotations");
    out.value(&alert.annotations);
    out.close();
}
