//! `/alerts/deliveries`: what was told to whom, and how that went.

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
use crate::dashboard::format::{self, filters};
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::named::Named;
use crate::dashboard::visit::Visit;
use crate::dashboard::words::Alerts;
use crate::model::Timestamp;
use crate::model::alert::{Notification, NotificationId};

/// Deliveries of one page, and alerts of each that are named.
const ROWS: usize = 50;
const NAMED: usize = 3;

pub(super) fn routes() -> Router<Desk> {
    Router::new().route("/alerts/deliveries", get(list)).route("/alerts/deliveries/{id}/again", post(again))
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    frame: Frame,
    words: &'static Alerts,
    parts: Vec<Part>,
    rows: Vec<Row>,
    next: Option<String>,
}

/// A delivery, ready to be shown.
struct Row {
    id: NotificationId,
    receiver: String,
    state: &'static str,
    tells_of: String,
    made: Timestamp,
    attempts: u32,
    next_at: Option<Timestamp>,
    status: Option<u16>,
    excerpt: String,
}

impl Row {
    fn of(id: NotificationId, notification: &Notification, words: &Alerts) -> Row {
        let delivery = &notification.delivery;
        let named = notification.alerts.iter().take(NAMED).map(|alert| {
            let name = alert.labels.get("alertname").map_or("", String::as_str);
            let state = if alert.ends_at.is_some() { words.resolved } else { words.firing };
            format!("{name} ({state})")
        });
        let mut tells_of: Vec<String> = named.collect();
        let more = (notification.alerts.len().saturating_sub(NAMED)) as u64 + notification.truncated;
        if more > 0 {
            tells_of.push(format::with(words.and_more, &[&more]));
        }
        Row {
            id,
            receiver: notification.receiver.clone(),
            state: delivery.state(),
            tells_of: tells_of.join(", "),
            made: notification.created_at,
            attempts: delivery.attempts,
            next_at: delivery.next_at,
            status: delivery.status,
            excerpt: delivery.excerpt.clone(),
        }
    }
}

async fn list(State(desk): State<Desk>, visit: Visit) -> Response {
    let gather = |broker: &Broker, frame, visit: &Visit| {
        let words = Alerts::of(visit.lang);
        let alerting = broker.alerting();
        let after = visit.fields.parsed::<NotificationId>("cursor").ok().flatten();
        let behind = |id: NotificationId| after.is_none_or(|after| id < after);
        let found = alerting.notifications().rev().filter(|(id, _)| behind(*id));
        let Page { rows, next_cursor } =
            Page::of(found, ROWS, |(id, _)| id.to_string(), |(id, it)| Row::of(id, it, words));
        let next = next_cursor.map(|id| address("/alerts/deliveries", [("cursor", Some(id.as_str()))]));
        Ok(DeliveriesPage { frame, words, parts: parts(words, "/alerts/deliveries"), rows, next })
    };
    visit.show(&desk, Section::Alerts, gather).await
}

async fn again(State(desk): State<Desk>, Named(id): Named<NotificationId>, form: Form) -> Response {
    match desk.broker.redeliver(id).await {
        Ok(()) => form.visit.lead_on("/alerts/deliveries"),
        Err(error) => form.visit.failed(&desk, &error),
    }
}
