//! Deliveries: what was told to whom, how that went, and telling it again.

use axum::extract::State;
use axum::http::StatusCode;

use super::super::extract::{Answer, Call, json, list};
use super::super::json_out::Json;
use super::super::options::Api;
use super::missing;
use crate::broker::Page;
use crate::model::alert::{Notification, NotificationId};

/// `GET /v1/alerts/deliveries`: the newest first.
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let limit = call.query.limit()?;
    let after = call.query.cursor::<NotificationId>("deliveries")?;
    let receiver = call.query.text("receiver");
    call.query.finish()?;
    let alerting = api.broker.alerting();
    let behind = |id: NotificationId| after.is_none_or(|after| id < after);
    let wanted = |it: &Notification| receiver.as_ref().is_none_or(|receiver| it.receiver == *receiver);
    let fitting = alerting.notifications().rev().filter(|(id, it)| behind(*id) && wanted(it));
    let rows = Page::of(fitting, limit, |(id, _)| id.to_string(), |row| row);
    Ok(list("deliveries", &rows, |out, (id, it)| write(out, *id, it)))
}

/// `GET /v1/alerts/deliveries/{delivery}`
pub(super) async fn show(State(api): State<Api>, call: Call) -> Answer {
    let id: NotificationId = call.path("delivery")?;
    call.query.finish()?;
    delivery_json(&api, id, StatusCode::OK)
}

/// `POST /v1/alerts/deliveries/{delivery}/redeliver`
pub(super) async fn redeliver(State(api): State<Api>, call: Call) -> Answer {
    let id: NotificationId = call.path("delivery")?;
    call.query.finish()?;
    api.broker.redeliver(id).await?;
    delivery_json(&api, id, StatusCode::ACCEPTED)
}

fn delivery_json(api: &Api, id: NotificationId, status: StatusCode) -> Answer {
    let alerting = api.broker.alerting();
    let found = alerting.notification(id).ok_or_else(|| missing("delivery", id))?;
    let mut out = Json::with_capacity(1_024);
    write(&mut out, id, found);
    Ok(json(status, out))
}

fn write(out: &mut Json, id: NotificationId, notification: &Notification) {
    let Notification { receiver, group_key, group_labels, alerts, truncated, created_at, delivery } =
        notification;
    let time = |at: Option<crate::model::Timestamp>| at.map(|at| at.to_string());
    out.open();
    out.key("id");
    out.plain(id);
    out.text_field("receiver", receiver);
    out.text_field("state", delivery.state());
    out.key("created_at");
    out.plain(created_at);
    out.number_field("attempts", delivery.attempts.into());
    out.key("last_at");
    out.maybe_text(time(delivery.last_at).as_deref());
    out.key("next_at");
    out.maybe_text(time(delivery.next_at).as_deref());
    out.key("status");
    out.maybe_number(delivery.status.map(u64::from));
    out.text_field("excerpt", &delivery.excerpt);
    out.text_field("group_key", group_key);
    out.key("group_labels");
    out.value(group_labels);
    out.key("alerts");
    out.value(alerts);
    out.number_field("truncated", *truncated);
    out.close();
}
