//! Alertmanager's webhook body, version 4, field for field in its order, so that whatever takes that takes ours
//! (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>).

use serde::Serialize;

use crate::model::alert::Labels;

use super::{Notice, NoticeAlert, fingerprint, json};

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
    generator_url: &'a str,
    fingerprint: String,
}

pub(super) fn body(notice: &Notice) -> Vec<u8> {
    json(&Body {
        receiver: &notice.receiver,
        status: notice.status(),
        alerts: notice.alerts.iter().map(alert).collect(),
        group_labels: &notice.group_labels,
        common_labels: notice.common(|alert| &alert.labels),
        common_annotations: notice.common(|alert| &alert.annotations),
        external_url: &notice.external_url,
        version: "4",
        group_key: &notice.group_key,
        truncated_alerts: notice.truncated,
    })
}

fn alert(alert: &NoticeAlert) -> Alert<'_> {
    Alert {
        status: if alert.is_firing() { "firing" } else { "resolved" },
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.starts_at.to_string(),
        ends_at: alert.ends_at.map_or_else(|| NO_END.to_owned(), |at| at.to_string()),
        generator_url: &alert.generator_url,
        fingerprint: fingerprint(&alert.labels),
    }
}
