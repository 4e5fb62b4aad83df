//! `/`: how the broker is, in words and numbers, with where to click.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::chart::{self, Charts};
use super::desk::Desk;
use super::format::{self, filters};
use super::frame::{Frame, Section};
use super::gather::About;
use super::visit::Visit;
use super::words::{Objects, Overview};
use crate::broker::{Broker, BrokerError, GroupBehind};
use crate::model::GroupName;
use crate::model::alert::AlertPhase;
use crate::observe::history::{Measure, Subject, Window};

/// Groups that are named.
const WORST: usize = 5;

/// What the tiles show: the measure, its text, and the measure that stands below it in small.
type Tile = (Measure, fn(&Overview) -> &'static str, Option<(Measure, fn(&Overview) -> &'static str)>);

const TILES: [Tile; 9] = [
    (
        Measure::ProducedMessages,
        |words| words.in_rate,
        Some((Measure::ProducedBytes, |words| words.bytes_rate)),
    ),
    (
        Measure::DeliveredMessages,
        |words| words.out_rate,
        Some((Measure::DeliveredBytes, |words| words.bytes_rate)),
    ),
    (
        Measure::AckedMessages,
        |words| words.acked_rate,
        Some((Measure::FailedDeliveries, |words| words.failed_rate)),
    ),
    (Measure::LagMessages, |words| words.lag, Some((Measure::LagSeconds, |words| words.oldest))),
    (
        Measure::RetriedMessages,
        |words| words.retry_rate,
        Some((Measure::InFlightMessages, |words| words.in_flight)),
    ),
    (
        Measure::DeadLetters,
        |words| words.dead,
        Some((Measure::DeadLetteredMessages, |words| words.dead_rate)),
    ),
    (Measure::ProduceP50, |words| words.produce, Some((Measure::ProduceP99, |words| words.p99))),
    (Measure::EndToEndP50, |words| words.end_to_end, Some((Measure::EndToEndP99, |words| words.p99))),
    (Measure::FsyncP50, |words| words.fsync, Some((Measure::FsyncP99, |words| words.p99))),
];

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    words: &'static Overview,
    chart_words: &'static Objects,
    address: String,
    health: Vec<Health>,
    tiles: Vec<TileShown>,
    uptime_ms: Option<u64>,
    log_bytes: Option<u64>,
    free_bytes: Option<u64>,
    charts: Charts,
    /// Those furthest behind; none when nothing is known of any.
    worst: Option<Vec<Worst>>,
    firing: Vec<(String, String)>,
    is_empty: bool,
}

/// How something is, in words.
struct Health {
    /// `good`, `wait` or `alarm`.
    tone: &'static str,
    text: String,
    /// Where to look, and what that is called.
    link: Option<(&'static str, &'static str)>,
}

struct TileShown {
    label: &'static str,
    value: String,
    /// What stands below it in small.
    about: String,
    /// Whether it deserves a look.
    is_bad: bool,
    /// Where more is to be seen.
    path: Option<&'static str>,
}

/// A group that is behind.
struct Worst {
    name: GroupName,
    lag: String,
    oldest: String,
}

/// `GET /`
pub(super) async fn show(State(desk): State<Desk>, visit: Visit) -> Response {
    let about = desk.about.clone();
    let gather = move |broker: &Broker, frame, visit: &Visit| gather(broker, &about, frame, visit);
    visit.show(&desk, Section::Overview, gather).await
}

