//! Alerts as they stand.

use std::cmp::Reverse;

use axum::extract::State;

use super::super::extract::{Answer, Call, list};
use super::super::json_out::Json;
use super::super::options::Api;
use super::super::problem::Problem;
use super::page;
use crate::model::alert::{Alert, AlertKey, AlertPhase, Severity, SilenceId};

/// `GET /v1/alerts`: those that fire first, then by rule.
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
    let now = api.broker.log_time();
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let mut alerts: Vec<(&AlertKey, &Alert)> = alerting
        .alerts()
        .map(|(key, alert)| (key, &**alert))
        .filter(|(key, alert)| {
            is(&state, alert.phase.as_str()) && is(&severity, alert.severity.as_str()) && is(&rule, &key.rule)
        })
        .collect();
    alerts.sort_by_key(|(_, alert)| (rank(alert.phase), Reverse(alert.severity)));
    let rows = alerts.into_iter().enumerate().skip(after);
    let rows = page(rows, limit, |(at, _)| (at + 1).to_string());
    Ok(list("alerts", &rows, |out, (_, (key, alert))| {
        let silenced = alerting.silences().find(|(_, silence)| silence.quiets(&alert.labels, now));
        write_alert(out, (key, alert), silenced.map(|(id, _)| id));
    }))
}

fn rank(phase: AlertPhase) -> u8 {
    match phase {
        AlertPhase::Firing { .. } => 0,
        AlertPhase::Pending { .. } => 1,
        AlertPhase::Resolved { .. } => 2,
    }
}

fn write_alert(out: &mut Json, (key, alert): (&AlertKey, &Alert), silenced: Option<SilenceId>) {
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
    out.value(&alert.value);
    out.key("silenced_by");
    out.maybe_text(silenced.map(|id| id.to_string()).as_deref());
    out.key("labels");
    out.value(&alert.labels);
    out.key("annotations");
    out.value(&alert.annotations);
    out.close();
}
