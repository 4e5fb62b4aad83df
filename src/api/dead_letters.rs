//! Dead letters: list, look at one, throw away. `redrive.rs` sends them back, `export.rs` hands them all out.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Answer, Call, json, list, read_json};
use super::groups::Nothing;
use super::json_out::Json;
use super::message_out::{BodyEncoding, write_stored};
use super::options::Api;
use super::problem::Problem;
use crate::broker::{BrokerError, DeadLetterView};
use crate::machine::Refusal;
use crate::model::{GroupName, MessageId};

/// `GET /v1/groups/{group}/dead-letters`
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let group: GroupName = call.path("group")?;
    let limit = call.query.limit()?;
    let cursor = call.query.cursor::<MessageId>("dead_letters")?;
    call.query.finish()?;
    let page = api.broker.dead_letters(&group, cursor, limit)?;
    Ok(list("dead_letters", &page, |out, view| {
        out.open();
        write_dead_letter(out, view);
        out.close();
    }))
}

/// `GET /v1/groups/{group}/dead-letters/{id}`
pub(super) async fn show(State(api): State<Api>, mut call: Call) -> Answer {
    let group: GroupName = call.path("group")?;
    let id: MessageId = call.path("id")?;
    let encoding = call.query.parse_as::<BodyEncoding>("encoding")?.unwrap_or_default();
    call.query.finish()?;
    let looked = api.broker.look(move |broker| broker.dead_letter(&group, id)).await;
    let (view, stored) = looked.map_err(|error| match error {
        BrokerError::NotFound(_) => Problem::from(Refusal::DeadLetterNotFound),
        other => Problem::from(other),
    })?;
    let mut out = Json::with_capacity(stored.message.body.len() + 1_024);
    out.open();
    write_dead_letter(&mut out, &view);
    out.key("message");
    write_stored(&mut out, &stored, encoding);
    out.close();
    Ok(json(StatusCode::OK, out))
}

/// The fields of a dead letter, without its message.
pub(super) fn write_dead_letter(out: &mut Json, view: &DeadLetterView) {
    out.key("id");
    out.plain(view.id);
    out.key("topic");
    out.plain(&view.topic);
    out.number_field("queue", view.queue.into());
    out.number_field("offset", view.offset);
    out.key("reason");
    out.value(&view.reason);
    out.key("dead_at");
    out.plain(view.dead_at);
    out.number_field("round", view.round.into());
    out.number_field("attempts", view.attempts.into());
    out.key("failures");
    out.value(&view.failures);
    out.number_field("failures_total", view.failures_total.into());
}

/// `POST /v1/groups/{group}/dead-letters/purge`
pub(super) async fn purge(State(api): State<Api>, call: Call, body: Body) -> Answer {
    let group: GroupName = call.path("group")?;
    call.query.finish()?;
    let Nothing {} = read_json(&api, body).await?;
    let purged = api.broker.purge_dead_letters(group).await?;
    let mut out = Json::with_capacity(32);
    out.open();
    out.number_field("purged", purged);
    out.close();
    Ok(json(StatusCode::OK, out))
}