fn gather(broker: &Broker, about: &About, frame: Frame, visit: &Visit) -> Result<OverviewPage, BrokerError> {
    let words = Overview::of(visit.lang);
    let node = broker.node();
    let past = broker.history(&Subject::Node, Measure::ALL, Window::TenMinutes)?;
    let value = |measure: Measure| {
        let newest = chart::newest(&past.curves, measure);
        (newest, chart::shown(newest, measure.as_str()))
    };
    let tile = |(measure, label, below): &Tile| {
        let (newest, shown) = value(*measure);
        let about = below.map(|(measure, text)| format::with(text(words), &[&value(measure).1]));
        TileShown {
            label: label(words),
            value: shown,
            about: about.unwrap_or_default(),
            is_bad: *measure == Measure::DeadLetters && newest.is_some_and(|dead| dead > 0.0),
            path: match measure {
                Measure::LagMessages => Some("/groups"),
                Measure::DeadLetters => Some("/dead-letters"),
                Measure::ProducedMessages => Some("/topics"),
                _ => None,
            },
        }
    };
    let charts = [
        (Measure::ProducedMessages, words.chart_in),
        (Measure::AckedMessages, words.chart_acked),
        (Measure::LagMessages, words.chart_lag),
        (Measure::LagSeconds, words.chart_oldest),
    ];
    let firing = firing(broker);
    Ok(OverviewPage {
        health: health(broker, words, (firing.len(), value(Measure::DeadLetters))),
        words,
        chart_words: Objects::of(visit.lang),
        address: about.address().to_owned(),
        tiles: TILES.iter().map(tile).collect(),
        uptime_ms: about.uptime_ms(),
        // A log is never empty: it holds at least how it began.
        log_bytes: Some(node.log_bytes).filter(|bytes| *bytes > 0),
        free_bytes: Some(node.free_bytes),
        charts: Charts::gather(broker, visit, &Subject::Node, &charts)?,
        worst: worst(broker),
        firing: firing.into_iter().take(WORST).collect(),
        is_empty: broker.topic_names(1).is_empty(),
        frame,
    })
}

/// Rule and summary of every alert that fires, the worst first.
fn firing(broker: &Broker) -> Vec<(String, String)> {
    let alerting = broker.alerting();
    let firing = alerting.alerts_by_urgency().into_iter().filter(|(_, alert)| alert.is_firing());
    let summary = |alert: &crate::model::alert::Alert| alert.annotations.get("summary").cloned();
    firing.map(|(key, alert)| (key.rule.clone(), summary(alert).unwrap_or_default())).collect()
}

fn health(
    broker: &Broker,
    words: &'static Overview,
    (firing, (dead, dead_shown)): (usize, (Option<f32>, String)),
) -> Vec<Health> {
    let readiness = broker.readiness();
    let mut health = Vec::new();
    for (name, _, found) in readiness.checks.iter().filter(|(_, passed, _)| !passed) {
        let text = format!("{}: {name}: {found}", words.check_failed);
        health.push(Health { tone: "alarm", text, link: Some(("/config", words.checks)) });
    }
    if firing > 0 {
        let text = format::with(words.fires, &[&firing]);
        health.push(Health { tone: "alarm", text, link: Some(("/alerts", words.to_alerts)) });
    }
    let alerting = broker.alerting();
    let pending = alerting.alerts().filter(|(_, alert)| matches!(alert.phase, AlertPhase::Pending { .. }));
    let pending = pending.count();
    if pending > 0 {
        let text = format::with(words.pends, &[&pending]);
        health.push(Health { tone: "wait", text, link: Some(("/alerts", words.to_alerts)) });
    }
    if dead.is_some_and(|dead| dead > 0.0) {
        let text = format::with(words.has_dead, &[&dead_shown]);
        health.push(Health { tone: "wait", text, link: Some(("/dead-letters", words.to_dead)) });
    }
    if health.is_empty() {
        health.push(Health { tone: "good", text: words.all_well.to_owned(), link: None });
    }
    health
}

/// The groups that are furthest behind; none when there are groups and nothing is known of them yet.
fn worst(broker: &Broker) -> Option<Vec<Worst>> {
    let shown = |value: Option<f32>, measure: Measure| chart::shown(value, measure.as_str());
    let row = |group: GroupBehind| Worst {
        lag: shown(Some(group.lag as f32), Measure::LagMessages),
        oldest: shown(group.lag_ms.map(|ms| Duration::from_millis(ms).as_secs_f32()), Measure::LagSeconds),
        name: group.name,
    };
    Some(broker.furthest_behind(WORST)?.into_iter().map(row).collect())
}
