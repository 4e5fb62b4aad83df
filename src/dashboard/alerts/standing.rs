//! `/alerts`: those that fire or may soon, and the last that are over; each can be silenced where it stands.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};

use super::{Part, parts};
use crate::broker::{AlertValues, Broker};
use crate::dashboard::desk::Desk;
use crate::dashboard::fields::Fields;
use crate::dashboard::form::Form;
use crate::dashboard::format::filters;
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::visit::{FormError, Visit};
use crate::dashboard::words::Alerts;
use crate::machine::Alerting;
use crate::model::alert::{Alert, AlertKey, AlertPhase, Matcher, Silence};
use crate::model::{Millis, Timestamp};
use crate::observe::rules::{from_quantity, shown};

/// Most alerts that are shown.
const ROWS: usize = 200;
const MINUTE_MS: Millis = 60_000;

pub(super) fn routes() -> Router<Desk> {
    Router::new().route("/alerts", get(show)).route("/alerts/silence", post(silence))
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    frame: Frame,
    words: &'static Alerts,
    parts: Vec<Part>,
    rows: Vec<Row>,
    more: usize,
    no_receivers: bool,
    /// What was filled in for a silence that could not be made.
    created_by: String,
    comment: String,
}

/// An alert, ready to be shown.
struct Row {
    rule: String,
    topic: Option<String>,
    group: Option<String>,
    receiver: Option<String>,
    state: &'static str,
    /// `good`, `wait` or `alarm`.
    tone: &'static str,
    severity: &'static str,
    value: String,
    since: Timestamp,
    summary: String,
    runbook: Option<String>,
    is_silenced: bool,
    is_over: bool,
    /// Whether a silence was asked for it that could not be made: its form is shown again.
    is_asked: bool,
}

/// What all rows are made from.
struct Look {
    alerting: Alerting,
    values: AlertValues,
    now: Timestamp,
    /// The form that could not be done, if there is one.
    sent: Option<Fields>,
}

/// Whether a form is about this alert.
fn is_about(fields: &Fields, key: &AlertKey) -> bool {
    fields.one("rule") == Some(key.rule.as_str())
        && [("topic", &key.topic), ("group", &key.group), ("receiver", &key.receiver)]
            .into_iter()
            .all(|(name, value)| fields.one(name) == value.as_deref())
}

fn row(look: &Look, words: &'static Alerts, (key, alert): (&AlertKey, &Alert)) -> Row {
    let alerting = &look.alerting;
    let (state, tone, since) = match alert.phase {
        AlertPhase::Pending { since } => (words.pending, "wait", since),
        AlertPhase::Firing { since } => (words.firing, "alarm", since),
        AlertPhase::Resolved { ended, .. } => (words.resolved, "good", ended),
    };
    let metric =
        key.rule.parse().ok().and_then(|name| alerting.rule(&name)).map(|placed| placed.value.metric);
    let value = look.values.of(key, alert).map(from_quantity);
    let annotation = |name: &str| alert.annotations.get(name).cloned();
    Row {
        rule: key.rule.clone(),
        topic: key.topic.clone(),
        group: key.group.clone(),
        receiver: key.receiver.clone(),
        state,
        tone,
        severity: alert.severity.as_str(),
        value: metric.zip(value).map_or_else(|| "–".to_owned(), |(metric, value)| shown(metric, value)),
        since,
        summary: annotation("summary").unwrap_or_default(),
        // Only what leads to a page: a text of a stranger must not become a script.
        runbook: annotation("runbook_url").filter(|url| url.starts_with('/') || url.starts_with("https://")),
        is_silenced: alerting.silenced_by(&alert.labels, look.now).is_some(),
        is_over: matches!(alert.phase, AlertPhase::Resolved { .. }),
        is_asked: look.sent.as_ref().is_some_and(|fields| is_about(fields, key)),
    }
}

async fn show(State(desk): State<Desk>, visit: Visit) -> Response {
    let gather = |broker: &Broker, frame, visit: &Visit| {
        let words = Alerts::of(visit.lang);
        let sent = visit.trouble.is_some().then(|| visit.fields.clone());
        let look =
            Look { alerting: broker.alerting(), values: broker.alert_values(), now: broker.now(), sent };
        let alerts = look.alerting.alerts_by_urgency();
        Ok(AlertsPage {
            frame,
            words,
            parts: parts(words, "/alerts"),
            more: alerts.len().saturating_sub(ROWS),
            rows: alerts.into_iter().take(ROWS).map(|(key, alert)| row(&look, words, (key, alert))).collect(),
            no_receivers: look.alerting.receivers().next().is_none(),
            created_by: visit.fields.kept("created_by").to_owned(),
            comment: visit.fields.kept("comment").to_owned(),
        })
    };
    visit.show(&desk, Section::Alerts, gather).await
}

/// The silence that a form asks for: of the alert that it stands beside.
fn asked(fields: &Fields, now: Timestamp) -> Result<Silence, FormError> {
    let is =
        |name: &str, value: &str| Matcher { name: name.to_owned(), value: value.to_owned(), is_equal: true };
    let rule = fields.one("rule").ok_or_else(|| FormError::new("rule: is missing"))?;
    let mut matchers = vec![is("alertname", rule)];
    for name in ["topic", "group", "receiver"] {
        matchers.extend(fields.one(name).map(|value| is(name, value)));
    }
    let chosen = fields.parsed::<u64>("minutes")?.or(fields.parsed::<u64>("choice")?);
    let minutes = chosen.ok_or_else(|| FormError::new("minutes: is missing"))?;
    let silence = Silence {
        matchers,
        starts_at: now,
        ends_at: now.plus(minutes.saturating_mul(MINUTE_MS)),
        created_by: fields.kept("created_by").trim().to_owned(),
        comment: fields.kept("comment").trim().to_owned(),
    };
    silence.check().map_err(|error| FormError::new(error.to_string()))?;
    Ok(silence)
}

async fn silence(State(desk): State<Desk>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let made = match asked(&fields, desk.broker.now()) {
        Ok(silence) => desk.broker.make_silence(silence).await.map_err(FormError::from),
        Err(error) => Err(error),
    };
    match made {
        Ok(_) => visit.lead_on("/alerts/silences", "done"),
        Err(error) => show(State(desk), visit.again("/alerts", fields, &error)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_failed_is_shown_again_beside_its_own_alert() {
        let key = |group: Option<&str>| AlertKey {
            rule: "Lag".to_owned(),
            group: group.map(str::to_owned),
            ..AlertKey::default()
        };
        let sent = Fields::parse("rule=Lag&group=a&choice=60").unwrap();
        assert!(is_about(&sent, &key(Some("a"))));
        assert!(!is_about(&sent, &key(Some("b"))) && !is_about(&sent, &key(None)));
    }

    #[test]
    fn a_silence_is_of_that_alert_for_that_long() {
        let read = |text: &str| asked(&Fields::parse(text).unwrap(), Timestamp(1_000));
        let silence = read("rule=Lag&group=a&choice=60&created_by=ann&comment=deploy").unwrap();
        let names: Vec<&str> = silence.matchers.iter().map(|matcher| matcher.name.as_str()).collect();
        assert_eq!((names, silence.ends_at), (vec!["alertname", "group"], Timestamp(1_000 + 3_600_000)));
        assert_eq!(read("rule=Lag&choice=60&minutes=5&created_by=a&comment=b").unwrap().ends_at.0, 301_000);
        for bad in [
            "choice=60&created_by=a&comment=b",
            "rule=Lag&choice=60&created_by=a",
            "rule=Lag&created_by=a&comment=b",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
