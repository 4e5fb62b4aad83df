//! Messages as a publish frame carries them ("Message in" of the interface).

use serde_json::value::RawValue;

use super::fields::{Fields, Text};
use crate::api::message_in::MessageForm;
use crate::api::problem::Problem;
use crate::machine::NewMessage;
use crate::model::{BATCH_MESSAGES_MAX, Object};

/// One message, or several to be answered together.
#[derive(Debug)]
pub(in crate::api) enum PublishedBody {
    /// One message.
    One(NewMessage),
    /// In the order sent; a message that is over a limit does not hold up the others.
    Many(Vec<Result<NewMessage, Problem>>),
}

/// Takes the message fields out of a publish frame.
pub(super) fn read_body(fields: &mut Fields<'_>) -> Result<PublishedBody, Problem> {
    if let Some(messages) = fields.messages.take() {
        return read_messages(messages).map(PublishedBody::Many);
    }
    let Some(body) = fields.body.take() else {
        return Err(Problem::pointer("/body", "is missing; an empty body is \"\""));
    };
    let message = MessageForm {
        body,
        encoding: fields.encoding.take(),
        content_type: fields.content_type.take().map(Text::into_inner),
        tag: fields.tag.take().map(Text::into_inner),
        keys: fields.keys.take().unwrap_or_default().into_iter().map(Text::into_inner).collect(),
        ordering_key: fields.ordering_key.take().map(Text::into_inner),
        queue: fields.queue.take(),
        delay_ms: fields.delay_ms.take(),
        deliver_at: fields.deliver_at.take().map(Text::into_inner),
        ttl_ms: fields.ttl_ms.take(),
        traceparent: fields.traceparent.take().map(Text::into_inner),
        tracestate: fields.tracestate.take().map(Text::into_inner),
        properties: fields.properties.take().unwrap_or_default(),
    };
    message.build().map(PublishedBody::One)
}

fn read_messages(messages: &RawValue) -> Result<Vec<Result<NewMessage, Problem>>, Problem> {
    let messages: Vec<Object<MessageForm<'_>>> = serde_json::from_str(messages.get())
        .map_err(|error| Problem::pointer("/messages", error.to_string()))?;
    if messages.is_empty() {
        return Err(Problem::pointer("/messages", "must hold at least one message"));
    }
    if messages.len() > BATCH_MESSAGES_MAX {
        return Err(Problem::too_large("messages in one publish", BATCH_MESSAGES_MAX));
    }
    let build = |(at, Object(message)): (usize, Object<MessageForm<'_>>)| {
        message.build().map_err(|problem| problem.within(&format!("/messages/{at}")))
    };
    Ok(messages.into_iter().enumerate().map(build).collect())
}
