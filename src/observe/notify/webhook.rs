//! Alertmanager's webhook body, version 4, field for field in its order, so that whatever takes that takes ours
//! (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>).

use serde::Serialize;

use crate::model::alert::{Labels, NotifiedAlert};

use super::{Notice, fingerprint, json, rule_url};

/// What Alertmanager writes for the end of an alert that has none.
const NO_END: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<Alert<'a>>,
    group_labels: &'a Labels,
    common_labels: Labels,
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

pub(super) fn body(notice: &Notice<'_>) -> Vec<u8> {
    json(&Body {
        receiver: &notice.notification.receiver,
        status: notice.status(),
        alerts: notice.notification.alerts.iter().map(|one| alert(one, notice.external_url)).collect(),
        group_labels: &notice.notification.group_labels,
        common_labels: notice.common(|alert| &alert.labels),
        common_annotations: notice.common(|alert| &alert.annotations),
        external_url: notice.external_url,
        version: "4",
        group_key: &notice.notification.group_key,
        truncated_alerts: notice.notification.truncated,
    })
}

fn alert<'a>(alert: &'a NotifiedAlert, external_url: &str) -> Alert<'a> {
    Alert {
        status: if alert.is_firing() { "firing" } else { "resolved" },
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.starts_at.to_string(),
        ends_at: alert.ends_at.map_or_else(|| NO_END.to_owned(), |at| at.to_string()),
        generator_url: rule_url(external_url, alert),
        fingerprint: fingerprint(&alert.labels),
    }
}
