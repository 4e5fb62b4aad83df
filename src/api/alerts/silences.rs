//! Silences.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;

use super::super::extract::{Answer, Call, json, list, read_json};
use super::super::json_out::Json;
use super::super::options::Api;
use super::super::topics::refused_setting;
use super::{missing, write_fields};
use crate::broker::Page;
use crate::model::alert::{Silence, SilenceId};

/// `GET /v1/alerts/silences`: the newest first.
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let limit = call.query.limit()?;
    let after = call.query.cursor::<SilenceId>("silences")?;
    call.query.finish()?;
    let (alerting, now) = (api.broker.alerting(), api.broker.now());
    let rows = alerting.silences().rev().filter(|(id, _)| after.is_none_or(|after| *id < after));
    let rows = Page::of(rows, limit, |(id, _)| id.to_string(), |row| row);
    Ok(list("silences", &rows, |out, (id, silence)| write_silence(out, *id, silence, silence.state(now))))
}

/// `GET /v1/alerts/silences/{id}`
pub(super) async fn show(State(api): State<Api>, call: Call) -> Answer {
    let id: SilenceId = call.path("id")?;
    call.query.finish()?;
    silence_json(&api, id, StatusCode::OK)
}

/// `POST /v1/alerts/silences`
pub(super) async fn make(State(api): State<Api>, call: Call, body: Body) -> Answer {
    call.query.finish()?;
    let silence: Silence = read_json(&api, body).await?;
    silence.check().map_err(refused_setting)?;
    let id = api.broker.make_silence(silence).await?;
    silence_json(&api, id, StatusCode::CREATED)
}

/// `DELETE /v1/alerts/silences/{id}`: ends it now.
pub(super) async fn end(State(api): State<Api>, call: Call) -> Answer {
    let id: SilenceId = call.path("id")?;
    call.query.finish()?;
    api.broker.end_silence(id).await?;
    silence_json(&api, id, StatusCode::OK)
}

fn silence_json(api: &Api, id: SilenceId, status: StatusCode) -> Answer {
    let (alerting, now) = (api.broker.alerting(), api.broker.now());
    let silence = alerting.silence(id).ok_or_else(|| missing("silence", id))?;
    let mut out = Json::with_capacity(512);
    write_silence(&mut out, id, silence, silence.state(now));
    Ok(json(status, out))
}

fn write_silence(out: &mut Json, id: SilenceId, silence: &Silence, state: &str) {
    out.open();
    out.key("id");
    out.plain(id);
    out.text_field("state", state);
    write_fields(out, silence);
    out.close();
}
