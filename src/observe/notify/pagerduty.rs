//! PagerDuty's Events API v2 (<https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>).
//!
//! One incident for each group of alerts: its `dedup_key` is made of the group's key, so it is the same when the group
//! grows, repeats and ends. With another key a resolve would never find its incident.

use serde_json::{Map, Value, json as value};
use sha2::{Digest, Sha256};

use crate::model::alert::NotifiedAlert;

use super::text::{cut, title};
use super::{Notice, json};

/// PagerDuty's limit, in characters.
const SUMMARY_MAX: usize = 1_024;

/// The whole event may have 512 KB, so only this many alerts are written out.
const DETAILS_MAX: usize = 20;

/// `secret` is the routing key (the integration key of the service).
pub(super) fn body(notice: &Notice<'_>, secret: &str) -> Vec<u8> {
    let digest = Sha256::digest(notice.notification.group_key.as_bytes());
    let dedup_key: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut event = value!({
        "routing_key": secret,
        "event_action": if notice.is_firing() { "trigger" } else { "resolve" },
        "dedup_key": dedup_key,
        "client": "Whimbrel",
        "payload": {
            "summary": cut(&title(notice), SUMMARY_MAX),
            "severity": severity(notice),
            "source": source(notice),
            "timestamp": first_start(notice),
            "component": notice.notification.group_labels.get("topic"),
            "group": notice.notification.group_labels.get("group"),
            "class": notice.notification.group_labels.get("alertname"),
            "custom_details": details(notice),
        },
        "links": links(notice),
    });
    if let Some(payload) = event.get_mut("payload").and_then(Value::as_object_mut) {
        payload.retain(|_, value| !value.is_null());
    }
    if !notice.external_url.is_empty()
        && let Some(event) = event.as_object_mut()
    {
        event.insert("client_url".to_owned(), format!("{}/alerts", notice.external_url).into());
    }
    json(&event)
}

/// The worst severity that fires, in PagerDuty's words; those of a rule that it does not know are errors.
fn severity(notice: &Notice<'_>) -> &'static str {
    let rank = |alert: &NotifiedAlert| match alert.label("severity") {
        "critical" => 3,
        "warning" => 1,
        "info" => 0,
        _ => 2,
    };
    let firing = notice.notification.alerts.iter().filter(|alert| alert.is_firing() || !notice.is_firing());
    match firing.map(rank).max() {
        Some(3) => "critical",
        Some(1) => "warning",
        Some(0) => "info",
        _ => "error",
    }
}

/// What is affected: what the alerts have in common, else the broker.
fn source(notice: &Notice<'_>) -> String {
    let common = notice.common(|alert| &alert.labels);
    let named = ["cluster", "topic", "group", "node"].iter().filter_map(|name| common.get(*name));
    let source: Vec<&str> = named.map(String::as_str).collect();
    if source.is_empty() { "whimbrel".to_owned() } else { source.join("/") }
}

fn first_start(notice: &Notice<'_>) -> Option<String> {
    notice.notification.alerts.iter().map(|alert| alert.starts_at).min().map(|at| at.to_string())
}

fn details(notice: &Notice<'_>) -> Value {
    let alert = |alert: &NotifiedAlert| {
        value!({
            "status": if alert.is_firing() { "firing" } else { "resolved" },
            "labels": alert.labels,
            "annotations": alert.annotations,
            "starts_at": alert.starts_at.to_string(),
        })
    };
    let mut details = Map::new();
    let alerts: Vec<Value> = notice.notification.alerts.iter().take(DETAILS_MAX).map(alert).collect();
    let left = notice.notification.alerts.len().saturating_sub(DETAILS_MAX);
    details.insert("alerts".to_owned(), alerts.into());
    details
        .insert("more_alerts".to_owned(), value!(notice.notification.truncated.saturating_add(left as u64)));
    Value::Object(details)
}

/// The runbooks of its alerts, each once.
fn links(notice: &Notice<'_>) -> Vec<Value> {
    let mut urls: Vec<&str> =
        notice.notification.alerts.iter().map(|alert| alert.annotation("runbook_url")).collect();
    urls.retain(|url| url.starts_with("https://") || url.starts_with("http://"));
    urls.sort_unstable();
    urls.dedup();
    urls.into_iter().map(|url| value!({"href": url, "text": "Runbook"})).collect()
}
