//! Looking at messages without changing anything: by id, along a queue, by what is known of them, or along what
//! happened to one.

use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Answer, Call, json};
use super::json_out::Json;
use super::message_out::{BodyEncoding, write_stored};
use super::options::Api;
use super::problem::{Code, Place, Problem};
use super::query::{Query, cursor_at, whole};
use crate::broker::{Search, SearchFound, SearchPlace, TraceCursor};
use crate::model::{CONTAINS_BYTES_MAX, Filter, KEY_BYTES_MAX, MessageId, TopicName};

/// Cursors of a search by key, and of one along the queues: neither is good for the other.
const BY_KEY: &str = "messages by key";
const BY_TIME: &str = "messages by time";

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

/// `GET /v1/topics/{topic}/messages`
pub(super) async fn search(State(api): State<Api>, mut call: Call) -> Answer {
    let topic: TopicName = call.path("topic")?;
    let encoding = call.query.parse_as::<BodyEncoding>("encoding")?.unwrap_or_default();
    let search = search_of(&mut call.query)?;
    call.query.finish()?;
    let kind = if search.key.is_some() { BY_KEY } else { BY_TIME };
    let found = api.broker.look(move |broker| broker.search(&topic, &search)).await?;
    Ok(json(StatusCode::OK, found_json(&found, kind, encoding)))
}

fn search_of(query: &mut Query) -> Result<Search, Problem> {
    let key = bounded_text(query, "key", KEY_BYTES_MAX)?;
    let tag = tag_filter(query)?;
    let (from, to) = (query.parse_as("from")?, query.parse_as("to")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::parameter("to", "is before from"));
    }
    let contains = bounded_text(query, "contains", CONTAINS_BYTES_MAX)?;
    let after = query.cursor::<SearchPlace>(if key.is_some() { BY_KEY } else { BY_TIME })?;
    Ok(Search { key, tag, from, to, contains, after, limit: query.limit()? })
}

/// `tag`: a tag, or tags joined by `||`; every message when it is not given.
pub(super) fn tag_filter(query: &mut Query) -> Result<Filter, Problem> {
    let Some(text) = query.text("tag") else { return Ok(Filter::All) };
    let place = || Place::Parameter("tag".to_owned());
    Filter::parse_tags(&text).map_err(|error| Problem::at(Code::InvalidFilter, place(), error.to_string()))
}

fn bounded_text(query: &mut Query, name: &str, bytes_max: usize) -> Result<Option<String>, Problem> {
    match query.text(name) {
        Some(text) if text.is_empty() || text.len() > bytes_max => {
            Err(Problem::parameter(name, format!("must have 1 to {bytes_max} bytes")))
        }
        text => Ok(text),
    }
}

fn found_json(found: &SearchFound, kind: &str, encoding: BodyEncoding) -> Json {
    let mut out = Json::with_capacity(1_024 * (found.messages.len() + 1));
    out.open();
    out.key("messages");
    out.open_list();
    for stored in &found.messages {
        write_stored(&mut out, stored, encoding);
    }
    out.close_list();
    out.key("next_cursor");
    out.maybe_text(found.next.map(|place| cursor_at(kind, place)).as_deref());
    out.key("truncated");
    out.truth(found.bounded || !found.index_complete);
    out.key("index_complete");
    out.truth(found.index_complete);
    out.number_field("scanned", found.scanned);
    out.key("damaged");
    out.open_list();
    found.damaged.iter().for_each(|id| out.plain(id));
    out.close_list();
    out.close();
    out
}
