//! Another Alertmanager: `POST /api/v2/alerts`, as Prometheus does it.
//!
//! It groups, silences and repeats by itself. What it must be told again and again is that an alert still fires: it
//! takes one for resolved when it has not heard of it until `endsAt`.

use serde::Serialize;

use crate::model::alert::{Labels, NotifiedAlert};
use crate::model::{Millis, Timestamp};

use super::{Outgoing, json, rule_url};

/// How often alerts that fire are told again, as Prometheus does.
pub const REFRESH_EVERY_MS: Millis = 60_000;

/// How long an alert that fires is good for: four times the time after which it is told again, so that one or two lost
/// tellings do not resolve it.
const GOOD_FOR_MS: Millis = 4 * REFRESH_EVERY_MS;

const PATH: &str = "/api/v2/alerts";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
}

/// Where alerts are posted to: the address of an Alertmanager, with or without the path.
pub(super) fn endpoint(url: &str) -> String {
    let base = url.trim_end_matches('/');
    if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") }
}

pub(super) fn body(alerts: &[NotifiedAlert], external_url: &str, now: Timestamp) -> Vec<u8> {
    let post = |alert| post(alert, external_url, now);
    json(&alerts.iter().map(post).collect::<Vec<Alert<'_>>>())
}

fn post<'a>(alert: &'a NotifiedAlert, external_url: &str, now: Timestamp) -> Alert<'a> {
    Alert {
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.starts_at.to_string(),
        ends_at: alert.ends_at.unwrap_or_else(|| now.plus(GOOD_FOR_MS)).to_string(),
        generator_url: rule_url(external_url, alert),
    }
}

/// Tells an Alertmanager at `url` that `alerts` still fire.
#[must_use]
pub fn refresh(url: &str, alerts: &[NotifiedAlert], external_url: &str, now: Timestamp) -> Outgoing {
    Outgoing { url: endpoint(url), headers: Vec::new(), body: body(alerts, external_url, now) }
}
