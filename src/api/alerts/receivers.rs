//! Receivers. What may be a secret is never answered.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;

use super::super::condition;
use super::super::extract::{Answer, Call, json, list, read_json};
use super::super::json_out::Json;
use super::super::options::Api;
use super::super::topics::{put_status, refused_setting};
use super::missing;
use crate::broker::Page;
use crate::machine::Placed;
use crate::model::AlertName;
use crate::model::alert::{Origin, Receiver};

/// `GET /v1/alerts/receivers`
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let limit = call.query.limit()?;
    let after = call.query.cursor::<AlertName>("receivers")?;
    call.query.finish()?;
    let alerting = api.broker.alerting();
    let rows = alerting.receivers().filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
    let rows = Page::of(rows, limit, |(name, _)| name.to_string(), |row| row);
    Ok(list("receivers", &rows, |out, (name, placed)| write_receiver(out, name, placed)))
}

/// `GET /v1/alerts/receivers/{receiver}`
pub(super) async fn show(State(api): State<Api>, call: Call) -> Answer {
    let name: AlertName = call.path("receiver")?;
    call.query.finish()?;
    receiver_json(&api, &name, StatusCode::OK)
}

/// `PUT /v1/alerts/receivers/{receiver}`
pub(super) async fn put(State(api): State<Api>, call: Call, headers: HeaderMap, body: Body) -> Answer {
    let name: AlertName = call.path("receiver")?;
    call.query.finish()?;
    let expected = condition::expected(&headers)?;
    let receiver: Receiver = read_json(&api, body).await?;
    // Only judged with the secret that it keeps: which one that is, is decided when it is stored.
    api.broker.alerting().with_kept_secret(&name, &receiver).check().map_err(refused_setting)?;
    let done = api.broker.put_receiver(name.clone(), receiver, Origin::Api, expected).await?;
    receiver_json(&api, &name, put_status(done))
}

/// `DELETE /v1/alerts/receivers/{receiver}`
pub(super) async fn delete(State(api): State<Api>, call: Call, headers: HeaderMap) -> Answer {
    let name: AlertName = call.path("receiver")?;
    call.query.finish()?;
    api.broker.delete_receiver(name, Origin::Api, condition::expected(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn receiver_json(api: &Api, name: &AlertName, status: StatusCode) -> Answer {
    let alerting = api.broker.alerting();
    let placed = alerting.receiver(name).ok_or_else(|| missing("receiver", name))?;
    let mut out = Json::with_capacity(256);
    write_receiver(&mut out, name, placed);
    let mut response = json(status, out);
    condition::tag(&mut response, placed.version());
    Ok(response)
}

fn write_receiver(out: &mut Json, name: &AlertName, placed: &Placed<Receiver>) {
    let receiver = &placed.value;
    out.open();
    out.key("name");
    out.plain(name);
    out.key("origin");
    out.value(&placed.origin);
    out.text_field("kind", receiver.kind.as_str());
    out.text_field("url", &receiver.shown_url());
    out.key("secret_set");
    out.truth(receiver.secret.is_some());
    out.key("send_resolved");
    out.truth(receiver.send_resolved);
    out.close();
}
