//! `/alerts`: those that fire or may soon, and the last that are over; each can be silenced where it stands.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::{Part, parts};
use crate::broker::{AlertValues, Broker};
use crate::dashboard::desk::Desk;
use crate::dashboard::fields::{FieldError, Fields, address};
use crate::dashboard::form::Form;
use crate::dashboard::format::filters;
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::settings::mark;
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
    Router::new().route("/alerts", get(show)).route("/alerts/silence", get(ask).post(silence))
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
}

#[derive(Template)]
#[template(path = "silence.html")]
struct SilencePage {
    frame: Frame,
    words: &'static Alerts,
    parts: Vec<Part>,
    /// What the silence is about: the label, its name in the form, its value.
    about: Vec<(&'static str, &'static str, String)>,
    /// Minutes that can be chosen, and how they are called.
    lengths: [(&'static str, &'static str); 3],
    /// What was filled in.
    choice: String,
    minutes: String,
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
    /// The same alert is the same row, wherever it stands.
    id: String,
    /// Where it can be silenced, and what it is called there.
    silence_at: String,
    told: String,
}

/// What all rows are made from.
struct Look {
    alerting: Alerting,
    values: AlertValues,
    now: Timestamp,
}

/// What an alert is about, by the names that a form gives it.
fn about(key: &AlertKey) -> [(&'static str, Option<&str>); 4] {
    [
        ("rule", Some(key.rule.as_str())),
        ("topic", key.topic.as_deref()),
        ("group", key.group.as_deref()),
        ("receiver", key.receiver.as_deref()),
    ]
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
        id: mark(&about(key)),
        silence_at: address("/alerts/silence", about(key)),
        told: about(key).into_iter().filter_map(|(_, value)| value).collect::<Vec<_>>().join(" · "),
    }
}

async fn show(State(desk): State<Desk>, visit: Visit) -> Response {
    let gather = |broker: &Broker, frame, visit: &Visit| {
        let words = Alerts::of(visit.lang);
        let look = Look { alerting: broker.alerting(), values: broker.alert_values(), now: broker.now() };
        let alerts = look.alerting.alerts_by_urgency();
        Ok(AlertsPage {
            frame,
            words,
            parts: parts(words, "/alerts"),
            more: alerts.len().saturating_sub(ROWS),
            rows: alerts.into_iter().take(ROWS).map(|(key, alert)| row(&look, words, (key, alert))).collect(),
            no_receivers: look.alerting.receivers().next().is_none(),
        })
    };
    visit.show(&desk, Section::Alerts, gather).await
}

/// The form that silences the alert that the address, or the form that could not be done, names.
async fn ask(State(desk): State<Desk>, visit: Visit) -> Response {
    let gather = |_: &Broker, frame: Frame, visit: &Visit| {
        let words = Alerts::of(visit.lang);
        let common = visit.common();
        let kept = |name| visit.fields.kept(name).to_owned();
        let named = [
            (words.rule, "rule"),
            (common.topic, "topic"),
            (common.group, "group"),
            (words.receiver, "receiver"),
        ];
        let about = named
            .into_iter()
            .filter_map(|(label, name)| Some((label, name, visit.fields.one(name)?.to_owned())));
        Ok(SilencePage {
            frame,
            words,
            parts: parts(words, "/alerts"),
            about: about.collect(),
            lengths: [("60", words.one_hour), ("240", words.four_hours), ("1440", words.one_day)],
            choice: kept("choice"),
            minutes: kept("minutes"),
            created_by: kept("created_by"),
            comment: kept("comment"),
        })
    };
    visit.show(&desk, Section::Alerts, gather).await
}

/// The silence that a form asks for: of the alert that it stands beside.
fn asked(fields: &Fields, now: Timestamp) -> Result<Silence, FormError> {
    let is =
        |name: &str, value: &str| Matcher { name: name.to_owned(), value: value.to_owned(), is_equal: true };
    let rule = fields.one("rule").ok_or_else(|| FieldError::missing("rule"))?;
    let mut matchers = vec![is("alertname", rule)];
    for name in ["topic", "group", "receiver"] {
        matchers.extend(fields.one(name).map(|value| is(name, value)));
    }
    let chosen = fields.parsed::<u64>("minutes")?.or(fields.parsed::<u64>("choice")?);
    let minutes = chosen.ok_or_else(|| FieldError::missing("minutes"))?;
    let silence = Silence {
        matchers,
        starts_at: now,
        ends_at: now.plus(minutes.saturating_mul(MINUTE_MS)),
        created_by: fields.kept("created_by").trim().to_owned(),
        comment: fields.kept("comment").trim().to_owned(),
    };
    silence.check()?;
    Ok(silence)
}

async fn silence(State(desk): State<Desk>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let made = match asked(&fields, desk.broker.now()) {
        Ok(silence) => desk.broker.make_silence(silence).await.map_err(FormError::from),
        Err(error) => Err(error),
    };
    match made {
        Ok(_) => visit.lead_on("/alerts/silences"),
        Err(error) => ask(State(desk), visit.again("/alerts/silence", fields, &error)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_alert_is_silenced_names_that_alert_and_no_other() {
        let key = AlertKey { rule: "Lag".to_owned(), group: Some("a".to_owned()), ..AlertKey::default() };
        assert_eq!(address("/alerts/silence", about(&key)), "/alerts/silence?rule=Lag&group=a");
        let topic = AlertKey { topic: key.group.clone(), group: None, ..key.clone() };
        assert_ne!(mark(&about(&key)), mark(&about(&topic)));
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
