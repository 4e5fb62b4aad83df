//! Messages that wait for their time: the list of a topic, and taking one back.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::extract::{Answer, Call, list};
use super::message_out::{BodyEncoding, write_stored};
use super::options::Api;
use crate::broker::SchedulePlace;
use crate::model::{MessageId, TopicName};

/// `GET /v1/topics/{topic}/scheduled`
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let topic: TopicName = call.path("topic")?;
    let limit = call.query.limit()?;
    let after = call.query.cursor::<SchedulePlace>("messages")?;
    let encoding = call.query.parse_as::<BodyEncoding>("encoding")?.unwrap_or_default();
    call.query.finish()?;
    let page = api.broker.look(move |broker| broker.scheduled(&topic, after, limit)).await?;
    Ok(list("messages", &page, |out, stored| write_stored(out, stored, encoding)))
}

/// `DELETE /v1/messages/{id}`
pub(super) async fn cancel(State(api): State<Api>, call: Call) -> Answer {
    let id: MessageId = call.path("id")?;
    call.query.finish()?;
    api.broker.cancel(id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
