//! Looking at messages without changing anything: by id, along a queue, or along what happened to one.

use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Answer, Call, json};
use super::json_out::Json;
use super::message_out::{BodyEncoding, write_stored};
use super::options::Api;
use super::problem::{Code, Place, Problem};
use super::query::{cursor_at, whole};
use crate::broker::TraceCursor;
use crate::model::{MessageId, TopicName};

/// `GET /v1/messages/{id}`
pub(super) async fn show(State(api): State<Api>, mut call: Call) -> Answer {
    let id: MessageId = call.path("id")?;
    let encoding = call.query.parse_as::<BodyEncoding>("encoding")?.unwrap_or_default();
    call.query.finish()?;
    let stored = api.broker.look(move |broker| broker.message(id)).await?;
    let mut out = Json::with_capacity(stored.message.body.len() + 512);
    write_stored(&mut out, &stored, encoding);
    Ok(json(StatusCode::OK, out))
}

/// `GET /v1/messages/{id}/trace`
pub(super) async fn trace(State(api): State<Api>, mut call: Call) -> Answer {
    let id: MessageId = call.path("id")?;
    let limit = call.query.limit()?;
    let cursor = call.query.cursor::<TraceCursor>("trace")?;
    if cursor.as_ref().is_some_and(|cursor| !cursor.is_of(id)) {
        return Err(Problem::parameter("cursor", "is of the trace of another message"));
    }
    call.query.finish()?;
    let trace = api.broker.look(move |broker| broker.trace(id, cursor, limit)).await?;
    let mut out = Json::with_capacity(256 * (trace.events.len() + 1));
    out.open();
    out.key("id");
    out.plain(trace.id);
    out.key("topic");
    out.plain(&trace.topic);
    out.number_field("queue", trace.queue.into());
    out.key("offset");
    out.maybe_number(trace.offset);
    out.key("events");
    out.value(&trace.events);
    out.key("gone");
    out.value(&trace.gone);
    out.key("groups_left_out");
    out.truth(trace.groups_left_out);
    out.key("truncated");
    out.truth(trace.next.is_some());
    out.number_field("scanned", trace.scanned);
    out.number_field("scanned_bytes", trace.scanned_bytes);
    out.number_field("segments_passed", trace.segments_passed);
    out.key("next_cursor");
    out.maybe_text(trace.next.map(|next| cursor_at("trace", next)).as_deref());
    out.close();
    Ok(json(StatusCode::OK, out))
}

/// `GET /v1/topics/{topic}/queues/{queue}/messages`
pub(super) async fn browse(State(api): State<Api>, mut call: Call) -> Answer {
    let topic: TopicName = call.path("topic")?;
    let queue = whole(call.text("queue"))
        .ok_or_else(|| Problem::at(Code::InvalidRequest, Place::Path("queue"), "must be a whole number"))?;
    let offset = match (call.query.number("offset")?, call.query.cursor("messages")?) {
        (Some(_), Some(_)) => return Err(Problem::parameter("cursor", "and offset exclude each other")),
        (offset, cursor) => offset.or(cursor),
    };
    let limit = call.query.limit()?;
    let encoding = call.query.parse_as::<BodyEncoding>("encoding")?.unwrap_or_default();
    call.query.finish()?;
    let browsed = api.broker.look(move |broker| broker.browse(&topic, queue, offset, limit)).await?;
    let mut out = Json::with_capacity(1_024 * (browsed.messages.len() + 1));
    out.open();
    out.key("messages");
    out.open_list();
    for stored in &browsed.messages {
        write_stored(&mut out, stored, encoding);
    }
    out.close_list();
    out.key("next_offset");
    out.maybe_number(browsed.next_offset);
    out.key("next_cursor");
    out.maybe_text(browsed.next_offset.map(|offset| cursor_at("messages", offset)).as_deref());
    out.key("truncated");
    out.truth(browsed.truncated);
    out.number_field("scanned", browsed.scanned);
    out.close();
    Ok(json(StatusCode::OK, out))
}
